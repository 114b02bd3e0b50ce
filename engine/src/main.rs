// SPDX-License-Identifier: Apache-2.0
//! `kelp`: containers for people. Parses, decides, and hands over to the libraries below.
//!
//! Only `main` and `output` print; everything else returns.

mod cli;
mod command;
mod container;
mod copy_job;
mod error;
mod events;
mod glob;
mod hello;
mod ids;
mod image;
mod near;
mod options;
mod output;
mod overlay;
mod places;
mod progress;
mod spec;
mod template;
mod terminal;
mod time;
mod usage;
mod volume;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Children of ours with a hidden first argument: before anything else, while there is one thread.
    if let Some(status) =
        kelp_bundles::job::run_if_asked().or_else(overlay::run_if_asked).or_else(copy_job::run_if_asked)
    {
        return status;
    }
    let words: Vec<_> = std::env::args_os().collect();
    let cli = match cli::parse(&words) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let result = places::Places::find(cli.root.as_deref()).and_then(|places| command::perform(&cli.command, &places));
    let result = result.map_err(|error| match cli.command {
        // Its status is the program's own: that we failed must not look like it.
        command::Command::Run(_) => error.with_run_status(),
        _ => error,
    });
    result.unwrap_or_else(|error| {
        output::error(&error);
        ExitCode::from(error.exit_status())
    })
}

/// Help and version go to stdout with status 0; anything not understood leaves with Docker's status.
fn refuse(error: &clap::Error) -> ExitCode {
    match usage::explain(error) {
        Some(error) => {
            output::error(&error);
            ExitCode::from(error.exit_status())
        }
        None => {
            // Printing fails only where the reader has gone.
            error.print().ok();
            ExitCode::SUCCESS
        }
    }
}
