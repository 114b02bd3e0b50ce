// SPDX-License-Identifier: Apache-2.0
//! The end of containers: their program, their files, their name, their volumes.
//!
//! The record goes first: what is left of an interrupted removal is a folder without one, which `sweep` takes away.

use super::claim::{Claim, Tried};
use super::find::Container;
use super::{name, record, status};
use crate::error::{Doing, Error, Kind, Result};
use crate::places::Places;
use crate::{ids, volume};
use kelp_runtime::Runtime;
use kelp_shim::client;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

/// What `rm` may do besides removing what has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Force {
    /// Only what has ended.
    No,
    /// Kill it first.
    Yes,
}

/// Removes a container; with `volumes`, those without a name that were made for it.
pub(crate) fn container(places: &Places, container: &Container, force: Force, volumes: bool) -> Result<()> {
    let record = &container.record;
    let doing = || format!("cannot remove container {}", record.name);
    if status::of(places, container)?.state.is_alive() {
        if force == Force::No {
            return Err(Error::new(Kind::WrongState, doing(), "it is running")
                .hint(format!("kelp stop {0}, or kelp rm -f {0}", record.name)));
        }
        kill(places, container).map_err(|error| error.while_doing(doing()))?;
    }
    let claim = match Claim::try_take(&container.folder)? {
        Tried::Taken(claim) => claim,
        // Somebody removed it while we looked.
        Tried::NoFolder => return Ok(()),
        Tried::Busy => return Err(Error::new(Kind::WrongState, doing(), "another kelp is starting or removing it")),
    };
    record::withdraw(&container.folder)?;
    name::release(places, &record.name, &record.id)?;
    forget(places, &record.id)?;
    tree(&container.folder)?;
    drop(claim);
    if volumes {
        for name in &record.anonymous_volumes {
            match volume::remove(places, name) {
                Err(error) if !matches!(error.kind(), Kind::NotFound | Kind::WrongState) => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Kills the program and waits for its end.
fn kill(places: &Places, container: &Container) -> Result<()> {
    let record = &container.record;
    match client::connect(&places.run, &record.id) {
        Ok(mut shim) => {
            shim.stop(crate::options::signal::KILL, Some(Duration::ZERO))?;
            Ok(())
        }
        // Its shim was killed: the runtime knows the processes.
        Err(error) if error.kind == kelp_shim::Kind::NoSuchContainer => forget(places, &record.id),
        Err(error) => Err(error.into()),
    }
}

/// Removes what the runtime and the shim keep of a container that nobody holds.
pub(crate) fn forget(places: &Places, id: &str) -> Result<()> {
    if places.runtime().join(id).exists() {
        match Runtime::new(places.runtime()).delete(id, true) {
            Err(error) if error.kind() != kelp_runtime::Kind::NoSuchContainer => return Err(error.into()),
            _ => {}
        }
    }
    let run = places.run.join(id);
    match fs::remove_dir_all(&run) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).doing(|| format!("cannot remove {}", run.display()))
        }
        _ => Ok(()),
    }
}

/// Undoes a container that was never finished.
pub(crate) fn unfinished(places: &Places, id: &str, name: Option<&str>, volumes: &[String]) -> Result<()> {
    if let Some(name) = name {
        name::release(places, name, id)?;
    }
    for volume in volumes {
        volume::remove(places, volume)?;
    }
    tree(&places.containers().join(id))
}

/// Removes folders whose maker or remover was killed.
pub(crate) fn sweep(places: &Places) -> Result<()> {
    for id in super::find::ids(places)? {
        let folder = places.containers().join(&id);
        if record::exists(&folder) {
            continue;
        }
        // A maker claims its folder right after making it: leave it that moment.
        let young = fs::metadata(&folder)
            .and_then(|meta| meta.modified())
            .is_ok_and(|made| made.elapsed().is_ok_and(|age| age < Duration::from_secs(10)));
        if young {
            continue;
        }
        if let Tried::Taken(_claim) = Claim::try_take(&folder)?
            && !record::exists(&folder)
        {
            forget(places, &id)?;
            tree(&folder)?;
        }
    }
    Ok(())
}

/// Deletes a tree of ours, whoever owns what is in it.
pub(crate) fn tree(folder: &Path) -> Result<()> {
    // overlayfs leaves work/work without permissions. It is empty: its parent's owner may remove it.
    let leftover = fs::remove_dir(folder.join("work/work"));
    match leftover.and_then(|()| fs::remove_dir_all(folder)).or_else(|_| fs::remove_dir_all(folder)) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        // Files of users that only the container's id map has.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            Ok(kelp_bundles::job::remove_tree(folder, &ids::of_caller()?)?)
        }
        Err(error) => Err(error).doing(|| format!("cannot remove {}", folder.display())),
    }
}
