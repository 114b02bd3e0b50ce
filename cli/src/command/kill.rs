// SPDX-License-Identifier: Apache-2.0
//! `kelp kill`: send the program a signal.

use crate::caller::Caller;
use crate::container::find;
use crate::container::network;
use crate::container::status;
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
        let container = find::one(caller, wanted)?;
        let mut shim = super::shim_of(caller, &container, "kill")?;
        let sent = if args.signal == signal::KILL {
            // Whoever kills wants it gone when the command returns, and not started again.
            shim.stop(signal::KILL, Some(std::time::Duration::ZERO))
                .map(|_| network::await_release(caller, &container.record))
        } else {
            shim.signal(args.signal)
        };
        match sent {
            // The program had ended, and its shim was about to go.
            Err(error) if error.kind == kelp_shim::Kind::Lost && !status::of(caller, &container)?.state.is_alive() => {
                Err(super::not_running(&container, "kill"))
            }
            Err(error) => Err(error.into()),
            Ok(()) => output::line(wanted),
        }
    })
}
