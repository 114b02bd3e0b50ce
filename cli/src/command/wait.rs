// SPDX-License-Identifier: Apache-2.0
//! `kelp wait`: until containers end.

use crate::caller::Caller;
use crate::container::find::{self, Container};
use crate::container::status;
use crate::error::Result;
use crate::output;
use clap::Args;
use std::process::ExitCode;
use std::time::Duration;

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
    loop {
        match kelp_shim::client::connect(&caller.places.run, &container.record.id).and_then(|mut shim| shim.wait()) {
            Ok(ended) => return Ok(ended.code),
            Err(error) if matches!(error.kind, kelp_shim::Kind::NoSuchContainer | kelp_shim::Kind::Lost) => {}
            Err(error) => return Err(error.into()),
        }
        // It ended while we looked: the record says how. Or its shim was killed, and nobody else can wait for the program.
        let status = status::of(caller, container)?;
        if !status.state.is_alive() {
            return Ok(status.exit_code());
        }
        std::thread::sleep(PAUSE);
    }
}

/// How often a container without a shim is looked at.
const PAUSE: Duration = Duration::from_millis(20);
