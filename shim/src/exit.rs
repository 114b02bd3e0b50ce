// SPDX-License-Identifier: Apache-2.0
//! `containers/<id>/exit.json`: how a container ended, written by the holder before anyone can be told.

use crate::error::{Doing, Error, Kind};
use crate::protocol::Status;
use crate::time::Timestamp;
use kelp_sys::rustix;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;

/// The record. Its presence means: this container has ended (and, unless it restarts, is over).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// What `kelp run` exits with: the program's status, 128 + the signal, or 125 to 127 if it never ran.
    pub code: i32,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// The kernel killed something in it for want of memory.
    pub oom: bool,
    /// Somebody asked for it with [`Request::Stop`](crate::protocol::Request::Stop): a reboot does not start it again if
    /// its policy is `unless-stopped`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopped: bool,
    /// When, in RFC 3339.
    pub finished: String,
    /// Why the program never ran, if it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Exit {
    /// The record of a program that ended now.
    pub fn now(status: Status, error: Option<String>) -> Exit {
        let Status { code, signal, oom } = status;
        Exit { code, signal, oom, stopped: false, finished: Timestamp::now().to_string(), error }
    }

    /// The same without time and reason.
    pub fn status(&self) -> Status {
        Status { code: self.code, signal: self.signal, oom: self.oom }
    }

    /// How the container in this folder ended; `None` if it has not.
    pub fn read(container: &Path) -> Result<Option<Exit>, Error> {
        let path = container.join("exit.json");
        let doing = || format!("cannot read {}", path.display());
        match fs::read(&path) {
            Ok(json) => serde_json::from_slice(&json).map(Some).doing(doing).map_err(|e| e.kind(Kind::BadInput)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).doing(doing),
        }
    }

    /// Takes the space of a record before there is one: a disk that is full at the end does not lose how it ended.
    ///
    /// # Errors
    /// It is full now.
    pub fn reserve(container: &Path) -> Result<(), Error> {
        let path = container.join(NEW);
        let doing = || format!("cannot reserve {}", path.display());
        let file = open(&path).doing(doing)?;
        match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, RESERVED) {
            // The file system cannot, or this kernel's filter forbids it: zeros take space as well.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => {
                (&file).write_all(&[0; RESERVED as usize]).doing(doing)
            }
            reserved => reserved.doing(doing),
        }
    }

    /// The container runs again: the space of its last record is that of the next one.
    ///
    /// # Errors
    /// There is none, or it cannot be renamed.
    pub fn withdraw(container: &Path) -> Result<(), Error> {
        fs::rename(container.join("exit.json"), container.join(NEW)).doing(|| "cannot take back exit.json")
    }

    /// Publishes the record: whoever sees the file sees all of it. With `durable`, a power cut cannot undo it.
    pub fn write(&self, container: &Path, durable: bool) -> Result<(), Error> {
        let path = container.join("exit.json");
        let doing = || format!("cannot write {}", path.display());
        let written = container.join(NEW);
        let mut file = open(&written).doing(doing)?;
        let mut json = serde_json::to_vec(self).doing(doing)?;
        json.push(b'\n');
        // Over what is reserved; the rest of that goes when the record is whole.
        file.write_all(&json).and_then(|()| file.set_len(json.len() as u64)).doing(doing)?;
        if durable {
            rustix::fs::fdatasync(&file).doing(doing)?;
        }
        fs::rename(&written, &path).doing(doing)?;
        if durable {
            File::open(container).and_then(|folder| folder.sync_all()).doing(doing)?;
        }
        Ok(())
    }
}

/// The record while it is written, and its space before that.
const NEW: &str = ".exit.json.new";
/// As much as a record with the reason of a failure takes: one block.
const RESERVED: u64 = 4096;

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_reserved_is_no_record_and_leaves_nothing_in_one() {
        let folder = tempfile::tempdir().unwrap();
        Exit::reserve(folder.path()).unwrap();
        assert_eq!(Exit::read(folder.path()), Ok(None));
        let exit = Exit::now(Status { code: 5, signal: None, oom: false }, None);
        exit.write(folder.path(), false).unwrap();
        assert_eq!(Exit::read(folder.path()), Ok(Some(exit.clone())));
        Exit::withdraw(folder.path()).unwrap();
        assert_eq!(Exit::read(folder.path()), Ok(None));
        Exit { error: Some("longer than before".to_owned()), ..exit }.write(folder.path(), false).unwrap();
        assert!(Exit::read(folder.path()).unwrap().is_some_and(|exit| exit.error.is_some()));
    }

    #[test]
    fn a_record_reads_back_and_replaces_the_last_one() {
        let folder = std::env::temp_dir().join(format!("kelp-exit-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        assert_eq!(Exit::read(&folder), Ok(None));
        for code in [0, 137] {
            let exit = Exit::now(Status { code, signal: Some(9), oom: true }, None);
            exit.write(&folder, true).unwrap();
            assert_eq!(Exit::read(&folder), Ok(Some(exit)));
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
