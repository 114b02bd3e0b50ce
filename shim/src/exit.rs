// SPDX-License-Identifier: Apache-2.0
//! `containers/<id>/exit.json`: how a container ended, written by the holder before anyone can be told.

use crate::error::{Doing, Error, Kind};
use crate::protocol::Status;
use crate::time::Timestamp;
use kelp_sys::rustix;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
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

    /// Publishes the record: whoever sees the file sees all of it. With `durable`, a power cut cannot undo it.
    pub fn write(&self, container: &Path, durable: bool) -> Result<(), Error> {
        let path = container.join("exit.json");
        let doing = || format!("cannot write {}", path.display());
        let written = container.join(".exit.json.new");
        let mut file = File::create(&written).doing(doing)?;
        let mut json = serde_json::to_vec(self).doing(doing)?;
        json.push(b'\n');
        file.write_all(&json).doing(doing)?;
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

#[cfg(test)]
mod tests {
    use super::*;

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
