// SPDX-License-Identifier: Apache-2.0
//! Making processes in new namespaces.

use core::cell::Cell;
use core::marker::PhantomData;
use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::io::Errno;

/// Namespaces a new process shall have of its own: the `CLONE_NEW*` bits of clone(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Namespaces(u64);

impl Namespaces {
    /// None: the process shares all of its parent's.
    pub const NONE: Self = Self(0);
    /// `CLONE_NEWNS`
    pub const MOUNT: Self = Self(libc::CLONE_NEWNS as u64);
    /// `CLONE_NEWCGROUP`
    pub const CGROUP: Self = Self(libc::CLONE_NEWCGROUP as u64);
    /// `CLONE_NEWUTS`
    pub const UTS: Self = Self(libc::CLONE_NEWUTS as u64);
    /// `CLONE_NEWIPC`
    pub const IPC: Self = Self(libc::CLONE_NEWIPC as u64);
    /// `CLONE_NEWUSER`
    pub const USER: Self = Self(libc::CLONE_NEWUSER as u64);
    /// `CLONE_NEWPID`
    pub const PID: Self = Self(libc::CLONE_NEWPID as u64);
    /// `CLONE_NEWNET`
    pub const NETWORK: Self = Self(libc::CLONE_NEWNET as u64);
    /// `CLONE_NEWTIME`, since Linux 5.6
    pub const TIME: Self = Self(0x80);

    /// Both sets.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This set less `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether all of `other` are in this set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The set of these `CLONE_NEW*` bits; others are dropped.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits & 0x7e02_0080)
    }

    /// The `CLONE_NEW*` bits.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }
}

/// Whose child the new process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parent {
    /// The calling process.
    Caller,
    /// The parent of the calling process (`CLONE_PARENT`): the caller is only a helper.
    CallersParent,
}

/// What clone3 shall make.
#[derive(Debug)]
pub struct Clone<'fd> {
    /// Namespaces that the child has of its own.
    pub namespaces: Namespaces,
    /// The cgroup in which the child begins (`CLONE_INTO_CGROUP`, since Linux 5.7).
    pub cgroup: Option<BorrowedFd<'fd>>,
    /// Whose child it is.
    pub parent: Parent,
}

/// Which side of the clone we are on.
#[derive(Debug)]
pub enum Cloned {
    /// The process that called: the child's pid in the caller's namespace, and its pidfd.
    Parent {
        /// The child's pid, as the caller sees it.
        pid: i32,
        /// Close-on-exec.
        pidfd: OwnedFd,
    },
    /// The new process: a copy of the caller with its one calling thread.
    Child,
}

#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// `clone3(args, size)` without sharing memory: returns twice, as fork does.
///
/// In the child only the calling thread lives. If the caller has other threads, the child must not allocate, lock or use
/// std before it executes another program: `kelp-init` holds itself to that. Since Linux 5.3. See clone(2).
///
/// # Errors
/// `EUSERS`/`ENOSPC`: nesting or number of namespaces exhausted; `EPERM`: not allowed here; `EAGAIN`: too many processes;
/// `EBUSY`, `EACCES`: the cgroup takes no processes, or not ours.
pub fn clone3(request: &Clone<'_>) -> Result<Cloned, Errno> {
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    let mut pidfd: libc::c_int = -1;
    let mut arguments = CloneArgs {
        flags: request.namespaces.bits() | libc::CLONE_PIDFD as u64,
        pidfd: core::ptr::from_mut(&mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    if let Some(cgroup) = request.cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = cgroup.as_raw_fd() as u64;
    }
    if request.parent == Parent::CallersParent {
        arguments.flags |= libc::CLONE_PARENT as u64;
        // With CLONE_PARENT the child signals as the caller itself does: clone3 wants no signal named.
        arguments.exit_signal = 0;
    }
    // SAFETY: `arguments` is a clone_args of the size given and outlives the call; `pidfd` is a valid place for an int;
    // without CLONE_VM the child runs on a copy of this stack, so returning twice is as sound as fork is.
    let pid = unsafe {
        crate::raw::call(
            libc::SYS_clone3,
            [core::ptr::from_mut(&mut arguments) as usize, size_of::<CloneArgs>(), 0, 0, 0],
        )
    }?;
    if pid == 0 {
        return Ok(Cloned::Child);
    }
    // SAFETY: the kernel has just opened this descriptor for us; nobody else knows it.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Cloned::Parent { pid: pid as i32, pidfd })
}

/// An entry of an argument or environment vector: a pointer that lives as long as its string.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct Argument<'a>(*const libc::c_char, PhantomData<&'a core::ffi::CStr>);

impl<'a> Argument<'a> {
    /// What ends a vector.
    pub const END: Self = Self(core::ptr::null(), PhantomData);

    /// An entry that points to `text`.
    #[must_use]
    pub const fn new(text: &'a core::ffi::CStr) -> Self {
        Self(text.as_ptr(), PhantomData)
    }

    /// Whether this is the end of a vector.
    #[must_use]
    pub const fn is_end(self) -> bool {
        self.0.is_null()
    }
}

impl core::fmt::Debug for Argument<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        if self.is_end() {
            return f.write_str("END");
        }
        // SAFETY: made from a CStr whose lifetime this value carries.
        core::fmt::Debug::fmt(unsafe { core::ffi::CStr::from_ptr(self.0) }, f)
    }
}

