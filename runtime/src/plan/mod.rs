// SPDX-License-Identifier: Apache-2.0
//! Decides everything about a container before anything is touched: `(Spec, Host) → Plan`.
//!
//! Pure, without privilege, tested as text; `kelp-runtime plan BUNDLE` prints it.
//! Spec: config.md, config-linux.md.

mod capability;
mod clock;
pub mod device;
mod environment;
#[cfg(test)]
mod field_tests;
mod hook;
mod idmap;
mod intel_rdt;
mod list;
mod mount;
mod mount_option;
mod namespace;
mod net_device;
mod process;
mod root;
mod schedule;
mod sysctl;
#[cfg(test)]
mod tests;
mod text;

pub use capability::{bit_of as capability_bit, names as capability_names};
pub use device::{DeviceHowPlan, DevicePlan};
pub use environment::candidates;
pub use hook::HookPlan;
pub(crate) use hook::plan_one as hook_plan;
pub use idmap::{MapLine, Maps, as_text as map_text};
pub use intel_rdt::IntelRdt;
pub use mount::{Ids, MountPlan, Spare, WhatPlan};
pub use namespace::Joined;
pub use net_device::NetDevice;
pub use process::{Limit, ProcessPlan};
pub use root::{OverlayPlan, RootPlan};
pub use schedule::{Affinity, MemoryPolicy, Nature, Priorities};

use crate::bundle::Bundle;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::seccomp::Agent;
use kelp_sys::clone::Namespaces;
use oci_spec::runtime::{Hooks, Linux, Spec};
use std::collections::HashMap;
use std::ffi::CString;
use std::path::{Path, PathBuf};

/// Options of the command line that change what is planned.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// `--no-pivot`
    pub no_pivot: bool,
    /// `--no-new-keyring`
    pub no_new_keyring: bool,
    /// `--preserve-fds`
    pub preserve_fds: u32,
    /// Sockets that systemd passes, the first descriptors after the standard streams: sd_listen_fds(3).
    pub listen_fds: u32,
    /// The caller prints what the terminal of the program says: newlines stay what they are.
    pub foreground: bool,
}

/// All that will be done in the container, in the order in which it is done.
#[derive(Debug)]
pub struct Plan {
    /// The container's id.
    pub id: String,
    /// The bundle's folder, absolute.
    pub bundle: PathBuf,
    /// Namespaces that init has of its own.
    pub namespaces: Namespaces,
    /// Namespaces that it joins by path.
    pub joins: Vec<Joined>,
    /// Clocks of a new time namespace.
    pub time_offsets: Option<CString>,
    /// Id maps of a new user namespace.
    pub maps: Maps,
    /// Whether init becomes uid 0 of its user namespace.
    pub become_root: bool,
    /// Name of the session keyring.
    pub keyring: Option<CString>,
    /// Host name.
    pub hostname: Option<CString>,
    /// NIS domain name.
    pub domainname: Option<CString>,
    /// Devices of the host that move into its network namespace.
    pub net_devices: Vec<NetDevice>,
    /// Whether `lo` is brought up.
    pub loopback: bool,
    /// The root file system.
    pub root: RootPlan,
    /// Mounts.
    pub mounts: Vec<MountPlan>,
    /// Devices.
    pub devices: Vec<device::DevicePlan>,
    /// Links in /dev.
    pub device_links: &'static [(&'static std::ffi::CStr, &'static std::ffi::CStr)],
    /// Read-only paths.
    pub readonly_paths: Vec<CString>,
    /// Masked paths.
    pub masked_paths: Vec<CString>,
    /// Sysctls: path below /proc/sys with `sys/` before it, and value.
    pub sysctls: Vec<(CString, CString)>,
    /// The program.
    pub process: ProcessPlan,
    /// Its share of caches and memory bandwidth.
    pub intel_rdt: Option<IntelRdt>,
    /// Who answers the seccomp filter's notifications.
    pub seccomp_agent: Option<Agent>,
    /// createContainer hooks.
    pub container_hooks: Vec<HookPlan>,
    /// startContainer hooks.
    pub start_hooks: Vec<HookPlan>,
    /// Whether the runtime has hooks to run between mounts and pivot, or init has hooks at all.
    pub has_hooks: bool,
}

