// SPDX-License-Identifier: Apache-2.0
//! A signal for a container's program.

use super::stop::{self, Found};
use super::{find, network, status};
use crate::caller::Caller;
use crate::error::Result;
use crate::request::{Kill, signal};
use std::time::Duration;

/// Sends the signal. After SIGKILL the program has ended when this returns, and is not started again.
///
/// # Errors
/// There is no such container, or it does not run.
pub fn kill(caller: &Caller, asked: &Kill) -> Result<()> {
    let container = find::any(caller, &asked.container)?;
    if !status::of(caller, &container)?.state.is_alive() {
        return Err(status::not_running(&container, "kill"));
    }
    let found = match asked.signal {
        signal::KILL => stop::stop(caller, &container, signal::KILL, Some(Duration::ZERO))?,
        other => stop::send(caller, &container, other)?,
    };
    if found == Found::Ended {
        return Err(status::not_running(&container, "kill"));
    }
    if asked.signal == signal::KILL {
        network::await_release(caller, &container.record);
    }
    Ok(())
}
