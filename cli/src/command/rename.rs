// SPDX-License-Identifier: Apache-2.0
//! `kelp rename`: give a container another name.

use crate::caller::Caller;
use crate::container::{find, name};
use crate::error::{Error, Kind, Result};
use crate::events;
use clap::Args;
use std::process::ExitCode;

/// Give a container another name
#[derive(Debug, Args)]
pub(crate) struct Rename {
    /// Its name or id
    container: String,
    /// Its new name
    name: String,
}

/// Performs the command: takes the new name, records it, gives the old one back.
pub(crate) fn run(args: &Rename, caller: &Caller) -> Result<ExitCode> {
    let mut container = find::one(caller, &args.container)?;
    name::check(&args.name)?;
    if container.record.name == args.name {
        let because = "it has this name already; a container cannot be renamed to its current name";
        return Err(Error::new(Kind::AlreadyExists, format!("cannot rename container {}", args.name), because));
    }
    name::take(caller, &args.name, &container.record.id)?;
    let old = std::mem::replace(&mut container.record.name, args.name.clone());
    container.record.write(&container.folder)?;
    name::release(caller, &old, &container.record.id)?;
    events::container_with(caller, &container.record, "rename", [("oldName", format!("/{old}"))]);
    Ok(ExitCode::SUCCESS)
}
