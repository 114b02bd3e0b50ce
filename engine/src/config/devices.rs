// SPDX-License-Identifier: Apache-2.0
//! Devices: the runtime makes the six that everybody has; these are the user's, and the rules for all.

use super::{Attachment, Input};
use oci_spec::runtime::{LinuxDevice, LinuxDeviceCgroup, LinuxDeviceType};
use std::path::PathBuf;

/// A device of the host, as found there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its path on the host.
    pub host: PathBuf,
    /// Its path inside.
    pub path: PathBuf,
    /// Block or character.
    pub block: bool,
    /// The kernel's numbers.
    pub major: i64,
    /// The kernel's numbers.
    pub minor: i64,
    /// Permission bits.
    pub mode: u32,
    /// Of r, w, m.
    pub access: String,
}

/// Nodes the runtime makes. In a user namespace the kernel forbids mknod: there they are bound, see [`bound`].
pub(super) fn nodes(input: &Input<'_>) -> Vec<LinuxDevice> {
    if input.maps.is_some() {
        return Vec::new();
    }
    let node = |device: &Device| {
        let mut node = LinuxDevice::default();
        node.set_path(device.path.clone()).set_typ(kind(device)).set_major(device.major).set_minor(device.minor);
        node.set_file_mode(Some(device.mode)).set_uid(Some(0)).set_gid(Some(0));
        node
    };
    input.devices.iter().map(node).collect()
}

/// The user's devices as bind mounts, where nodes cannot be made.
pub(super) fn bound(input: &Input<'_>) -> Vec<Attachment> {
    if input.maps.is_none() {
        return Vec::new();
    }
    let bind = |device: &Device| Attachment {
        source: Some(device.host.clone()),
        target: device.path.clone(),
        read_only: false,
        options: vec!["nosuid".to_owned(), "noexec".to_owned()],
    };
    input.devices.iter().map(bind).collect()
}

/// The cgroup's device rules. Only root has them: in a user namespace no node can be made, so there is nothing to forbid.
pub(super) fn rules(input: &Input<'_>) -> Option<Vec<LinuxDeviceCgroup>> {
    if input.maps.is_some() {
        return None;
    }
    if input.privileged() {
        return Some(vec![rule(true, None, None, None, "rwm")]);
    }
    let char = Some(LinuxDeviceType::C);
    let mut rules = vec![
        rule(false, None, None, None, "rwm"),
        // Any node may be made, and then not be opened.
        rule(true, char, None, None, "m"),
        rule(true, Some(LinuxDeviceType::B), None, None, "m"),
    ];
    // null, zero, full, random, urandom; tty, console, ptmx; all of /dev/pts.
    for (major, minor) in [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2)] {
        rules.push(rule(true, char, Some(major), Some(minor), "rwm"));
    }
    rules.push(rule(true, char, Some(136), None, "rwm"));
    for device in input.devices {
        rules.push(rule(true, Some(kind(device)), Some(device.major), Some(device.minor), &device.access));
    }
    Some(rules)
}

fn kind(device: &Device) -> LinuxDeviceType {
    if device.block { LinuxDeviceType::B } else { LinuxDeviceType::C }
}

fn rule(
    allow: bool,
    kind: Option<LinuxDeviceType>,
    major: Option<i64>,
    minor: Option<i64>,
    access: &str,
) -> LinuxDeviceCgroup {
    let mut rule = LinuxDeviceCgroup::default();
    rule.set_allow(allow).set_typ(kind).set_major(major).set_minor(minor).set_access(Some(access.to_owned()));
    rule
}
