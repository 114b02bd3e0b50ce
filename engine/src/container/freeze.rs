// SPDX-License-Identifier: Apache-2.0
//! All processes of a container frozen, and thawed.

use super::find::{self, Container};
use super::runtime::Runtime;
use super::status::{self, State};
use crate::caller::Caller;
use crate::error::{Error, Kind, Result};
use crate::events;

/// Freezes a container that runs.
///
/// # Errors
/// There is none, it does not run, or it has no cgroup of its own.
pub fn pause(caller: &Caller, wanted: &str) -> Result<()> {
    change(caller, wanted, State::Running, "pause", |runtime| runtime.pause())
}

/// Thaws one that is frozen.
///
/// # Errors
/// There is none, or it is not paused.
pub fn unpause(caller: &Caller, wanted: &str) -> Result<()> {
    change(caller, wanted, State::Paused, "unpause", |runtime| runtime.resume())
}

fn change(
    caller: &Caller,
    wanted: &str,
    from: State,
    verb: &str,
    act: impl Fn(&Runtime<'_>) -> Result<()>,
) -> Result<()> {
    let container = find::one(caller, wanted)?;
    let state = status::of(caller, &container)?.state;
    if state != from {
        let doing = format!("cannot {verb} container {}", container.record.name);
        return Err(Error::new(Kind::WrongState, doing, format!("it is {}", state.word())));
    }
    let done = act(&Runtime::of(caller, &container.record));
    done.map_err(|error| status::explain(caller, &container, verb, error))?;
    events::container(caller, &container.record, verb);
    Ok(())
}

/// Does something while a running container is frozen; one that cannot be frozen runs on, which the caller is told.
pub(super) fn during<T>(caller: &Caller, container: &Container, act: impl FnOnce() -> Result<T>) -> Result<T> {
    let runs = || Ok::<_, Error>(status::of(caller, container)?.state == State::Running);
    let runtime = Runtime::of(caller, &container.record);
    if !runs()? {
        return act();
    }
    if let Err(error) = runtime.pause() {
        // Without a cgroup of its own it cannot be.
        if runs()? {
            caller.note(format!("{} runs on meanwhile: {}", container.record.name, error.because()));
        }
        return act();
    }
    let done = act();
    let thawed = thaw(caller, container);
    let done = done?;
    thawed.map(|()| done)
}

/// Somebody may have ended or thawed it meanwhile: then there is nothing to do.
pub(super) fn thaw(caller: &Caller, container: &Container) -> Result<()> {
    match Runtime::of(caller, &container.record).resume() {
        Err(error) if status::of(caller, container)?.state == State::Paused => Err(error),
        _ => Ok(()),
    }
}
