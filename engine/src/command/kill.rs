// SPDX-License-Identifier: Apache-2.0
//! `kelp kill`: send the program a signal.

use crate::container::find;
use crate::error::Result;
use crate::options::signal;
use crate::output;
use crate::places::Places;
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
pub(crate) fn run(args: &Kill, places: &Places) -> Result<ExitCode> {
    super::each(&args.containers, |wanted| {
        let container = find::one(places, wanted)?;
        let mut shim = super::shim_of(places, &container, "kill")?;
        if args.signal == signal::KILL {
            // Whoever kills wants it gone when the command returns, and not started again.
            shim.stop(signal::KILL, Some(std::time::Duration::ZERO))?;
        } else {
            shim.signal(args.signal)?;
        }
        output::line(wanted)
    })
}
