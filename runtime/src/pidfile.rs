// SPDX-License-Identifier: Apache-2.0
//! `--pid-file`: the program's pid for whoever started us.

use crate::error::{Doing, Result};
use crate::journal::{Journal, Made};
use std::path::{Path, PathBuf};

/// Writes the pid, without a newline, and lets the file appear only when it is whole: others wait for it.
///
/// # Errors
/// Where the folder cannot be written.
pub(crate) fn write(path: &Path, pid: i32, journal: &mut Journal) -> Result<()> {
    let whole = std::path::absolute(path).doing(|| format!("cannot find the folder of {}", path.display()))?;
    journal.will_make(&Made::PidFile(whole))?;
    write_whole(path, pid)
}

/// The same for a process that no journal lists.
///
/// # Errors
/// Where the folder cannot be written.
pub(crate) fn write_whole(path: &Path, pid: i32) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let aside: PathBuf = path.with_file_name(name);
    std::fs::write(&aside, pid.to_string()).doing(|| format!("cannot write the pid file {}", path.display()))?;
    std::fs::rename(&aside, path).doing(|| format!("cannot write the pid file {}", path.display()))
}

/// Removes the file of a process that did not come to be in the end.
///
/// # Errors
/// Where it is there and stays.
pub fn take_back(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).doing(|| format!("cannot remove the pid file {}", path.display()))
        }
        _ => Ok(()),
    }
}
