// SPDX-License-Identifier: Apache-2.0
//! `kelp rmi`: names of images, and with the last one the image.

use crate::caller::Caller;
use crate::error::{Error, Result};
use crate::events;
use crate::output;
use clap::Args;
use kelp_bundles::Store;
use kelp_bundles::store::Force;
use std::process::ExitCode;

/// Remove one or more images
#[derive(Debug, Args)]
pub(crate) struct Rmi {
    /// Remove all its names, and an image that a container was made from
    #[arg(short, long)]
    force: bool,
    /// Names or ids
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

/// Performs the command.
pub(crate) fn run(args: &Rmi, caller: &Caller) -> Result<ExitCode> {
    let store = Store::open(&caller.places.store)?;
    let force = if args.force { Force::Yes } else { Force::No };
    super::each(&args.images, |name| {
        let id = store.find_any(name).map_or_else(|_| name.to_owned(), |image| image.id.to_string());
        let removed = match store.remove(name, force) {
            // As in Docker, who forces does not mind.
            Err(error) if args.force && error.kind() == kelp_bundles::Kind::NotFound => {
                return output::complaint(&format!("{}\n", Error::from(error)));
            }
            other => other?,
        };
        events::removed(caller, &id, &removed);
        removed.untagged.iter().try_for_each(|name| output::line(format!("Untagged: {}", name.familiar())))?;
        removed.deleted.iter().try_for_each(|id| output::line(format!("Deleted: {id}")))
    })
}