/// An entry of which the place is known early and the text late: it is written where it lies, without an allocator.
#[derive(Debug)]
pub struct LateText {
    /// The last byte is never written: it ends the text.
    bytes: [Cell<u8>; Self::SIZE],
}

impl LateText {
    const SIZE: usize = 1024;

    /// An empty text.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: [const { Cell::new(0) }; Self::SIZE] }
    }

    /// Writes the parts, one after the other.
    ///
    /// # Errors
    /// `ENAMETOOLONG` for more than 1023 bytes: then the text is empty.
    pub fn set(&self, parts: &[&[u8]]) -> Result<(), Errno> {
        let text = parts.iter().copied().flatten().copied();
        let length = parts.iter().fold(0_usize, |length, part| length.saturating_add(part.len()));
        let fits = length < Self::SIZE;
        let text = text.take(if fits { length } else { 0 }).chain(core::iter::once(0));
        self.bytes.iter().zip(text).for_each(|(place, byte)| place.set(byte));
        if fits { Ok(()) } else { Err(Errno::NAMETOOLONG) }
    }

    /// The entry. What is set later, it says.
    #[must_use]
    pub const fn as_argument(&self) -> Argument<'_> {
        Argument(self.bytes.as_ptr().cast(), PhantomData)
    }
}

impl Default for LateText {
    fn default() -> Self {
        Self::new()
    }
}

/// `execve(path, argv, envp)`: returns only where it could not be done. See execve(2).
///
/// Both vectors must end with [`Argument::END`]; otherwise `EINVAL`.
pub fn execve(path: &core::ffi::CStr, argv: &[Argument<'_>], envp: &[Argument<'_>]) -> Errno {
    if !ends(argv) || !ends(envp) {
        return Errno::INVAL;
    }
    // SAFETY: the path is a C string; both vectors are arrays of C strings that live at least as long as this call, ended by
    // a null pointer as just checked.
    let result = unsafe {
        crate::raw::call(
            libc::SYS_execve,
            [path.as_ptr() as usize, argv.as_ptr() as usize, envp.as_ptr() as usize, 0, 0],
        )
    };
    result.err().unwrap_or(Errno::INVAL)
}

/// `execveat(fd, "", argv, envp, AT_EMPTY_PATH)`: executes the open file itself. Since Linux 3.19. See execveat(2).
pub fn execve_file(file: BorrowedFd<'_>, argv: &[Argument<'_>], envp: &[Argument<'_>]) -> Errno {
    if !ends(argv) || !ends(envp) {
        return Errno::INVAL;
    }
    let path = c"";
    // SAFETY: as in `execve`; the descriptor is borrowed for the call.
    let result = unsafe {
        crate::raw::call(
            libc::SYS_execveat,
            [
                file.as_raw_fd() as usize,
                path.as_ptr() as usize,
                argv.as_ptr() as usize,
                envp.as_ptr() as usize,
                libc::AT_EMPTY_PATH as usize,
            ],
        )
    };
    result.err().unwrap_or(Errno::INVAL)
}

fn ends(vector: &[Argument<'_>]) -> bool {
    vector.last().is_some_and(|last| last.is_end())
}

/// `_exit(status)`: ends the process at once, without destructors or buffers. See _exit(2).
pub fn exit(status: i32) -> ! {
    // SAFETY: exit_group takes an integer and does not return.
    unsafe { libc::_exit(status) }
}
