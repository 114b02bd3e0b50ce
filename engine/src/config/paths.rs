// SPDX-License-Identifier: Apache-2.0
//! `linux.maskedPaths` and `readonlyPaths`: what of /proc and /sys tells or changes too much: the same
//! in a container of ours and in a bundle for another runtime.

use super::Input;
use crate::request::security::SecurityOption;
use kelp_bundles::bundle::{MASKED_PATHS, READONLY_PATHS};

/// Paths that look empty inside.
pub(super) fn masked(input: &Input<'_>) -> Vec<String> {
    if open(input) { Vec::new() } else { MASKED_PATHS.map(str::to_owned).to_vec() }
}

/// Paths that cannot be written inside.
pub(super) fn read_only(input: &Input<'_>) -> Vec<String> {
    if open(input) { Vec::new() } else { READONLY_PATHS.map(str::to_owned).to_vec() }
}

fn open(input: &Input<'_>) -> bool {
    input.privileged() || input.options.isolation.security_opt.contains(&SecurityOption::SystemPathsUnconfined)
}
