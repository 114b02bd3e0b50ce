// SPDX-License-Identifier: Apache-2.0
//! `kelp wait`: until containers end.

use crate::caller::Caller;
use crate::container::wait;
use crate::error::Result;
use crate::output;
use clap::Args;
use std::process::ExitCode;

/// Wait until containers end, and print their statuses
#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Performs the command.
pub(crate) fn run(args: &Wait, caller: &Caller) -> Result<ExitCode> {
    super::each(&args.containers, |wanted| output::line(wait::wait(caller, wanted)?))
}
