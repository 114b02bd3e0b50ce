// SPDX-License-Identifier: Apache-2.0
//! How a process gets into the cgroup of a container without CLONE_INTO_CGROUP at its own clone: the helper of `exec`, and
//! that of a `create` which needs one.
//!
//! Before it enters the container's namespaces: from inside, the cgroup that it comes from cannot be seen, and where
//! cgroup namespaces are delegation boundaries (nsdelegate, as systemd mounts it) the kernel then says ENOENT.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use kelp_sys::clone::{Clone, Cloned, Namespaces, Parent, clone3, exit};
use kelp_sys::process::signal_process;
use kelp_sys::rustix::fd::{BorrowedFd, OwnedFd};
use kelp_sys::rustix::io::{self, Errno};
use kelp_sys::rustix::pipe::{PipeFlags, pipe_with};
use kelp_sys::rustix::process::{WaitId, WaitIdOptions, waitid};

use super::{Cgroup, Error, kernel, mountinfo};

/// Clones the caller into the cgroup, if there is one. Returns twice, as `clone3` does; the child must not allocate if the
/// caller has threads.
pub fn clone_into(cgroup: Option<&Cgroup>) -> Result<Cloned, Error> {
    match (clone_at(cgroup.map(Cgroup::fd)), cgroup) {
        // Not all between our cgroup and the container's is ours to change, but it is systemd's.
        (Err(Errno::ACCESS | Errno::PERM), Some(cgroup)) => clone_and_attach(cgroup),
        (cloned, _) => cloned.map_err(|errno| failed("clone3", errno)),
    }
}

fn clone_at(cgroup: Option<BorrowedFd<'_>>) -> Result<Cloned, Errno> {
    clone3(&Clone { namespaces: Namespaces::NONE, cgroup, parent: Parent::Caller })
}

/// The cgroup of a process, as a directory.
pub(super) fn directory_of(pid: i32) -> Option<PathBuf> {
    let own = mountinfo::parse_own(&std::fs::read(format!("/proc/{pid}/cgroup")).ok()?)?;
    let mounts = mountinfo::parse_mountinfo(&std::fs::read("/proc/self/mountinfo").ok()?).v2;
    let mounts = mountinfo::by_preference(mounts, Some(&own));
    // A mount may lie below another, where no path leads to it.
    mounts.iter().filter_map(|mount| mount.directory_of(&own)).find(|dir| dir.is_dir())
}

/// The same for one that is mostly still in `known`, where we see it: that spares us a look at all mounts.
pub(super) fn directory_now(pid: i32, known: &Path) -> Option<PathBuf> {
    let own = mountinfo::parse_own(&std::fs::read(format!("/proc/{pid}/cgroup")).ok()?)?;
    let below = own.strip_prefix("/").ok().filter(|below| !below.as_os_str().is_empty());
    if below.is_some_and(|below| known.ends_with(below)) {
        return Some(known.to_owned());
    }
    directory_of(pid)
}

/// Clones where we are; the child waits until it has been moved.
fn clone_and_attach(cgroup: &Cgroup) -> Result<Cloned, Error> {
    let (gate, opener) = pipe_with(PipeFlags::CLOEXEC).map_err(|errno| failed("pipe2", errno))?;
    match clone_at(None).map_err(|errno| failed("clone3", errno))? {
        Cloned::Child => {
            drop(opener);
            await_gate(gate);
            Ok(Cloned::Child)
        }
        Cloned::Parent { pid, pidfd } => {
            let moved = cgroup
                .attach(pid)
                .and_then(|()| io::write(&opener, b"+").map(drop).map_err(|errno| failed("write to a pipe", errno)));
            match moved {
                Ok(()) => Ok(Cloned::Parent { pid, pidfd }),
                Err(error) => {
                    end(&pidfd)?;
                    Err(error.hint("start the container with --systemd-cgroup, or call exec from where it was started"))
                }
            }
        }
    }
}

/// Runs in the child: goes on when the parent says so, ends if it never will.
fn await_gate(gate: OwnedFd) {
    loop {
        match io::read(&gate, &mut [0; 1]) {
            Ok(1) => return,
            Err(Errno::INTR) => {}
            Ok(_) | Err(_) => exit(1),
        }
    }
}

/// Kills a child that has not begun, and reaps it.
fn end(child: &OwnedFd) -> Result<(), Error> {
    signal_process(child.as_fd(), 9).map_err(|errno| failed("pidfd_send_signal", errno))?;
    loop {
        match waitid(WaitId::PidFd(child.as_fd()), WaitIdOptions::EXITED) {
            Err(Errno::INTR) => {}
            waited => return waited.map(drop).map_err(|errno| failed("waitid", errno)),
        }
    }
}

fn failed(call: &str, errno: Errno) -> Error {
    kernel("cannot put a process into the container's cgroup", call, errno)
}
