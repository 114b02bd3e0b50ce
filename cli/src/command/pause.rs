// SPDX-License-Identifier: Apache-2.0
//! `kelp pause` and `kelp unpause`: freeze all processes of containers, and thaw them.

use crate::caller::Caller;
use crate::container::find;
use crate::container::runtime::Runtime;
use crate::container::status::{self, State};
use crate::error::{Error, Kind, Result};
use crate::events;
use crate::output;
use clap::Args;
use std::process::ExitCode;

// Of `pause` and `unpause`: each has its own line in the list of commands.
#[derive(Debug, Args)]
pub(crate) struct Pause {
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Performs `pause`.
pub(crate) fn run(args: &Pause, caller: &Caller) -> Result<ExitCode> {
    change(args, caller, State::Running, "pause", |runtime| runtime.pause())
}

/// Performs `unpause`.
pub(crate) fn run_unpause(args: &Pause, caller: &Caller) -> Result<ExitCode> {
    change(args, caller, State::Paused, "unpause", |runtime| runtime.resume())
}

fn change(
    args: &Pause,
    caller: &Caller,
    from: State,
    verb: &str,
    act: impl Fn(&Runtime<'_>) -> Result<()>,
) -> Result<ExitCode> {
    super::each(&args.containers, |wanted| {
        let container = find::one(caller, wanted)?;
        let state = status::of(caller, &container)?.state;
        if state != from {
            let doing = format!("cannot {verb} container {}", container.record.name);
            return Err(Error::new(Kind::WrongState, doing, format!("it is {}", state.word())));
        }
        let done = act(&Runtime::of(caller, &container.record));
        done.map_err(|error| super::explain(caller, &container, verb, error))?;
        events::container(caller, &container.record, verb);
        output::line(wanted)
    })
}
