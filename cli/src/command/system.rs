// SPDX-License-Identifier: Apache-2.0
//! `kelp system`: what the store takes on disk, and away with what nothing uses.

use super::{info, prune};
use crate::caller::Caller;
use crate::container::find::{self, Container};
use crate::container::id;
use crate::container::status::{self, Status};
use crate::error::Result;
use crate::output::{self, Table};
use crate::request::size;
use crate::template::Template;
use crate::volume::{self, Volume};
use crate::{ids, time};
use clap::{Args, Subcommand};
use kelp_bundles::store::{ImageUsage, Usage};
use kelp_bundles::{Reference, Store};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::process::ExitCode;

/// Show what takes how much space, and remove what nothing uses
#[derive(Debug, Args)]
pub(crate) struct SystemArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show what takes how much space
    Df {
        /// Each image, container and volume
        #[arg(short, long)]
        verbose: bool,
        /// json, or a template such as 'table {{.Type}}\t{{.Size}}'
        #[arg(long, value_name = "FORMAT")]
        format: Option<String>,
    },
    /// Show what this machine gives to containers
    Info(info::Info),
    /// Remove all that nothing uses
    Prune(prune::System),
}

/// Performs the command.
pub(crate) fn run(args: &SystemArgs, caller: &Caller) -> Result<ExitCode> {
    match &args.verb {
        Verb::Df { verbose, format } => df(caller, *verbose, format.as_deref()),
        Verb::Info(args) => info::run(args, caller),
        Verb::Prune(args) => prune::system(args, caller),
    }
}

/// Everything, measured.
struct Taken {
    images: Usage,
    containers: Vec<(Container, Status, u64)>,
    /// With how many containers use it.
    volumes: Vec<(Volume, usize, u64)>,
}

fn measure(caller: &Caller) -> Result<Taken> {
    let images = Store::open(&caller.places.store)?.usage(&ids::of_caller()?)?;
    let containers = find::all(caller)?;
    let folders: Vec<_> = containers.iter().map(|container| container.folder.clone()).collect();
    let mut measured = Vec::new();
    for (container, bytes) in containers.into_iter().zip(crate::prune::measured(&folders)?) {
        let status = status::of(caller, &container)?;
        measured.push((container, status, bytes));
    }
    let volumes = volume::all(caller)?;
    let folders: Vec<_> = volumes.iter().map(|volume| volume.folder.clone()).collect();
    let uses = |volume: &Volume| {
        let mounts = |it: &&(Container, Status, u64)| {
            it.0.record.mounts.iter().any(|mount| mount.name.as_deref() == Some(&volume.name))
        };
        measured.iter().filter(mounts).count()
    };
    let sizes = crate::prune::measured(&folders)?;
    let volumes = volumes.into_iter().zip(sizes).map(|(volume, bytes)| (uses(&volume), volume, bytes));
    let volumes = volumes.map(|(links, volume, bytes)| (volume, links, bytes)).collect();
    Ok(Taken { images, containers: measured, volumes })
}

fn df(caller: &Caller, verbose: bool, format: Option<&str>) -> Result<ExitCode> {
    let taken = measure(caller)?;
    match format {
        Some("json") if verbose => output::json_line(&taken.details())?,
        None | Some("" | "table") if verbose => taken.show_details()?,
        Some(template) if verbose => output::text(&Template::parse(template)?.render(&taken.details())?)?,
        format => super::render_rows(format, TABLE, taken.rows().into_iter(), HEADINGS)?,
    }
    Ok(ExitCode::SUCCESS)
}

const TABLE: &str = "table {{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}";
const HEADINGS: &[(&str, &str)] = &[("TotalCount", "TOTAL")];

impl Taken {
    /// Docker's rows, and one for what interrupted commands left.
    fn rows(&self) -> Vec<Value> {
        let images = &self.images;
        // An image with several names is one, and so are two manifests of the same.
        let id = |it: &&ImageUsage| it.listed.image.as_ref().map_or(it.listed.target.clone(), |image| image.id.clone());
        let all: HashSet<_> = images.images.iter().map(|it| id(&it)).collect();
        let in_use: HashSet<_> = images.images.iter().filter(|it| it.containers > 0).map(|it| id(&it)).collect();
        let alive = self.containers.iter().filter(|(_, status, _)| status.state.is_alive());
        let ended = self.containers.iter().filter(|(_, status, _)| !status.state.is_alive());
        let used = self.volumes.iter().filter(|(_, links, _)| *links > 0).count();
        let unused = self.volumes.iter().filter(|(_, links, _)| *links == 0);
        let containers = self.containers.iter().map(|it| it.2).sum();
        let volumes = self.volumes.iter().map(|it| it.2).sum();
        vec![
            row("Images", all.len(), in_use.len(), images.bytes, images.reclaimable),
            row("Containers", self.containers.len(), alive.count(), containers, ended.map(|it| it.2).sum()),
            row("Local Volumes", self.volumes.len(), used, volumes, unused.map(|it| it.2).sum()),
            row("Leftovers", 0, 0, images.leftovers, images.leftovers),
        ]
    }

