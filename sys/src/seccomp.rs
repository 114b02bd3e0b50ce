// SPDX-License-Identifier: Apache-2.0
//! Seccomp filters: the instructions and the loading of a program.

use core::ffi::c_int;

use rustix::fd::{FromRawFd, OwnedFd};
use rustix::io::Errno;

use crate::raw;

/// One instruction of classic BPF: `struct sock_filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct SockFilter {
    /// The operation: `BPF_LD | BPF_W | BPF_ABS` and so on.
    pub code: u16,
    /// How many instructions a jump skips when its test holds.
    pub jt: u8,
    /// How many it skips when it does not.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

/// What seccomp(2) is asked for besides the filter: `SECCOMP_FILTER_FLAG_*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u32);

impl Flags {
    /// `SECCOMP_FILTER_FLAG_LOG`: every verdict but allow goes to the audit log.
    pub const LOG: Self = Self(2);
    /// `SECCOMP_FILTER_FLAG_SPEC_ALLOW`: no mitigation against speculative store bypass.
    pub const SPEC_ALLOW: Self = Self(4);
    /// `SECCOMP_FILTER_FLAG_NEW_LISTENER`: returns the fd on which `SECCOMP_RET_USER_NOTIF` is answered.
    pub const NEW_LISTENER: Self = Self(8);
    /// `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV`, since Linux 5.19; only with `NEW_LISTENER`.
    pub const WAIT_KILLABLE: Self = Self(32);

    /// Both sets.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// `struct sock_fprog`
#[repr(C)]
struct Program {
    length: u16,
    filter: *const SockFilter,
}

const SET_MODE_FILTER: usize = 1;

/// Confines the calling thread, for good: `seccomp(SECCOMP_SET_MODE_FILTER, flags, &program)`.
///
/// The fd is there with `NEW_LISTENER`, close-on-exec. Does not set no_new_privs: without that the caller needs
/// `CAP_SYS_ADMIN` in its user namespace. `SECCOMP_FILTER_FLAG_TSYNC` has no name here: its failure returns a thread's
/// id in the place of an error, and who uses this has one thread. Since Linux 3.17. See seccomp(2).
pub fn load(filter: &[SockFilter], flags: Flags) -> Result<Option<OwnedFd>, Errno> {
    load_at(filter.as_ptr(), filter.len(), flags)
}

/// [`load`] for a filter that came as bytes over a socket: eight for each instruction, in the machine's order.
///
/// # Errors
/// `EINVAL` where the bytes are no whole number of instructions.
pub fn load_bytes(filter: &[u8], flags: Flags) -> Result<Option<OwnedFd>, Errno> {
    let size = size_of::<SockFilter>();
    if !filter.len().is_multiple_of(size) {
        return Err(Errno::INVAL);
    }
    load_at(filter.as_ptr().cast(), filter.len() / size, flags)
}

/// `filter` must point to `length` instructions; the kernel copies them and does not care how they are aligned.
fn load_at(filter: *const SockFilter, length: usize, flags: Flags) -> Result<Option<OwnedFd>, Errno> {
    let length = u16::try_from(length).map_err(|_| Errno::INVAL)?;
    let program = Program { length, filter };
    // SAFETY: both callers pass a slice's pointer and length; the kernel reads `program` and the instructions it points to
    // during the call only.
    let result = unsafe {
        raw::call(libc::SYS_seccomp, [SET_MODE_FILTER, flags.0 as usize, &raw const program as usize, 0, 0])
    }?;
    if !flags.has(Flags::NEW_LISTENER) {
        return Ok(None);
    }
    // SAFETY: with NEW_LISTENER the result is a new fd, which nobody else knows of.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(result as c_int) }))
}
