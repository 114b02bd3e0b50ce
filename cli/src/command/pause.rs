// SPDX-License-Identifier: Apache-2.0
//! `kelp pause` and `kelp unpause`: freeze all processes of containers, and thaw them.

use crate::caller::Caller;
use crate::container::freeze;
use crate::error::Result;
use crate::output;
use clap::Args;
use std::process::ExitCode;

// Of `pause` and `unpause`: each has its own line in the list of commands.
#[derive(Debug, Args)]
pub(crate) struct Pause {
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Performs `pause`.
pub(crate) fn run(args: &Pause, caller: &Caller) -> Result<ExitCode> {
    super::each(&args.containers, |wanted| freeze::pause(caller, wanted).and_then(|()| output::line(wanted)))
}

/// Performs `unpause`.
pub(crate) fn run_unpause(args: &Pause, caller: &Caller) -> Result<ExitCode> {
    super::each(&args.containers, |wanted| freeze::unpause(caller, wanted).and_then(|()| output::line(wanted)))
}
