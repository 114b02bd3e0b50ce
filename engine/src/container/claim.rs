// SPDX-License-Identifier: Apache-2.0
//! Who works on a container's folder right now: a lock on its file `claim`, gone with the process that holds it.
//!
//! The maker holds it until the container is whole, the remover until it is gone. (`lock` is the shim's: it lives.)

use super::{record, remove};
use crate::error::{Doing, Result};
use kelp_sys::rustix::fs::{FlockOperation, flock};
use kelp_sys::rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

/// The lock, held.
#[derive(Debug)]
pub struct Claim {
    _file: File,
}

/// What trying to take it gave.
#[derive(Debug)]
pub enum Tried {
    /// It is ours now.
    Taken(Claim),
    /// There is nothing to claim.
    NoFolder,
    /// Somebody else works there.
    Busy,
}

impl Tried {
    /// Nobody worked there.
    pub fn is_some_free(&self) -> bool {
        !matches!(self, Tried::Busy)
    }
}

/// How often somebody else's claim is looked at.
const PAUSE: Duration = Duration::from_millis(10);

impl Claim {
    /// Takes the lock of a folder that was just made.
    pub fn make(folder: &Path) -> std::io::Result<Claim> {
        let file = File::create(folder.join(FILE))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Claim { _file: file }),
            Err(errno) => Err(std::io::Error::from_raw_os_error(errno.raw_os_error())),
        }
    }

    /// Takes the lock of a container's folder, unless somebody has it.
    pub fn try_take(folder: &Path) -> Result<Tried> {
        let doing = || format!("cannot claim {}", folder.display());
        let path = folder.join(FILE);
        let file = match OpenOptions::new().write(true).open(&path) {
            Ok(file) => file,
            // Only damage takes the file from a container: whoever removes one takes the whole folder away first.
            Err(error) if error.kind() == ErrorKind::NotFound && is_whole(folder) => {
                OpenOptions::new().write(true).create(true).truncate(false).open(&path).doing(doing)?
            }
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Tried::NoFolder),
            Err(error) => return Err(error).doing(doing),
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            // Removed while we came: the lock is on a file that has no name any more.
            Ok(()) if !path.exists() => Ok(Tried::NoFolder),
            Ok(()) => Ok(Tried::Taken(Claim { _file: file })),
            Err(Errno::WOULDBLOCK) => Ok(Tried::Busy),
            Err(errno) => Err(errno).doing(doing),
        }
    }

    /// Takes the lock, waiting for whoever has it: nobody keeps it for long.
    pub fn take(folder: &Path, patience: Duration) -> Result<Tried> {
        let start = Instant::now();
        loop {
            match Self::try_take(folder)? {
                Tried::Busy if start.elapsed() < patience => std::thread::sleep(PAUSE),
                tried => return Ok(tried),
            }
        }
    }
}

/// Whether it is a container, and nobody is removing it: a file more would be in his way.
fn is_whole(folder: &Path) -> bool {
    record::is_container(folder) && !remove::is_gone(folder)
}

const FILE: &str = "claim";

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn what_is_being_removed_gets_no_file_more() {
        let root = std::env::temp_dir().join(format!("kelp-claim-{}", std::process::id()));
        for (name, is_claimed) in [("whole", true), (".gone-0123", false)] {
            let container = root.join(name);
            std::fs::create_dir_all(&container).unwrap();
            std::fs::write(container.join("container.json"), "{}").unwrap();
            let tried = Claim::try_take(&container).unwrap();
            assert_eq!(matches!(tried, Tried::Taken(_)), is_claimed, "{name}: {tried:?}");
            assert_eq!(container.join(FILE).exists(), is_claimed, "{name}");
        }
        std::fs::remove_dir_all(root).unwrap();
    }
}
