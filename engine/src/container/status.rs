// SPDX-License-Identifier: Apache-2.0
//! What a container is doing, derived from the truth on disk each time: nothing is remembered that could be stale.
//!
//! The shim's lock says that it lives, exit.json how it ended, started.json that it ever ran.

use super::find::Container;
use super::record::Start;
use super::runtime::{self, Runtime};
use super::stray;
use crate::caller::Caller;
use crate::error::{Error, Kind, Result};
use crate::time;
use kelp_runtime::Status as RuntimeStatus;
use kelp_shim::client::{self, Connection};
use kelp_shim::{Exit, Restart};
use std::time::{Duration, Instant};

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
    /// What is wrong with its files, if something is.
    pub damage: Option<Error>,
}

/// Looks.
pub fn of(caller: &Caller, container: &Container) -> Result<Status> {
    // In this order: a shim that ends between the two looks has written exit.json before it let the lock go.
    let held = client::is_held(&container.folder)?;
    let (exit, lost_exit) = known(Exit::read(&container.folder).map_err(Error::from));
    let (start, lost_start) = known(Start::read(&container.folder));
    let start = start.or_else(|| lost_start.is_some().then(|| Start::substitute(&container.folder)));
    let damage = container.damage.clone().or(lost_exit.clone()).or(lost_start);
    let (state, pid) = match (held, &exit, &start) {
        (true, Some(_), _) if container.record.restart != Restart::No => (State::Restarting, 0),
        // Its program never ran.
        (_, Some(exit), None) if exit.error.is_some() => (State::Created, 0),
        (_, Some(_), _) => (State::Exited, 0),
        (false, None, _) if lost_exit.is_some() => (State::Dead, 0),
        (held, None, None) => before_start(caller, container, held),
        (held, None, Some(_)) => in_runtime(caller, container, held),
    };
    // Only of one whose shim was killed may the runtime's record be the last.
    let orphaned = !held && exit.is_none() && start.is_some();
    let damage = damage.or_else(|| orphaned.then(|| stray::damage(caller, &container.record)).flatten());
    Ok(Status { state, pid, exit, start, damage })
}

/// How long a program may take from losing its files to being taken in by its shim.
const ENDING_MAX: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(2);

/// Whether something failed because the program was ending meanwhile: waits until that is on record. A program that lives
/// is known by its root, which one that ends has lost.
pub fn has_just_ended(caller: &Caller, container: &Container) -> bool {
    let begin = Instant::now();
    loop {
        match of(caller, container) {
            Ok(status) if !status.state.is_alive() => return true,
            Ok(status) if status.pid == 0 || is_ending(status.pid) => {}
            _ => return false,
        }
        if begin.elapsed() > ENDING_MAX {
            return false;
        }
        std::thread::sleep(PAUSE);
    }
}

/// A connection to the shim of a container that runs.
pub fn shim_of(caller: &Caller, container: &Container, verb: &str) -> Result<Connection> {
    client::connect(&caller.places.run, &container.record.id).map_err(|error| match error.kind {
        kelp_shim::Kind::NoSuchContainer => not_running(container, verb),
        // Its shim left between our knock and our first word.
        kelp_shim::Kind::Lost => explain(caller, container, verb, error.into()),
        _ => error.into(),
    })
}

/// The error of a verb that wants a program.
pub fn not_running(container: &Container, verb: &str) -> Error {
    let name = &container.record.name;
    Error::new(Kind::WrongState, format!("cannot {verb} container {name}"), "it is not running")
        .hint(format!("kelp start {name}; kelp ps -a shows all"))
}

/// The reason for an error, where it is that the program has just ended.
pub fn explain(caller: &Caller, container: &Container, verb: &str, error: Error) -> Error {
    if has_just_ended(caller, container) { not_running(container, verb) } else { error }
}

fn is_ending(pid: i32) -> bool {
    std::fs::read_link(format!("/proc/{pid}/root")).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

/// What a file says; and what is wrong with it, if it cannot be read: that hides no container.
fn known<T>(read: Result<Option<T>>) -> (Option<T>, Option<Error>) {
    match read {
        Ok(found) => (found, None),
        Err(error) => (None, Some(error)),
    }
}

/// No start is on record. The runtime knows better where that record, or the container's, is lost.
fn before_start(caller: &Caller, container: &Container, held: bool) -> (State, i32) {
    let known = held || runtime::root(caller, &container.record).join(&container.record.id).exists();
    match if known { in_runtime(caller, container, held) } else { (State::Created, 0) } {
        // It is being made: its program has not been started.
        (State::Running, pid) if container.damage.is_none() && has_gate(caller, container) => (State::Created, pid),
        (State::Dead, _) if container.damage.is_none() => (State::Created, 0),
        (State::Created, _) if container.damage.is_some() => (State::Dead, 0),
        other => other,
    }
}

/// Whether its first process waits for `start`; of another runtime's containers, whether a shim makes it just now.
fn has_gate(caller: &Caller, container: &Container) -> bool {
    let id = &container.record.id;
    match &container.record.runtime {
        None => !caller
            .runtime()
            .state(id)
            .is_ok_and(|state| matches!(state.status, RuntimeStatus::Running | RuntimeStatus::Paused)),
        Some(_) => !Runtime::of(caller, &container.record).state().is_ok_and(|(status, _)| status == "running"),
    }
}

/// Neither ended nor unstarted: what the runtime knows of it.
fn in_runtime(caller: &Caller, container: &Container, held: bool) -> (State, i32) {
    let unknown = if held { State::Running } else { State::Dead };
    if container.record.runtime.is_some() {
        return in_other_runtime(caller, container, held, unknown);
    }
    // No state, or none that can be read, says no more than the lock does.
    let Ok(state) = caller.runtime().state(&container.record.id) else {
        return match without_record(caller, container, held) {
            Some(pid) => (State::Running, pid),
            None => (unknown, pid_from_shim(caller, container, held)),
        };
    };
    match state.status {
        RuntimeStatus::Paused => (State::Paused, state.pid),
        RuntimeStatus::Running => (State::Running, state.pid),
        RuntimeStatus::Creating | RuntimeStatus::Created if held => (State::Running, state.pid),
        _ => (unknown, 0),
    }
}

/// A process that runs of a container of which nobody knows any more.
fn without_record(caller: &Caller, container: &Container, held: bool) -> Option<i32> {
    let lost = !held && stray::damage(caller, &container.record).is_some();
    if lost { stray::of(&container.record.id).first().copied() } else { None }
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
        if self.damage.is_some() {
            return if self.state.is_alive() { "Up (Damaged)".to_owned() } else { "Damaged".to_owned() };
        }
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
