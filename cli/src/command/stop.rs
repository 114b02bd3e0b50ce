// SPDX-License-Identifier: Apache-2.0
//! `kelp stop` and `kelp restart`: ask the program to end, then make it.

use crate::caller::Caller;
use crate::container::stop;
use crate::error::Result;
use crate::output;
use crate::request::{self, signal};
use clap::Args;
use std::process::ExitCode;

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

/// Performs `stop`.
pub(crate) fn run(args: &Stop, caller: &Caller) -> Result<ExitCode> {
    super::each(&args.containers, |wanted| {
        stop::ask(caller, &args.request(wanted))?;
        output::line(wanted)
    })
}

/// Performs `restart`.
pub(crate) fn run_restart(args: &Stop, caller: &Caller) -> Result<ExitCode> {
    super::each(&args.containers, |wanted| {
        stop::restart(caller, &args.request(wanted))?;
        output::line(wanted)
    })
}

impl Stop {
    fn request(&self, container: &str) -> request::Stop {
        request::Stop { container: container.to_owned(), signal: self.signal, timeout: self.time }
    }
}
