// SPDX-License-Identifier: Apache-2.0
//! Whether the kernel killed something in the container for want of memory.
//!
//! Runs in kelp-shim: `memory.events` is opened when the container is created and read when it has ended, before its
//! cgroup goes. Where the memory controller is not in cgroup v2, or the container has no cgroup of its own, nothing
//! is known and the answer is no.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// An eye on one container's cgroup.
#[derive(Debug)]
pub(crate) struct OomWatch(File);

impl OomWatch {
    /// Opens the `memory.events` of the cgroup that this process, the container's init, is in.
    pub(crate) fn new(pid: i32) -> Option<OomWatch> {
        let theirs = unified(&fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?)?;
        let ours = unified(&fs::read_to_string("/proc/self/cgroup").ok()?)?;
        if theirs == ours {
            return None; // what happens there may not be the container's
        }
        let mount = mount_point(&fs::read_to_string("/proc/self/mountinfo").ok()?)?;
        let folder = mount.join(theirs.strip_prefix("/").ok()?);
        File::open(folder.join("memory.events")).ok().map(OomWatch)
    }

    /// Whether its `oom_kill` counter has moved.
    pub(crate) fn killed(&self) -> bool {
        let mut buffer = [0; 512];
        let length = self.0.read_at(&mut buffer, 0).unwrap_or(0);
        let text = String::from_utf8_lossy(&buffer[..length]);
        text.lines().any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count.trim() != "0"))
    }
}

/// The path in the unified hierarchy: the line `0::/path`.
fn unified(cgroups: &str) -> Option<PathBuf> {
    cgroups.lines().find_map(|line| line.strip_prefix("0::")).map(PathBuf::from)
}

/// Where the whole of cgroup2 is mounted. Fields: id, parent, device, root, mount point, options, optional fields, `-`,
/// type.
fn mount_point(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        (kind.starts_with("cgroup2 ") && root == "/").then(|| Path::new(point).to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unified_mount_is_found_among_the_old_ones() {
        let mountinfo = "24 1 0:22 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                         25 1 0:23 /sub /mnt rw - cgroup2 cgroup2 rw\n\
                         26 1 0:23 / /sys/fs/cgroup/unified rw shared:4 - cgroup2 cgroup2 rw\n";
        assert_eq!(mount_point(mountinfo), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(unified("4:memory:/a\n0::/user.slice/x\n"), Some("/user.slice/x".into()));
    }
}