    fn details(&self) -> Value {
        let images: Vec<Value> = self.images.images.iter().map(image).collect();
        let containers: Vec<Value> = self.containers.iter().map(container).collect();
        let volumes: Vec<Value> = self.volumes.iter().map(local_volume).collect();
        json!({ "Images": images, "Containers": containers, "Volumes": volumes, "BuildCache": [] })
    }

    fn show_details(&self) -> Result<()> {
        let details = self.details();
        for (title, part, headings) in DETAILS {
            output::line(format!("{title} space usage:\n"))?;
            let mut table = Table::with_headings(headings.iter().map(|(_, title)| (*title).to_owned()).collect());
            for row in details[part].as_array().into_iter().flatten() {
                table.row(headings.iter().map(|(key, _)| text(&row[key])));
            }
            table.print()?;
            output::line("")?;
        }
        output::line(format!("Leftovers: {}", size::human(self.images.leftovers)))
    }
}

/// Titles, and which field stands under which heading.
type Headings = &'static [(&'static str, &'static str)];
const DETAILS: [(&str, &str, Headings); 3] = [
    (
        "Images",
        "Images",
        &[
            ("Repository", "REPOSITORY"),
            ("Tag", "TAG"),
            ("ID", "IMAGE ID"),
            ("CreatedSince", "CREATED"),
            ("Size", "SIZE"),
            ("SharedSize", "SHARED SIZE"),
            ("UniqueSize", "UNIQUE SIZE"),
            ("Containers", "CONTAINERS"),
        ],
    ),
    (
        "Containers",
        "Containers",
        &[
            ("ID", "CONTAINER ID"),
            ("Image", "IMAGE"),
            ("Command", "COMMAND"),
            ("LocalVolumes", "LOCAL VOLUMES"),
            ("Size", "SIZE"),
            ("RunningFor", "CREATED"),
            ("Status", "STATUS"),
            ("Names", "NAMES"),
        ],
    ),
    ("Local Volumes", "Volumes", &[("Name", "VOLUME NAME"), ("Links", "LINKS"), ("Size", "SIZE")]),
];

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn row(kind: &str, total: usize, active: usize, bytes: u64, reclaimable: u64) -> Value {
    let percent = reclaimable.saturating_mul(100).checked_div(bytes).filter(|_| total > 0 || reclaimable > 0);
    let percent = percent.map(|percent| format!(" ({percent}%)")).unwrap_or_default();
    json!({
        "Type": kind, "TotalCount": total.to_string(), "Active": active.to_string(), "Size": size::human(bytes),
        "Reclaimable": size::human(reclaimable) + &percent, "SizeBytes": bytes,
    })
}

fn image(usage: &ImageUsage) -> Value {
    let none = || "<none>".to_owned();
    let name = usage.listed.name.as_ref();
    let image = usage.listed.image.as_ref().ok();
    let created = image.and_then(|image| image.config.created.clone());
    json!({
        "Repository": name.map_or_else(none, Reference::familiar_name),
        "Tag": name.and_then(Reference::tag).map_or_else(none, str::to_owned),
        "ID": image.map_or_else(none, |image| image.id.short().to_owned()),
        "CreatedSince": created.as_ref().map_or_else(|| "N/A".to_owned(), |it| format!("{} ago", time::since(it))),
        "CreatedAt": time::in_words(&created.unwrap_or_else(|| "N/A".to_owned())),
        "Size": size::human(usage.bytes),
        "SharedSize": size::human(usage.bytes - usage.unique),
        "UniqueSize": size::human(usage.unique),
        "Containers": usage.containers.to_string(),
    })
}

fn container((container, status, bytes): &(Container, Status, u64)) -> Value {
    let record = &container.record;
    json!({
        "ID": id::short(&record.id),
        "Image": record.image,
        "Command": format!("\"{}\"", record.command_line()),
        "LocalVolumes": record.mounts.iter().filter(|mount| mount.name.is_some()).count().to_string(),
        "Size": size::human(*bytes),
        "RunningFor": format!("{} ago", time::since(&record.created)),
        "Status": status.sentence(),
        "Names": record.name,
    })
}

fn local_volume((volume, links, bytes): &(Volume, usize, u64)) -> Value {
    json!({ "Name": volume.name, "Links": links.to_string(), "Size": size::human(*bytes) })
}
