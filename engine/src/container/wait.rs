// SPDX-License-Identifier: Apache-2.0
//! Until a container ends.

use super::{find, status};
use crate::caller::Caller;
use crate::error::Result;
use std::time::Duration;

/// Waits, and tells the status that the program left with.
///
/// # Errors
/// There is no such container.
pub fn wait(caller: &Caller, wanted: &str) -> Result<i32> {
    let container = &find::one(caller, wanted)?;
    let status = status::of(caller, container)?;
    if !status.state.is_alive() {
        return Ok(status.exit_code());
    }
    loop {
        match kelp_shim::client::connect(&caller.places.run, &container.record.id).and_then(|mut shim| shim.wait()) {
            Ok(ended) => return Ok(ended.code),
            Err(error) if matches!(error.kind, kelp_shim::Kind::NoSuchContainer | kelp_shim::Kind::Lost) => {}
            Err(error) => return Err(error.into()),
        }
        // It ended while we looked: the record says how. Or its shim was killed, and nobody else can wait for the program.
        let status = status::of(caller, container)?;
        if !status.state.is_alive() {
            return Ok(status.exit_code());
        }
        std::thread::sleep(PAUSE);
    }
}

/// How often a container without a shim is looked at.
const PAUSE: Duration = Duration::from_millis(20);
