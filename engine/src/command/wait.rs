// SPDX-License-Identifier: Apache-2.0
//! `kelp wait`: until containers end.

use crate::container::find::{self, Container};
use crate::container::status::{self, State};
use crate::error::Result;
use crate::output;
use crate::places::Places;
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
pub(crate) fn run(args: &Wait, places: &Places) -> Result<ExitCode> {
    super::each(&args.containers, |wanted| {
        let container = find::one(places, wanted)?;
        output::line(wait(places, &container)?)
    })
}

fn wait(places: &Places, container: &Container) -> Result<i32> {
    let status = status::of(places, container)?;
    if !status.state.is_alive() {
        return Ok(status.exit_code());
    }
    match kelp_shim::client::connect(&places.run, &container.record.id).and_then(|mut shim| shim.wait()) {
        Ok(ended) => Ok(ended.code),
        // It ended while we looked: the record says how.
        Err(error) if matches!(error.kind, kelp_shim::Kind::NoSuchContainer | kelp_shim::Kind::Lost) => {
            let status = status::of(places, container)?;
            if status.state == State::Running { Err(error.into()) } else { Ok(status.exit_code()) }
        }
        Err(error) => Err(error.into()),
    }
}
