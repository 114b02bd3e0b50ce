// SPDX-License-Identifier: Apache-2.0
//! Waits for a cgroup's memory to run out, or its last process to end.
//!
//! The kernel wakes a poll for POLLPRI at each change of `memory.events` and `cgroup.events` (cgroup-v2.rst).

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use kelp_sys::rustix::event::{PollFd, PollFlags, Timespec, poll};
use kelp_sys::rustix::fs::{Mode, OFlags, openat};
use kelp_sys::rustix::io::{self, Errno};

use super::events::Event;
use super::{Cgroup, Error};

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Nothing, within the time.
    None,
    /// The kernel has killed a process for want of memory.
    OutOfMemory,
    /// Nobody lives in the cgroup any more, or it is gone.
    Ended,
}

/// Eyes on a cgroup.
#[derive(Debug)]
pub struct Watch<'a> {
    cgroup: &'a Cgroup,
    /// `memory.events`, where there is a memory controller.
    memory: Option<OwnedFd>,
    /// `cgroup.events`
    life: OwnedFd,
    kills: u64,
}

impl<'a> Watch<'a> {
    /// Watches from now on.
    pub fn open(cgroup: &'a Cgroup) -> Result<Self, Error> {
        let open = |file: &str| openat(cgroup.fd(), file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let memory = match open("memory.events") {
            Ok(file) => Some(file),
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(cgroup.failed("watch", "open memory.events", errno)),
        };
        let life = open("cgroup.events").map_err(|errno| cgroup.failed("watch", "open cgroup.events", errno))?;
        let mut watch = Self { cgroup, memory, life, kills: 0 };
        watch.kills = watch.count()?;
        Ok(watch)
    }

    /// Waits for news, for at most `patience`.
    pub fn wait(&mut self, patience: Duration) -> Result<News, Error> {
        let end = Instant::now() + patience;
        loop {
            // The reads come before the poll: they say up to where we know of changes.
            let kills = self.count()?;
            if kills > std::mem::replace(&mut self.kills, kills) {
                return Ok(News::OutOfMemory);
            }
            if !self.lives()? {
                return Ok(News::Ended);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(News::None);
            }
            self.poll(left)?;
        }
    }

    fn poll(&self, left: Duration) -> Result<(), Error> {
        let timeout = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        let life = PollFd::new(&self.life, PollFlags::PRI);
        let memory = self.memory.as_ref().map_or_else(
            || PollFd::from_borrowed_fd(self.life.as_fd(), PollFlags::empty()),
            |memory| PollFd::new(memory, PollFlags::PRI),
        );
        match poll(&mut [life, memory], Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(self.cgroup.failed("watch", "poll", errno)),
        }
    }

    fn count(&self) -> Result<u64, Error> {
        let Some(memory) = &self.memory else { return Ok(0) };
        let mut bytes = [0; 512];
        let text = match io::pread(memory, &mut bytes, 0) {
            Ok(length) => String::from_utf8_lossy(&bytes[..length]),
            // Gone: there is nothing more to come.
            Err(Errno::NODEV) => return Ok(self.kills),
            Err(errno) => return Err(self.cgroup.failed("watch", "read memory.events", errno)),
        };
        let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        Ok(line.and_then(|number| number.trim().parse().ok()).unwrap_or(0))
    }

    fn lives(&self) -> Result<bool, Error> {
        let mut bytes = [0; 128];
        match io::pread(&self.life, &mut bytes, 0) {
            Ok(length) => Ok(Event::Populated.read_in(&bytes[..length])),
            Err(Errno::NODEV) => Ok(false),
            Err(errno) => Err(self.cgroup.failed("watch", "read cgroup.events", errno)),
        }
    }
}
