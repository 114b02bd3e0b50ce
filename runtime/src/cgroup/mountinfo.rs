// SPDX-License-Identifier: Apache-2.0
//! Where cgroup v2 is mounted and where we are in it: `/proc/self/mountinfo` and `/proc/self/cgroup`, parsed.
//!
//! Runs at the beginning of every create: one pass over the bytes, and only the few lines of cgroup mounts are decoded.
//! Kernel: proc_pid_mountinfo(5), cgroups(7).

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use super::Controllers;

/// One mount of cgroup v2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where it is mounted.
    pub at: PathBuf,
    /// Which cgroup it shows there, as seen from our cgroup namespace: `/`, `/a/b` (a part was bound), `/..` (more than
    /// our namespace).
    pub root: PathBuf,
}

impl Mount {
    /// The directory of the cgroup `own` (a path of `/proc/self/cgroup`), if this mount shows it.
    #[must_use]
    pub fn directory_of(&self, own: &Path) -> Option<PathBuf> {
        let inside = own.strip_prefix(&self.root).ok()?;
        if inside.components().any(|part| part == Component::ParentDir) {
            return None;
        }
        // join("") would add a slash.
        Some(if inside.as_os_str().is_empty() { self.at.clone() } else { self.at.join(inside) })
    }
}

/// What mountinfo says of cgroups.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct CgroupMounts {
    /// Mounts of cgroup v2, oldest first.
    pub(super) v2: Vec<Mount>,
    /// Controllers that a v1 hierarchy holds, so that v2 cannot have them.
    pub(super) v1: Controllers,
}

/// Reads `/proc/self/mountinfo`'s bytes.
pub(super) fn parse_mountinfo(bytes: &[u8]) -> CgroupMounts {
    let mut found = CgroupMounts::default();
    for line in bytes.split(|byte| *byte == b'\n') {
        // "36 35 98:0 /root /at options [optional …] - type source super-options": the optional fields end in " - ".
        let Some(dash) = line.windows(9).position(|window| window == b" - cgroup") else { continue };
        let (place, kind) = (&line[..dash], &line[dash + 3..]);
        let mut kind = kind.split(|byte| *byte == b' ');
        match kind.next() {
            Some(b"cgroup2") => found.v2.extend(parse_place(place)),
            Some(b"cgroup") => found.v1 |= Controllers::parse(kind.next_back().unwrap_or_default()),
            _ => {}
        }
    }
    found
}

/// The root and mount point of a line, its fourth and fifth fields.
fn parse_place(fields: &[u8]) -> Option<Mount> {
    let mut fields = fields.split(|byte| *byte == b' ').skip(3);
    Some(Mount { root: unescape(fields.next()?), at: unescape(fields.next()?) })
}

/// Undoes the kernel's `\040` for blanks, tabs, newlines and backslashes in paths.
pub(crate) fn unescape(field: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        match (first, octal(after)) {
            (b'\\', Some(byte)) => {
                path.push(byte);
                rest = &after[3..];
            }
            _ => {
                path.push(first);
                rest = after;
            }
        }
    }
    PathBuf::from(OsString::from_vec(path))
}

/// The byte that three octal digits at the front of `digits` stand for.
fn octal(digits: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(digits.get(..3)?).ok()?;
    u8::from_str_radix(digits, 8).ok()
}

/// Our own cgroup v2 path in `/proc/self/cgroup`'s bytes: the line `0::/path`.
pub(super) fn parse_own(bytes: &[u8]) -> Option<PathBuf> {
    let path = bytes.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::"))?;
    // We are in a removed cgroup: no directory shows it.
    if path.ends_with(b" (deleted)") {
        return None;
    }
    Some(PathBuf::from(std::ffi::OsStr::from_bytes(path)))
}

/// The mounts in the order in which to try them: those that show our own cgroup first, and whole hierarchies before
/// bound parts. Ties keep the order of mountinfo.
pub(super) fn by_preference(mut mounts: Vec<Mount>, own: Option<&Path>) -> Vec<Mount> {
    mounts.sort_by_key(|mount| {
        let shows_us = own.is_some_and(|own| mount.directory_of(own).is_some());
        (!shows_us, mount.root != Path::new("/"))
    });
    mounts
}

/// For the fuzz targets: both files, and the question that every create asks.
pub(crate) fn read_foreign(bytes: &[u8]) -> Vec<Mount> {
    let own = parse_own(bytes);
    let mounts = by_preference(parse_mountinfo(bytes).v2, own.as_deref());
    for mount in &mounts {
        drop(own.as_deref().and_then(|own| mount.directory_of(own)));
    }
    mounts
}

#[cfg(test)]
#[path = "mountinfo_tests.rs"]
mod tests;
