// SPDX-License-Identifier: Apache-2.0
//! Finding and starting the system's helper programs.

use crate::{Error, Kind, Result};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

/// A system program that carries packets.
pub(crate) struct Program {
    /// What it is called.
    pub(crate) name: &'static str,
    /// Debian's package, which most distributions name alike.
    pub(crate) package: &'static str,
}

impl Program {
    /// Where `PATH` has it.
    pub(crate) fn find(&self) -> Result<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut candidates = std::env::split_paths(&path).map(|folder| folder.join(self.name));
        candidates.find(|file| is_executable(file)).ok_or_else(|| {
            Error::new(Kind::ProgramNotFound, format!("start {}", self.name), format!("{} is not installed", self.name))
                .hint(format!("as root: apt install {}; or do without: --network none", self.package))
        })
    }

    /// Starts it.
    pub(crate) fn spawn(&self, command: &mut Command) -> Result<Child> {
        command
            .spawn()
            .map_err(|error| Error::new(Kind::Other, format!("start {}", command.get_program().display()), error))
    }
}

fn is_executable(file: &Path) -> bool {
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Whether this user may open the kernel's tunnel device, which both helpers need for the container's interface.
pub(crate) fn tunnel_is_usable() -> Result<()> {
    let opened = OpenOptions::new().read(true).write(true).open("/dev/net/tun");
    opened.map(drop).map_err(|error| tunnel_error(&error))
}

/// The error for a tunnel device that cannot be opened.
pub(crate) fn tunnel_error(error: &io::Error) -> Error {
    let doing = "open /dev/net/tun for the container's network";
    match error.kind() {
        io::ErrorKind::PermissionDenied => Error::new(Kind::Permission, doing, error)
            .hint("as root: chmod 0666 /dev/net/tun (the kernel's own default); or do without: --network none"),
        _ => Error::new(Kind::Unsupported, doing, error).hint(
            "as root: modprobe tun; in a container, pass it --device /dev/net/tun; or do without: --network none",
        ),
    }
}

/// A helper's log file, empty and readable by its owner alone.
///
/// A file and not a pipe: the helper outlives us, and would be killed for writing to a pipe that nobody reads.
pub(crate) fn new_log(path: &Path) -> Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| Error::new(Kind::Other, format!("write {}", path.display()), error))
}

/// What the helper wrote.
pub(crate) fn read_log(path: &Path) -> String {
    std::fs::read(path).map_or_else(|error| error.to_string(), |text| String::from_utf8_lossy(&text).into_owned())
}
