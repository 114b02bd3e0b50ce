// SPDX-License-Identifier: Apache-2.0
//! bpf(2), as far as device programs of cgroups need it: load, attach, look, detach.
//!
//! Kernel: bpf(2), include/uapi/linux/bpf.h. All since Linux 5.7 or earlier.

use core::mem::size_of;
use core::ptr;

use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::io::Errno;

use crate::raw;

const BPF_PROG_LOAD: usize = 5;
const BPF_PROG_ATTACH: usize = 8;
const BPF_PROG_DETACH: usize = 9;
const BPF_PROG_GET_FD_BY_ID: usize = 13;
const BPF_PROG_QUERY: usize = 16;

const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 1 << 1;
const BPF_F_REPLACE: u32 = 1 << 2;

/// One instruction of an eBPF program: `struct bpf_insn`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What to do.
    pub code: u8,
    /// The destination register in the low four bits, the source register in the high four.
    pub registers: u8,
    /// How far to jump, or where in memory.
    pub offset: i16,
    /// A number to work with.
    pub immediate: i32,
}

/// The part of `union bpf_attr` that BPF_PROG_LOAD reads.
#[repr(C)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

/// The part of `union bpf_attr` that BPF_PROG_ATTACH and BPF_PROG_DETACH read.
#[repr(C)]
struct AttachAttr {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
}

/// The part of `union bpf_attr` that BPF_PROG_QUERY reads and writes.
#[repr(C)]
struct QueryAttr {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    padding: u32,
}

/// The part of `union bpf_attr` that BPF_PROG_GET_FD_BY_ID reads.
#[repr(C)]
struct IdAttr {
    prog_id: u32,
    next_id: u32,
    open_flags: u32,
}

/// `bpf(command, attr, sizeof attr)`.
///
/// # Safety
///
/// `A` must be the layout that `command` works on, and every address in `attr` valid for what the command does with it.
unsafe fn bpf<A>(command: usize, attr: &mut A) -> Result<usize, Errno> {
    let attr = ptr::from_mut(attr) as usize;
    // SAFETY: the caller vouches for the layout and the addresses; the pointer is to a live, exclusively borrowed `A`,
    // and the size given is its own.
    unsafe { raw::call(libc::SYS_bpf, [command, attr, size_of::<A>(), 0, 0]) }
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

/// Loads a program that decides over access to devices: `bpf(BPF_PROG_LOAD)` with type CGROUP_DEVICE. Not for the
/// unprivileged: EPERM without CAP_BPF and CAP_NET_ADMIN in the initial user namespace. CLOEXEC always.
pub fn load_device_program(program: &[Instruction]) -> Result<OwnedFd, Errno> {
    let mut attr = LoadAttr {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(program.len()).map_err(|_| Errno::TOOBIG)?,
        insns: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
        prog_name: *b"kelp_devices\0\0\0\0",
        prog_ifindex: 0,
        expected_attach_type: 0,
    };
    // SAFETY: LoadAttr is what BPF_PROG_LOAD reads; `insns` has `insn_cnt` instructions and `license` ends in a NUL.
    let fd = unsafe { bpf(BPF_PROG_LOAD, &mut attr) }?;
    // SAFETY: the kernel has just given us this new descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Lets a loaded program decide in `cgroup` and below, besides those that are there: `bpf(BPF_PROG_ATTACH)` with
/// ALLOW_MULTI; instead of `replaced`, if given (REPLACE, since Linux 5.5).
pub fn attach_device_program(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    replaced: Option<BorrowedFd<'_>>,
) -> Result<(), Errno> {
    let mut attr = AttachAttr {
        target_fd: number(cgroup),
        attach_bpf_fd: number(program),
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: BPF_F_ALLOW_MULTI | if replaced.is_some() { BPF_F_REPLACE } else { 0 },
        replace_bpf_fd: replaced.map_or(0, number),
    };
    // SAFETY: AttachAttr is what BPF_PROG_ATTACH reads, and it holds no address.
    unsafe { bpf(BPF_PROG_ATTACH, &mut attr) }.map(drop)
}

/// Takes a program away from `cgroup`: `bpf(BPF_PROG_DETACH)`.
pub fn detach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut attr = AttachAttr {
        target_fd: number(cgroup),
        attach_bpf_fd: number(program),
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: 0,
        replace_bpf_fd: 0,
    };
    // SAFETY: AttachAttr is what BPF_PROG_DETACH reads, and it holds no address.
    unsafe { bpf(BPF_PROG_DETACH, &mut attr) }.map(drop)
}

/// The ids of the device programs attached to `cgroup` itself, as many as `ids` has room for (else ENOSPC); says how
/// many: `bpf(BPF_PROG_QUERY)`.
pub fn device_programs(cgroup: BorrowedFd<'_>, ids: &mut [u32]) -> Result<usize, Errno> {
    let mut attr = QueryAttr {
        target_fd: number(cgroup),
        attach_type: BPF_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: u32::try_from(ids.len()).map_err(|_| Errno::TOOBIG)?,
        padding: 0,
    };
    // SAFETY: QueryAttr is what BPF_PROG_QUERY reads and writes; `prog_ids` has room for `prog_cnt` numbers.
    unsafe { bpf(BPF_PROG_QUERY, &mut attr) }?;
    Ok(attr.prog_cnt as usize)
}

/// Opens the program with an id of [`device_programs`]: `bpf(BPF_PROG_GET_FD_BY_ID)`. Needs CAP_SYS_ADMIN.
pub fn open_program(id: u32) -> Result<OwnedFd, Errno> {
    let mut attr = IdAttr { prog_id: id, next_id: 0, open_flags: 0 };
    // SAFETY: IdAttr is what BPF_PROG_GET_FD_BY_ID reads, and it holds no address.
    let fd = unsafe { bpf(BPF_PROG_GET_FD_BY_ID, &mut attr) }?;
    // SAFETY: the kernel has just given us this new descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
