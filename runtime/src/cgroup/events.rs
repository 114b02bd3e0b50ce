// SPDX-License-Identifier: Apache-2.0
//! Waits for what `cgroup.events` tells: no longer populated, frozen.
//!
//! The kernel wakes a poll for POLLPRI at each change of the file (cgroup-v2.rst "cgroup.events"), so nobody sleeps and
//! looks again.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use kelp_sys::rustix::event::{PollFd, PollFlags, Timespec, poll};
use kelp_sys::rustix::fs::{Mode, OFlags, openat};
use kelp_sys::rustix::io::{self, Errno};

/// A line of `cgroup.events`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// There are living processes in the cgroup or below.
    Populated,
    /// All of them stand still.
    Frozen,
}

impl Event {
    fn name(self) -> &'static str {
        match self {
            Self::Populated => "populated",
            Self::Frozen => "frozen",
        }
    }

    /// What the bytes of `cgroup.events` say of it.
    pub(super) fn read_in(self, bytes: &[u8]) -> bool {
        let mut lines = bytes.split(|byte| *byte == b'\n');
        lines.any(|line| line.strip_prefix(self.name().as_bytes()) == Some(b" 1"))
    }

    /// Whether it is so now. Nothing is so in a cgroup that has gone.
    pub(super) fn now(self, cgroup: impl AsFd) -> Result<bool, Errno> {
        self.wait(cgroup, None, Duration::ZERO)
    }

    /// Waits until it is `wanted` (none: any answer will do), for at most `patience`; tells how it was then.
    pub(super) fn wait(self, cgroup: impl AsFd, wanted: Option<bool>, patience: Duration) -> Result<bool, Errno> {
        let file = match openat(cgroup, "cgroup.events", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            Err(Errno::NOENT | Errno::NODEV) => return Ok(false),
            opened => opened?,
        };
        let end = Instant::now() + patience;
        loop {
            let mut bytes = [0; 128];
            // The read comes before the poll: it says up to where we know of changes.
            let length = match io::pread(&file, &mut bytes, 0) {
                Err(Errno::NODEV) => return Ok(false),
                read => read?,
            };
            let is = self.read_in(&bytes[..length]);
            let left = end.saturating_duration_since(Instant::now());
            if wanted.is_none_or(|wanted| wanted == is) || left.is_zero() {
                return Ok(is);
            }
            let timeout = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
            match poll(&mut [PollFd::new(&file, PollFlags::PRI)], Some(&timeout)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_by_its_whole_name() {
        let bytes = b"populated 1\nfrozen 0\n";
        assert!(Event::Populated.read_in(bytes));
        assert!(!Event::Frozen.read_in(bytes));
        assert!(!Event::Frozen.read_in(b"unfrozen 1\nfrozen 10\n"));
    }
}
