// SPDX-License-Identifier: Apache-2.0
//! A folder in memory for targets whose subject reads files, empty at every call and gone after it.

use std::ops::Deref;
use std::path::{Path, PathBuf};

/// Until it is dropped.
pub(crate) struct Scratch(PathBuf);

pub(crate) fn empty(name: &str) -> Scratch {
    let folder = PathBuf::from(format!("/dev/shm/kelp-fuzz-{name}-{}", std::process::id()));
    // There is one only where an earlier process of this number was killed.
    drop(std::fs::remove_dir_all(&folder));
    std::fs::create_dir_all(&folder).expect("a folder in /dev/shm");
    Scratch(folder)
}

impl Deref for Scratch {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What a crash leaves may be in no state to be removed; the crash is what matters.
        drop(std::fs::remove_dir_all(&self.0));
    }
}