impl Plan {
    /// Plans the container.
    ///
    /// # Errors
    /// What the spec asks for is wrong, or cannot be on this host.
    pub fn make(bundle: &Bundle, folder: &Path, id: &str, host: &Host, options: Options) -> Result<Self> {
        let spec = &bundle.spec;
        // A spec that has no part `linux` asks for nothing: oci-spec's default is an example.
        let mut nothing = Linux::default();
        nothing.set_namespaces(None).set_masked_paths(None).set_readonly_paths(None).set_resources(None);
        let linux = spec.linux().as_ref().unwrap_or(&nothing);
        let folder: PathBuf = host.cwd.join(folder).components().collect();
        let (namespaces, joins) = namespace::plan(linux)?;
        let maps = idmap::plan(linux, namespaces, host)?;
        let joins_user = joins.iter().any(|joined| joined.namespace == Namespaces::USER);
        let scope = Scope {
            namespaces,
            in_user_namespace: maps.is_new() || joins_user || host.nested,
            folder: &folder,
            maps: &maps,
            joins: &joins,
            may_administer: host.may_administer,
        };
        scope.check_rights(host, joins_user)?;
        let hooks = spec.hooks().clone().unwrap_or_default();
        let all_mounts = spec.mounts().as_deref().unwrap_or_default();
        let (overlay, mounts) = mount::plan(all_mounts, linux.mount_label().as_deref(), &scope)?;
        let devices = device::plan(linux, all_mounts, &scope)?;
        let process = program(spec, linux, &maps, options)?;
        let plan = Self {
            id: id.into(),
            namespaces,
            time_offsets: clock::plan(linux, namespaces, &joins)?,
            become_root: maps.maps_root() || joins_user,
            container_hooks: hook::plan(hooks.create_container().as_deref(), &process.env)?,
            start_hooks: hook::plan(hooks.start_container().as_deref(), &process.env)?,
            process,
            maps,
            keyring: (!options.no_new_keyring).then(|| text_of("_ses.", id)).transpose()?,
            hostname: named(spec.hostname().as_deref(), "hostname", namespaces, &joins)?,
            domainname: named(spec.domainname().as_deref(), "domainname", namespaces, &joins)?,
            net_devices: net_device::plan(linux, namespaces, &joins)?,
            loopback: namespaces.has(Namespaces::NETWORK),
            root: root::plan(spec, linux, &folder, overlay, options.no_pivot)?,
            devices,
            device_links: device::links(all_mounts),
            mounts,
            readonly_paths: below_root(linux.readonly_paths().as_deref())?,
            masked_paths: below_root(linux.masked_paths().as_deref())?,
            sysctls: sysctl::plan(linux.sysctl().as_ref(), namespaces, &joins)?,
            intel_rdt: linux.intel_rdt().as_ref().map(|rdt| intel_rdt::plan(rdt, id)).transpose()?,
            seccomp_agent: seccomp_agent(linux, host)?,
            has_hooks: has_hooks(&hooks),
            joins,
            bundle: folder,
        };
        plan.check_mount_namespace()?;
        Ok(plan)
    }
}

/// The container's own program.
fn program(spec: &Spec, linux: &Linux, maps: &Maps, options: Options) -> Result<ProcessPlan> {
    let process = spec.process().as_ref();
    let process = process.ok_or_else(|| {
        Error::bad_input("cannot run the bundle")
            .because("process property must not be empty: config.json has no process")
    })?;
    let kept = options.preserve_fds.saturating_add(options.listen_fds);
    let plan = ProcessPlan::make(process, maps.lets_set_groups(), linux.seccomp().is_some(), kept)?;
    let plan = if keeps_groups(spec.annotations().as_ref()) { plan.keeping_groups() } else { plan };
    Ok(plan.with_sockets(options.listen_fds)?.of_nature(Nature::make(linux)?).shown_by_caller(options.foreground))
}

/// crun's annotation, which podman's `--group-add keep-groups` writes: the program keeps the groups of the caller.
pub(crate) fn keeps_groups(annotations: Option<&HashMap<String, String>>) -> bool {
    annotations.and_then(|all| all.get("run.oci.keep_original_groups")).is_some_and(|value| value != "0")
}

impl Plan {
    /// The namespaces that come with the clone: clocks can only be set in a time namespace that nobody is in yet.
    pub(crate) fn cloned_namespaces(&self) -> Namespaces {
        if self.time_offsets.is_some() { self.namespaces.without(Namespaces::TIME) } else { self.namespaces }
    }

    /// Whether its mounts are the host's: then nothing is mounted, not even the root.
    pub(crate) fn shares_mounts(&self) -> bool {
        let joined = self.joins.iter().any(|joined| joined.namespace == Namespaces::MOUNT);
        !joined && !self.namespaces.has(Namespaces::MOUNT)
    }

    /// Whether entering its namespaces does not lead to its root: it got there by chroot(2), which is no matter of a mount
    /// namespace, and who joins must do the same.
    pub(crate) fn is_chroot(&self) -> bool {
        !self.namespaces.has(Namespaces::MOUNT)
    }

    /// What is mounted without a mount namespace is mounted on the host, and stays there.
    fn check_mount_namespace(&self) -> Result<()> {
        if !self.shares_mounts() {
            return Ok(());
        }
        let bound = |device: &DevicePlan| matches!(device.how, DeviceHowPlan::Bind { .. });
        let wants = [
            ("mounts", !self.mounts.is_empty() || self.root.overlay.is_some()),
            ("root.readonly", self.root.readonly),
            ("linux.maskedPaths", !self.masked_paths.is_empty()),
            ("linux.readonlyPaths", !self.readonly_paths.is_empty()),
            ("process.terminal", self.process.console.is_some()),
            ("linux.devices in a user namespace", self.devices.iter().any(bound)),
        ];
        let fields: Vec<&str> = wants.iter().filter(|(_, wanted)| *wanted).map(|(field, _)| *field).collect();
        if fields.is_empty() {
            return Ok(());
        }
        Err(Error::bad_input(format!("cannot use {}", fields.join(", ")))
            .because("unable to restrict sys entries without a private MNT namespace: without a mount namespace of its own the mounts would be the host's")
            .hint("add {\"type\": \"mount\"} to linux.namespaces"))
    }
}

