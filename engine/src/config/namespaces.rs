// SPDX-License-Identifier: Apache-2.0
//! `linux.namespaces`, and the kernel parameters that live in them.

use super::Input;
use crate::error::{Error, Kind, Result};
use crate::request::Namespace;
use crate::request::network::Network;
use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceType};
use std::collections::HashMap;

/// The namespaces the container has for itself.
pub(super) fn list(input: &Input<'_>) -> Vec<LinuxNamespace> {
    let own = [
        (LinuxNamespaceType::User, input.maps.is_some()),
        (LinuxNamespaceType::Mount, true),
        (LinuxNamespaceType::Pid, has_own_pid(input)),
        (LinuxNamespaceType::Ipc, has_own_ipc(input)),
        (LinuxNamespaceType::Uts, has_own_uts(input)),
        (LinuxNamespaceType::Network, has_own_network(input)),
        (LinuxNamespaceType::Cgroup, has_own_cgroup(input)),
    ];
    own.into_iter().filter(|(_, own)| *own).map(|(kind, _)| namespace(kind)).collect()
}

fn namespace(kind: LinuxNamespaceType) -> LinuxNamespace {
    let mut namespace = LinuxNamespace::default();
    namespace.set_typ(kind);
    namespace
}

pub(super) fn has_own_pid(input: &Input<'_>) -> bool {
    input.options.isolation.pid != Some(Namespace::Host)
}

pub(super) fn has_own_ipc(input: &Input<'_>) -> bool {
    input.options.isolation.ipc != Some(Namespace::Host)
}

pub(super) fn has_own_uts(input: &Input<'_>) -> bool {
    input.options.isolation.uts != Some(Namespace::Host)
}

pub(super) fn has_own_network(input: &Input<'_>) -> bool {
    input.network != Network::Host
}

pub(super) fn has_own_cgroup(input: &Input<'_>) -> bool {
    input.options.isolation.cgroupns != Some(Namespace::Host)
}

/// Docker's two parameters of a container's own network, then the user's.
pub(super) fn sysctls(input: &Input<'_>) -> Result<HashMap<String, String>> {
    let mut sysctls = HashMap::new();
    // They are written through a procfs of the container's own, which a user namespace without a pid namespace cannot have.
    if has_own_network(input) && (has_own_pid(input) || input.maps.is_none()) {
        // Servers that run as an ordinary user may take port 80 of their own network.
        sysctls.insert("net.ipv4.ip_unprivileged_port_start".to_owned(), "0".to_owned());
        // ping without a setuid program. In a user namespace the kernel takes mapped groups only.
        let last = if input.maps.is_some() { 0 } else { input.last_group.min(i32::MAX.unsigned_abs()) };
        sysctls.insert("net.ipv4.ping_group_range".to_owned(), format!("0 {last}"));
    }
    for (key, value) in &input.options.isolation.sysctl {
        sysctls.insert(namespaced(input, key)?, value.clone());
    }
    Ok(sysctls)
}

/// A parameter's name with dots, if it belongs to a namespace of the container; any other would change the host.
fn namespaced(input: &Input<'_>, key: &str) -> Result<String> {
    let key = key.replace('/', ".");
    let ipc = key.starts_with("fs.mqueue.") || key.starts_with("kernel.msg") || key.starts_with("kernel.sem");
    let ipc = ipc || key.starts_with("kernel.shm");
    let because = match key.as_str() {
        _ if key.starts_with("net.") && has_own_network(input) => return Ok(key),
        _ if ipc && has_own_ipc(input) => return Ok(key),
        "kernel.domainname" if has_own_uts(input) => return Ok(key),
        "kernel.hostname" => "--hostname sets the name of the container".to_owned(),
        _ if key.starts_with("net.") => "the container shares the host's network".to_owned(),
        _ => "it belongs to the whole machine, not to a namespace of the container".to_owned(),
    };
    Err(Error::new(Kind::BadInput, format!("cannot set the kernel parameter {key}"), because))
}
