// SPDX-License-Identifier: Apache-2.0
//! The readers of what is not ours, as functions of bytes: for the fuzz targets, which have no other way to them.
//!
//! No part of the library's interface.

use std::path::PathBuf;

/// Reads `bytes` as `/proc/self/mountinfo` and as `/proc/self/cgroup`, and asks each mount for our cgroup.
/// Returns the mounts of cgroup v2: the cgroup that is shown, and where.
#[must_use]
pub fn cgroups(bytes: &[u8]) -> Vec<(PathBuf, PathBuf)> {
    crate::cgroup::read_foreign(bytes).into_iter().map(|mount| (mount.root, mount.at)).collect()
}

/// Reads `bytes` as what comes out of a netlink socket at once: a dump's part, an acknowledgement, an error.
pub fn netlink(bytes: &[u8]) {
    crate::netlink::read_foreign(bytes);
}

/// Reads `bytes` as a message of criu's.
pub fn criu(bytes: &[u8]) {
    crate::criu::read_foreign(bytes);
}

/// Reads `bytes` as what comes out of a message bus: message after message, and the arguments of each.
pub fn bus(bytes: &[u8]) {
    crate::cgroup::read_foreign_bus(bytes);
}
