// SPDX-License-Identifier: Apache-2.0
//! `kill`: sends a signal.
//!
//! Spec: runtime.md "Kill".

use crate::Runtime;
use crate::cgroup::Cgroup;
use crate::error::{Error, Kind, Result};
use crate::process::{Identity, signal};
use crate::state::{Folder, Record, Status};
use kelp_sys::rustix::fd::AsFd;

const SIGKILL: i32 = 9;

impl Runtime {
    /// Sends the signal to the container's program, or with `all` to all its processes.
    ///
    /// A paused container takes the signal when it is resumed, but SIGKILL takes effect at once. SIGKILL ends all processes of
    /// a container without a pid namespace of its own, as with runc: there the end of init would leave the others.
    ///
    /// # Errors
    /// The container is neither created nor running; there is no such signal; we may not.
    pub fn kill(&self, id: &str, number: i32, all: bool) -> Result<()> {
        let folder = Folder::open(&self.root, id)?;
        let (state, record) = folder.state()?;
        let stopped = state.status == Status::Stopped;
        let everybody = all || (number == SIGKILL && record.shares_pids && (!stopped || has_left_some(&record)?));
        if everybody {
            return signal_all(&record, number);
        }
        if stopped {
            return Err(not_running(id));
        }
        match record.init.open()? {
            Some(init) if signal(init.as_fd(), number)? => Ok(()),
            _ => Err(not_running(id)),
        }
    }
}

/// Whether processes live in the container's cgroup.
fn has_left_some(record: &Record) -> Result<bool> {
    let cgroup = record.cgroup.as_ref().map(Cgroup::open).transpose()?.flatten();
    cgroup.map_or(Ok(false), |cgroup| cgroup.is_populated())
}

fn not_running(id: &str) -> Error {
    // These words are what podman, docker and containerd look for.
    Error::new(format!("cannot kill container {id}")).because("container not running").of_kind(Kind::NotRunning)
}

/// SIGKILL through cgroup.kill, which no fork outruns; other signals one by one. Without a cgroup only init is known, and
/// its pid namespace dies with it.
fn signal_all(record: &Record, number: i32) -> Result<()> {
    let cgroup = record.cgroup.as_ref().map(Cgroup::open).transpose()?.flatten();
    match cgroup {
        Some(cgroup) if number == SIGKILL => cgroup.kill(),
        Some(cgroup) => {
            for pid in cgroup.processes()? {
                // One that ended meanwhile needs no signal.
                if let Ok(process) = Identity::of(pid)
                    && let Some(fd) = process.open()?
                {
                    signal(fd.as_fd(), number)?;
                }
            }
            Ok(())
        }
        None => match record.init.open()? {
            Some(init) => signal(init.as_fd(), number).map(drop),
            None => Ok(()),
        },
    }
}
