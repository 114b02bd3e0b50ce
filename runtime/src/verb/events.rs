// SPDX-License-Identifier: Apache-2.0
//! `events`: what a container uses, and that its memory has run out.
//!
//! Spec: none; runc's behaviour. Kernel: cgroup-v2.rst.

use crate::Runtime;
use crate::cgroup::{News, Statistics, Watch};
use crate::error::Result;
use std::time::{Duration, Instant};

/// Something to tell.
#[derive(Clone, Debug)]
pub enum Event {
    /// The numbers, each time the interval is over.
    Statistics(Box<Statistics>),
    /// The kernel has killed a process of the container for want of memory.
    OutOfMemory,
}

impl Runtime {
    /// What the container has used until now.
    ///
    /// # Errors
    /// It does not run, or has no cgroup.
    pub fn statistics(&self, id: &str) -> Result<Statistics> {
        self.living_cgroup(id, "read the statistics of")?.statistics()
    }

    /// Tells events until the last process of the container has ended.
    ///
    /// # Errors
    /// It does not run, or has no cgroup; whoever is told does not want to hear more.
    pub fn events(&self, id: &str, interval: Duration, mut tell: impl FnMut(Event) -> Result<()>) -> Result<()> {
        let cgroup = self.living_cgroup(id, "watch")?;
        let mut watch = Watch::open(&cgroup)?;
        let mut next = Instant::now() + interval;
        loop {
            match watch.wait(next.saturating_duration_since(Instant::now()))? {
                News::OutOfMemory => tell(Event::OutOfMemory)?,
                News::Ended => return Ok(()),
                News::None => {
                    tell(Event::Statistics(Box::new(cgroup.statistics()?)))?;
                    next += interval;
                }
            }
        }
    }
}
