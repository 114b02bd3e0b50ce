// SPDX-License-Identifier: Apache-2.0
//! `linux.namespaces`, and the kernel parameters that live in them.

use super::Input;
use crate::error::{Error, Kind, Result};
use crate::request::network::Network;
use crate::request::sysctl::{self, Owner};
use crate::request::{Isolation, Namespace};
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
        sysctls.insert(namespaced(&input.options.isolation, input.network, key)?, value.clone());
    }
    Ok(sysctls)
}

/// A parameter's name with dots, if it belongs to a namespace of the container; any other would change the host.
pub(super) fn namespaced(flags: &Isolation, network: Network, key: &str) -> Result<String> {
    let own = |mode: Option<Namespace>| mode != Some(Namespace::Host);
    let because = match sysctl::owner(key) {
        Some(Owner::Network) if network != Network::Host => return Ok(key.replace('/', ".")),
        Some(Owner::Ipc) if own(flags.ipc) => return Ok(key.replace('/', ".")),
        Some(Owner::Uts) if own(flags.uts) => return Ok(key.replace('/', ".")),
        Some(Owner::Network) => "the container shares the host's network",
        Some(Owner::Ipc) => "the container shares the host's IPC",
        Some(Owner::Uts) => "the container shares the host's hostname",
        None => "it belongs to the whole machine, not to a namespace of the container",
    };
    Err(Error::new(Kind::BadInput, format!("cannot set the kernel parameter {key}"), because))
}
