// SPDX-License-Identifier: Apache-2.0
//! kelp-runtime: the OCI runtime's command line, with runc's option names.
//!
//! Exit status: 0; 1 for an error of ours; for `run` and `exec` in the foreground that of the program.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is the program that prints")]

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    let invocation = match cli::parse(lexopt::Parser::from_env()) {
        Ok(invocation) => invocation,
        Err(error) => {
            eprintln!("error: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let log = cli::Log::open(&invocation.global);
    match cli::run_traced(invocation, &log) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            log.error(&error);
            ExitCode::FAILURE
        }
    }
}
