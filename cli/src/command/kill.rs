// SPDX-License-Identifier: Apache-2.0
//! `kelp kill`: send the program a signal.

use crate::caller::Caller;
use crate::container::find;
use crate::container::network;
use crate::container::status;
use crate::container::stop::{self, Found};
use crate::error::Result;
use crate::output;
use crate::request::signal;
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
        let container = find::any(caller, wanted)?;
        if !status::of(caller, &container)?.state.is_alive() {
            return Err(super::not_running(&container, "kill"));
        }
        let found = if args.signal == signal::KILL {
            // Whoever kills wants it gone when the command returns, and not started again.
            stop::stop(caller, &container, signal::KILL, Some(std::time::Duration::ZERO))?
        } else {
            stop::send(caller, &container, args.signal)?
        };
        if found == Found::Ended {
            return Err(super::not_running(&container, "kill"));
        }
        if args.signal == signal::KILL {
            network::await_release(caller, &container.record);
        }
        output::line(wanted)
    })
}