/// What many parts of a plan depend on.
struct Scope<'a> {
    namespaces: Namespaces,
    /// No device can be made, and file systems may only be mounted with namespaces of our own.
    in_user_namespace: bool,
    folder: &'a Path,
    maps: &'a Maps,
    joins: &'a [Joined],
    may_administer: bool,
}

impl Scope<'_> {
    /// What ids the container's user namespace has, if it has one of its own.
    fn container_ids(&self) -> Option<Ids> {
        let joined = self.joins.iter().find(|joined| joined.namespace == Namespaces::USER);
        match (self.maps, joined) {
            (Maps::Write { uid, gid } | Maps::Helpers { uid, gid }, _) => {
                Some(Ids::Maps { uid: uid.clone(), gid: gid.clone() })
            }
            // One id, which its own user maps onto itself: the kernel gives him no mapped mount of the host's.
            (Maps::Own { .. }, _) => Some(Ids::Maps { uid: Vec::new(), gid: Vec::new() }),
            (Maps::None, joined) => joined.map(|joined| Ids::Namespace(joined.path.clone())),
        }
    }

    /// Paths are the joined namespace's where one is joined, and ours are others.
    fn spare(&self) -> Spare {
        let joins_mounts = self.joins.iter().any(|joined| joined.namespace == Namespaces::MOUNT);
        let other_root = self.container_ids().is_some() && self.may_administer && !joins_mounts;
        if other_root { Spare::Taken } else { Spare::None }
    }

    fn check_rights(&self, host: &Host, joins_user: bool) -> Result<()> {
        if host.may_administer || self.namespaces.has(Namespaces::USER) || joins_user {
            return Ok(());
        }
        Err(Error::bad_input("cannot run the bundle as an ordinary user")
            .because("its config.json asks for no user namespace, and without one only root may make the others")
            .hint("write the bundle's config.json with `kelp-runtime spec --rootless`, or run as root"))
    }
}

fn seccomp_agent(linux: &Linux, host: &Host) -> Result<Option<Agent>> {
    linux.seccomp().as_ref().map_or(Ok(None), |profile| crate::seccomp::agent(profile, &host.cwd))
}

fn has_hooks(hooks: &Hooks) -> bool {
    #[allow(deprecated, reason = "prestart hooks are deprecated in the spec, and still to be run")]
    let prestart = hooks.prestart();
    [prestart, hooks.create_runtime(), hooks.create_container(), hooks.start_container()]
        .iter()
        .any(|hooks| hooks.as_ref().is_some_and(|hooks| !hooks.is_empty()))
}

/// A name of the UTS namespace: refused where it would be the host's that we rename.
fn named(name: Option<&str>, field: &str, new: Namespaces, joins: &[Joined]) -> Result<Option<CString>> {
    let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(None) };
    let own = new.has(Namespaces::UTS) || joins.iter().any(|joined| joined.namespace == Namespaces::UTS);
    if !own {
        return Err(Error::bad_input(format!("cannot set {field} {name:?}"))
            .because(format!("unable to set {field} without a private UTS namespace"))
            .hint("add {\"type\": \"uts\"} to linux.namespaces"));
    }
    if name.len() > 64 {
        return Err(Error::bad_input(format!("cannot set {field} {name:?}"))
            .because(format!("set{field}: invalid argument: it is longer than 64 bytes")));
    }
    text_of("", name).map(Some)
}

/// Paths of the container without their leading slash.
fn below_root(paths: Option<&[String]>) -> Result<Vec<CString>> {
    paths.unwrap_or_default().iter().map(|path| text_of("", path.trim_start_matches('/'))).collect()
}

/// A C string of both parts; a NUL inside is an error of the input.
fn text_of(prefix: &str, text: &str) -> Result<CString> {
    CString::new(format!("{prefix}{text}"))
        .map_err(|_| Error::bad_input(format!("cannot use {text:?}")).because("it has a NUL byte in it"))
}

/// A path as a C string.
pub(crate) fn path_text(path: &Path) -> Result<CString> {
    use std::os::unix::ffi::OsStrExt;
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::bad_input(format!("cannot use the path {path:?}")).because("it has a NUL byte in it"))
}

/// The path inside the container without leading slash, `.` and `..` taken out as text (the kernel resolves links).
fn inside(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::Normal(name) => clean.push(name),
            std::path::Component::ParentDir => {
                clean.pop();
            }
            _ => {}
        }
    }
    clean
}
