// SPDX-License-Identifier: Apache-2.0
//! `kelp stop` and `kelp restart`: ask the program to end, then make it.

use crate::caller::Caller;
use crate::container::find::{self, Container};
use crate::container::network;
use crate::container::runtime::Runtime;
use crate::container::start::{self, Stay};
use crate::container::status;
use crate::error::Result;
use crate::events;
use crate::output;
use crate::request::signal;
use clap::Args;
use std::process::ExitCode;
use std::time::Duration;

// Of `stop` and `restart`: each has its own line in the list of commands.
#[derive(Debug, Args)]
pub(crate) struct Stop {
    /// Seconds until it is killed; -1: never
    #[arg(short, long, visible_alias = "timeout", value_name = "SECONDS", allow_hyphen_values = true)]
    time: Option<i64>,
    /// The signal that asks, instead of the container's own
    #[arg(short, long, value_name = "SIGNAL", value_parser = signal::parse)]
    signal: Option<i32>,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Performs `stop`. What is not running is stopped already.
pub(crate) fn run(args: &Stop, caller: &Caller) -> Result<ExitCode> {
    super::each(&args.containers, |wanted| {
        stop(args, caller, &find::one(caller, wanted)?)?;
        output::line(wanted)
    })
}

/// Performs `restart`.
pub(crate) fn run_restart(args: &Stop, caller: &Caller) -> Result<ExitCode> {
    super::each(&args.containers, |wanted| {
        let container = find::one(caller, wanted)?;
        stop(args, caller, &container)?;
        start::start(caller, &container, &Stay::Detached)?;
        events::container(caller, &container.record, "restart");
        output::line(wanted)
    })
}

fn stop(args: &Stop, caller: &Caller, container: &Container) -> Result<()> {
    let record = &container.record;
    let state = status::of(caller, container)?.state;
    if !state.is_alive() {
        return Ok(());
    }
    if state == status::State::Paused {
        // A frozen program cannot heed a signal.
        Runtime::of(caller, record).resume()?;
    }
    let seconds = args.time.unwrap_or(record.stop_timeout);
    let timeout = u64::try_from(seconds).ok().map(Duration::from_secs);
    let mut shim = match kelp_shim::client::connect(&caller.places.run, &record.id) {
        Ok(shim) => shim,
        // It ended while we looked, or its shim was killed: then the runtime kills what is left.
        Err(error) if error.kind == kelp_shim::Kind::NoSuchContainer => {
            return crate::container::remove::forget(caller, &record.id);
        }
        Err(error) => return Err(error.into()),
    };
    if let Err(error) = shim.stop(args.signal.unwrap_or(record.stop_signal), timeout) {
        if error.kind != kelp_shim::Kind::Lost {
            return Err(error.into());
        }
        // The shim went away while it answered: what was asked for has come true, or the runtime makes it so.
        if status::of(caller, container)?.state.is_alive() {
            return crate::container::remove::forget(caller, &record.id);
        }
    }
    network::await_release(caller, record);
    events::container(caller, record, "stop");
    Ok(())
}
