// SPDX-License-Identifier: Apache-2.0
//! Processes that we have made: who they are, whether they still live, how they are ended.

use crate::error::{Doing, Error, Kind, Result};
use kelp_sys::rustix;
use kelp_sys::rustix::event::{PollFd, PollFlags, Timespec, poll};
use kelp_sys::rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use kelp_sys::rustix::io::Errno;
use kelp_sys::rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, WaitIdStatus, pidfd_open, waitid};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Read;
use std::time::Duration;

/// A process, told apart from a later one of the same pid by the time it was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// As the runtime sees it.
    pub pid: i32,
    /// In clock ticks since boot: field 22 of proc_pid_stat(5).
    pub start: u64,
}

/// What a look at /proc shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It lives.
    Alive,
    /// It has ended, and nobody has waited for it, or it is gone.
    Ended,
}

impl Identity {
    /// The process that has this pid now.
    ///
    /// # Errors
    /// Where there is none.
    pub fn of(pid: i32) -> Result<Self> {
        let stat = read_stat(pid).doing(|| format!("cannot look at process {pid}"))?;
        Ok(Self { pid, start: stat.start })
    }

    /// Whether the process lives.
    #[must_use]
    pub fn life(self) -> Life {
        match read_stat(self.pid) {
            Ok(stat) if stat.start == self.start && !matches!(stat.state, b'Z' | b'X') => Life::Alive,
            _ => Life::Ended,
        }
    }

    /// A descriptor of this very process, or `None` where it is gone.
    ///
    /// # Errors
    /// Where the kernel gives no descriptor for another reason.
    pub fn open(self) -> Result<Option<OwnedFd>> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(None) };
        let fd = match pidfd_open(pid, PidfdFlags::empty()) {
            Err(Errno::SRCH | Errno::INVAL) => return Ok(None),
            other => other.doing(|| format!("cannot open process {}", self.pid))?,
        };
        // The descriptor is of whoever has the pid now; only the same start time makes it ours.
        Ok(matches!(read_stat(self.pid), Ok(stat) if stat.start == self.start).then_some(fd))
    }
}

struct Stat {
    state: u8,
    start: u64,
}

/// State and start time, from /proc/PID/stat. The command's name in parentheses may contain anything.
fn read_stat(pid: i32) -> std::io::Result<Stat> {
    let mut space = [0; 1024];
    let length = File::open(format!("/proc/{pid}/stat"))?.read(&mut space)?;
    let text = space.get(..length).unwrap_or_default();
    let odd = || std::io::Error::from(std::io::ErrorKind::InvalidData);
    let after = text.iter().rposition(|&byte| byte == b')').and_then(|end| text.get(end + 2..)).ok_or_else(odd)?;
    let fields = std::str::from_utf8(after).map_err(|_| odd())?;
    let mut fields = fields.split(' ');
    let state = fields.next().and_then(|field| field.bytes().next()).ok_or_else(odd)?;
    // The state is field 3; the start time is field 22.
    let start = fields.nth(18).and_then(|field| field.parse().ok()).ok_or_else(odd)?;
    Ok(Stat { state, start })
}

/// Sends a signal to the process behind the descriptor. `Ok(false)`: it has ended.
///
/// # Errors
/// Where we may not, or the signal does not exist.
pub fn signal(process: BorrowedFd<'_>, signal: i32) -> Result<bool> {
    match kelp_sys::process::signal_process(process, signal) {
        Ok(()) => Ok(true),
        Err(Errno::SRCH) => Ok(false),
        Err(Errno::INVAL) => {
            Err(Error::bad_input(format!("cannot send signal {signal}")).because("there is no such signal"))
        }
        Err(Errno::PERM) => {
            Err(Error::new(format!("cannot send signal {signal}")).because(Errno::PERM).of_kind(Kind::Permission))
        }
        Err(errno) => Err(errno).doing(|| format!("cannot send signal {signal}")),
    }
}

/// Waits until the process has ended; `Ok(false)` if it has not within the limit.
///
/// # Errors
/// Where it cannot be waited for.
pub fn await_end(process: &OwnedFd, limit: Option<Duration>) -> Result<bool> {
    let limit = limit.map(|limit| Timespec {
        tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(limit.subsec_nanos()),
    });
    let mut fds = [PollFd::from_borrowed_fd(process.as_fd(), PollFlags::IN)];
    loop {
        match poll(&mut fds, limit.as_ref()) {
            Err(Errno::INTR) => {}
            other => return other.map(|ready| ready > 0).doing(|| "cannot wait for the process".into()),
        }
    }
}

/// The processes of init's pid namespace, found by looking at all: for containers without a cgroup.
///
/// # Errors
/// Where /proc cannot be read.
pub(crate) fn in_pid_namespace_of(init: Identity) -> Result<Vec<i32>> {
    let namespace = |pid: i32| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let Some(theirs) = namespace(init.pid) else { return Ok(Vec::new()) };
    let entries = std::fs::read_dir("/proc").doing(|| "cannot read /proc".into())?;
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let mut pids: Vec<i32> = pids.filter(|&pid| namespace(pid).as_ref() == Some(&theirs)).collect();
    pids.sort_unstable();
    Ok(pids)
}

/// Waits for a child of ours that has ended or is about to, so that it does not stay a zombie.
///
/// # Errors
/// Where it is no child of ours.
pub(crate) fn reap(child: &OwnedFd) -> Result<Option<WaitIdStatus>> {
    rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(child.as_fd()), WaitIdOptions::EXITED))
        .doing(|| "cannot wait for the process".into())
}

/// Waits for a child of ours to end; its status as a shell says it: the exit code, or 128 and the signal's number.
///
/// # Errors
/// Where it is no child of ours.
pub fn await_status(child: &OwnedFd) -> Result<i32> {
    let status = reap(child)?;
    Ok(status.map_or(255, |status| {
        status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal)).unwrap_or(255)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_are_alive_and_a_process_of_another_start_time_is_not_us() {
        let me = Identity::of(std::process::id() as i32).unwrap();
        assert_eq!(me.life(), Life::Alive);
        let other = Identity { start: me.start + 1, ..me };
        assert_eq!(other.life(), Life::Ended);
        assert!(other.open().unwrap().is_none());
        assert!(me.open().unwrap().is_some());
    }
}
