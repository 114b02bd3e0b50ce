// SPDX-License-Identifier: Apache-2.0
//! From a record and a status to Docker's object: the one function that `inspect`, templates and an API show.

use super::find::Container;
use super::record::{Record, Storage};
use super::status::{self, State, Status};
use crate::caller::Caller;
use crate::docker::container;
use crate::docker::container::{
    Address, Config, DeviceMapping, Empty, EndpointSettings, GraphDriver, HostConfig, Inspect, LogConfig, Mount,
    MountPoint, NetworkSettings, PortBinding, Ports, RestartPolicy, Ulimit, port_key,
};
use crate::error::Result;
use crate::request::mount::{Source, Wish};
use crate::request::network::Network;
use crate::request::security::SecurityOption;
use crate::request::{self, Create, Isolation, Limits, Namespace, restart, signal};
use kelp_bundles::bundle::{MASKED_PATHS, READONLY_PATHS};
use kelp_network::port::HostPort;
use kelp_network::slirp;
use std::collections::BTreeMap;
use std::path::Path;

/// Docker's /dev/shm.
const SHM_SIZE: i64 = 64 << 20;

/// The container as it is now.
///
/// # Errors
/// Those of [`status::of`].
pub fn inspect(caller: &Caller, container: &Container) -> Result<Inspect> {
    Ok(describe(container, &status::of(caller, container)?))
}

/// The container as it was when its status was looked at.
pub fn describe(container: &Container, status: &Status) -> Inspect {
    let (record, folder) = (&container.record, &container.folder);
    let (path, args) = record.command.split_first().map_or(("", [].as_slice()), |(first, rest)| (first, rest));
    let text = |name: &str| folder.join(name).display().to_string();
    // A record of an older Kelp has no request: what it has itself is shown.
    let request = record.request.as_deref().cloned().unwrap_or_default();
    Inspect {
        id: record.id.clone(),
        created: record.created.clone(),
        path: path.to_owned(),
        args: args.to_vec(),
        state: state(status),
        image: record.image_id.clone(),
        resolv_conf_path: text("resolv.conf"),
        hostname_path: text("hostname"),
        hosts_path: text("hosts"),
        log_path: text("log"),
        name: format!("/{}", record.name),
        restart_count: status.start.as_ref().map_or(0, |start| start.restarts),
        driver: driver(record).to_owned(),
        platform: "linux".to_owned(),
        mount_label: String::new(),
        process_label: String::new(),
        app_armor_profile: apparmor(&request.isolation),
        exec_ids: None,
        host_config: host_config(record, &request),
        graph_driver: graph_driver(record, folder),
        mounts: record.mounts.iter().map(mount_point).collect(),
        config: config(record, &request),
        network_settings: network_settings(record, status),
        oci_config_path: text("config.json"),
    }
}

fn driver(record: &Record) -> &'static str {
    match record.storage {
        Storage::Overlay => "overlay",
        Storage::Copy => "copy",
    }
}

fn graph_driver(record: &Record, folder: &Path) -> GraphDriver {
    let text = |name: &str| folder.join(name).display().to_string();
    let places = [("UpperDir", "upper"), ("WorkDir", "work"), ("MergedDir", "rootfs")];
    let data = places.map(|(key, name)| (key.to_owned(), text(name)));
    GraphDriver { data: data.into(), name: driver(record).to_owned() }
}

fn state(status: &Status) -> container::State {
    let never = "0001-01-01T00:00:00Z";
    let exit = status.exit.as_ref();
    container::State {
        status: status.state.word().to_owned(),
        running: matches!(status.state, State::Running | State::Paused),
        paused: status.state == State::Paused,
        restarting: status.state == State::Restarting,
        oom_killed: exit.is_some_and(|exit| exit.oom),
        dead: status.state == State::Dead,
        pid: status.pid,
        exit_code: status.exit_code(),
        error: exit.and_then(|exit| exit.error.clone()).unwrap_or_default(),
        started_at: status.start.as_ref().map_or(never, |start| start.started.as_str()).to_owned(),
        finished_at: exit.map_or(never, |exit| exit.finished.as_str()).to_owned(),
    }
}

