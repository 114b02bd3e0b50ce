// SPDX-License-Identifier: Apache-2.0
//! What containers use, as their cgroups and their network count it.

use super::find::{self, Container};
use super::runtime::Runtime;
use super::status;
use crate::caller::Caller;
use crate::error::{Kind, Result};
use kelp_runtime::cgroup::Statistics;
use std::fs;
use std::time::Instant;

/// Which containers are looked at.
#[derive(Debug, Clone, Copy)]
pub enum Which<'a> {
    /// All that run.
    Running,
    /// All.
    All,
    /// These, by name or id.
    Named(&'a [String]),
}

/// One look at one container.
#[derive(Debug)]
pub struct Look {
    /// Whose.
    pub container: Container,
    /// When.
    pub at: Instant,
    /// Its first process; 0 where it does not run.
    pub pid: i32,
    /// None where it does not run, or no cgroup counts for it.
    pub counted: Option<Statistics>,
}

/// Looks at each.
///
/// # Errors
/// A named one is not there; what is counted cannot be read.
pub fn look(caller: &Caller, which: Which<'_>) -> Result<Vec<Look>> {
    let containers = match which {
        Which::Named(names) => names.iter().map(|wanted| find::one(caller, wanted)).collect::<Result<_>>()?,
        Which::Running | Which::All => find::all(caller)?,
    };
    let mut looks = Vec::new();
    for container in containers {
        let status = status::of(caller, &container)?;
        let alive = status.state.is_alive() && status.pid > 0;
        if !alive && matches!(which, Which::Running) {
            continue;
        }
        let counted = if alive { count(caller, &container, status.pid)? } else { None };
        looks.push(Look { at: Instant::now(), pid: if alive { status.pid } else { 0 }, counted, container });
    }
    Ok(looks)
}

/// A container that has ended since, or whose creator was delegated no cgroup, has no numbers.
fn count(caller: &Caller, container: &Container, pid: i32) -> Result<Option<Statistics>> {
    match Runtime::of(caller, &container.record).statistics(pid) {
        Ok(statistics) => Ok(Some(statistics)),
        Err(error) if [Kind::WrongState, Kind::Permission, Kind::NotFound].contains(&error.kind()) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A part of a whole; none of nothing.
#[allow(clippy::cast_precision_loss, reason = "two decimals are shown")]
pub fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

impl Look {
    /// How much of one processor it used since an earlier look.
    pub fn share_since(&self, before: &Look) -> Option<f64> {
        let used = |look: &Look| look.counted.as_ref()?.cpu.get("usage_usec").copied();
        let microseconds = u64::try_from(self.at.duration_since(before.at).as_micros()).ok()?;
        Some(ratio(used(self)?.saturating_sub(used(before)?), microseconds))
    }
}

/// Used and allowed memory in bytes, as Docker counts: without the pages of files that nobody has looked at lately. Without a limit, that of the machine.
pub fn memory(statistics: &Statistics) -> Option<(u64, u64)> {
    let idle = statistics.memory_stat.get("inactive_file").copied().unwrap_or_default();
    let used = statistics.memory.current?.saturating_sub(idle);
    Some((used, statistics.memory.max.or_else(machine_memory)?))
}

fn machine_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().trim_end_matches(" kB").parse::<u64>().ok()?.checked_mul(1024)
}

/// Bytes in and out of all devices but the loopback: proc_pid_net(5).
pub fn network(pid: i32) -> Option<(u64, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/net/dev")).ok()?;
    let mut total = (0_u64, 0_u64);
    for (name, counters) in text.lines().skip(2).filter_map(|line| line.split_once(':')) {
        if name.trim() != "lo" {
            let counters: Vec<u64> = counters.split_whitespace().filter_map(|word| word.parse().ok()).collect();
            total.0 = total.0.saturating_add(counters.first().copied().unwrap_or_default());
            total.1 = total.1.saturating_add(counters.get(8).copied().unwrap_or_default());
        }
    }
    Some(total)
}

/// Bytes of all devices, under a key of io.stat: `rbytes`, `wbytes`.
pub fn io(statistics: &Statistics, key: &str) -> u64 {
    statistics.io.values().filter_map(|device| device.get(key)?.parse::<u64>().ok()).sum()
}
