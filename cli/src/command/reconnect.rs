// SPDX-License-Identifier: Apache-2.0
//! `kelp reconnect`: the network of a container that its restart policy has made anew. Not for people: its shim calls it.

use crate::caller::Caller;
use crate::container::{find, start};
use crate::error::{Doing, Result};
use clap::Args;
use std::os::fd::AsFd;
use std::process::ExitCode;

/// Connect a container that was made anew by its restart policy
#[derive(Debug, Args)]
pub(crate) struct Reconnect {
    /// Its id
    container: String,
    /// Its new init
    pid: i32,
}

/// Performs the command. Standard input is the container's life line: the shim closes the other end.
pub(crate) fn run(args: &Reconnect, caller: &Caller) -> Result<ExitCode> {
    let container = find::one(caller, &args.container)?;
    let uplink = std::io::stdin().as_fd().try_clone_to_owned().doing(|| "cannot take over the life line")?;
    start::reconnect(caller, &container, args.pid, uplink)?;
    Ok(ExitCode::SUCCESS)
}
