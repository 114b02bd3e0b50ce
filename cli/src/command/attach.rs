// SPDX-License-Identifier: Apache-2.0
//! `kelp attach`: to a running container's streams.
//!
//! As in Docker, signals that we get go to the program, SIGTERM too, and we leave when the program ends: what ends `kelp attach`
//! alone is the detach keys, SIGKILL, or any signal with `--sig-proxy=false`. So `timeout 5 kelp attach NAME` waits for a
//! program that ignores SIGTERM; `timeout -k 1 5 …` does not, and leaves the program running.

use crate::caller::Caller;
use crate::container::{find, status, stop};
use crate::error::Result;
use crate::events;
use clap::Args;
use kelp_shim::Streams;
use kelp_shim::client::{DetachKeys, Ended, Relay};
use std::process::ExitCode;

/// Attach to a running container
#[derive(Debug, Args)]
pub(crate) struct Attach {
    /// Do not pass on our stdin
    #[arg(long)]
    no_stdin: bool,
    /// Pass signals on to the program
    #[arg(long, value_name = "BOOL", default_value_t = true, num_args = 0..=1, require_equals = true,
        default_missing_value = "true", action = clap::ArgAction::Set, hide_possible_values = true)]
    sig_proxy: bool,
    /// Keys that detach from the container; ctrl-p,ctrl-q by default
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<DetachKeys>,
    /// Name or id
    container: String,
}

/// Performs the command: leaves with the program's status.
pub(crate) fn run(args: &Attach, caller: &Caller) -> Result<ExitCode> {
    let container = find::one(caller, &args.container)?;
    let mut shim = status::shim_of(caller, &container, "attach to")?;
    let relay = Relay {
        streams: Streams { stdin: !args.no_stdin, ..Streams::ALL },
        detach_keys: super::detach_keys(args.detach_keys.as_ref(), caller)?,
        proxy_signals: args.sig_proxy,
    };
    events::container(caller, &container.record, "attach");
    let left = match shim.attach(&relay) {
        // It ended as we came: the record says how.
        Err(error) if stop::is_gone(&error) && status::has_just_ended(caller, &container) => {
            return Ok(super::run::exit_code(status::of(caller, &container)?.exit_code()));
        }
        left => left?,
    };
    Ok(match left {
        Ended::Exited(status) => super::run::exit_code(status.code),
        Ended::Detached => {
            events::container(caller, &container.record, "detach");
            ExitCode::SUCCESS
        }
        Ended::Signalled(signal) => super::run::exit_code(128 + signal),
    })
}
