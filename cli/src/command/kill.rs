// SPDX-License-Identifier: Apache-2.0
//! `kelp kill`: send the program a signal.

use crate::caller::Caller;
use crate::container::kill;
use crate::error::Result;
use crate::output;
use crate::request::{self, signal};
use clap::Args;
use std::process::ExitCode;

/// Send a signal to one or more containers
#[derive(Debug, Args)]
pub(crate) struct Kill {
    /// Name or number
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL", value_parser = signal::parse)]
    signal: i32,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Performs the command.
pub(crate) fn run(args: &Kill, caller: &Caller) -> Result<ExitCode> {
    super::each(&args.containers, |wanted| {
        kill::kill(caller, &request::Kill { container: wanted.to_owned(), signal: args.signal })?;
        output::line(wanted)
    })
}
