// SPDX-License-Identifier: Apache-2.0
//! Turns the spec's resources, which speak the language of cgroup v1, into writes to the files of v2. Pure.
//!
//! Spec: config-linux.md from "Memory" to "Unified". Kernel: cgroup-v2.rst "Controllers". Conversions are those of runc
//! (opencontainers/cgroups), so that a container gets the same limits from either.

use std::borrow::Cow;
use std::collections::HashMap;

use oci_spec::runtime::{
    LinuxCpu, LinuxHugepageLimit, LinuxMemory, LinuxNetwork, LinuxPids, LinuxRdma, LinuxResources,
};

use super::limits_io::block_io;
use super::{Controllers, Error, Kind, error};

/// One value to write into one file of the cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The file's name.
    pub file: Cow<'static, str>,
    /// What to write.
    pub value: String,
    /// What to do on a kernel without that file.
    pub absent: Absent,
}

/// What to do where a file does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Absent {
    /// Stop: the limit cannot be had.
    Refuse,
    /// Go on: without the file, what was asked for is so anyway.
    Skip,
    /// Write this instead.
    Instead(Box<Write>),
}

/// A look at `memory.current` before the first write, if the spec wants one (checkBeforeUpdate).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryCheck {
    /// The limit of memory, which must be above what is used.
    pub limit: Option<u64>,
    /// The limit of memory and swap together, likewise.
    pub with_swap: Option<u64>,
}

/// What the resources of a spec come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The writes, in order.
    pub writes: Vec<Write>,
    /// The look before them.
    pub check: Option<MemoryCheck>,
    /// Fields that cgroup v2 has nothing for, and that runc passes over too.
    pub ignored: Vec<&'static str>,
}

impl Limits {
    /// The limits of `resources`, without the device rules.
    pub fn of(resources: &LinuxResources) -> Result<Self, Error> {
        let mut limits = Self::default();
        limits.pids(resources.pids().as_ref());
        limits.memory(resources.memory().as_ref())?;
        if let Some(io) = resources.block_io() {
            block_io(&mut limits, io)?;
        }
        limits.cpu(resources.cpu().as_ref());
        limits.hugepages(resources.hugepage_limits().as_deref().unwrap_or_default())?;
        limits.rdma(resources.rdma().as_ref())?;
        network(resources.network().as_ref())?;
        limits.unified(resources.unified().as_ref())?;
        Ok(limits)
    }

    /// The controllers without which a write would find no file.
    #[must_use]
    pub fn needed(&self) -> Controllers {
        let refused = self.writes.iter().filter(|write| write.absent != Absent::Skip);
        refused.fold(Controllers::NONE, |all, write| all | Controllers::of_file(&write.file))
    }

    /// Adds a write that must succeed, unless it asks for what every cgroup has from the beginning: that can be had without
    /// the controller too (containerd asks for the default weight for every container).
    pub(super) fn set(&mut self, file: impl Into<Cow<'static, str>>, value: impl ToString) {
        let (file, value) = (file.into(), value.to_string());
        let absent = if is_default(&file, &value) { Absent::Skip } else { Absent::Refuse };
        self.writes.push(Write { file, value, absent });
    }

    /// Notes that a field has no meaning in cgroup v2, if it asks for anything.
    pub(super) fn ignore(&mut self, asks: bool, why: &'static str) {
        if asks {
            self.ignored.push(why);
        }
    }

    /// Zero is “not said”: oci-spec reads an absent limit as 0, and a cgroup for no process is of no use.
    fn pids(&mut self, pids: Option<&LinuxPids>) {
        match pids.map(LinuxPids::limit) {
            None | Some(0) => {}
            Some(limit) if limit < 0 => self.set("pids.max", "max"),
            Some(limit) => self.set("pids.max", limit),
        }
    }

    fn memory(&mut self, memory: Option<&LinuxMemory>) -> Result<(), Error> {
        let Some(memory) = memory else { return Ok(()) };
        let limit = Amount::of("linux.resources.memory.limit", memory.limit())?;
        let total = Amount::of("linux.resources.memory.swap", memory.swap())?;
        let reserved = Amount::of("linux.resources.memory.reservation", memory.reservation())?;
        if memory.check_before_update() == Some(true) {
            self.check = Some(MemoryCheck { limit: limit.bytes(), with_swap: total.bytes() });
        }
        // Swap first: memory.max may set the OOM killer going, and then the room in swap should be right already.
        match swap_alone(limit, total)? {
            Amount::Unset => {}
            // A kernel without swap accounting has no file, and no swap: that is what 0 and max ask for.
            swap @ (Amount::Max | Amount::Bytes(0)) => {
                let value = swap.to_string();
                self.writes.push(Write { file: "memory.swap.max".into(), value, absent: Absent::Skip });
            }
            swap @ Amount::Bytes(_) => self.set("memory.swap.max", swap),
        }
        for (file, amount) in [("memory.max", limit), ("memory.low", reserved)] {
            if amount != Amount::Unset {
                self.set(file, amount);
            }
        }
        self.memory_of_v1(memory);
        Ok(())
    }

