// SPDX-License-Identifier: Apache-2.0
//! Network devices of the host that move into the container.
//!
//! Spec: config-linux.md "Network Devices".

use super::Joined;
use crate::error::{Error, Result};
use kelp_sys::clone::Namespaces;
use oci_spec::runtime::Linux;

/// One device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetDevice {
    /// Its name on the host.
    pub host: String,
    /// Its name in the container; with `%d` in it, the first number that is free there.
    pub name: String,
}

/// In the order of their names.
pub(super) fn plan(linux: &Linux, new: Namespaces, joins: &[Joined]) -> Result<Vec<NetDevice>> {
    let mut devices: Vec<_> = linux.net_devices().iter().flatten().collect();
    if devices.is_empty() {
        return Ok(Vec::new());
    }
    let own = new.has(Namespaces::NETWORK) || joins.iter().any(|joined| joined.namespace == Namespaces::NETWORK);
    if !own {
        return Err(Error::bad_input("cannot move linux.netDevices")
            .because("the container has no network namespace of its own")
            .hint("add {\"type\": \"network\"} to linux.namespaces"));
    }
    devices.sort_by_key(|(host, _)| *host);
    let mut planned: Vec<NetDevice> = Vec::with_capacity(devices.len());
    for (host, device) in devices {
        let name = device.name().as_deref().filter(|name| !name.is_empty()).unwrap_or(host);
        let wrong = |cause: &str| {
            Err(Error::bad_input(format!("cannot move the network device {host:?} to {name:?}")).because(cause))
        };
        if !is_name(host) || host.contains('%') {
            return wrong("the first is not the name of a network device");
        }
        if !is_name(&name.replacen("%d", "", 1)) || name.len() > LONGEST || name.replacen("%d", "", 1).contains('%') {
            return wrong("the second is not a name that a network device can have");
        }
        if planned.iter().any(|other| other.name == name && !name.contains("%d")) {
            return wrong("another device gets the same name");
        }
        planned.push(NetDevice { host: host.clone(), name: name.into() });
    }
    Ok(planned)
}

/// `IFNAMSIZ` less the NUL.
const LONGEST: usize = 15;

/// `dev_valid_name` of the kernel; what is before a `%d` may be nothing.
fn is_name(name: &str) -> bool {
    name.len() <= LONGEST
        && name != "."
        && name != ".."
        && !name.contains(['/', ':'])
        && !name.contains(char::is_whitespace)
}
