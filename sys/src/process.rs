// SPDX-License-Identifier: Apache-2.0
//! A process's own attributes that rustix does not set.

use core::ffi::CStr;
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;
use rustix::thread::UnshareFlags;

/// `close_range(first, ~0, CLOSE_RANGE_CLOEXEC)`: no descriptor from `first` on survives the next exec. Since Linux 5.11.
/// See close_range(2).
pub fn close_on_exec_from(first: u32) -> Result<(), Errno> {
    const CLOSE_RANGE_CLOEXEC: usize = 1 << 2;
    // SAFETY: three integers.
    unsafe { crate::raw::call(libc::SYS_close_range, [first as usize, u32::MAX as usize, CLOSE_RANGE_CLOEXEC, 0, 0]) }
        .map(drop)
}

/// `close_range(first, last, 0)`. Since Linux 5.9. See close_range(2).
pub fn close_range(first: u32, last: u32) -> Result<(), Errno> {
    // SAFETY: three integers. Descriptors that somebody else still owns may be closed: only for use right before exec or
    // after a clone, where no owner runs any more.
    unsafe { crate::raw::call(libc::SYS_close_range, [first as usize, last as usize, 0, 0, 0]) }.map(drop)
}

/// `keyctl(KEYCTL_JOIN_SESSION_KEYRING, name)`: a new session keyring, so that none of the host's keys can be seen.
/// See keyctl(2).
///
/// # Errors
/// `ENOSYS`: a kernel without keys; `EDQUOT`, `ENOMEM`: the user's quota of keys is used up.
pub fn join_session_keyring(name: &CStr) -> Result<(), Errno> {
    const KEYCTL_JOIN_SESSION_KEYRING: usize = 1;
    // SAFETY: an integer and a C string that outlives the call.
    unsafe { crate::raw::call(libc::SYS_keyctl, [KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr() as usize, 0, 0, 0]) }
        .map(drop)
}

/// `personality(persona)`: the execution domain. See personality(2).
pub fn set_personality(persona: u32) -> Result<(), Errno> {
    // SAFETY: one integer.
    unsafe { crate::raw::call(libc::SYS_personality, [persona as usize, 0, 0, 0, 0]) }.map(drop)
}

/// `unshare(flags)` of namespaces. Not for `CLONE_FILES`. See unshare(2).
pub fn unshare(namespaces: crate::clone::Namespaces) -> Result<(), Errno> {
    let flags = UnshareFlags::from_bits_retain(namespaces.bits() as u32);
    // SAFETY: the type holds CLONE_NEW* bits only, never CLONE_FILES, which is what makes unshare unsafe.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// `prctl(PR_SET_PDEATHSIG, signal)` by number (0: none). See PR_SET_PDEATHSIG(2const).
pub fn set_parent_death_signal(signal: i32) -> Result<(), Errno> {
    // SAFETY: PR_SET_PDEATHSIG takes an integer.
    unsafe { crate::raw::call(libc::SYS_prctl, [libc::PR_SET_PDEATHSIG as usize, signal as usize, 0, 0, 0]) }.map(drop)
}

/// `pidfd_send_signal(pidfd, signal, NULL, 0)` by number, so that real-time signals and 0 can be sent. Since Linux 5.1.
/// See pidfd_send_signal(2).
pub fn signal_process(pidfd: BorrowedFd<'_>, signal: i32) -> Result<(), Errno> {
    // SAFETY: two integers, a null siginfo and no flags.
    unsafe { crate::raw::call(libc::SYS_pidfd_send_signal, [pidfd.as_raw_fd() as usize, signal as usize, 0, 0, 0]) }
        .map(drop)
}

/// `ioprio_set(IOPRIO_WHO_PROCESS, pid, (class << 13) | level)`. See ioprio_set(2).
pub fn set_io_priority(pid: i32, class: u16, level: u16) -> Result<(), Errno> {
    const IOPRIO_WHO_PROCESS: usize = 1;
    let value = (usize::from(class) << 13) | usize::from(level);
    // SAFETY: three integers.
    unsafe { crate::raw::call(libc::SYS_ioprio_set, [IOPRIO_WHO_PROCESS, pid as usize, value, 0, 0]) }.map(drop)
}

/// Resets every signal to its default action and unblocks all: what an executed program shall find.
/// Ignored signals survive execve, so that a runtime started with SIGPIPE ignored would pass that on. See signal(7).
pub fn default_signals() -> Result<(), Errno> {
    let mut mask = core::mem::MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: an all-zero sigset_t is the empty set; sigaction with SIG_DFL installs no handler; both structures are local.
    unsafe {
        let mut action: libc::sigaction = core::mem::zeroed();
        action.sa_sigaction = libc::SIG_DFL;
        for signal in [
            libc::SIGPIPE,
            libc::SIGCHLD,
            libc::SIGHUP,
            libc::SIGINT,
            libc::SIGQUIT,
            libc::SIGTERM,
            libc::SIGTTOU,
            libc::SIGTTIN,
            libc::SIGTSTP,
            libc::SIGUSR1,
            libc::SIGUSR2,
            libc::SIGWINCH,
        ] {
            if libc::sigaction(signal, &raw const action, core::ptr::null_mut()) != 0 {
                return Err(Errno::INVAL);
            }
        }
        libc::sigemptyset(mask.as_mut_ptr());
        if libc::sigprocmask(libc::SIG_SETMASK, mask.as_ptr(), core::ptr::null_mut()) != 0 {
            return Err(Errno::INVAL);
        }
    }
    Ok(())
}

/// Ignores a signal by number: `sigaction(signal, SIG_IGN)`. See sigaction(2).
pub fn ignore_signal(signal: i32) -> Result<(), Errno> {
    // SAFETY: SIG_IGN installs no handler; the structure is local.
    unsafe {
        let mut action: libc::sigaction = core::mem::zeroed();
        action.sa_sigaction = libc::SIG_IGN;
        if libc::sigaction(signal, &raw const action, core::ptr::null_mut()) != 0 {
            return Err(Errno::INVAL);
        }
    }
    Ok(())
}

/// Whether the current directory lies below this process's root: getcwd(2) puts `(unreachable)` before the path of one that does
/// not, since Linux 2.6.36.
pub fn cwd_is_reachable() -> Result<bool, Errno> {
    let mut path = [0_u8; 4096];
    // SAFETY: the kernel writes at most the given number of bytes to the local buffer.
    unsafe { crate::raw::call(libc::SYS_getcwd, [path.as_mut_ptr() as usize, path.len(), 0, 0, 0]) }?;
    Ok(path[0] == b'/')
}
