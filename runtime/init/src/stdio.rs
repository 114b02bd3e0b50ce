// SPDX-License-Identifier: Apache-2.0
//! Gives the standard streams to the program's user: `/dev/stdout` opens the file behind the descriptor anew, which its owner's
//! permissions decide.
//!
//! Runs in init and in a process that joins, as root of the user namespace. Who started us has the same to do for ids that
//! are not mapped in it: see the runtime's stdio.rs.
//! Spec: none; runc's behaviour. Kernel: proc_pid_fd(5), fchown(2).

use crate::script::Process;
use crate::step::{During, Step, Stop};
use kelp_sys::rustix::fd::BorrowedFd;
use kelp_sys::rustix::fs::{FileType, Stat, fchown, fstat};
use kelp_sys::rustix::io::Errno;
use kelp_sys::rustix::process::{Gid, Uid, geteuid};
use kelp_sys::rustix::stdio::{stderr, stdin, stdout};

/// All three, where the program is not root.
pub(crate) fn give(process: &Process<'_>) -> Result<(), Stop> {
    if process.uid == 0 {
        return Ok(());
    }
    [stdin(), stdout(), stderr()].iter().try_for_each(|stream| give_one(*stream, process.uid)).during(Step::Stdio)
}

fn give_one(stream: BorrowedFd<'_>, uid: u32) -> Result<(), Errno> {
    let stat = match fstat(stream) {
        Err(Errno::BADF) => return Ok(()),
        stat => stat?,
    };
    if stat.st_uid == uid || !may_be_given(&stat, geteuid().as_raw()) {
        return Ok(());
    }
    match fchown(stream, Some(Uid::from_raw(uid)), None::<Gid>) {
        // An id that is not mapped, a file system that keeps no owners or is read-only: the program writes to its descriptors.
        Err(Errno::PERM | Errno::INVAL | Errno::ROFS | Errno::NOSYS | Errno::OPNOTSUPP) => Ok(()),
        result => result,
    }
}

/// A pipe, and a file of ours that is nobody else's to write. Devices (/dev/null, the caller's terminal) and the files of others
/// are shared with whom we do not know.
#[must_use]
pub fn may_be_given(stat: &Stat, us: u32) -> bool {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Fifo => true,
        FileType::RegularFile => stat.st_uid == us && stat.st_mode & 0o022 == 0,
        _ => false,
    }
}
