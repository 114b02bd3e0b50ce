// SPDX-License-Identifier: Apache-2.0
//! Away with what nothing uses: containers, volumes, images, and what killed commands left.
//!
//! What is kept is whole, whenever this is killed; what was removed by then is gone. Works on a full disk.

use crate::caller::Caller;
use crate::container::find::Container;
use crate::container::remove::{self, Force};
use crate::container::{self, find, status};
use crate::error::{Error, Kind, Result};
use crate::events;
use crate::filter::{self, Filters};
use crate::volume::{self, Volume};
use crate::{ids, overlay, time};
use kelp_bundles::store::{Listed, Partials, Prune};
use kelp_bundles::{Reference, Store, job};
use std::collections::BTreeMap;

/// What was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Ids.
    pub containers: Vec<String>,
    /// Names.
    pub volumes: Vec<String>,
    /// As Docker shows it: `untagged: …`, `deleted: …`.
    pub images: Vec<String>,
    /// The space that they took, in bytes.
    pub bytes: u64,
}

/// Filters of a prune, each of which can be.
///
/// # Errors
/// One is not among `known`, or its value means nothing.
pub fn filters(texts: &[String], known: &[&str]) -> Result<Filters> {
    let filters = Filters::parse(texts, known)?;
    filters.check_truths(&["dangling", "all"])?;
    filters.check("until", |text| time::moment(text).map(drop))?;
    Ok(filters)
}

/// Whether what was made then, with these labels, is asked for.
fn asked(filters: &Filters, created: &str, labels: &BTreeMap<String, String>) -> Result<bool> {
    if let Some(until) = filters.first("until") {
        let doing = || format!("cannot filter by \"until={until}\"");
        let until = time::moment(until).map_err(|why| Error::new(Kind::BadInput, doing(), why))?;
        if time::seconds(created).is_some_and(|created| created >= until) {
            return Ok(false);
        }
    }
    Ok(filters.all(|key, value| match key {
        "label" => filter::label(labels, value),
        "label!" => !filter::label(labels, value),
        _ => true,
    }))
}

impl Pruned {
    /// Removes containers that do not run.
    ///
    /// # Errors
    /// One cannot be looked at or removed; those before it are gone.
    pub fn containers(&mut self, caller: &Caller, filters: &Filters) -> Result<()> {
        let (map, before) = (ids::of_caller()?, self.bytes);
        for container in find::all(caller)? {
            let record = &container.record;
            let ended = |it: &Container| Ok::<_, Error>(!status::of(caller, it)?.state.is_alive());
            if !asked(filters, &record.created, &record.labels)? || !ended(&container)? {
                continue;
            }
            let bytes = job::measure(std::slice::from_ref(&container.folder), &map)?.iter().sum::<u64>();
            match remove::container(caller, &container, Force::No, false) {
                Ok(()) => {
                    self.bytes += bytes;
                    self.containers.push(record.id.clone());
                }
                // Started, or removed, since we looked.
                Err(error) if matches!(error.kind(), Kind::WrongState | Kind::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        events::pruned(caller, "container", self.bytes - before);
        remove::sweep(caller)
    }

    /// Removes volumes that no container uses: those without a name, or `all`.
    ///
    /// # Errors
    /// One cannot be looked at or removed; those before it are gone.
    pub fn volumes(&mut self, caller: &Caller, all: bool, filters: &Filters) -> Result<()> {
        let (map, before) = (ids::of_caller()?, self.bytes);
        for volume in volume::all(caller)? {
            let wanted =
                (all || is_anonymous(&volume)) && asked(filters, &volume.record.created, &volume.record.labels)?;
            if !wanted || !volume::users(caller, &volume.name)?.is_empty() {
                continue;
            }
            let bytes = job::measure(std::slice::from_ref(&volume.folder), &map)?.iter().sum::<u64>();
            match volume::remove(caller, &volume.name) {
                Ok(()) => {
                    self.bytes += bytes;
                    self.volumes.push(volume.name);
                }
                // Taken into use, or removed, since we looked.
                Err(error) if matches!(error.kind(), Kind::WrongState | Kind::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        events::pruned(caller, "volume", self.bytes - before);
        Ok(())
    }

    /// Removes images that no container was made from: those without a tag, or `all`.
    ///
    /// # Errors
    /// The store cannot be read: then nothing goes.
    pub fn images(&mut self, caller: &Caller, all: bool, partials: Partials, filters: &Filters) -> Result<()> {
        // A moment that is none is an error before anything is removed.
        if let Some(until) = filters.first("until") {
            asked(filters, until, &BTreeMap::new())?;
        }
        let all = all || matches!(filters.first("dangling"), Some("false" | "0"));
        let which = if all { Prune::Unused } else { Prune::Dangling };
        let spare = |listed: &Listed| {
            let Ok(image) = &listed.image else { return false };
            let created = image.config.created.clone().unwrap_or_default();
            // The moment was read above: it cannot be wrong here.
            !asked(filters, &created, &image.config.run().labels.unwrap_or_default()).unwrap_or(false)
        };
        let (removed, freed) = Store::open(&caller.places.store)?.prune(which, partials, &spare)?;
        self.images.extend(removed.untagged.iter().map(|name| format!("untagged: {}", Reference::familiar(name))));
        self.images.extend(removed.deleted.iter().map(|id| format!("deleted: {id}")));
        self.bytes += freed.bytes;
        for id in &removed.deleted {
            events::image(caller, "delete", &id.to_string(), &id.to_string());
        }
        events::pruned(caller, "image", freed.bytes);
        Ok(())
    }
}

/// Removes what commands that were killed have left.
///
/// # Errors
/// It cannot be removed.
pub fn leftovers(caller: &Caller) -> Result<()> {
    remove::sweep(caller)?;
    container::name::sweep(caller)?;
    volume::sweep(caller)?;
    overlay::sweep(caller)
}

/// A volume without a name of its own is one with 64 hexadecimal digits.
fn is_anonymous(volume: &Volume) -> bool {
    volume.name.len() == 64 && container::id::may_begin(&volume.name)
}