/// A list as Docker shows it: null where nobody gave one.
fn given<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn host_config(record: &Record, request: &Create) -> HostConfig {
    let (policy, maximum_retry_count) = restart::shown(record.restart);
    let mut config = HostConfig {
        binds: given(request.files.volume.iter().filter_map(bind).collect()),
        container_id_file: request.cidfile.as_ref().map_or_else(String::new, |file| file.display().to_string()),
        log_config: log_config(record.log),
        network_mode: record.network.to_string(),
        port_bindings: port_bindings(record),
        restart_policy: RestartPolicy { name: policy.to_owned(), maximum_retry_count },
        auto_remove: record.auto_remove,
        annotations: Some(request.process.annotation.iter().cloned().collect())
            .filter(|all: &BTreeMap<_, _>| !all.is_empty()),
        extra_hosts: given(
            request.network.add_host.iter().map(|(name, address)| format!("{name}:{address}")).collect(),
        ),
        dns: request.network.dns.iter().map(ToString::to_string).collect(),
        dns_options: request.network.dns_option.clone(),
        dns_search: request.network.dns_search.clone(),
        group_add: given(request.process.group_add.clone()),
        oom_score_adj: request.process.oom_score_adj.unwrap_or(0),
        publish_all_ports: request.network.publish_all,
        readonly_rootfs: request.files.read_only,
        tmpfs: Some(request.files.tmpfs.iter().map(tmpfs).collect()).filter(|all: &BTreeMap<_, _>| !all.is_empty()),
        shm_size: request.files.shm_size.unwrap_or(SHM_SIZE),
        runtime: record.runtime.as_ref().map_or_else(|| "kelp".to_owned(), |path| path.display().to_string()),
        devices: request.files.device.iter().filter_map(|text| device(text)).collect(),
        ulimits: request.process.ulimit.iter().map(ulimit).collect(),
        mounts: given(request.files.mount.iter().map(mount).collect()),
        init: record.init,
        ..HostConfig::default()
    };
    isolate(&mut config, record, &request.isolation);
    limit(&mut config, &request.limits);
    config
}

fn isolate(config: &mut HostConfig, record: &Record, isolation: &Isolation) {
    let mode = |namespace: Option<Namespace>| match namespace {
        Some(Namespace::Host) => "host".to_owned(),
        _ => String::new(),
    };
    let own = |namespace| if namespace == Some(Namespace::Host) { "host".to_owned() } else { "private".to_owned() };
    let open = record.privileged || isolation.security_opt.contains(&SecurityOption::SystemPathsUnconfined);
    config.privileged = record.privileged;
    config.cap_add = given(isolation.cap_add.clone());
    config.cap_drop = given(isolation.cap_drop.clone());
    config.security_opt = given(isolation.security_opt.iter().map(ToString::to_string).collect());
    config.sysctls = Some(isolation.sysctl.iter().cloned().collect()).filter(|all: &BTreeMap<_, _>| !all.is_empty());
    config.pid_mode = mode(isolation.pid);
    config.uts_mode = mode(isolation.uts);
    config.userns_mode = mode(isolation.userns);
    config.ipc_mode = own(isolation.ipc);
    config.cgroupns_mode = own(isolation.cgroupns);
    config.masked_paths = (!open).then(|| MASKED_PATHS.map(str::to_owned).to_vec());
    config.readonly_paths = (!open).then(|| READONLY_PATHS.map(str::to_owned).to_vec());
}

