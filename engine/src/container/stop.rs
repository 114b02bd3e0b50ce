// SPDX-License-Identifier: Apache-2.0
//! Ends a container's program: by its shim, or where that is gone, by the runtime.
//!
//! A container that just ended, or is just being started, is met at every moment: each answer is checked against what is on disk.

use super::find::{self, Container};
use super::runtime::Runtime;
use super::start::{self, Stay};
use super::status::{self, State};
use super::{freeze, network, remove};
use crate::caller::Caller;
use crate::error::Result;
use crate::events;
use crate::request::{Stop, signal};
use kelp_shim::client;
use std::time::{Duration, Instant};

/// How long a shim that holds the container may be without its socket: it makes that right after it has taken the lock.
const SOCKET_MAX: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(2);

/// Asks the program to end, and makes it where it does not. What does not run is stopped already.
///
/// # Errors
/// There is no such container, or its program cannot be ended.
pub fn ask(caller: &Caller, asked: &Stop) -> Result<()> {
    ask_one(caller, &find::any(caller, &asked.container)?, asked)
}

/// The same, and starts it again.
///
/// # Errors
/// As of [`ask`]; or it cannot be started.
pub fn restart(caller: &Caller, asked: &Stop) -> Result<()> {
    let container = find::one(caller, &asked.container)?;
    ask_one(caller, &container, asked)?;
    start::start(caller, &container, &Stay::Detached)?;
    events::container(caller, &container.record, "restart");
    Ok(())
}

fn ask_one(caller: &Caller, container: &Container, asked: &Stop) -> Result<()> {
    let record = &container.record;
    let state = status::of(caller, container)?.state;
    if !state.is_alive() {
        return Ok(());
    }
    if state == State::Paused {
        // A frozen program cannot heed a signal.
        freeze::thaw(caller, container)?;
    }
    let seconds = asked.timeout.unwrap_or(record.stop_timeout);
    let timeout = u64::try_from(seconds).ok().map(Duration::from_secs);
    let found = stop(caller, container, asked.signal.unwrap_or(record.stop_signal), timeout)?;
    network::await_release(caller, record);
    if found == Found::Alive {
        events::container(caller, record, "stop");
    }
    Ok(())
}

/// Whether there was anything to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// The program ran.
    Alive,
    /// It had ended, or ended by itself while we asked.
    Ended,
}

/// Sends `signal` and, after `timeout`, SIGKILL. The program has ended when this returns, and no restart follows.
pub fn stop(caller: &Caller, container: &Container, signal: i32, timeout: Option<Duration>) -> Result<Found> {
    by_shim(
        caller,
        container,
        |shim| shim.stop(signal, timeout).map(drop),
        || by_runtime(caller, container, signal, timeout),
    )
}

/// Sends the program a signal, and does not wait for what comes of it.
pub fn send(caller: &Caller, container: &Container, signal: i32) -> Result<Found> {
    by_shim(caller, container, |shim| shim.signal(signal), || Runtime::of(caller, &container.record).kill(signal))
}

/// Asks the shim; `otherwise` is for a program whose shim was killed.
fn by_shim(
    caller: &Caller,
    container: &Container,
    ask: impl Fn(&mut client::Connection) -> Result<(), kelp_shim::Error>,
    otherwise: impl Fn() -> Result<()>,
) -> Result<Found> {
    let begin = Instant::now();
    loop {
        match client::connect(&caller.places.run, &container.record.id).and_then(|mut shim| ask(&mut shim)) {
            Ok(()) => return Ok(Found::Alive),
            // It is taking in the end of the program.
            Err(error) if error.kind == kelp_shim::Kind::NotRunning => return Ok(Found::Ended),
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error.into()),
        }
        // The shim writes how the container ended before it goes.
        if !status::of(caller, container)?.state.is_alive() {
            return Ok(Found::Ended);
        }
        if !client::is_held(&container.folder)? || begin.elapsed() > SOCKET_MAX {
            return otherwise().map(|()| Found::Alive);
        }
        std::thread::sleep(PAUSE);
    }
}

/// Whether nobody answers where the shim was.
pub fn is_gone(error: &kelp_shim::Error) -> bool {
    matches!(error.kind, kelp_shim::Kind::Lost | kelp_shim::Kind::NoSuchContainer)
}

/// Ends what has no shim any more, and forgets it: nobody else would.
fn by_runtime(caller: &Caller, container: &Container, signal: i32, timeout: Option<Duration>) -> Result<()> {
    let runtime = Runtime::of(caller, &container.record);
    if signal != signal::KILL && runtime.kill(signal).is_ok() {
        let begin = Instant::now();
        let has_time = || timeout.is_none_or(|timeout| begin.elapsed() < timeout);
        while has_time() && status::of(caller, container)?.state.is_alive() {
            std::thread::sleep(PAUSE);
        }
    }
    remove::forget(caller, &container.record)
}
