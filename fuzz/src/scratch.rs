// SPDX-License-Identifier: Apache-2.0
//! A folder in memory for targets whose subject reads files, empty at every call.

use std::path::PathBuf;

pub(crate) fn empty(name: &str) -> PathBuf {
    let folder = PathBuf::from(format!("/dev/shm/kelp-fuzz-{name}-{}", std::process::id()));
    // There is none at the first call; whatever else is wrong shows when it is made.
    drop(std::fs::remove_dir_all(&folder));
    std::fs::create_dir_all(&folder).expect("a folder in /dev/shm");
    folder
}
