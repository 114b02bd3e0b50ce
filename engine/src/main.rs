// SPDX-License-Identifier: Apache-2.0
//! `kelp`: containers for people. Parses, decides, and hands over to the libraries below.
//!
//! Only `main` and `output` print; everything else returns.

mod cli;
mod command;
mod container;
mod error;
mod options;
mod output;
mod places;
mod spec;
mod time;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => return refuse(&usage),
    };
    let result = places::Places::find(cli.root.as_deref()).and_then(|places| command::perform(&cli.command, &places));
    result.unwrap_or_else(|error| {
        output::error(&error);
        ExitCode::from(error.exit_status())
    })
}

/// Help and version go to stdout with status 0; anything not understood leaves with Docker's 125.
fn refuse(usage: &clap::Error) -> ExitCode {
    // Printing fails only where the reader has gone.
    usage.print().ok();
    ExitCode::from(if usage.use_stderr() { 125 } else { 0 })
}
