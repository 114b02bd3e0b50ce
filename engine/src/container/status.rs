// SPDX-License-Identifier: Apache-2.0
//! What a container is doing, derived from the truth on disk each time: nothing is remembered that could be stale.
//!
//! The shim's lock says that it lives, exit.json how it ended, started.json that it ever ran.

use super::find::Container;
use super::record::Start;
use super::runtime::Runtime;
use crate::caller::Caller;
use crate::error::Result;
use crate::time;
use kelp_runtime::Status as RuntimeStatus;
use kelp_shim::{Exit, Restart, client};

/// Docker's words for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Made, never started.
    Created,
    /// The program runs.
    Running,
    /// The program is frozen.
    Paused,
    /// Ended, and about to be started again.
    Restarting,
    /// Ended.
    Exited,
    /// Its shim was killed, and nobody knows how it ended.
    Dead,
}

impl State {
    /// As `ps --filter status=` and `inspect` have it.
    pub fn word(self) -> &'static str {
        match self {
            State::Created => "created",
            State::Running => "running",
            State::Paused => "paused",
            State::Restarting => "restarting",
            State::Exited => "exited",
            State::Dead => "dead",
        }
    }

    /// A process of it exists, or will again without being asked.
    pub fn is_alive(self) -> bool {
        matches!(self, State::Running | State::Paused | State::Restarting)
    }
}

/// The state with what goes with it.
#[derive(Debug, Clone)]
pub struct Status {
    /// What it is doing.
    pub state: State,
    /// The program's process, 0 if there is none.
    pub pid: i32,
    /// How it ended, if it did.
    pub exit: Option<Exit>,
    /// Its latest start, if there was one.
    pub start: Option<Start>,
}

/// Looks.
pub fn of(caller: &Caller, container: &Container) -> Result<Status> {
    // In this order: a shim that ends between the two looks has written exit.json before it let the lock go.
    let held = client::is_held(&container.folder)?;
    let exit = Exit::read(&container.folder)?;
    let start = Start::read(&container.folder)?;
    let (state, pid) = match (held, &exit, &start) {
        (true, Some(_), _) if container.record.restart != Restart::No => (State::Restarting, 0),
        (_, Some(_), _) => (State::Exited, 0),
        (_, None, None) => (State::Created, 0),
        (held, None, Some(_)) => in_runtime(caller, container, held),
    };
    Ok(Status { state, pid, exit, start })
}

/// Neither ended nor unstarted: what the runtime knows of it.
fn in_runtime(caller: &Caller, container: &Container, held: bool) -> (State, i32) {
    let unknown = if held { State::Running } else { State::Dead };
    if container.record.runtime.is_some() {
        return in_other_runtime(caller, container, held, unknown);
    }
    // No state, or none that can be read, says no more than the lock does.
    let Ok(state) = kelp_runtime::Runtime::new(caller.places.runtime()).state(&container.record.id) else {
        return (unknown, 0);
    };
    match state.status {
        RuntimeStatus::Paused => (State::Paused, state.pid),
        RuntimeStatus::Running => (State::Running, state.pid),
        RuntimeStatus::Creating | RuntimeStatus::Created if held => (State::Running, state.pid),
        _ => (unknown, 0),
    }
}

/// What another program says of it; where it says nothing, the lock and the shim know as much as is needed.
fn in_other_runtime(caller: &Caller, container: &Container, held: bool, unknown: State) -> (State, i32) {
    match Runtime::of(caller, &container.record).state() {
        Ok((status, pid)) if held && status == "paused" => (State::Paused, pid),
        Ok((status, pid)) if held && status != "stopped" && pid > 0 => (State::Running, pid),
        _ => (unknown, pid_from_shim(caller, container, held)),
    }
}

fn pid_from_shim(caller: &Caller, container: &Container, held: bool) -> i32 {
    let ping = || client::connect(&caller.places.run, &container.record.id)?.ping();
    if held { ping().map_or(0, |(_, pid)| pid) } else { 0 }
}

impl Status {
    /// The STATUS column of `ps`: `Up 3 minutes`, `Exited (0) 2 hours ago`.
    pub fn sentence(&self) -> String {
        let since = |start: &Option<Start>| start.as_ref().map_or_else(String::new, |it| time::since(&it.started));
        match (self.state, &self.exit) {
            (State::Created, _) => "Created".to_owned(),
            (State::Running, _) => format!("Up {}", since(&self.start)),
            (State::Paused, _) => format!("Up {} (Paused)", since(&self.start)),
            (State::Restarting, Some(exit)) => {
                format!("Restarting ({}) {} ago", exit.code, time::since(&exit.finished))
            }
            (State::Exited, Some(exit)) => format!("Exited ({}) {} ago", exit.code, time::since(&exit.finished)),
            (State::Restarting | State::Exited, None) => "Exited".to_owned(),
            (State::Dead, _) => "Dead".to_owned(),
        }
    }

    /// The status people get where the program's own is not known: as for SIGKILL.
    pub fn exit_code(&self) -> i32 {
        match (&self.exit, self.state) {
            (Some(exit), _) => exit.code,
            (None, State::Dead) => 137,
            (None, _) => 0,
        }
    }
}
