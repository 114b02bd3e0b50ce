// SPDX-License-Identifier: Apache-2.0
//! `kelp rm`: remove containers.

use crate::caller::Caller;
use crate::container::find;
use crate::container::remove::{self, Force};
use crate::error::{Error, Kind, Result};
use clap::Args;
use kelp_bundles::Store;
use std::process::ExitCode;

/// Remove one or more containers
#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// Kill it first if it is running
    #[arg(short, long)]
    force: bool,
    /// Remove its volumes that have no name, too
    #[arg(short, long)]
    volumes: bool,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// The error, with the hint that an image has this name, where it has.
fn or_image(caller: &Caller, wanted: &str, error: Error) -> Error {
    let image = Store::open(&caller.places.store).ok().and_then(|store| store.find_any(wanted).ok());
    match image {
        Some(_) => error.hint(format!("it is an image: kelp rmi {wanted}")),
        None => error,
    }
}

/// Performs the command.
pub(crate) fn run(args: &Rm, caller: &Caller) -> Result<ExitCode> {
    let force = if args.force { Force::Yes } else { Force::No };
    let status = super::each_at_once(&args.containers, |wanted| {
        let container = match find::any(caller, wanted) {
            // `rm -f` makes sure that it is not there.
            Err(error) if args.force && error.kind() == Kind::NotFound => return Ok(false),
            Err(error) if error.kind() == Kind::NotFound => return Err(or_image(caller, wanted, error)),
            found => found?,
        };
        remove::container(caller, &container, force, args.volumes)?;
        Ok(true)
    })?;
    remove::sweep(caller)?;
    Ok(status)
}
