// SPDX-License-Identifier: Apache-2.0
//! `kelp`: containers for people. Parses, decides, and hands over to the libraries below.
//!
//! Only `main` and `output` print; everything else returns.

mod cli;
mod command;
mod docker_config;
mod flags;
mod output;
mod platform;
mod process;
mod progress;
mod template;
mod terminal;
mod trace;
mod usage;

pub(crate) use kelp_engine::{
    caller, config, container, copy_job, disk, error, events, filter, glob, ids, image, near, overlay, places, prune,
    request, terminal_keeper, time, volume,
};

use error::Doing;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Children of ours with a hidden first argument: before anything else, while there is one thread.
    if let Some(status) = kelp_bundles::job::run_if_asked() {
        return status;
    }
    if let Some(done) = overlay::run_if_asked() {
        return child(done.map_err(|because| output::plain_error(&because)));
    }
    if let Some(done) = copy_job::run_if_asked() {
        return match done {
            Err(error) if error.kind() == error::Kind::CutOff => ExitCode::from(copy_job::CUT_OFF),
            done => child(done.map_err(|error| output::error(&error))),
        };
    }
    if let Some(done) = terminal_keeper::run_if_asked() {
        return child(done.map_err(|error| output::error(&error)));
    }
    let words: Vec<_> = std::env::args_os().collect();
    let cli = match cli::parse(&words) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error, &words),
    };
    let result = trace::begin(&cli).and_then(|()| process::caller(cli.root.as_deref()));
    let result = result.and_then(|caller| command::perform(&cli.command, &caller));
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

/// The status of a child of ours, which has said what went wrong.
fn child(done: Result<(), ()>) -> ExitCode {
    if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Help and version go to stdout with status 0; anything not understood leaves with Docker's status.
fn refuse(error: &clap::Error, words: &[std::ffi::OsString]) -> ExitCode {
    match usage::explain(error, words) {
        Some(error) => {
            output::error(&error);
            ExitCode::from(error.exit_status())
        }
        None => {
            let told = match error.print() {
                // The reader has gone with what he wanted.
                Err(gone) if gone.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
                told => told.doing(|| "cannot write to stdout"),
            };
            child(told.map_err(|error| output::error(&error)))
        }
    }
}