    /// Fields that only cgroup v1 had.
    fn memory_of_v1(&mut self, memory: &LinuxMemory) {
        #[allow(deprecated, reason = "specs in the field still have it")]
        let kernel = memory.kernel();
        self.ignore(
            kernel.is_some_and(|limit| limit > 0),
            "memory.kernel: kernel memory counts against memory.limit in cgroup v2",
        );
        self.ignore(
            memory.kernel_tcp().is_some_and(|limit| limit > 0),
            "memory.kernelTCP: socket buffers count against memory.limit in cgroup v2",
        );
        self.ignore(memory.swappiness().is_some(), "memory.swappiness: cgroup v2 has vm.swappiness for the host only");
        self.ignore(
            memory.disable_oom_killer() == Some(true),
            "memory.disableOOMKiller: cgroup v2 cannot switch the OOM killer off",
        );
        self.ignore(memory.use_hierarchy() == Some(false), "memory.useHierarchy: cgroup v2 is always hierarchical");
    }

    fn cpu(&mut self, cpu: Option<&LinuxCpu>) {
        let Some(cpu) = cpu else { return };
        if let Some(idle) = cpu.idle() {
            self.set("cpu.idle", idle);
        }
        let weight = weight_of_shares(cpu.shares().unwrap_or_default());
        let idles = cpu.idle() == Some(1);
        // The kernel refuses a weight for an idle cgroup.
        self.ignore(weight.is_some() && idles, "cpu.shares: an idle cgroup (cpu.idle 1) has no weight");
        if let Some(weight) = weight.filter(|_| !idles) {
            self.set("cpu.weight", weight);
        }
        // Before the quota: a smaller quota is refused while the old burst is above it. A burst above the old quota is
        // refused here and written again after the rest, as every write that says EINVAL.
        if let Some(burst) = cpu.burst() {
            self.set("cpu.max.burst", burst);
        }
        let quota = cpu.quota().filter(|quota| *quota != 0);
        let period = cpu.period().filter(|period| *period != 0);
        let quota_text = quota.filter(|quota| *quota > 0).map_or_else(|| "max".to_owned(), |quota| quota.to_string());
        match (quota, period) {
            (None, None) => {}
            (_, Some(period)) => self.set("cpu.max", format!("{quota_text} {period}")),
            // Without a period the kernel keeps the present one, 100000 in the beginning.
            (Some(_), None) => self.set("cpu.max", quota_text),
        }
        for (file, list) in [("cpuset.cpus", cpu.cpus()), ("cpuset.mems", cpu.mems())] {
            if let Some(list) = list.as_ref().filter(|list| !list.is_empty()) {
                self.set(file, list);
            }
        }
        let realtime =
            cpu.realtime_runtime().is_some_and(|us| us != 0) || cpu.realtime_period().is_some_and(|us| us != 0);
        self.ignore(realtime, "cpu.realtimeRuntime/realtimePeriod: cgroup v2 has no realtime groups");
    }

    fn hugepages(&mut self, limits: &[LinuxHugepageLimit]) -> Result<(), Error> {
        for limit in limits {
            let size = limit.page_size();
            if !is_page_size(size) {
                let because = format!("linux.resources.hugepageLimits: pageSize {size:?} is not like 2MB or 1GB");
                return Err(error(Kind::BadInput, "cannot limit huge pages", because));
            }
            let value = if limit.limit() < 0 { "max".to_owned() } else { limit.limit().to_string() };
            self.set(format!("hugetlb.{size}.max"), &value);
            // Reservations too, or a container holds all pages by mmap alone. Linux 5.7 has the file in cgroup v2 where
            // it has the other.
            let file = format!("hugetlb.{size}.rsvd.max").into();
            self.writes.push(Write { file, value, absent: Absent::Skip });
        }
        Ok(())
    }

    fn rdma(&mut self, devices: Option<&HashMap<String, LinuxRdma>>) -> Result<(), Error> {
        for (device, limit) in sorted(devices) {
            if device.is_empty() || device.contains(char::is_whitespace) {
                let because = format!("linux.resources.rdma: {device:?} is not the name of a device");
                return Err(error(Kind::BadInput, "cannot limit rdma", because));
            }
            let mut value = device.clone();
            for (key, count) in [("hca_handle", limit.hca_handles()), ("hca_object", limit.hca_objects())] {
                if let Some(count) = count {
                    value.push_str(&format!(" {key}={count}"));
                }
            }
            if value.len() > device.len() {
                self.set("rdma.max", value);
            }
        }
        Ok(())
    }

