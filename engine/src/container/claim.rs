// SPDX-License-Identifier: Apache-2.0
//! Who works on a container's folder right now: a lock on its file `claim`, gone with the process that holds it.
//!
//! The maker holds it until the container is whole, the remover until it is gone. (`lock` is the shim's: it lives.)

use crate::error::{Doing, Result};
use kelp_sys::rustix::fs::{FlockOperation, flock};
use kelp_sys::rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::path::Path;

/// The lock, held.
#[derive(Debug)]
pub(crate) struct Claim {
    _file: File,
}

/// What trying to take it gave.
#[derive(Debug)]
pub(crate) enum Tried {
    /// It is ours now.
    Taken(Claim),
    /// There is no folder to claim.
    NoFolder,
    /// Somebody else works there.
    Busy,
}

impl Tried {
    /// Nobody worked there.
    pub(crate) fn is_some_free(self) -> bool {
        !matches!(self, Tried::Busy)
    }
}

impl Claim {
    /// Takes the lock of a folder that was just made.
    pub(crate) fn make(folder: &Path) -> Result<Claim> {
        let doing = || format!("cannot claim {}", folder.display());
        let file = File::create(folder.join("claim")).doing(doing)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).doing(doing)?;
        Ok(Claim { _file: file })
    }

    /// Takes the lock of an existing folder, unless somebody has it.
    pub(crate) fn try_take(folder: &Path) -> Result<Tried> {
        let doing = || format!("cannot claim {}", folder.display());
        let path = folder.join("claim");
        let file = match OpenOptions::new().write(true).create(true).truncate(false).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Tried::NoFolder),
            Err(error) => return Err(error).doing(doing),
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Tried::Taken(Claim { _file: file })),
            Err(Errno::WOULDBLOCK) => Ok(Tried::Busy),
            Err(errno) => Err(errno).doing(doing),
        }
    }
}
