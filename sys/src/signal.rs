// SPDX-License-Identifier: Apache-2.0
//! Signals as descriptors.

use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::io::Errno;

/// Blocks the signals and opens a descriptor that delivers them instead:
/// `sigprocmask(SIG_BLOCK, …)`, `signalfd4(-1, …, SFD_CLOEXEC | SFD_NONBLOCK)`. See signalfd(2).
pub fn open(signals: &[i32]) -> Result<OwnedFd, Errno> {
    let mut set = core::mem::MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: `set` is local and initialised by sigemptyset; sigaddset and sigprocmask get valid pointers; signalfd returns
    // a new descriptor that only we know.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for &signal in signals {
            if libc::sigaddset(set.as_mut_ptr(), signal) != 0 {
                return Err(Errno::INVAL);
            }
        }
        if libc::sigprocmask(libc::SIG_BLOCK, set.as_ptr(), core::ptr::null_mut()) != 0 {
            return Err(Errno::INVAL);
        }
        let fd = libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        if fd < 0 {
            return Err(Errno::from_raw_os_error(*libc::__errno_location()));
        }
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// The next signal's number and sender, or `None` where none waits.
pub fn next(fd: BorrowedFd<'_>) -> Result<Option<(i32, i32)>, Errno> {
    let mut info = core::mem::MaybeUninit::<libc::signalfd_siginfo>::zeroed();
    let size = size_of::<libc::signalfd_siginfo>();
    // SAFETY: the buffer is a signalfd_siginfo of the size given, all-zero being a valid value of it.
    let (read, info) = unsafe {
        let read = libc::read(fd.as_raw_fd(), info.as_mut_ptr().cast(), size);
        (read, info.assume_init())
    };
    if read < 0 {
        // SAFETY: this thread's errno.
        let errno = Errno::from_raw_os_error(unsafe { *libc::__errno_location() });
        return if errno == Errno::AGAIN { Ok(None) } else { Err(errno) };
    }
    if read as usize != size {
        return Ok(None);
    }
    Ok(Some((info.ssi_signo as i32, info.ssi_pid as i32)))
}