    /// Files by their own names, last: they win over the fields of v1.
    fn unified(&mut self, files: Option<&HashMap<String, String>>) -> Result<(), Error> {
        for (file, value) in sorted(files) {
            let plain = !file.contains(['/', '\0']) && file.find('.').is_some_and(|dot| dot > 0);
            if !plain {
                let rule = match file.contains('/') {
                    true => "must be a file name (no slashes)",
                    false => "must be in the form CONTROLLER.PARAMETER",
                };
                let because = format!("linux.resources.unified: unified resource {file:?} {rule}");
                return Err(error(Kind::BadInput, "cannot limit the container", because));
            }
            self.set(file.clone(), value);
        }
        Ok(())
    }
}

/// Whether a new cgroup has this value: cgroup-v2.rst.
fn is_default(file: &str, value: &str) -> bool {
    match file {
        "cpu.weight" => value == "100",
        "cpu.idle" | "memory.low" => value == "0",
        "cpu.max" => value.starts_with("max"),
        "memory.max" | "pids.max" => value == "max",
        _ => false,
    }
}

/// A limit in the words of the spec: nothing, -1 for no limit, or bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Amount {
    Unset,
    Max,
    Bytes(u64),
}

impl Amount {
    /// Zero is “not said”, as it was for v1 (and is for runc).
    fn of(field: &str, value: Option<i64>) -> Result<Self, Error> {
        match value {
            None | Some(0) => Ok(Self::Unset),
            Some(-1) => Ok(Self::Max),
            Some(value) => u64::try_from(value).map(Self::Bytes).map_err(|_| {
                let because = format!("{field} is {value}; below zero only -1, no limit, has a meaning");
                error(Kind::BadInput, "cannot limit memory", because)
            }),
        }
    }

    fn bytes(self) -> Option<u64> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Unset | Self::Max => None,
        }
    }
}

impl std::fmt::Display for Amount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unset => Ok(()),
            Self::Max => f.write_str("max"),
            Self::Bytes(bytes) => bytes.fmt(f),
        }
    }
}

/// The limit of swap alone. The spec's (and v1's) `swap` is memory and swap together, v2's is not.
fn swap_alone(limit: Amount, total: Amount) -> Result<Amount, Error> {
    match (limit, total) {
        // Unlimited memory with nothing said of swap means both.
        (Amount::Max, Amount::Unset) => Ok(Amount::Max),
        (_, Amount::Unset | Amount::Max) => Ok(total),
        (Amount::Max, Amount::Bytes(_)) => Ok(total),
        (Amount::Unset, Amount::Bytes(_)) => {
            let because = "linux.resources.memory.swap (memory and swap together) is set, and memory.limit is not";
            Err(error(Kind::BadInput, "cannot limit swap", because).hint("set memory.limit too"))
        }
        (Amount::Bytes(limit), Amount::Bytes(total)) => total.checked_sub(limit).map(Amount::Bytes).ok_or_else(|| {
            let because =
                format!("memory+swap limit should be >= memory limit: memory.swap is {total}, memory.limit {limit}");
            error(Kind::BadInput, "cannot limit swap", because)
                .hint("memory.swap is memory and swap together: it cannot be the smaller of the two")
        }),
    }
}

/// `cpu.weight` (1 to 10000, 100 is usual) for v1's shares (2 to 262144, 1024 is usual).
///
/// The curve through these three points that runc 1.3.2 and crun 1.23 use; the straight line before it gave a usual
/// container a weight of 39, far below the processes of the host.
fn weight_of_shares(shares: u64) -> Option<u64> {
    match shares {
        0 => None,
        1..=2 => Some(1),
        262_144.. => Some(10_000),
        _ => {
            #[allow(clippy::cast_precision_loss, reason = "less than 2^18")]
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 10000")]
            let weight = 10_f64.powf(exponent).ceil() as u64;
            Some(weight)
        }
    }
}

/// Whether this is how the kernel names a size of huge pages: 64KB, 2MB, 1GB.
fn is_page_size(size: &str) -> bool {
    let number = ["KB", "MB", "GB"].iter().find_map(|unit| size.strip_suffix(unit));
    number.is_some_and(|digits| {
        !digits.is_empty() && !digits.starts_with('0') && digits.bytes().all(|digit| digit.is_ascii_digit())
    })
}

/// There is no network controller in v2: class ids and priorities are matched by eBPF programs or nftables there.
fn network(network: Option<&LinuxNetwork>) -> Result<(), Error> {
    let Some(network) = network else { return Ok(()) };
    let class = network.class_id().is_some_and(|id| id != 0);
    let priorities = network.priorities().as_ref().is_some_and(|list| !list.is_empty());
    if !class && !priorities {
        return Ok(());
    }
    let because = "linux.resources.network needs the controllers net_cls and net_prio, which cgroup v2 does not have";
    Err(error(Kind::Unsupported, "cannot classify the container's packets", because)
        .hint("leave linux.resources.network out; nftables can match by cgroup: socket cgroupv2"))
}

/// The entries of a map in a fixed order, so that plans are the same text every time.
fn sorted<T>(map: Option<&HashMap<String, T>>) -> Vec<(&String, &T)> {
    let mut entries: Vec<_> = map.into_iter().flatten().collect();
    entries.sort_by_key(|(key, _)| *key);
    entries
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
