// SPDX-License-Identifier: Apache-2.0
//! The readers of what is not ours, as functions of bytes: for the fuzz targets, which have no other way to them.
//!
//! No part of the library's interface.

/// Reads `bytes` as `/proc/self/mountinfo` and as `/proc/self/cgroup`, and asks each mount for our cgroup.
pub fn cgroups(bytes: &[u8]) {
    crate::cgroup::read_foreign(bytes);
}
