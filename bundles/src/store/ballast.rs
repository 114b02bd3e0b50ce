// SPDX-License-Identifier: Apache-2.0
//! A file that takes a little space for nothing, so that there is some when the disk is full and an image is to go:
//! index.json cannot become shorter without being written anew.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use kelp_sys::rustix::fs::{FallocateFlags, fallocate};
use kelp_sys::rustix::io::Errno;

use super::{Store, forget_file, replace_file};
use crate::error::{Doing, Kind, Result};

/// What a folder's entries and the file system itself may need beside the index.
const LEAST: u64 = 64 << 10;

impl Store {
    /// Writes index.json; on a full disk, in the place of the ballast.
    pub(super) fn write_with_ballast(&self, text: &[u8]) -> Result<()> {
        let index = self.index_file();
        match replace_file(&index, text) {
            Err(error) if error.kind() == Kind::Full => {
                forget_file(&self.ballast());
                replace_file(&index, text)
            }
            Err(error) => Err(error),
            Ok(()) => self.load_ballast(),
        }
    }

    /// Takes the space for the next time. Where there is none any more, or none can be reserved, a full disk may keep the
    /// index from being written: an error then, and nothing lost.
    pub(super) fn load_ballast(&self) -> Result<()> {
        let path = self.ballast();
        let index = fs::metadata(self.index_file()).map_or(0, |m| m.len());
        let wanted = LEAST.max((index * 2).next_power_of_two());
        if fs::metadata(&path).is_ok_and(|m| m.len() >= wanted) {
            return Ok(());
        }
        let doing = || format!("reserving space in {}", path.display());
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).doing(doing)?;
        match fallocate(&file, FallocateFlags::empty(), 0, wanted) {
            Ok(()) => Ok(()),
            Err(Errno::NOSPC | Errno::DQUOT | Errno::OPNOTSUPP | Errno::NOSYS) => {
                forget_file(&path);
                Ok(())
            }
            other => other.doing(doing),
        }
    }

    fn ballast(&self) -> PathBuf {
        self.images().join("ballast")
    }
}
