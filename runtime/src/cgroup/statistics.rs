// SPDX-License-Identifier: Apache-2.0
//! What a container has used, for `events --stats`. One read a file; a controller that is not there has no numbers.
//!
//! Kernel: cgroup-v2.rst, the "interface files" of each controller.

use std::collections::BTreeMap;

use kelp_sys::rustix::io::Errno;
use serde::Serialize;

use super::facts::read_file;
use super::{Cgroup, Error};

/// The numbers of a flat keyed file: `cpu.stat`, `memory.stat`, `memory.events`.
pub type Counters = BTreeMap<String, u64>;

/// The numbers of a nested keyed file: by device, or by “some” and “full”.
pub type Nested = BTreeMap<String, BTreeMap<String, String>>;

/// All numbers of a cgroup, under the kernel's names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Statistics {
    /// `cpu.stat`: usage_usec, user_usec, system_usec, nr_periods, nr_throttled, throttled_usec …
    pub cpu: Counters,
    /// `memory.current`, `.peak`, `.max`, `.swap.current`, `.swap.max`.
    pub memory: Gauges,
    /// `memory.swap.*`
    pub swap: Gauges,
    /// `memory.stat`
    pub memory_stat: Counters,
    /// `memory.events`: oom, oom_kill, max, high …
    pub memory_events: Counters,
    /// `pids.*`; without the controller the processes are counted.
    pub pids: Gauges,
    /// `io.stat`, by device number.
    pub io: Nested,
    /// `hugetlb.SIZE.*`, by size.
    pub hugetlb: BTreeMap<String, Gauges>,
    /// `rdma.current`, by device.
    pub rdma: Nested,
    /// `cpu.pressure`, `memory.pressure`, `io.pressure`, each by “some” and “full”.
    pub pressure: BTreeMap<String, Nested>,
}

/// How much there is, was at most, and may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Gauges {
    /// Now.
    pub current: Option<u64>,
    /// The most there was, where the kernel keeps it.
    pub peak: Option<u64>,
    /// The limit; none is none.
    pub max: Option<u64>,
    /// How often the limit was hit, where the kernel counts it.
    pub hits: Option<u64>,
}

impl Cgroup {
    /// Reads everything.
    pub fn statistics(&self) -> Result<Statistics, Error> {
        let mut statistics = Statistics {
            cpu: self.counters("cpu.stat")?,
            memory: self.gauges("memory")?,
            swap: self.gauges("memory.swap")?,
            memory_stat: self.counters("memory.stat")?,
            memory_events: self.counters("memory.events")?,
            pids: self.pids()?,
            io: nested(&self.text("io.stat")?),
            hugetlb: BTreeMap::new(),
            rdma: nested(&self.text("rdma.current")?),
            pressure: BTreeMap::new(),
        };
        for size in huge_page_sizes() {
            let gauges = self.gauges(&format!("hugetlb.{size}"))?;
            if gauges.current.is_some() {
                statistics.hugetlb.insert(size, gauges);
            }
        }
        for resource in ["cpu", "memory", "io"] {
            let pressure = nested(&self.text(&format!("{resource}.pressure"))?);
            if !pressure.is_empty() {
                statistics.pressure.insert(resource.to_owned(), pressure);
            }
        }
        Ok(statistics)
    }

    /// How many processes the OOM killer has killed here.
    pub fn oom_kills(&self) -> Result<u64, Error> {
        Ok(self.counters("memory.events")?.get("oom_kill").copied().unwrap_or_default())
    }

    /// `memory.max` in bytes; none where there is no limit, or no controller.
    pub fn memory_limit(&self) -> Result<Option<u64>, Error> {
        Ok(self.text("memory.max")?.trim().parse().ok())
    }

    fn pids(&self) -> Result<Gauges, Error> {
        let gauges = self.gauges("pids")?;
        if gauges.current.is_some() {
            return Ok(gauges);
        }
        Ok(Gauges { current: Some(self.processes()?.len() as u64), ..gauges })
    }

    fn counters(&self, file: &str) -> Result<Counters, Error> {
        Ok(counters(&self.text(file)?))
    }

    fn gauges(&self, prefix: &str) -> Result<Gauges, Error> {
        let number = |file: &str| Ok(self.text(&format!("{prefix}.{file}"))?.trim().parse().ok());
        let current = number("current")?;
        if current.is_none() {
            return Ok(Gauges::default());
        }
        let hits = self.counters(&format!("{prefix}.events"))?.get("max").copied();
        Ok(Gauges { current, peak: number("peak")?, max: number("max")?, hits })
    }

    /// A file's text; empty if this kernel, or this cgroup, does not have the file (or has pressure switched off).
    fn text(&self, file: &str) -> Result<String, Error> {
        match read_file(self.fd(), file) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(Errno::NOENT | Errno::OPNOTSUPP | Errno::NODEV) => Ok(String::new()),
            Err(errno) => Err(self.failed("read the statistics of", &format!("read {file}"), errno)),
        }
    }
}

/// `key number`, line by line.
fn counters(text: &str) -> Counters {
    let line = |line: &str| {
        let (key, number) = line.split_once(' ')?;
        Some((key.to_owned(), number.trim().parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

/// `key name=value name=value`, line by line.
fn nested(text: &str) -> Nested {
    let line = |line: &str| {
        let (key, pairs) = line.split_once(' ')?;
        let pairs = pairs.split_whitespace().filter_map(|pair| pair.split_once('='));
        Some((key.to_owned(), pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()))
    };
    text.lines().filter_map(line).collect()
}

/// The sizes of huge pages here, in the kernel's words for cgroups: `2MB` for `hugepages-2048kB`.
fn huge_page_sizes() -> Vec<String> {
    // No /sys, no huge pages to count.
    let Ok(entries) = std::fs::read_dir("/sys/kernel/mm/hugepages") else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter_map(|name| page_size(&name)).collect()
}

fn page_size(directory: &str) -> Option<String> {
    let kilobytes: u64 = directory.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
    Some(match kilobytes {
        1_048_576.. => format!("{}GB", kilobytes >> 20),
        1024.. => format!("{}MB", kilobytes >> 10),
        _ => format!("{kilobytes}KB"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flat_and_nested_files_are_read() {
        assert_eq!(counters("usage_usec 12\nodd\nuser_usec 3\n")["user_usec"], 3);
        let io = nested("8:0 rbytes=90112 wbytes=0\n8:16\n");
        assert_eq!(io["8:0"]["rbytes"], "90112");
        let pressure = nested("some avg10=0.00 total=7\nfull avg10=0.01 total=5\n");
        assert_eq!(pressure["full"]["avg10"], "0.01");
    }

    #[test]
    fn sizes_of_pages_are_named_as_in_cgroups() {
        let sizes = ["hugepages-64kB", "hugepages-2048kB", "hugepages-1048576kB", "other"].map(page_size);
        assert_eq!(sizes, [Some("64KB".to_owned()), Some("2MB".to_owned()), Some("1GB".to_owned()), None]);
    }
}