fn limit(config: &mut HostConfig, limits: &Limits) {
    config.memory = limits.memory.unwrap_or(0);
    config.memory_reservation = limits.memory_reservation.unwrap_or(0);
    config.memory_swap = limits.memory_swap.unwrap_or(0);
    #[allow(clippy::cast_possible_truncation, reason = "no machine has 2^63 billionths of a processor")]
    let nano_cpus = (limits.cpus.unwrap_or(0.0) * 1e9).round() as i64;
    config.nano_cpus = nano_cpus;
    config.cpu_shares = limits.cpu_shares.unwrap_or(0);
    config.cpu_period = limits.cpu_period.unwrap_or(0);
    config.cpu_quota = limits.cpu_quota.unwrap_or(0);
    config.cpuset_cpus = limits.cpuset_cpus.clone().unwrap_or_default();
    config.cpuset_mems = limits.cpuset_mems.clone().unwrap_or_default();
    config.pids_limit = limits.pids_limit;
    config.cgroup_parent = limits.cgroup_parent.clone().unwrap_or_default();
}

/// `SOURCE:TARGET[:OPTIONS]`, of what has a source.
fn bind(wish: &Wish) -> Option<String> {
    let source = match &wish.source {
        Source::Host { path, .. } => path.display().to_string(),
        Source::Volume(name) => name.clone(),
        Source::Anonymous | Source::Tmpfs => return None,
    };
    let mut options: Vec<&str> = if wish.read_only { vec!["ro"] } else { Vec::new() };
    options.extend(wish.options.iter().map(String::as_str));
    let target = wish.target.display();
    Some(match options.is_empty() {
        true => format!("{source}:{target}"),
        false => format!("{source}:{target}:{}", options.join(",")),
    })
}

fn mount(wish: &Wish) -> Mount {
    let (kind, source) = match &wish.source {
        Source::Host { path, .. } => ("bind", path.display().to_string()),
        Source::Volume(name) => ("volume", name.clone()),
        Source::Anonymous => ("volume", String::new()),
        Source::Tmpfs => ("tmpfs", String::new()),
    };
    Mount { kind: kind.to_owned(), source, target: wish.target.display().to_string(), read_only: wish.read_only }
}

fn tmpfs(wish: &Wish) -> (String, String) {
    (wish.target.display().to_string(), wish.options.join(","))
}

fn device(text: &str) -> Option<DeviceMapping> {
    let asked = request::device::read(text).ok()?;
    Some(DeviceMapping {
        path_on_host: asked.host.to_owned(),
        path_in_container: asked.inside.to_owned(),
        cgroup_permissions: asked.access.to_owned(),
    })
}

/// `RLIMIT_NOFILE` as Docker writes it: `nofile`; no limit is -1.
fn ulimit(limit: &oci_spec::runtime::PosixRlimit) -> Ulimit {
    let name = limit.typ().to_string();
    let name = name.strip_prefix("RLIMIT_").unwrap_or(&name).to_ascii_lowercase();
    let number = |amount: u64| i64::try_from(amount).unwrap_or(-1);
    Ulimit { name, hard: number(limit.hard()), soft: number(limit.soft()) }
}

fn apparmor(isolation: &Isolation) -> String {
    let profile = |option: &SecurityOption| match option {
        SecurityOption::Apparmor(profile) => Some(profile.clone()),
        _ => None,
    };
    isolation.security_opt.iter().find_map(profile).unwrap_or_default()
}

/// In Docker's words. `logs` reads it whatever its limits are.
fn log_config(limits: kelp_shim::LogLimits) -> LogConfig {
    let (kind, config) = match limits.max_size {
        0 => ("none", BTreeMap::new()),
        kelp_shim::LogLimits::UNLIMITED => ("json-file", BTreeMap::new()),
        size => {
            let all = [("max-size", size.to_string()), ("max-file", limits.files.to_string())];
            ("json-file", all.map(|(key, value)| (key.to_owned(), value)).into())
        }
    };
    LogConfig { kind: kind.to_owned(), config }
}

