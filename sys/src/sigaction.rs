// SPDX-License-Identifier: Apache-2.0
//! Signals caught and read as bytes from a pipe: for programs that may have threads, or that start others.
//!
//! Unlike [`crate::signal`], nothing is blocked and nothing ignored: a handler is reset to the default by execve,
//! so that a program started meanwhile finds its signals as it expects them. See sigaction(2), signal-safety(7).

use core::sync::atomic::{AtomicI32, Ordering};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

/// Where the handler writes; -1: nowhere.
static WRITER: AtomicI32 = AtomicI32::new(-1);
/// The kernel's `_NSIG`.
const SIGNALS: usize = 64;

/// Whether a signal that was ignored when we were started is caught too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// It stays ignored: `nohup` means it.
    Respect,
    /// It is caught: we know better.
    Catch,
}

/// The signals being caught. Dropping it puts everything back as it was.
#[derive(Debug)]
pub struct Caught {
    reader: OwnedFd,
    writer: OwnedFd,
    before: [Option<libc::sigaction>; SIGNALS + 1],
}

impl Caught {
    /// Catches these signals from now on, with `SA_RESTART`. One `Caught` can exist at a time.
    ///
    /// # Errors
    /// `EBUSY`: there is one already. `EINVAL`: a number that is no signal, or SIGKILL or SIGSTOP.
    pub fn new(signals: &[i32], ignored: Ignored) -> Result<Caught, Errno> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        if WRITER.compare_exchange(-1, writer.as_raw_fd(), Ordering::SeqCst, Ordering::SeqCst).is_err() {
            return Err(Errno::BUSY);
        }
        // From here on, dropping `caught` undoes what has been done.
        let mut caught = Caught { reader, writer, before: [None; SIGNALS + 1] };
        for &signal in signals {
            caught.catch(signal, ignored)?;
        }
        Ok(caught)
    }

    fn catch(&mut self, signal: i32, ignored: Ignored) -> Result<(), Errno> {
        let slot = usize::try_from(signal).ok().filter(|n| (1..=SIGNALS).contains(n)).ok_or(Errno::INVAL)?;
        // SAFETY: all-zero is a valid sigaction; the handler only calls what signal-safety(7) allows; both structures
        // are local.
        let before = unsafe {
            let mut before: libc::sigaction = core::mem::zeroed();
            if libc::sigaction(signal, core::ptr::null(), &raw mut before) != 0 {
                return Err(Errno::INVAL);
            }
            if ignored == Ignored::Respect && before.sa_sigaction == libc::SIG_IGN {
                return Ok(());
            }
            let mut action: libc::sigaction = core::mem::zeroed();
            action.sa_sigaction = note as *const () as libc::sighandler_t;
            action.sa_flags = libc::SA_RESTART;
            if libc::sigaction(signal, &raw const action, core::ptr::null_mut()) != 0 {
                return Err(Errno::INVAL);
            }
            before
        };
        self.before[slot].get_or_insert(before);
        Ok(())
    }

    /// Both ends of the pipe: for a child that closes all else and keeps the signals caught.
    #[must_use]
    pub fn fds(&self) -> [BorrowedFd<'_>; 2] {
        [self.reader.as_fd(), self.writer.as_fd()]
    }

    /// The next caught signal, or `None` when there is none. Several of one kind may have become one.
    pub fn take(&self) -> Option<i32> {
        let mut byte = [0u8];
        loop {
            return match rustix::io::read(&self.reader, &mut byte) {
                Ok(1) => Some(i32::from(byte[0])),
                Err(Errno::INTR) => continue,
                _ => None,
            };
        }
    }
}

impl AsFd for Caught {
    /// Readable while a signal waits.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

impl Drop for Caught {
    fn drop(&mut self) {
        for (signal, before) in (0..).zip(&self.before) {
            if let Some(before) = before {
                // SAFETY: `before` is what sigaction itself gave us for this signal.
                unsafe { libc::sigaction(signal, before, core::ptr::null_mut()) };
            }
        }
        // A handler that still runs in another thread may yet write to this number: the pipe is closed after this
        // store, and a signal byte in somebody else's descriptor would need that thread to sleep in between.
        let ours = self.writer.as_raw_fd();
        if WRITER.load(Ordering::SeqCst) == ours {
            WRITER.store(-1, Ordering::SeqCst);
        }
    }
}

/// The handler: one byte into the pipe. When the pipe is full the signal is lost, but 65536 others wait there.
extern "C" fn note(signal: libc::c_int) {
    let byte = [signal as u8];
    let fd = WRITER.load(Ordering::SeqCst);
    // SAFETY: write and the address of errno are async-signal-safe; the buffer is one local byte.
    unsafe {
        let errno = libc::__errno_location();
        let before = *errno;
        if fd >= 0 {
            libc::write(fd, byte.as_ptr().cast(), 1);
        }
        *errno = before;
    }
}
