// SPDX-License-Identifier: Apache-2.0
//! `--cpus`, `--cpuset-cpus` and the other limits, with what this machine and its kernel can give.
//!
//! What is not to be had is refused here, in Docker's words: the kernel says no more than EINVAL, and only at the start.
//! Kernel: cgroup-v2.rst "CPU", "Cpuset", "PID".

use kelp_sys::rustix::thread::sched_getaffinity;
use std::collections::BTreeSet;
use std::fs;

/// The kernel's PID_MAX_LIMIT: `pids.max` takes no more.
const MOST_PROCESSES: i64 = 4_194_304;

/// Reads `--cpus`; 0 is Docker's word for “no limit”.
pub fn cpus(text: &str) -> Result<f64, String> {
    cpus_of(text, processors())
}

fn cpus_of(text: &str, available: u32) -> Result<f64, String> {
    let number = text.parse::<f64>().map_err(|_| format!("{text:?} is not a number, as 1.5"))?;
    #[allow(clippy::float_cmp, reason = "0 is written as 0")]
    let unlimited = number == 0.0;
    match unlimited || (0.01..=f64::from(available)).contains(&number) {
        true => Ok(number),
        false => {
            Err(format!("range of CPUs is from 0.01 to {available}.00, as there are only {available} CPUs available"))
        }
    }
}

/// The processors this process may run on: what Docker counts.
fn processors() -> u32 {
    sched_getaffinity(None).map_or(1, |set| set.count()).max(1)
}

/// Reads `--cpuset-cpus`.
pub fn cpuset_cpus(text: &str) -> Result<String, String> {
    cpuset(text, "cpus", "CPUs", &online("cpu"))
}

/// Reads `--cpuset-mems`.
pub fn cpuset_mems(text: &str) -> Result<String, String> {
    cpuset(text, "mems", "memory nodes", &online("node"))
}

/// The machine's processors or memory nodes; a kernel without NUMA has one node and no list.
fn online(kind: &str) -> String {
    let list = fs::read_to_string(format!("/sys/devices/system/{kind}/online"));
    list.map_or_else(|_| "0".to_owned(), |text| text.trim().to_owned())
}

/// A list that is part of the available one; an empty one means all.
fn cpuset(text: &str, name: &str, what: &str, available: &str) -> Result<String, String> {
    let Some(wanted) = list(text) else {
        return Err(format!("Invalid value {text} for cpuset {name}: expected numbers and ranges, as 0-3,8"));
    };
    // What cannot be read of the machine is left to the kernel.
    let outside = list(available).is_some_and(|available| !wanted.is_subset(&available));
    match outside {
        true => Err(format!("Requested {what} are not available - requested {text}, available: {available}")),
        false => Ok(text.to_owned()),
    }
}

/// More than any kernel has: a longer range is refused before it is counted out.
const MOST_NUMBERS: u32 = 1 << 16;

/// `0-3,8` as a set.
fn list(text: &str) -> Option<BTreeSet<u32>> {
    let mut numbers = BTreeSet::new();
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last || last >= MOST_NUMBERS {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

/// Digits alone: Rust's own reading takes `+3` too.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Reads `--cpu-period`; 0 is none.
pub fn cpu_period(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(period @ (0 | 1000..=1_000_000)) => Ok(period),
        Ok(_) => Err("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)".to_owned()),
        Err(_) => Err(format!("{text:?} is not a number of microseconds")),
    }
}

/// Reads `--cpu-quota`; 0 and less is none.
pub fn cpu_quota(text: &str) -> Result<i64, String> {
    match text.parse() {
        Ok(1..1000) => Err("CPU cfs quota can not be less than 1ms (i.e. 1000)".to_owned()),
        Ok(quota) => Ok(quota),
        Err(_) => Err(format!("{text:?} is not a number of microseconds")),
    }
}

/// Reads `--cpu-shares`: what is beyond the ends of cgroup v1 counts as them, as in Docker.
pub fn cpu_shares(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text:?} is not a number of shares, of which 1024 are usual"))
}

/// Reads `--pids-limit`; 0 and less is none.
pub fn pids(text: &str) -> Result<i64, String> {
    match text.parse() {
        Ok(limit) if limit <= MOST_PROCESSES => Ok(limit),
        Ok(_) => Err(format!("the kernel has at most {MOST_PROCESSES} processes; -1: no limit")),
        Err(_) => Err(format!("{text:?} is not a number of processes; -1: no limit")),
    }
}

/// Reads `--cgroup-parent`: below which cgroup, not above.
pub fn cgroup_parent(text: &str) -> Result<String, String> {
    match text.split('/').any(|part| part == "..") {
        true => Err("it has .. in it; a cgroup is named from the root of its tree: /my.slice".to_owned()),
        false => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_those_of_the_machine() {
        assert_eq!(cpus_of("1.5", 2), Ok(1.5));
        assert_eq!(cpus_of("0", 2), Ok(0.0));
        for text in ["2.01", "0.001", "-1", "inf"] {
            assert!(cpus_of(text, 2).unwrap_err().contains("from 0.01 to 2.00"), "{text}");
        }
        assert!(cpus_of("NaN", 2).is_err() && cpus_of("many", 2).is_err());
    }

    #[test]
    fn a_cpuset_is_part_of_what_there_is() {
        let read = |text| cpuset(text, "cpus", "CPUs", "0-3,8");
        for good in ["0", "0-3", "1,8", "", "0-1,2-3"] {
            assert_eq!(read(good), Ok(good.to_owned()));
        }
        for nonsense in ["foo", "1-0", "0,,1", "+1", "-1", "0-", "0-4000000000"] {
            assert!(read(nonsense).unwrap_err().contains("Invalid value"), "{nonsense}");
        }
        assert!(read("4").unwrap_err().contains("requested 4, available: 0-3,8"));
    }

    #[test]
    fn times_are_those_the_kernel_takes() {
        assert_eq!((cpu_period("1000"), cpu_period("0"), cpu_quota("1000")), (Ok(1000), Ok(0), Ok(1000)));
        assert_eq!(cpu_quota("-1"), Ok(-1));
        for wrong in ["1", "999", "1000001", "-1", "x"] {
            assert!(cpu_period(wrong).is_err(), "{wrong}");
        }
        assert!(cpu_quota("1").is_err() && cpu_quota("999").is_err());
        assert!(pids("4194304").is_ok() && pids("4194305").is_err() && pids("-1").is_ok());
        assert!(cgroup_parent("/a/b").is_ok() && cgroup_parent("a/../..").is_err());
    }
}
