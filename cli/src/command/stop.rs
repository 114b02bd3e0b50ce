// SPDX-License-Identifier: Apache-2.0
//! `kelp stop` and `kelp restart`: ask the program to end, then make it.

use crate::caller::Caller;
use crate::container::find::{self, Container};
use crate::container::network;
use crate::container::runtime::Runtime;
use crate::container::start::{self, Stay};
use crate::container::status;
use crate::container::stop::{self, Found};
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
        stop_one(args, caller, &find::any(caller, wanted)?)?;
        output::line(wanted)
    })
}

/// Performs `restart`.
pub(crate) fn run_restart(args: &Stop, caller: &Caller) -> Result<ExitCode> {
    super::each(&args.containers, |wanted| {
        let container = find::one(caller, wanted)?;
        stop_one(args, caller, &container)?;
        start::start(caller, &container, &Stay::Detached)?;
        events::container(caller, &container.record, "restart");
        output::line(wanted)
    })
}

fn stop_one(args: &Stop, caller: &Caller, container: &Container) -> Result<()> {
    let record = &container.record;
    let state = status::of(caller, container)?.state;
    if !state.is_alive() {
        return Ok(());
    }
    if state == status::State::Paused {
        // A frozen program cannot heed a signal.
        let resumed = Runtime::of(caller, record).resume();
        // Somebody else thawed or ended it while we looked.
        if resumed.is_err() && status::of(caller, container)?.state == status::State::Paused {
            resumed?;
        }
    }
    let seconds = args.time.unwrap_or(record.stop_timeout);
    let timeout = u64::try_from(seconds).ok().map(Duration::from_secs);
    let found = stop::stop(caller, container, args.signal.unwrap_or(record.stop_signal), timeout)?;
    network::await_release(caller, record);
    if found == Found::Alive {
        events::container(caller, record, "stop");
    }
    Ok(())
}
