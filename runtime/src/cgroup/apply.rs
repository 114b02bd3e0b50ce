// SPDX-License-Identifier: Apache-2.0
//! Writes limits into a cgroup and puts the device program in front of it.
//!
//! Runs in create while the child mounts, and in update. Files are named relative to the cgroup's descriptor.

use std::os::fd::{AsFd, BorrowedFd};

use kelp_sys::bpf;
use kelp_sys::rustix::io::Errno;

use super::device::Rule;
use super::facts::read_file;
use super::limits::{Absent, Limits, MemoryCheck, Write};
use super::make::write_file;
use super::place::delegate_it;
use super::program::program;
use super::{Controllers, Error, Kind, error, kernel};

/// Writes all limits, in order. What the kernel calls invalid is tried once more after the rest: it may have been so only
/// together with an old value (a burst above the old quota, a node outside the old set).
pub(super) fn write_limits(cgroup: BorrowedFd<'_>, limits: &Limits) -> Result<(), Error> {
    check(cgroup, limits)?;
    let mut postponed = Vec::new();
    for write in &limits.writes {
        match perform(cgroup, write) {
            Err(Errno::INVAL) => postponed.push(write),
            done => done.map_err(|errno| refused(cgroup, write, errno))?,
        }
    }
    for write in postponed {
        perform(cgroup, write).map_err(|errno| refused(cgroup, write, errno))?;
    }
    Ok(())
}

/// Looks whether the limits may be set at all.
pub(super) fn check(cgroup: BorrowedFd<'_>, limits: &Limits) -> Result<(), Error> {
    limits.check.map_or(Ok(()), |check| check_memory(cgroup, check))
}

/// One write, or what stands in for it.
fn perform(cgroup: BorrowedFd<'_>, write: &Write) -> Result<(), Errno> {
    match (write_file(cgroup, &write.file, write.value.as_bytes()), &write.absent) {
        (Err(Errno::NOENT), Absent::Skip) => Ok(()),
        (Err(Errno::NOENT), Absent::Instead(other)) => perform(cgroup, other),
        (done, _) => done,
    }
}

/// Refuses limits below what is used already, which would only wake the OOM killer (checkBeforeUpdate).
fn check_memory(cgroup: BorrowedFd<'_>, check: MemoryCheck) -> Result<(), Error> {
    // As runc: a cgroup that cannot tell has no use yet.
    let Some(used) = number(cgroup, "memory.current") else { return Ok(()) };
    for (field, limit) in [("memory.swap", check.with_swap), ("memory.limit", check.limit)] {
        if let Some(limit) = limit.filter(|limit| *limit <= used) {
            let because = format!("{field} {limit} is not above the {used} bytes in use, and checkBeforeUpdate is set");
            return Err(error(Kind::BadInput, "cannot limit the container's memory", because));
        }
    }
    Ok(())
}

/// The number in a file, if there is one.
fn number(cgroup: BorrowedFd<'_>, file: &str) -> Option<u64> {
    std::str::from_utf8(&read_file(cgroup, file).ok()?).ok()?.trim().parse().ok()
}

/// The words for a write that was refused.
fn refused(cgroup: BorrowedFd<'_>, write: &Write, errno: Errno) -> Error {
    let Write { file, value, .. } = write;
    let doing = format!("cannot limit the container by {file}");
    let error = kernel(doing, format!("write({file:?}, {value:?})"), errno);
    match errno {
        Errno::NOENT => {
            let here = read_file(cgroup, "cgroup.controllers").unwrap_or_default();
            let controller = Controllers::of_file(file);
            if Controllers::parse(&here).contains(controller) {
                error.hint("this kernel does not have it; leave the limit out")
            } else {
                // A scope of systemd: its manager drops, without a word, what it cannot give.
                error.hint(format!("the cgroup controller {controller} is not there: {}", delegate_it(controller)))
            }
        }
        Errno::INVAL | Errno::RANGE => error.hint("the kernel does not accept this value"),
        Errno::NODEV => error.hint("there is no such device, or its driver cannot be limited"),
        _ => error,
    }
}

/// Puts a program that knows these rules in front of every open and mknod of a device in the cgroup, in the place of the
/// one before if there is one.
pub(super) fn guard_devices(cgroup: BorrowedFd<'_>, rules: &[Rule], fresh: bool) -> Result<(), Error> {
    let fail = |call: &'static str| {
        move |errno| {
            kernel("cannot guard the container's devices", format!("bpf({call})"), errno)
                .hint("it takes CAP_SYS_ADMIN on the host, and a kernel with CONFIG_CGROUP_BPF")
        }
    };
    let program = bpf::load_device_program(&program(rules)?).map_err(fail("BPF_PROG_LOAD"))?;
    // A new cgroup has no program: do not ask.
    let before = if fresh { Vec::new() } else { attached(cgroup).map_err(fail("BPF_PROG_QUERY"))? };
    let replaced = match before.as_slice() {
        [one] => Some(one.as_fd()),
        _ => None,
    };
    bpf::attach_device_program(cgroup, program.as_fd(), replaced).map_err(fail("BPF_PROG_ATTACH"))?;
    if before.len() > 1 {
        for old in &before {
            bpf::detach_device_program(cgroup, old.as_fd()).map_err(fail("BPF_PROG_DETACH"))?;
        }
    }
    Ok(())
}

/// The device programs attached to the cgroup now. The kernel allows 64.
fn attached(cgroup: BorrowedFd<'_>) -> Result<Vec<std::os::fd::OwnedFd>, Errno> {
    let mut ids = [0; 64];
    let count = bpf::device_programs(cgroup, &mut ids)?;
    ids.iter().take(count).map(|id| bpf::open_program(*id)).collect()
}
