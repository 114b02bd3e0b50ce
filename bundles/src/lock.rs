// SPDX-License-Identifier: Apache-2.0
//! flock(2) on files of the store. A lock dies with its holder, however that one ends.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use kelp_sys::rustix::fs::{FlockOperation, flock};
use kelp_sys::rustix::io::Errno;

use crate::error::{Doing, Result};

/// How a lock is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// With others who share.
    Shared,
    /// Alone.
    Alone,
}

/// A lock that is held until this is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for the lock on `path`, a file that is made where it is missing.
    pub(crate) fn wait(path: &Path, mode: Mode) -> Result<Self> {
        loop {
            let file = open(path).doing(|| format!("opening the lock {}", path.display()))?;
            retry(&file, mode, Wait::Yes).doing(|| format!("locking {}", path.display()))?;
            if is_still_at(&file, path) {
                return Ok(Self { _file: file });
            }
        }
    }

    /// The lock on `path` alone, or `None` where somebody holds it or nothing is there.
    pub(crate) fn try_existing(path: &Path) -> Result<Option<Self>> {
        match File::open(path) {
            Ok(file) => Self::try_file(file, path),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e).doing(|| format!("opening the lock {}", path.display())),
        }
    }

    /// The lock on `path` alone, or `None` where somebody holds it.
    pub(crate) fn try_alone(path: &Path) -> Result<Option<Self>> {
        let file = open(path).doing(|| format!("opening the lock {}", path.display()))?;
        Self::try_file(file, path)
    }

    fn try_file(file: File, path: &Path) -> Result<Option<Self>> {
        match retry(&file, Mode::Alone, Wait::No) {
            Ok(()) => Ok(is_still_at(&file, path).then_some(Self { _file: file })),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(e) => Err(e).doing(|| format!("locking {}", path.display())),
        }
    }
}

#[derive(PartialEq, Eq)]
enum Wait {
    Yes,
    No,
}

/// A folder is locked as it is; a missing file is made.
fn open(path: &Path) -> std::io::Result<File> {
    if path.is_dir() {
        return File::open(path);
    }
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn retry(file: &File, mode: Mode, wait: Wait) -> Result<(), Errno> {
    let operation = match (mode, wait) {
        (Mode::Shared, Wait::Yes) => FlockOperation::LockShared,
        (Mode::Shared, Wait::No) => FlockOperation::NonBlockingLockShared,
        (Mode::Alone, Wait::Yes) => FlockOperation::LockExclusive,
        (Mode::Alone, Wait::No) => FlockOperation::NonBlockingLockExclusive,
    };
    loop {
        match flock(file, operation) {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

/// Whether the file we locked is the one others will open: its holder may have removed it while we waited.
fn is_still_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(theirs)) => (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_whose_file_was_replaced_is_not_held() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = Lock::wait(&path, Mode::Alone).unwrap();
        assert!(Lock::try_alone(&path).unwrap().is_none());
        fs::remove_file(&path).unwrap();
        let second = Lock::wait(&path, Mode::Alone).unwrap();
        drop((first, second));
        assert!(Lock::try_alone(&path).unwrap().is_some());
    }
}
