// SPDX-License-Identifier: Apache-2.0
//! Leaving the command that started us. See fork(2), setsid(2), credentials(7).

use rustix::io::Errno;

/// Which process we are after [`fork`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forked {
    /// The new one.
    Child,
    /// The one that called.
    Parent {
        /// The new one's pid.
        pid: i32,
    },
}

/// fork(2), for a process with one thread: the child may do all that the parent might.
///
/// # Errors
/// `EBUSY`: this process has threads, which the child would not have.
pub fn fork() -> Result<Forked, Errno> {
    // SAFETY: with CLONE_THREAD alone unshare(2) changes nothing: it only refuses where there are other threads.
    if unsafe { libc::unshare(libc::CLONE_THREAD) } != 0 {
        return Err(Errno::BUSY);
    }
    // SAFETY: there is one thread, so that no lock is held by another and the child may do all that the parent might.
    match unsafe { libc::fork() } {
        -1 => {
            // SAFETY: this thread's errno.
            Err(Errno::from_raw_os_error(unsafe { *libc::__errno_location() }))
        }
        0 => Ok(Forked::Child),
        pid => Ok(Forked::Parent { pid }),
    }
}

/// Goes on in a child that leads a session of its own: `fork(); _exit(0) in the parent; setsid()`.
///
/// The caller's parent reaps the first process at once and never has a zombie of us; we are adopted by its subreaper.
///
/// # Errors
/// `EBUSY`: this process has threads, which the child would not have.
pub fn into_own_session() -> Result<(), Errno> {
    match fork()? {
        Forked::Child => rustix::process::setsid().map(drop),
        // SAFETY: _exit runs nothing of ours: what the child inherited must not be flushed or undone twice.
        Forked::Parent { .. } => unsafe { libc::_exit(0) },
    }
}
