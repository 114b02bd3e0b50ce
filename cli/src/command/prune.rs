// SPDX-License-Identifier: Apache-2.0
//! `kelp image prune`, `container prune`, `volume prune`, `system prune`: away with what nothing uses.
//!
//! What is kept is whole, whenever this is killed; what was removed by then is gone. Works on a full disk.

use crate::caller::Caller;
use crate::container::find::Container;
use crate::container::remove::{self, Force};
use crate::container::{self, find, status};
use crate::error::{Error, Kind, Result};
use crate::events;
use crate::filter::{self, Filters};
use crate::request::size;
use crate::volume::{self, Volume};
use crate::{ids, output, time};
use clap::Args;
use kelp_bundles::store::{Listed, Partials, Prune};
use kelp_bundles::{Reference, Store, job};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

/// Remove images that nothing uses
#[derive(Debug, Args)]
pub(crate) struct Images {
    /// All that no container was made from, not only those without a tag
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    how: How,
}

/// Remove containers that do not run
#[derive(Debug, Args)]
pub(crate) struct Containers {
    #[command(flatten)]
    how: How,
}

/// Remove volumes that no container uses
#[derive(Debug, Args)]
pub(crate) struct Volumes {
    /// Those with a name, too
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    how: How,
}

/// Remove all that nothing uses
#[derive(Debug, Args)]
pub(crate) struct System {
    /// All images that no container was made from, not only those without a tag
    #[arg(short, long)]
    all: bool,
    /// Volumes without a name, too
    #[arg(long)]
    volumes: bool,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
struct How {
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Only those with label or label!, or made until a time
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
}

/// What was removed.
#[derive(Debug, Default)]
struct Gone {
    containers: Vec<String>,
    volumes: Vec<String>,
    /// As Docker shows it: `untagged: …`, `deleted: …`.
    images: Vec<String>,
    bytes: u64,
}

/// Performs `image prune`.
pub(crate) fn images(args: &Images, caller: &Caller) -> Result<ExitCode> {
    let question = match args.all {
        true => "all images without at least one container associated to them",
        false => "all dangling images",
    };
    let mut gone = Gone::default();
    if args.how.agreed(question)? {
        gone.images(caller, args.all, Partials::Keep, &args.how.filters(&["until", "label", "label!", "dangling"])?)?;
        gone.show()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Performs `container prune`.
pub(crate) fn containers(args: &Containers, caller: &Caller) -> Result<ExitCode> {
    let mut gone = Gone::default();
    if args.how.agreed("all stopped containers")? {
        gone.containers(caller, &args.how.filters(&["until", "label", "label!"])?)?;
        gone.show()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Performs `volume prune`.
pub(crate) fn volumes(args: &Volumes, caller: &Caller) -> Result<ExitCode> {
    let filters = args.how.filters(&["label", "label!", "all"])?;
    let all = args.all || matches!(filters.first("all"), Some("true" | "1"));
    let question = if all { "all volumes" } else { "all volumes without a name" };
    let mut gone = Gone::default();
    if args.how.agreed(&format!("{question} not used by at least one container"))? {
        gone.volumes(caller, all, &filters)?;
        gone.show()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Performs `system prune`.
pub(crate) fn system(args: &System, caller: &Caller) -> Result<ExitCode> {
    let images = match args.all {
        true => "all images without at least one container associated to them",
        false => "all dangling images",
    };
    let volumes = if args.volumes { "\n  - all volumes without a name not used by at least one container" } else { "" };
    let question = format!("\n  - all stopped containers{volumes}\n  - {images}\n  - what interrupted commands left");
    let mut gone = Gone::default();
    if args.how.agreed(&question)? {
        // Docker: a filter by time does not go with volumes, which have none.
        let mut known = vec!["label", "label!"];
        if !args.volumes {
            known.push("until");
        }
        let filters = args.how.filters(&known)?;
        gone.containers(caller, &filters)?;
        if args.volumes {
            gone.volumes(caller, false, &filters)?;
        }
        // A store that cannot be read keeps no other thing from going, and is told after what went.
        let images = gone.images(caller, args.all, Partials::Delete, &filters);
        leftovers(caller)?;
        gone.show()?;
        images?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What is left of commands that were killed.
fn leftovers(caller: &Caller) -> Result<()> {
    remove::sweep(caller)?;
    container::name::sweep(caller)?;
    volume::sweep(caller)?;
    crate::overlay::sweep(caller)
}

impl How {
    fn agreed(&self, what: &str) -> Result<bool> {
        if self.force {
            return Ok(true);
        }
        output::complaint(&format!("WARNING! This will remove {what}.\n"))?;
        super::confirm("Are you sure you want to continue?")
    }

    fn filters(&self, known: &[&str]) -> Result<Filters> {
        let filters = Filters::parse(&self.filter, known)?;
        filters.check_truths(&["dangling", "all"])?;
        filters.check("until", |text| time::moment(text).map(drop))?;
        Ok(filters)
    }
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

impl Gone {
    fn containers(&mut self, caller: &Caller, filters: &Filters) -> Result<()> {
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

    fn volumes(&mut self, caller: &Caller, all: bool, filters: &Filters) -> Result<()> {
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

    fn images(&mut self, caller: &Caller, all: bool, partials: Partials, filters: &Filters) -> Result<()> {
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

    /// Docker's lists and its last line.
    fn show(&self) -> Result<()> {
        for (title, lines) in [("Containers", &self.containers), ("Volumes", &self.volumes), ("Images", &self.images)] {
            if !lines.is_empty() {
                output::line(format!("Deleted {title}:\n{}\n", lines.join("\n")))?;
            }
        }
        output::line(format!("Total reclaimed space: {}", size::human(self.bytes)))
    }
}

/// A volume without a name of its own is one with 64 hexadecimal digits.
pub(crate) fn is_anonymous(volume: &Volume) -> bool {
    volume.name.len() == 64 && container::id::may_begin(&volume.name)
}

/// The folders of what the caller asks about, measured in its id map.
pub(crate) fn measured(folders: &[PathBuf]) -> Result<Vec<u64>> {
    Ok(job::measure(folders, &ids::of_caller()?)?)
}
