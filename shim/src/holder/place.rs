// SPDX-License-Identifier: Apache-2.0
//! The holder's places on disk: the lock that says it lives, the socket where it is found, the file of its complaints.
//!
//! Runs in kelp-shim, before the container is created, and at its end.

use crate::complain;
use kelp_shim::{Error, Kind, Launch, socket_address};
use kelp_sys::rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use kelp_sys::rustix::io::Errno;
use kelp_sys::rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with};
use kelp_sys::rustix::stdio::dup2_stderr;
use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::Duration;

/// Clients that may wait to be accepted.
const BACKLOG: i32 = 16;

/// What the holder holds on disk while the container lives.
#[derive(Debug)]
pub(crate) struct Place {
    /// `<run>/<id>`.
    pub(crate) folder: PathBuf,
    /// Where clients come in.
    pub(crate) listener: OwnedFd,
    /// Held, not used: closing it is what tells others that we are gone.
    _lock: OwnedFd,
}

impl Place {
    /// Takes the lock, then opens the socket. Without the lock nothing is touched: it is another holder's.
    pub(crate) fn take(launch: &Launch) -> Result<Place, Error> {
        let lock = lock(launch)?;
        let folder = launch.run.join(&launch.id);
        let doing = |because: &dyn std::fmt::Display| {
            Error::new(format!("cannot open a socket in {}", folder.display()), because)
        };
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(|e| doing(&e))?;
        // Of a holder that was killed: we have the lock, so nobody listens there.
        match fs::remove_file(folder.join("shim.sock")) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(doing(&error)),
            _ => {}
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let listener = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).map_err(|e| doing(&e))?;
        let (address, _open) = socket_address(&folder).map_err(|e| doing(&e))?;
        bind(&listener, &address).map_err(|e| doing(&e))?;
        listen(&listener, BACKLOG).map_err(|e| doing(&e))?;
        Ok(Place { folder, listener, _lock: lock })
    }

    /// Nobody can find us any more: the socket and its folder go, and last the lock.
    pub(crate) fn leave(self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            complain(&format_args!("cannot remove {}: {error}", self.folder.display()));
        }
    }
}

/// An exclusive lock on `lock`. `is_held` of a client asks with a shared one for some microseconds, and `kelp rm` may
/// look too: a lock that is taken only for a moment is waited for.
fn lock(launch: &Launch) -> Result<OwnedFd, Error> {
    let path = launch.container.join("lock");
    let doing = format!("cannot lock {}", path.display());
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
    let lock = open(&path, flags, Mode::RUSR | Mode::WUSR).map_err(|errno| Error::new(&doing, errno))?;
    for _ in 0..100 {
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(lock),
            Err(Errno::WOULDBLOCK) => std::thread::sleep(Duration::from_millis(5)),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::new(&doing, errno)),
        }
    }
    Err(Error::new(format!("cannot hold container {}", launch.id), "another kelp-shim holds it")
        .hint("it is running already: kelp ps shows it")
        .kind(Kind::AlreadyExists))
}

/// From now on standard error is `shim.log`: our complaints, those of a panic, and those of the programs we run.
pub(crate) fn complain_to_shim_log(launch: &Launch) -> Result<(), Error> {
    let path = launch.container.join("shim.log");
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC;
    let opened = open(&path, flags, Mode::RUSR | Mode::WUSR);
    opened.and_then(dup2_stderr).map_err(|errno| {
        Error::new(format!("cannot write {}", path.display()), errno)
            .hint("the container's folder must exist and be ours")
    })
}
