// SPDX-License-Identifier: Apache-2.0
//! `kelp pause` and `kelp unpause`: freeze all processes of containers, and thaw them.

use crate::container::find;
use crate::container::runtime::Runtime;
use crate::container::status::{self, State};
use crate::error::{Error, Kind, Result};
use crate::events;
use crate::output;
use crate::places::Places;
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
pub(crate) fn run(args: &Pause, places: &Places) -> Result<ExitCode> {
    change(args, places, State::Running, "pause", |runtime| runtime.pause())
}

/// Performs `unpause`.
pub(crate) fn run_unpause(args: &Pause, places: &Places) -> Result<ExitCode> {
    change(args, places, State::Paused, "unpause", |runtime| runtime.resume())
}

fn change(
    args: &Pause,
    places: &Places,
    from: State,
    verb: &str,
    act: impl Fn(&Runtime<'_>) -> Result<()>,
) -> Result<ExitCode> {
    super::each(&args.containers, |wanted| {
        let container = find::one(places, wanted)?;
        let state = status::of(places, &container)?.state;
        if state != from {
            let doing = format!("cannot {verb} container {}", container.record.name);
            return Err(Error::new(Kind::WrongState, doing, format!("it is {}", state.word())));
        }
        act(&Runtime::of(places, &container.record))?;
        events::container(places, &container.record, verb);
        output::line(wanted)
    })
}
