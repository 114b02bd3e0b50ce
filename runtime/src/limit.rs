// SPDX-License-Identifier: Apache-2.0
//! Resource limits and priorities of a process, set from outside: prlimit(2), sched_setattr(2), ioprio_set(2),
//! sched_setaffinity(2).
//!
//! Runs in the runtime, which may have rights that a process in a user namespace has not; when the process is in its
//! cgroup, and before it gives its own rights up.

use crate::error::{Doing, Error, Kind, Result};
use crate::plan::{Limit, Priorities, ProcessPlan};
use kelp_sys::rustix::io::Errno;
use kelp_sys::rustix::process::{Pid, prlimit};
use kelp_sys::schedule;

/// Sets them all.
///
/// # Errors
/// A hard limit above ours without `CAP_SYS_RESOURCE`, a better priority than ours without `CAP_SYS_NICE`.
pub(crate) fn apply(pid: i32, plan: &ProcessPlan) -> Result<()> {
    raise(pid, &plan.limits)?;
    prioritise(pid, &plan.priorities)
}

fn raise(pid: i32, limits: &[Limit]) -> Result<()> {
    for limit in limits {
        match prlimit(Pid::from_raw(pid), limit.resource, limit.value) {
            Ok(_) => {}
            Err(Errno::PERM) => {
                let ours = kelp_sys::rustix::process::getrlimit(limit.resource).maximum;
                return Err(Error::new(format!("cannot set {}", limit.name))
                    .because(format!(
                        "error setting rlimit type {}: operation not permitted: its hard value {} is above ours, {}",
                        limit.resource as u32,
                        show(limit.value.maximum),
                        show(ours)
                    ))
                    .hint("lower it, or have root raise yours: /etc/security/limits.conf, LimitNOFILE= and the like in systemd")
                    .of_kind(Kind::Permission));
            }
            Err(errno) => return Err(errno).doing(|| format!("cannot set {}", limit.name)),
        }
    }
    Ok(())
}

fn show(value: Option<u64>) -> String {
    value.map_or_else(|| "unlimited".into(), |value| value.to_string())
}

fn prioritise(pid: i32, priorities: &Priorities) -> Result<()> {
    if let Some(scheduling) = &priorities.scheduling {
        schedule::set_scheduling(pid, scheduling).map_err(|errno| refused("process.scheduler", errno))?;
    }
    if let Some((class, level)) = priorities.io {
        kelp_sys::process::set_io_priority(pid, class, level).map_err(|errno| refused("process.ioPriority", errno))?;
    }
    Ok(())
}

fn refused(field: &str, errno: Errno) -> Error {
    let error = Error::new(format!("cannot set {field}")).because(std::io::Error::from(errno));
    match errno {
        Errno::PERM => error
            .hint("a better priority than usual takes CAP_SYS_NICE on the host, or RLIMIT_NICE and RLIMIT_RTPRIO")
            .of_kind(Kind::Permission),
        Errno::INVAL => error.hint("this kernel does not take these values together: see sched_setattr(2)"),
        Errno::BUSY => error.hint("no processor time is left to promise: see sched_setattr(2), SCHED_DEADLINE"),
        _ => error,
    }
}

/// Lets the process run on these processors only; no words: wherever the kernel lets it.
///
/// # Errors
/// None of them is there, or in the container's cpuset.
pub(crate) fn confine_to(pid: i32, processors: &[usize]) -> Result<()> {
    if processors.is_empty() {
        return Ok(());
    }
    schedule::set_affinity(pid, processors).map_err(|errno| {
        let error = Error::new("cannot set process.execCPUAffinity").because(std::io::Error::from(errno));
        match errno {
            Errno::INVAL => error.hint("none of these processors is there and in the container's cpuset"),
            _ => error,
        }
    })
}

/// Does something on these processors, as what it clones will then be, and returns to where we were.
///
/// # Errors
/// Its own; and where none of the processors is there.
pub(crate) fn while_confined_to<T>(processors: &[usize], work: impl FnOnce() -> Result<T>) -> Result<T> {
    if processors.is_empty() {
        return work();
    }
    // As many bits as any kernel has processors.
    let mut before = [0; 8192 / usize::BITS as usize];
    let bytes = schedule::affinity(0, &mut before).doing(|| "cannot read on which processors we are".into())?;
    confine_to(0, processors)?;
    let done = work();
    let back = confine_to(0, before.get(..bytes / size_of::<usize>()).unwrap_or_default());
    done.and_then(|value| back.map(|()| value))
}
