// SPDX-License-Identifier: Apache-2.0
//! `--restart POLICY`: the shim's type, shown as Docker writes it.

use kelp_shim::Restart;

/// Reads `no`, `always`, `unless-stopped`, `on-failure[:COUNT]`.
pub fn parse(text: &str) -> Result<Restart, String> {
    text.parse().map_err(|_| "expected no, always, unless-stopped or on-failure[:COUNT]".to_owned())
}

/// The policy's name without its count, and the count.
pub fn shown(policy: Restart) -> (&'static str, u32) {
    match policy {
        Restart::No => ("no", 0),
        Restart::Always => ("always", 0),
        Restart::UnlessStopped => ("unless-stopped", 0),
        Restart::OnFailure { max } => ("on-failure", max),
    }
}
