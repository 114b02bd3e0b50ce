// SPDX-License-Identifier: Apache-2.0
//! Whether the kernel killed something in the container for want of memory.
//!
//! Runs in kelp-shim: `memory.events` is opened when the container is created, read whenever the kernel says that it
//! has changed, and once more as soon as init has ended. That cannot wait for its last output: the cgroup of a scope is
//! removed by systemd when the last process has gone, and what was counted in it goes too. Where the memory controller
//! is not in cgroup v2, or the container has no cgroup of its own, nothing is known and the answer is no.

use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// An eye on one container's cgroup.
#[derive(Debug, Default)]
pub(crate) struct OomWatch {
    /// `memory.events`, while there may be news in it.
    events: Option<File>,
    /// Whether its `oom_kill` counter has moved.
    pub(crate) killed: bool,
}

impl OomWatch {
    /// Watches the cgroup that this process, the container's init, is in.
    pub(crate) fn new(pid: i32) -> OomWatch {
        let mut watch = OomWatch { events: open(pid), killed: false };
        watch.look(); // poll tells of changes since the last read
        watch
    }

    /// What becomes ready by `POLLPRI` when the counters have moved (cgroup-v2.rst, "memory.events").
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.events.as_ref().map(File::as_fd)
    }

    /// Reads the counters. There is nothing to watch any more once something was killed or the cgroup has gone.
    pub(crate) fn look(&mut self) {
        let Some(events) = &self.events else { return };
        let mut buffer = [0; 512];
        let read = events.read_at(&mut buffer, 0);
        self.killed = read.as_ref().is_ok_and(|length| has_killed(&String::from_utf8_lossy(&buffer[..*length])));
        if self.killed || read.is_err() {
            self.events = None;
        }
    }
}

/// Opens the `memory.events` of the cgroup that this process is in.
fn open(pid: i32) -> Option<File> {
    let theirs = unified(&fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?)?;
    let ours = unified(&fs::read_to_string("/proc/self/cgroup").ok()?)?;
    if theirs == ours {
        return None; // what happens there may not be the container's
    }
    let mount = mount_point(&fs::read_to_string("/proc/self/mountinfo").ok()?)?;
    File::open(mount.join(theirs.strip_prefix("/").ok()?).join("memory.events")).ok()
}

/// Whether the line `oom_kill N` of `memory.events` counts anything.
fn has_killed(events: &str) -> bool {
    events.lines().any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count.trim() != "0"))
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
    fn only_kills_count() {
        assert!(!has_killed("low 0\nhigh 4\nmax 12\noom 3\noom_kill 0\noom_group_kill 0\n"));
        assert!(has_killed("low 0\nhigh 4\nmax 12\noom 3\noom_kill 1\noom_group_kill 0\n"));
    }

    #[test]
    fn what_was_killed_is_remembered_when_the_cgroup_has_gone() {
        let folder = std::env::temp_dir().join(format!("kelp-oom-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let path = folder.join("memory.events");
        fs::write(&path, "oom_kill 0\n").unwrap();
        let mut watch = OomWatch { events: Some(File::open(&path).unwrap()), killed: false };
        watch.look();
        assert!(!watch.killed && watch.fd().is_some());
        fs::write(&path, "oom_kill 2\n").unwrap();
        watch.look();
        fs::write(&path, "").unwrap();
        watch.look();
        assert!(watch.killed && watch.fd().is_none());
        // A folder is a file that cannot be read, as that of a cgroup that has gone is.
        let mut gone = OomWatch { events: Some(File::open(&folder).unwrap()), killed: false };
        gone.look();
        assert!(!gone.killed && gone.fd().is_none());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_unified_mount_is_found_among_the_old_ones() {
        let mountinfo = "24 1 0:22 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                         25 1 0:23 /sub /mnt rw - cgroup2 cgroup2 rw\n\
                         26 1 0:23 / /sys/fs/cgroup/unified rw shared:4 - cgroup2 cgroup2 rw\n";
        assert_eq!(mount_point(mountinfo), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(unified("4:memory:/a\n0::/user.slice/x\n"), Some("/user.slice/x".into()));
    }
}
