// SPDX-License-Identifier: Apache-2.0
//! The end of containers: their program, their files, their name, their volumes.
//!
//! The record goes first: what is left of an interrupted removal is a folder without one, which `sweep` takes away.

use super::claim::{Claim, Tried};
use super::find::Container;
use super::record::Record;
use super::{name, network, record, status};
use crate::caller::Caller;
use crate::error::{Doing, Error, Kind, Result};
use crate::events;
use crate::{ids, volume};
use kelp_runtime::Runtime;
use kelp_shim::client;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// What `rm` may do besides removing what has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    /// Only what has ended.
    No,
    /// Kill it first.
    Yes,
}

/// How long others may take who work on the same container.
const PATIENCE: Duration = Duration::from_secs(10);

/// Removes a container; with `volumes`, those without a name that were made for it.
pub fn container(caller: &Caller, container: &Container, force: Force, volumes: bool) -> Result<()> {
    let record = &container.record;
    let _span = tracing::info_span!("remove", container = %record.id, force = ?force).entered();
    let doing = || format!("cannot remove container {}", record.name);
    let claim = loop {
        if status::of(caller, container)?.state.is_alive() {
            if force == Force::No {
                return Err(is_running(record));
            }
            kill(caller, container).map_err(|error| error.while_doing(doing()))?;
        }
        let claim = match Claim::take(&container.folder, PATIENCE)? {
            Tried::Taken(claim) => claim,
            // Somebody removed it while we looked.
            Tried::NoFolder => return Ok(()),
            Tried::Busy => {
                return Err(Error::new(Kind::WrongState, doing(), "another kelp is starting or removing it"));
            }
        };
        // It may have been started before the claim was ours.
        if await_shim(caller, container).map_err(|error| error.while_doing(doing()))? == Shim::Gone {
            break claim;
        }
    };
    record::withdraw(&container.folder)?;
    name::release(caller, &record.name, &record.id)?;
    network::await_release(caller, record);
    forget(caller, &record.id)?;
    tree(&container.folder)?;
    drop(claim);
    events::container(caller, record, "destroy");
    if volumes {
        remove_volumes(caller, record)?;
    }
    Ok(())
}

fn is_running(record: &Record) -> Error {
    Error::new(Kind::WrongState, format!("cannot remove container {}", record.name), "it is running")
        .hint(format!("kelp stop {0}, or kelp rm -f {0}", record.name))
}

fn remove_volumes(caller: &Caller, record: &Record) -> Result<()> {
    for name in &record.anonymous_volumes {
        match volume::remove(caller, name) {
            // Gone already, or used by another container by its name.
            Err(error) if !matches!(error.kind(), Kind::NotFound | Kind::WrongState) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// What became of a shim that was about to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shim {
    /// Nobody holds the container.
    Gone,
    /// It does not leave: the program runs.
    Holds,
}

/// A shim whose container has ended, or whose client died before the start, is about to leave: it still writes there.
pub fn await_shim(caller: &Caller, container: &Container) -> Result<Shim> {
    let start = Instant::now();
    while client::is_held(&container.folder)? {
        if status::of(caller, container)?.state.is_alive() {
            return Ok(Shim::Holds);
        }
        if start.elapsed() > PATIENCE {
            let doing = format!("cannot wait for the shim of container {}", container.record.name);
            return Err(Error::new(Kind::Other, doing, "it holds the container and does not leave"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(Shim::Gone)
}

/// Kills the program and waits for its end.
fn kill(caller: &Caller, container: &Container) -> Result<()> {
    let record = &container.record;
    match client::connect(&caller.places.run, &record.id) {
        Ok(mut shim) => {
            shim.stop(crate::request::signal::KILL, Some(Duration::ZERO))?;
            Ok(())
        }
        // Its shim was killed: the runtime knows the processes.
        Err(error) if error.kind == kelp_shim::Kind::NoSuchContainer => forget(caller, &record.id),
        Err(error) => Err(error.into()),
    }
}

/// Removes what the runtime and the shim keep of a container that nobody holds.
pub fn forget(caller: &Caller, id: &str) -> Result<()> {
    if caller.places.runtime().join(id).exists() {
        match Runtime::new(caller.places.runtime()).delete(id, true) {
            Err(error) if error.kind() != kelp_runtime::Kind::NoSuchContainer => return Err(error.into()),
            _ => {}
        }
    }
    let run = caller.places.run.join(id);
    match fs::remove_dir_all(&run) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).doing(|| format!("cannot remove {}", run.display()))
        }
        _ => Ok(()),
    }
}

/// Undoes a container that was never finished.
pub fn unfinished(caller: &Caller, id: &str, name: Option<&str>, volumes: &[String]) -> Result<()> {
    if let Some(name) = name {
        name::release(caller, name, id)?;
    }
    for volume in volumes {
        volume::remove(caller, volume)?;
    }
    tree(&caller.places.containers().join(id))
}

/// Removes folders whose maker or remover was killed.
pub fn sweep(caller: &Caller) -> Result<()> {
    let doing = || format!("cannot tidy up {}", caller.places.containers().display());
    let entries = match fs::read_dir(caller.places.containers()) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).doing(doing),
    };
    for entry in entries {
        let folder = entry.doing(doing)?.path();
        if record::exists(&folder) {
            continue;
        }
        match Claim::try_take(&folder)? {
            Tried::Taken(_claim) if !record::exists(&folder) => {
                let id = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                forget(caller, &id)?;
                tree(&folder)?;
            }
            // A maker that was killed before its claim left an empty folder; one that lives makes another.
            Tried::NoFolder => drop(fs::remove_dir(&folder)),
            Tried::Taken(_) | Tried::Busy => {}
        }
    }
    Ok(())
}

/// Deletes a tree of ours, whoever owns what is in it. In work/work, overlayfs leaves a folder without permissions;
/// where that is empty, its parent's owner may remove it.
pub fn tree(folder: &Path) -> Result<()> {
    let kernels = folder.join("work/work");
    if fs::remove_dir(&kernels).is_err_and(|error| error.kind() == ErrorKind::DirectoryNotEmpty) {
        // What stops it stops the removal of the whole, which says so.
        volatile_mark(&kernels).ok();
    }
    match fs::remove_dir_all(folder) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        // Files of users that only the container's id map has.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            Ok(kelp_bundles::job::remove_tree(folder, &ids::of_caller()?)?)
        }
        Err(error) => Err(error).doing(|| format!("cannot remove {}", folder.display())),
    }
}

/// Removes what a volatile overlay leaves in the folder it worked in: a file in folders without permissions.
fn volatile_mark(kernels: &Path) -> std::io::Result<()> {
    let incompat = kernels.join("incompat");
    for folder in [kernels, &incompat, &incompat.join("volatile")] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    }
    fs::remove_dir_all(kernels)
}
