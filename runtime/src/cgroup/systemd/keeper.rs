// SPDX-License-Identifier: Apache-2.0
//! A process that does nothing but live: systemd makes a scope only around one.
//!
//! It is put into the new scope, the container's init is cloned into the scope's cgroup beside it, and then it goes. So
//! init is born in its cgroup under either manager, and the root of its cgroup namespace is right.

use std::os::fd::{AsFd, OwnedFd};

use kelp_sys::clone::{Clone, Cloned, Namespaces, Parent, clone3, exit};
use kelp_sys::process::{set_parent_death_signal, signal_process};
use kelp_sys::rustix::event::pause;
use kelp_sys::rustix::io::Errno;
use kelp_sys::rustix::process::{Pid, WaitId, WaitIdOptions, getpid, getppid, waitid};

/// SIGKILL.
const KILL: i32 = 9;

/// The living process; gone when this is dropped.
#[derive(Debug)]
pub(in super::super) struct Keeper {
    pid: u32,
    pidfd: OwnedFd,
}

impl Keeper {
    /// Makes one, in our own cgroup.
    pub(super) fn new() -> Result<Self, Errno> {
        let parent = getpid();
        match clone3(&Clone { namespaces: Namespaces::NONE, cgroup: None, parent: Parent::Caller })? {
            Cloned::Child => keep_still(parent),
            Cloned::Parent { pid, pidfd } => Ok(Self { pid: pid.cast_unsigned(), pidfd }),
        }
    }

    /// Its pid.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }
}

/// Runs in the new process, which must not allocate. Lives until it is killed, or its parent dies.
fn keep_still(parent: Pid) -> ! {
    if set_parent_death_signal(KILL).is_err() || getppid() != Some(parent) {
        exit(1);
    }
    loop {
        pause();
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // Whoever reaps all children of this process may have been faster; otherwise neither call can fail.
        if signal_process(self.pidfd.as_fd(), KILL).is_ok() {
            let wait = || waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED);
            while wait().is_err_and(|errno| errno == Errno::INTR) {}
        }
    }
}
