// SPDX-License-Identifier: Apache-2.0
//! Where a created container waits for `start`.
//!
//! Runs in init, confined but for seccomp, whose profile may deny what waiting needs. The starter connects, says one byte, and
//! reads a report; the end of the stream without one means that the program runs.
//! Spec: runtime.md "Start".

use crate::born;
use crate::channel::{Channel, Report};
use crate::script::Script;
use crate::step::{During, Step, Stop};
use kelp_sys::rustix::fd::{AsFd, OwnedFd};
use kelp_sys::rustix::io::{Errno, read, retry_on_intr};
use kelp_sys::rustix::net::{SocketFlags, accept_with};

/// The connection of whoever said `start`.
pub(crate) struct Starter(OwnedFd);

impl Starter {
    pub(crate) fn channel(&self) -> Channel<'_> {
        Channel(self.0.as_fd())
    }
}

/// Says that the container is created, and waits. Without a gate the program runs at once.
pub(crate) fn await_start(script: &Script<'_>) -> Result<Option<Starter>, Stop> {
    let Some(gate) = script.gate else { return Ok(None) };
    script.begin(Step::Ready)?;
    let reachable = born::is_reachable(script);
    if reachable {
        // Dropping rights has hidden us.
        born::show().during(Step::Ready)?;
    }
    script.channel().report(Report::Ready, None).during(Step::Ready)?;
    loop {
        let starter = retry_on_intr(|| accept_with(gate, SocketFlags::CLOEXEC)).during(Step::Gate)?;
        let mut word = [0; 1];
        match retry_on_intr(|| read(&starter, &mut word)) {
            Ok(1) => {
                script.begin(Step::Gate)?;
                if reachable {
                    born::hide().during(Step::Gate)?;
                }
                return Ok(Some(Starter(starter)));
            }
            // Somebody knocked and went away: `state` may look whether we still wait.
            Ok(_) | Err(Errno::CONNRESET) => {}
            Err(errno) => return Err(errno).during(Step::Gate),
        }
    }
}
