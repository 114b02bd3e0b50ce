// SPDX-License-Identifier: Apache-2.0
//! A container's own files: what it changed of its image, and all of them as a tar. Volumes and what is mounted are not its own.

use super::find;
use crate::caller::Caller;
use crate::error::{Error, Result};
use crate::events;
use crate::ids;
use kelp_bundles::changes::Change;
use kelp_bundles::{Store, commit};
use std::os::fd::OwnedFd;

/// What the container changed of its image.
///
/// # Errors
/// There is no such container; its files cannot be read.
pub fn changes(caller: &Caller, wanted: &str) -> Result<Vec<Change>> {
    let container = find::one(caller, wanted)?;
    let store = Store::open(&caller.places.store)?;
    Ok(commit::changes(&store, &container.folder, &container.files(), &ids::of_caller()?)?)
}

/// Writes all that it sees of its root file system to `out`, as a tar.
///
/// # Errors
/// There is no such container; its files cannot be read; `out` takes no more.
pub fn export(caller: &Caller, wanted: &str, out: OwnedFd) -> Result<()> {
    let container = find::one(caller, wanted)?;
    let store = Store::open(&caller.places.store)?;
    let exported = commit::export(&store, &container.folder, &container.files(), out, &ids::of_caller()?);
    exported.map_err(|error| Error::from(error).while_doing(format!("cannot export {wanted}")))?;
    events::container(caller, &container.record, "export");
    Ok(())
}
