// SPDX-License-Identifier: Apache-2.0
//! `linux.maskedPaths` and `readonlyPaths`: what of /proc and /sys tells or changes too much.

use super::Input;
use crate::options::security::SecurityOption;

const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Paths that look empty inside.
pub(super) fn masked(input: &Input<'_>) -> Vec<String> {
    if open(input) { Vec::new() } else { MASKED.map(str::to_owned).to_vec() }
}

/// Paths that cannot be written inside.
pub(super) fn read_only(input: &Input<'_>) -> Vec<String> {
    if open(input) { Vec::new() } else { READ_ONLY.map(str::to_owned).to_vec() }
}

fn open(input: &Input<'_>) -> bool {
    input.privileged() || input.options.isolation.security_opt.contains(&SecurityOption::SystemPathsUnconfined)
}
