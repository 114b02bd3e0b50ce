// SPDX-License-Identifier: Apache-2.0
//! kelp-shim: started by `kelp` with a socket for its standard input, holds one container until it ends.

mod holder;

use std::fmt::Display;
use std::process::ExitCode;

fn main() -> ExitCode {
    holder::hold()
}

/// Says what nobody is there to hear: in `shim.log`, which standard error is while a container is held.
#[expect(clippy::print_stderr, reason = "the one place that prints")]
pub(crate) fn complain(complaint: &dyn Display) {
    eprintln!("{} {complaint}", kelp_shim::time::Timestamp::now());
}
