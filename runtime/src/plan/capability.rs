// SPDX-License-Identifier: Apache-2.0
//! Capabilities by name and by bit: capabilities(7).

use kelp_init::script::Capabilities;
use oci_spec::runtime::{Capability, LinuxCapabilities};
use std::collections::HashSet;

/// Names in the kernel's order, without `CAP_`: linux/capability.h.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// All names, with `CAP_`, in the kernel's order.
#[must_use]
pub fn names() -> Vec<String> {
    NAMES.iter().map(|name| format!("CAP_{name}")).collect()
}

/// The bit of a capability, in the sets of [`Capabilities`].
#[must_use]
pub fn bit_of(capability: Capability) -> u64 {
    let name = capability.to_string();
    NAMES.iter().position(|known| *known == name).map_or(0, |number| 1 << number)
}

fn bits(set: Option<&HashSet<Capability>>) -> u64 {
    set.into_iter().flatten().fold(0, |bits, capability| bits | bit_of(*capability))
}

/// No capabilities in the spec means none.
pub(super) fn plan(sets: Option<&LinuxCapabilities>) -> Capabilities {
    let Some(sets) = sets else { return Capabilities::default() };
    Capabilities {
        bounding: bits(sets.bounding().as_ref()),
        effective: bits(sets.effective().as_ref()),
        inheritable: bits(sets.inheritable().as_ref()),
        permitted: bits(sets.permitted().as_ref()),
        ambient: bits(sets.ambient().as_ref()),
    }
}

/// Ambient capabilities that the kernel does not let be: capabilities(7), “no capability can ever be ambient if it is not both
/// permitted and inheritable”.
pub(super) fn warnings(sets: Option<&LinuxCapabilities>) -> Vec<String> {
    let sets = plan(sets);
    let lost = sets.ambient & !(sets.permitted & sets.inheritable);
    let names = NAMES.iter().enumerate().filter(|(number, _)| lost & (1 << number) != 0);
    let why = "is not ambient, since it is not both permitted and inheritable";
    names.map(|(_, name)| format!("CAP_{name} of process.capabilities.ambient {why}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::str::FromStr;

    #[test]
    fn an_ambient_capability_that_cannot_be_is_warned_of() {
        let set = |names: &[Capability]| Some(names.iter().copied().collect());
        let mut sets = LinuxCapabilities::default();
        let both = [Capability::Kill, Capability::Chown];
        sets.set_permitted(set(&both)).set_inheritable(set(&both[..1])).set_ambient(set(&both));
        let warned = warnings(Some(&sets));
        assert!(warned.len() == 1 && warned[0].starts_with("CAP_CHOWN "), "{warned:?}");
        assert!(warnings(None).is_empty());
    }

    #[test]
    fn every_name_of_the_kernel_is_known_to_the_spec_types() {
        for (number, name) in NAMES.iter().enumerate() {
            assert_eq!(bit_of(Capability::from_str(name).unwrap()), 1 << number, "{name}");
        }
    }
}
