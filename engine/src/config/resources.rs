// SPDX-License-Identifier: Apache-2.0
//! `linux.resources`: memory, processors, processes.

use super::{Input, devices};
use crate::error::{Error, Kind, Result};
use crate::request::Limits;
use oci_spec::runtime::{LinuxCpu, LinuxMemory, LinuxPids, LinuxResources};
use std::path::PathBuf;

/// Docker's scheduling period, in microseconds.
const PERIOD: u64 = 100_000;

/// The limits the user asked for; none otherwise.
pub(super) fn all(input: &Input<'_>) -> Result<LinuxResources> {
    let mut resources = of(&input.options.limits)?;
    resources.set_devices(devices::rules(input));
    Ok(resources)
}

/// The limits as the spec writes them.
pub fn of(limits: &Limits) -> Result<LinuxResources> {
    let mut resources = LinuxResources::default();
    resources.set_memory(memory(limits)?).set_cpu(cpu(limits)?).set_pids(limits.pids_limit.map(pids));
    // What is not said is not denied either: the type's default has a rule for devices.
    resources.set_devices(None);
    Ok(resources)
}

/// Where the cgroup goes, if the user says so; otherwise the runtime decides.
pub(super) fn cgroups_path(input: &Input<'_>) -> Option<PathBuf> {
    let parent = input.options.limits.cgroup_parent.as_deref()?;
    Some(PathBuf::from(parent).join(format!("kelp-{}", input.id)))
}

fn memory(limits: &Limits) -> Result<Option<LinuxMemory>> {
    let bad = |because: &str| Err(Error::new(Kind::BadInput, "cannot limit the memory", because));
    // Docker's 0 is “not said”.
    let said = |amount: Option<i64>| amount.filter(|amount| *amount != 0);
    let (limit, swap, reservation) = (said(limits.memory), said(limits.memory_swap), said(limits.memory_reservation));
    let least = |amount: Option<i64>| amount.is_some_and(|amount| amount < 6 << 20);
    match (limit, swap) {
        _ if least(limit) => return bad("Minimum memory limit allowed is 6MB"),
        _ if least(reservation) => return bad("Minimum memory reservation allowed is 6MB"),
        _ if limit.is_some_and(|limit| reservation > Some(limit)) => {
            return bad("Minimum memory limit can not be less than memory reservation limit, see usage");
        }
        (None, Some(swap)) if swap > 0 => return bad("--memory-swap needs --memory: it is memory and swap together"),
        (Some(limit), Some(swap)) if swap > 0 && swap < limit => {
            return bad("--memory-swap is memory and swap together: it cannot be below --memory");
        }
        (None, None) if reservation.is_none() => return Ok(None),
        _ => {}
    }
    // As Docker: as much swap again as memory, unless said otherwise.
    let swap = swap.or_else(|| limit.map(|limit| limit.saturating_mul(2)));
    let mut memory = LinuxMemory::default();
    memory.set_limit(limit).set_swap(swap).set_reservation(reservation);
    Ok(Some(memory))
}

fn cpu(limits: &Limits) -> Result<Option<LinuxCpu>> {
    // Docker's 0 is no limit.
    let (quota, period) = match limits.cpus.filter(|cpus| *cpus != 0.0) {
        Some(cpus) if !(cpus > 0.0 && cpus < 1e6) => {
            return Err(Error::new(Kind::BadInput, format!("cannot use --cpus {cpus}"), "expected a number above 0"));
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "checked to be below 1e6")]
        Some(cpus) => (Some((cpus * PERIOD as f64).round() as i64), Some(PERIOD)),
        None => (limits.cpu_quota, limits.cpu_period),
    };
    let nothing = quota.is_none() && period.is_none() && limits.cpu_shares.is_none();
    if nothing && limits.cpuset_cpus.is_none() && limits.cpuset_mems.is_none() {
        return Ok(None);
    }
    let mut cpu = LinuxCpu::default();
    cpu.set_quota(quota)
        .set_period(period)
        .set_shares(limits.cpu_shares)
        .set_cpus(limits.cpuset_cpus.clone())
        .set_mems(limits.cpuset_mems.clone());
    Ok(Some(cpu))
}

/// Docker's 0 means no limit, as -1 does.
fn pids(limit: i64) -> LinuxPids {
    let mut pids = LinuxPids::default();
    pids.set_limit(if limit <= 0 { -1 } else { limit });
    pids
}
