// SPDX-License-Identifier: Apache-2.0
//! The holder of one container, from birth to end. Read it in this order: [`hold`], `birth`, `life`, `requests`.
//!
//! One thread, one poll loop, a bounded amount of memory: it lives as long as the container does.

mod backend;
mod birth;
mod clients;
mod confinement;
mod events;
mod hand;
mod life;
mod oom;
mod place;
mod requests;
mod restart;
mod stdio;

use crate::complain;
use birth::Birth;
use kelp_shim::{Doing, Error, Exit, Kind, Status};
use kelp_sys::rustix::process::{getpid, set_child_subreaper};
use kelp_sys::sigaction::{Caught, Ignored};
use life::Holder;
use place::Place;
use std::process::ExitCode;

/// SIGCHLD is what we live on. SIGTERM comes from a system that goes down. The others would end us, and mean the command
/// that started us, not the container: they are caught and forgotten rather than ignored, since what is ignored would stay
/// so in the programs we start.
const CAUGHT: [i32; 9] = [SIGCHLD, 1, 2, 3, 10, 12, 13, 14, SIGTERM];
const SIGCHLD: i32 = 17;
const SIGTERM: i32 = 15;

/// Holds a container until it has ended.
pub(crate) fn hold() -> ExitCode {
    let Some(socket) = birth::inherited_socket() else {
        complain(&"error: kelp-shim is started by kelp, not by hand\n  because: its standard input is no socket");
        return ExitCode::from(2);
    };
    if let Err(error) = birth::become_unwritable() {
        birth::refuse(&socket, error);
        return ExitCode::FAILURE;
    }
    if let Err(error) = birth::leave_the_command() {
        birth::refuse(&socket, error);
        return ExitCode::FAILURE;
    }
    let birth = match birth::hear(socket) {
        Ok(birth) => birth,
        Err((socket, error)) => {
            birth::refuse(&socket, error);
            return ExitCode::FAILURE;
        }
    };
    let (place, caught) = match prepare(&birth) {
        Ok(prepared) => prepared,
        Err(error) => {
            birth::refuse(&birth.socket, error);
            return ExitCode::FAILURE;
        }
    };
    // The lock is ours: from here on everything that happens to the container is recorded.
    match Holder::new(birth, place, caught).map(Holder::live) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn prepare(birth: &Birth) -> Result<(Place, Caught), Error> {
    place::complain_to_shim_log(&birth.launch)?;
    let place = Place::take(&birth.launch)?;
    set_child_subreaper(Some(getpid())).doing(|| "cannot adopt the container's processes")?;
    let caught = Caught::new(&CAUGHT, Ignored::Catch).doing(|| "cannot catch signals")?;
    Ok((place, caught))
}

/// The record of a container that never ran its program, or no longer can.
fn exit_of(error: &Error) -> Exit {
    let code = i32::from(error.kind.exit_status());
    Exit::now(Status { code, signal: None, oom: false }, Some(format!("{}: {}", error.doing, error.because)))
}

/// A client asked for what cannot be now.
fn not_running(doing: &str, because: &str) -> Error {
    Error::new(doing, because).kind(Kind::NotRunning)
}
