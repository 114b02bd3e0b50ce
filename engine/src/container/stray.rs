// SPDX-License-Identifier: Apache-2.0
//! Processes of a container of which nobody knows any more: its shim was killed, and the runtime's record cannot be read.
//!
//! They are known by their root file system, which lies in the container's folder; that takes a look at every process.
//! Kernel: proc(5), `mountinfo`.

use super::record::Record;
use crate::caller::Caller;
use crate::error::{Error, Kind, Result};
use crate::request::signal;
use kelp_runtime::cgroup::Cgroup;
use kelp_runtime::process;
use kelp_sys::rustix::fd::{AsFd, OwnedFd};
use kelp_sys::rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::time::Duration;

/// How long a killed process may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is wrong with the runtime's record of the container, if there is one that cannot be read.
pub(super) fn damage(caller: &Caller, record: &Record) -> Option<Error> {
    if record.runtime.is_some() || !caller.places.runtime().join(&record.id).exists() {
        return None;
    }
    caller.runtime().state(&record.id).err().map(Error::from)
}

/// The pids of processes whose root file system is that of the container, its first process first.
pub(super) fn of(id: &str) -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut found: Vec<i32> = pids.filter(|pid| has_root_in(*pid, id)).collect();
    found.sort_unstable();
    found
}

/// A process of another user cannot be asked, and is not ours.
fn has_root_in(pid: i32, id: &str) -> bool {
    let mounts = std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
    mounts.lines().any(|line| line.split(' ').nth(4) == Some("/") && line.contains(id))
}

/// Kills all that still runs of a container whose record cannot be read, and removes its cgroup.
///
/// # Errors
/// A process does not end, or may not be killed by the caller.
pub(super) fn end(caller: &Caller, record: &Record) -> Result<()> {
    if damage(caller, record).is_none() {
        return Ok(());
    }
    let doing = || format!("cannot end what runs of container {}", record.name);
    let strays = of(&record.id);
    let cgroup = strays.first().map(|pid| Cgroup::of_process(*pid)).transpose()?.flatten();
    // One that it shares with others is theirs too.
    let own = cgroup.filter(|cgroup| cgroup.dir().to_string_lossy().contains(&record.id));
    for pid in strays {
        let Some(stray) = open(pid, &record.id) else { continue };
        process::signal(stray.as_fd(), signal::KILL)?;
        if !process::await_end(&stray, Some(PATIENCE))? {
            return Err(Error::new(
                Kind::Other,
                doing(),
                format!("process {pid} is still there ten seconds after SIGKILL"),
            ));
        }
    }
    let removed = own.map_or(Ok(()), |cgroup| cgroup.kill().and_then(|()| cgroup.remove()));
    removed.map_err(|error| Error::from(error).while_doing(doing()))
}

/// The process, if it is one of the container's still.
fn open(pid: i32, id: &str) -> Option<OwnedFd> {
    let opened = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
    has_root_in(pid, id).then_some(opened)
}
