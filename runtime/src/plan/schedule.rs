// SPDX-License-Identifier: Apache-2.0
//! When and where the program runs, and from which memory.
//!
//! Spec: config.md "process.scheduler", "process.ioPriority", "process.execCPUAffinity"; config-linux.md "Memory policy",
//! "Personality". Kernel: sched(7), ioprio_set(2), set_mempolicy(2), personality(2).

use super::list;
use crate::error::{Error, Result};
use kelp_sys::schedule::Scheduling;
use oci_spec::runtime::{
    IOPriorityClass, Linux, LinuxIOPriority, LinuxMemoryPolicy, LinuxPersonality, LinuxPersonalityDomain,
    LinuxSchedulerFlag, LinuxSchedulerPolicy, MemoryPolicyFlagType, MemoryPolicyModeType, Process, Scheduler,
};
use serde::{Deserialize, Serialize};

/// What the runtime sets from outside, when the process is in its cgroup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Priorities {
    /// `process.scheduler`
    pub scheduling: Option<Scheduling>,
    /// `process.ioPriority`: class and level.
    pub io: Option<(u16, u16)>,
    /// `process.execCPUAffinity`, for exec only.
    pub affinity: Affinity,
}

/// Processors as words of bits, the lowest first; no words: as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Affinity {
    /// Before the process is in the container's cgroup.
    pub initial: Vec<usize>,
    /// From then on.
    pub last: Vec<usize>,
}

/// What `linux` says of every process of the container, that of `exec` too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nature {
    /// `linux.personality`
    pub personality: Option<u32>,
    /// `linux.memoryPolicy`
    pub memory_policy: Option<MemoryPolicy>,
}

/// The arguments of set_mempolicy(2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryPolicy {
    /// `MPOL_*` with `MPOL_F_*`.
    pub mode: u32,
    /// Nodes as words of bits, the lowest first.
    pub nodes: Vec<usize>,
}

impl Priorities {
    pub(super) fn make(process: &Process) -> Result<Self> {
        let affinity = process.exec_cpu_affinity().as_ref();
        let list = |text: Option<&str>, field: &str| list::bits(text.unwrap_or_default(), field);
        Ok(Self {
            scheduling: process.scheduler().as_ref().map(scheduling).transpose()?,
            io: process.io_priority().as_ref().map(io_priority).transpose()?,
            affinity: Affinity {
                initial: list(affinity.and_then(|a| a.initial().as_deref()), "process.execCPUAffinity.initial")?,
                last: list(affinity.and_then(|a| a.cpu_affinity_final().as_deref()), "process.execCPUAffinity.final")?,
            },
        })
    }
}

impl Nature {
    pub(super) fn make(linux: &Linux) -> Result<Self> {
        Ok(Self {
            personality: linux.personality().as_ref().map(personality).transpose()?,
            memory_policy: linux.memory_policy().as_ref().map(memory_policy).transpose()?,
        })
    }
}

/// Values that would mean nothing with the policy are refused, as runc does; the kernel would pass over some of them.
fn scheduling(scheduler: &Scheduler) -> Result<Scheduling> {
    use LinuxSchedulerPolicy as P;
    let wrong = |cause: String| Err(Error::bad_input("cannot use process.scheduler").because(cause));
    let policy = *scheduler.policy();
    let (nice, priority) = (scheduler.nice().unwrap_or(0), scheduler.priority().unwrap_or(0));
    let (runtime, deadline, period) = (scheduler.runtime(), scheduler.deadline(), scheduler.period());
    let [runtime, deadline, period] = [runtime, deadline, period].map(|time| time.unwrap_or(0));
    if !(-20..=19).contains(&nice) {
        return wrong(format!("nice {nice} is not between -20 and 19"));
    }
    if priority != 0 && !matches!(policy, P::SchedFifo | P::SchedRr) {
        return wrong(format!("priority {priority} has a meaning for SCHED_FIFO and SCHED_RR only"));
    }
    if (runtime, deadline, period) != (0, 0, 0) && policy != P::SchedDeadline {
        return wrong("runtime, deadline and period have a meaning for SCHED_DEADLINE only".into());
    }
    let Ok(priority) = u32::try_from(priority) else { return wrong(format!("priority {priority} is below 0")) };
    let number = match policy {
        P::SchedOther => 0,
        P::SchedFifo => 1,
        P::SchedRr => 2,
        P::SchedBatch => 3,
        P::SchedIso => 4,
        P::SchedIdle => 5,
        P::SchedDeadline => 6,
    };
    let flags = scheduler.flags().iter().flatten().fold(0, |all, flag| all | scheduler_flag(*flag));
    Ok(Scheduling { policy: number, flags, nice, priority, runtime, deadline, period })
}

/// linux/sched.h
fn scheduler_flag(flag: LinuxSchedulerFlag) -> u64 {
    use LinuxSchedulerFlag as F;
    match flag {
        F::SchedResetOnFork => 0x01,
        F::SchedFlagReclaim => 0x02,
        F::SchedFlagDLOverrun => 0x04,
        F::SchedFlagKeepPolicy => 0x08,
        F::SchedFlagKeepParams => 0x10,
        F::SchedFlagUtilClampMin => 0x20,
        F::SchedFlagUtilClampMax => 0x40,
    }
}

fn io_priority(priority: &LinuxIOPriority) -> Result<(u16, u16)> {
    let class = match priority.class() {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    match u16::try_from(priority.priority()) {
        Ok(level @ 0..=7) => Ok((class, level)),
        _ => Err(Error::bad_input(format!("cannot set process.ioPriority.priority {}", priority.priority()))
            .because("it must be between 0 and 7")),
    }
}

/// `PER_LINUX`, `PER_LINUX32`. Flags: the spec knows none yet.
fn personality(personality: &LinuxPersonality) -> Result<u32> {
    if personality.flags().as_ref().is_some_and(|flags| !flags.is_empty()) {
        return Err(Error::unsupported("linux.personality.flags", "the runtime-spec defines none"));
    }
    Ok(match personality.domain() {
        LinuxPersonalityDomain::PerLinux => 0,
        LinuxPersonalityDomain::PerLinux32 => 8,
    })
}

/// linux/mempolicy.h
fn memory_policy(policy: &LinuxMemoryPolicy) -> Result<MemoryPolicy> {
    use MemoryPolicyModeType as M;
    let mode = match policy.mode() {
        M::MpolDefault => 0,
        M::MpolPreferred => 1,
        M::MpolBind => 2,
        M::MpolInterleave => 3,
        M::MpolLocal => 4,
        M::MpolPreferredMany => 5,
        M::MpolWeightedInterleave => 6,
    };
    let flags = policy.flags().iter().flatten().fold(0, |all, flag| {
        all | match flag {
            MemoryPolicyFlagType::MpolFNumaBalancing => 1 << 13,
            MemoryPolicyFlagType::MpolFRelativeNodes => 1 << 14,
            MemoryPolicyFlagType::MpolFStaticNodes => 1 << 15,
        }
    });
    let nodes = list::bits(policy.nodes().as_deref().unwrap_or_default(), "linux.memoryPolicy.nodes")?;
    let wrong = |cause: &str| Err(Error::bad_input("cannot use linux.memoryPolicy").because(cause));
    match mode {
        0 | 4 if !nodes.is_empty() => wrong("MPOL_DEFAULT and MPOL_LOCAL take no nodes"),
        2 | 3 | 5 | 6 if nodes.is_empty() => wrong("its mode needs nodes"),
        _ => Ok(MemoryPolicy { mode: mode | flags, nodes }),
    }
}
