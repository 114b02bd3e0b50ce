// SPDX-License-Identifier: Apache-2.0
//! `kelp wait`: until containers end.

use crate::caller::Caller;
use crate::container::find::{self, Container};
use crate::container::status::{self, State};
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
    super::each(&args.containers, |wanted| {
        let container = find::one(caller, wanted)?;
        output::line(wait(caller, &container)?)
    })
}

fn wait(caller: &Caller, container: &Container) -> Result<i32> {
    let status = status::of(caller, container)?;
    if !status.state.is_alive() {
        return Ok(status.exit_code());
    }
    match kelp_shim::client::connect(&caller.places.run, &container.record.id).and_then(|mut shim| shim.wait()) {
        Ok(ended) => Ok(ended.code),
        // It ended while we looked: the record says how.
        Err(error) if matches!(error.kind, kelp_shim::Kind::NoSuchContainer | kelp_shim::Kind::Lost) => {
            let status = status::of(caller, container)?;
            if status.state == State::Running { Err(error.into()) } else { Ok(status.exit_code()) }
        }
        Err(error) => Err(error.into()),
    }
}
