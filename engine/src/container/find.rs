// SPDX-License-Identifier: Apache-2.0
//! From what the user wrote to a container: its name, its id, or a beginning of its id that only it has.

use super::record::{Record, Storage};
use super::{id, name, record, runtime};
use crate::caller::Caller;
use crate::error::{Doing, Error, Kind, Result};
use kelp_bundles::changes::{Files, Top};
use kelp_runtime::bundle::Bundle;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

/// A container's record and folder.
#[derive(Debug, Clone)]
pub struct Container {
    /// `containers/<id>`.
    pub folder: PathBuf,
    /// What Kelp knows of it.
    pub record: Record,
    /// What is wrong with its record; what is in `record` then is a guess.
    pub damage: Option<Error>,
}

impl Container {
    fn open(caller: &Caller, id: &str) -> Result<Option<Container>> {
        let folder = caller.places.containers().join(id);
        let damage = match Record::read(&folder) {
            Ok(Some(record)) if record.id == id => return Ok(Some(Container { folder, record, damage: None })),
            Ok(Some(_)) => Error::new(Kind::BadInput, damaged(id), "its container.json is that of another container"),
            Ok(None) if record::is_container(&folder) => {
                Error::new(Kind::BadInput, damaged(id), "its container.json is missing")
            }
            Ok(None) => return Ok(None),
            Err(error) => error.while_doing(damaged(id)),
        };
        let record = record::substitute(&folder, id, name::of(caller, id), runtime::trace(caller, id));
        Ok(Some(Container { folder, record, damage: Some(damage) }))
    }

    /// The container, unless its record is damaged: then most commands cannot do what they are asked.
    fn whole(self) -> Result<Container> {
        match self.damage {
            Some(damage) => Err(damage.hint(format!("kelp rm -f {} removes it", self.record.name))),
            None => Ok(self),
        }
    }

    /// Where its own files are, and what of them was made for mounts.
    pub fn files(&self) -> Files {
        let top = match self.record.storage {
            Storage::Overlay => Top::Upper(self.folder.join("upper")),
            Storage::Copy => Top::Copy(self.folder.join("rootfs")),
        };
        // A container whose config.json is damaged can still be saved by `commit`: it only shows more.
        let mounts = Bundle::read(&self.folder).ok().and_then(|bundle| bundle.spec.mounts().clone());
        let mount_points = mounts.into_iter().flatten().map(|mount| mount.destination().clone()).collect();
        Files { top, mount_points }
    }
}

fn damaged(id: &str) -> String {
    format!("cannot use container {}", id::short(id))
}

/// The container the user means.
///
/// # Errors
/// There is none, or more than one, or its record is damaged.
pub fn one(caller: &Caller, wanted: &str) -> Result<Container> {
    any(caller, wanted)?.whole()
}

/// The same, for what can be done without the record too.
///
/// # Errors
/// There is none, or more than one.
pub fn any(caller: &Caller, wanted: &str) -> Result<Container> {
    if let Some(id) = name::look_up(caller, wanted)
        && let Some(container) = Container::open(caller, &id)?
    {
        return Ok(container);
    }
    if wanted.len() == 64
        && id::may_begin(wanted)
        && let Some(container) = Container::open(caller, wanted)?
    {
        return Ok(container);
    }
    by_prefix(caller, wanted)
}

fn by_prefix(caller: &Caller, wanted: &str) -> Result<Container> {
    let ids = ids(caller)?;
    let mut found = Vec::new();
    for id in ids.iter().filter(|id| id::may_begin(wanted) && id.starts_with(wanted)) {
        found.extend(Container::open(caller, id)?);
    }
    if found.is_empty() {
        // Its link in `names` is lost, its record is not.
        found.extend(all(caller)?.into_iter().find(|container| container.record.name == wanted));
    }
    let doing = || format!("cannot find container {wanted}");
    match (found.pop(), found.len()) {
        (Some(container), 0) => Ok(container),
        (Some(_), more) => {
            Err(Error::new(Kind::BadInput, doing(), format!("{} containers have ids that begin so", more + 1))
                .hint("write more of the id"))
        }
        (None, _) => Err(Error::new(Kind::NotFound, doing(), format!("no such container: {wanted}")).hint(
            near(caller, wanted).map_or_else(|| "kelp ps -a shows all".to_owned(), |it| format!("did you mean {it}?")),
        )),
    }
}

/// A name that differs from `wanted` by a slip of the fingers.
fn near(caller: &Caller, wanted: &str) -> Option<String> {
    let names = fs::read_dir(caller.places.names()).ok()?;
    let names = names.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    crate::near::near(wanted, names)
}

/// All containers, the damaged ones too, the newest first.
pub fn all(caller: &Caller) -> Result<Vec<Container>> {
    let mut containers = Vec::new();
    for id in ids(caller)? {
        containers.extend(Container::open(caller, &id)?);
    }
    containers.sort_by(|a, b| b.record.created.cmp(&a.record.created));
    Ok(containers)
}

/// The ids of all folders, containers or not.
pub fn ids(caller: &Caller) -> Result<Vec<String>> {
    let doing = || format!("cannot list {}", caller.places.containers().display());
    let entries = match fs::read_dir(caller.places.containers()) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).doing(doing),
    };
    let mut ids = Vec::new();
    for entry in entries {
        let name = entry.doing(doing)?.file_name();
        ids.extend(name.into_string().ok().filter(|name| name.len() == 64 && id::may_begin(name)));
    }
    Ok(ids)
}
