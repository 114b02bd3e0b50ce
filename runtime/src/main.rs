// SPDX-License-Identifier: Apache-2.0
//! kelp-runtime: the OCI runtime's command line, with runc's option names.
//!
//! Exit status: 0; 1 for an error of ours; for `run` and `exec` in the foreground that of the program.
#![cfg_attr(not(test), no_main)]

mod cli;

use std::io::Write;

#[cfg(not(test))]
kelp_sys::main!(run);

/// The exit status of an error of ours.
const FAILURE: u8 = 1;

/// Called by libc's start: nobody flushes stdout behind us.
#[cfg_attr(test, expect(dead_code, reason = "a test has a main of its own"))]
fn run() -> u8 {
    let status = invoke();
    match std::io::stdout().flush() {
        Err(error) if status == 0 && error.kind() != std::io::ErrorKind::BrokenPipe => {
            cli::complain(format_args!("error: cannot write to stdout\n  because: {error}"));
            FAILURE
        }
        _ => status,
    }
}

fn invoke() -> u8 {
    let (global, verb) = cli::parse(lexopt::Parser::from_env());
    let (log, verb) = match cli::Log::open(&global) {
        Ok(log) => (log, verb),
        Err(error) => (cli::Log::to_stderr(&global), Err(error)),
    };
    verb.and_then(|verb| cli::run_traced(&global, verb, &log)).unwrap_or_else(|error| {
        log.error(&error);
        FAILURE
    })
}
