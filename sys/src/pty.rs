// SPDX-License-Identifier: Apache-2.0
//! Pseudo-terminals. See pty(7).

use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};

/// A new master of the caller's devpts: `openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)`, unlocked.
pub fn open() -> Result<OwnedFd, Errno> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    unlockpt(&master)?;
    Ok(master)
}

/// Its other end, whatever is mounted at /dev/pts: `ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC)`.
/// Since Linux 4.13.
pub fn peer(master: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    ioctl_tiocgptpeer(master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
}