fn port_bindings(record: &Record) -> Ports {
    let mut ports = Ports::new();
    for port in &record.ports {
        let host_port = match &port.host {
            HostPort::Exactly(port) => port.to_string(),
            HostPort::Free => String::new(),
            HostPort::FirstFree(range) => format!("{}-{}", range.start(), range.end()),
        };
        let host_ip = port.address.map_or_else(String::new, |address| address.to_string());
        let binding = PortBinding { host_ip, host_port };
        ports.entry(port_key(port.container, port.protocol)).or_default().get_or_insert_default().push(binding);
    }
    ports
}

fn mount_point(mount: &super::record::MountRecord) -> MountPoint {
    let is_bind = mount.kind == "bind";
    let known = ["private", "rprivate", "shared", "rshared", "slave", "rslave"];
    let asked = mount.mode.split(',').find(|word| known.contains(word));
    MountPoint {
        kind: mount.kind.clone(),
        name: mount.name.clone(),
        source: mount.source.clone(),
        destination: mount.destination.clone(),
        driver: mount.name.as_ref().map(|_| "local".to_owned()),
        mode: mount.mode.clone(),
        writable: mount.writable,
        propagation: asked.unwrap_or(if is_bind { "rprivate" } else { "" }).to_owned(),
    }
}

fn config(record: &Record, request: &Create) -> Config {
    let volumes = request.files.volume.iter().filter(|wish| wish.source == Source::Anonymous);
    let volumes: BTreeMap<String, Empty> = volumes.map(|wish| (wish.target.display().to_string(), Empty {})).collect();
    Config {
        hostname: record.hostname.clone(),
        domainname: request.network.domainname.clone().unwrap_or_default(),
        user: record.user.clone(),
        attach_stdin: false,
        attach_stdout: false,
        attach_stderr: false,
        exposed_ports: record.exposed.iter().map(|port| (port.clone(), Empty {})).collect(),
        tty: record.tty,
        open_stdin: record.interactive,
        stdin_once: false,
        env: record.env.clone(),
        cmd: given(record.cmd.clone().unwrap_or_else(|| record.command.clone())),
        image: record.image.clone(),
        volumes: Some(volumes).filter(|all| !all.is_empty()),
        working_dir: record.working_dir.display().to_string(),
        entrypoint: record.entrypoint.clone(),
        on_build: None,
        labels: record.labels.clone(),
        stop_signal: signal::name(record.stop_signal),
        stop_timeout: record.stop_timeout,
    }
}

fn network_settings(record: &Record, status: &Status) -> NetworkSettings {
    if !status.state.is_alive() {
        let networks = [(record.network.to_string(), EndpointSettings::default())].into();
        return NetworkSettings { networks, ..NetworkSettings::default() };
    }
    let mut ports: Ports = record.exposed.iter().map(|port| (port.clone(), None)).collect();
    for port in status.start.iter().flat_map(|start| &start.published) {
        let binding = PortBinding { host_ip: port.address.to_string(), host_port: port.host.to_string() };
        ports.entry(port_key(port.container, port.protocol)).or_default().get_or_insert_default().push(binding);
    }
    let address = match record.network {
        Network::Slirp4netns => Address {
            ip_address: slirp::ADDRESS.to_string(),
            ip_prefix_len: slirp::PREFIX_LENGTH,
            gateway: slirp::GATEWAY.to_string(),
            ..Address::default()
        },
        Network::None | Network::Host => Address::default(),
    };
    let endpoint = EndpointSettings { address: address.clone(), ..EndpointSettings::default() };
    let networks = [(record.network.to_string(), endpoint)].into();
    NetworkSettings { ports, address, networks, ..NetworkSettings::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binds_are_written_as_docker_writes_them() {
        let shown = |text: &str| bind(&crate::request::mount::volume(text).unwrap());
        assert_eq!(shown("/a:/b:ro").as_deref(), Some("/a:/b:ro"));
        assert_eq!(shown("data:/b").as_deref(), Some("data:/b"));
        assert_eq!(shown("/only"), None);
    }
}
