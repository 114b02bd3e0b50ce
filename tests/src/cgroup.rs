// SPDX-License-Identifier: Apache-2.0
//! The cgroup v2 tree of this machine, and subtrees delegated to a test's user.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::leaks;
use crate::world::World;

/// Where cgroup v2 is mounted: `/sys/fs/cgroup`, or below it on a hybrid machine.
pub(crate) fn root() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let line = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
    line.split(' ').nth(4).map(PathBuf::from)
}

/// A cgroup made for one test, handed to its user as systemd hands over a delegated unit.
#[derive(Debug)]
pub struct Cgroup {
    dir: PathBuf,
}

impl Cgroup {
    /// A delegated subtree with a leaf for the caller in it, or why there can be none.
    pub fn delegated(world: &World) -> Result<Cgroup, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("only a suite that runs as root can delegate a cgroup".into());
        }
        let dir = root().ok_or("no cgroup v2 here")?.join(world.token());
        let leaf = dir.join("caller");
        fs::create_dir_all(&leaf).map_err(|e| format!("mkdir {}: {e}", leaf.display()))?;
        for folder in [&dir, &leaf] {
            world.give(folder);
            for file in ["cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
                world.give(&folder.join(file));
            }
        }
        Ok(Cgroup { dir: leaf })
    }

    /// The folder of the caller's leaf.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// The delegated folder: what the test's user may fill.
    pub fn subtree(&self) -> &Path {
        self.dir.parent().expect("the leaf lies in the subtree")
    }

    /// The controllers that may be used in the subtree.
    pub fn controllers(&self) -> Vec<String> {
        let list = fs::read_to_string(self.subtree().join("cgroup.controllers")).unwrap_or_default();
        list.split_whitespace().map(str::to_owned).collect()
    }
}

/// The cgroups named by a test's token, and those below them, deepest last.
pub(crate) fn containing(word: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    if let Some(root) = root() {
        collect(&root, word, false, &mut found);
    }
    found
}

fn collect(dir: &Path, word: &str, inside: bool, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        let inside = inside || leaks::names(entry.file_name().as_bytes(), word.as_bytes());
        if inside {
            found.push(entry.path());
        }
        collect(&entry.path(), word, inside, found);
    }
}

/// Removes what [`containing`] finds. The processes in it have been killed before.
pub(crate) fn remove_all(word: &str) {
    for dir in containing(word).iter().rev() {
        crate::within(std::time::Duration::from_secs(20), || fs::remove_dir(dir).is_ok() || !dir.exists());
    }
}
