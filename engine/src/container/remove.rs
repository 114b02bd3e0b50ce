// SPDX-License-Identifier: Apache-2.0
//! The end of containers: their program, their files, their name, their volumes.
//!
//! The folder is renamed first: what is left of an interrupted removal has another name, and `sweep` takes it away.

use super::claim::{Claim, Tried};
use super::find::Container;
use super::record::Record;
use super::runtime::{self, Runtime};
use super::status::State;
use super::{name, network, record, status, stop, stray};
use crate::caller::Caller;
use crate::error::{Doing, Error, Kind, Result};
use crate::events;
use crate::request::signal;
use crate::{ids, volume};
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

/// How the folder of a container begins that is being removed.
const GONE: &str = ".gone-";

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
            let stopped = stop::stop(caller, container, signal::KILL, Some(Duration::ZERO));
            stopped.map_err(|error| error.while_doing(doing()))?;
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
    network::await_release(caller, record);
    // A program whose shim was killed may run still: it ends before its files go.
    forget(caller, record).map_err(|error| error.while_doing(doing()))?;
    let gone = caller.places.containers().join(format!("{GONE}{}", record.id));
    fs::rename(&container.folder, &gone).doing(doing)?;
    name::release(caller, &record.name, &record.id)?;
    tree(&gone)?;
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
        let status = status::of(caller, container)?;
        // Alive without a process: the shim takes in its end.
        if status.state == State::Restarting || (status.state.is_alive() && status.pid > 0) {
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

/// Kills what runs of a container that nobody holds, and removes what the runtime and the shim keep of it.
pub fn forget(caller: &Caller, record: &Record) -> Result<()> {
    stray::end(caller, record)?;
    Runtime::of(caller, record).delete()?;
    forget_run(caller, &record.id)
}

fn forget_run(caller: &Caller, id: &str) -> Result<()> {
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

/// Whether a folder is what is left of a container that somebody removes, or did not finish to.
pub(super) fn is_gone(folder: &Path) -> bool {
    folder.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(GONE.as_bytes()))
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
        let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let is_gone = is_gone(&folder);
        if !is_gone && record::is_container(&folder) {
            continue;
        }
        match Claim::try_take(&folder)? {
            Tried::Taken(_claim) if is_gone || !record::is_container(&folder) => {
                let id = name.strip_prefix(GONE).unwrap_or(&name);
                let runtime = runtime::trace(caller, id);
                forget(caller, &record::substitute(&folder, id, None, runtime))?;
                tree(&folder)?;
            }
            // The file of the claim is among the first to go.
            Tried::NoFolder if is_gone => tree(&folder)?,
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
