// SPDX-License-Identifier: Apache-2.0
//! What was made for a container, written down before it is made.
//!
//! A failed create, and `delete`, read the journal backwards and unmake each thing; every undo that fails is reported, and the
//! others are still done. A runtime that was killed leaves a journal with which the next `delete` can clean up.

use crate::error::{Doing, Error, Result};
use kelp_sys::rustix::fd::OwnedFd;
use kelp_sys::rustix::fs::{Mode, OFlags, openat};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// One thing that outlives the runtime.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Made {
    /// The container's directory in the cgroup file system.
    Cgroup(PathBuf),
    /// A directory above it, which others may be using too by now.
    CgroupParent(PathBuf),
    /// A scope of systemd.
    Unit(crate::cgroup::Scope),
    /// The container's init.
    Init(crate::process::Identity),
    /// A class of service or monitoring group of resctrl.
    Resctrl(PathBuf),
    /// The file of `--pid-file`.
    PidFile(PathBuf),
}

/// The journal of one container: lines of JSON in its state directory.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    made: Vec<Made>,
}

/// The journal's file name.
pub(crate) const NAME: &str = "journal";

impl Journal {
    /// Begins the journal of the container whose state directory this is.
    ///
    /// # Errors
    /// Where the file cannot be made.
    pub fn begin(state: &OwnedFd, path: &Path) -> Result<Self> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::APPEND | OFlags::CLOEXEC;
        let file = openat(state, NAME, flags, Mode::from_raw_mode(0o600))
            .doing(|| format!("cannot open the journal in {}", path.display()))?;
        Ok(Self { file: file.into(), path: path.join(NAME), made: Vec::new() })
    }

    /// Writes down what is about to be made.
    ///
    /// # Errors
    /// Where the line cannot be written: then it must not be made.
    pub fn will_make(&mut self, made: &Made) -> Result<()> {
        let mut line = serde_json::to_vec(made)
            .map_err(|error| Error::new(format!("cannot write {}", self.path.display())).because(error))?;
        line.push(b'\n');
        self.file.write_all(&line).doing(|| format!("cannot write {}", self.path.display()))?;
        self.made.push(made.clone());
        Ok(())
    }

    /// All that was written down.
    #[must_use]
    pub fn into_made(self) -> Vec<Made> {
        self.made
    }

    /// What the journal in this state directory says was made, first things first. A last line cut short by a crash announces
    /// something that was not made any more. No journal: nothing. Other lines that cannot be understood are left out: what
    /// the others say must be unmade all the same.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn read(state: &Path) -> Result<Vec<Made>> {
        let path = state.join(NAME);
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.doing(|| format!("cannot read {}", path.display()))?,
        };
        Ok(text.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect())
    }
}
