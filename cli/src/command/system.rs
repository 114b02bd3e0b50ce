// SPDX-License-Identifier: Apache-2.0
//! `kelp system`: what the store takes on disk, and away with what nothing uses.

use super::{info, prune};
use crate::caller::Caller;
use crate::container::find::Container;
use crate::container::id;
use crate::container::status::Status;
use crate::disk::{self, Taken};
use crate::error::Result;
use crate::output::{self, Table};
use crate::request::size;
use crate::template::Template;
use crate::time;
use crate::volume::Volume;
use clap::{Args, Subcommand};
use kelp_bundles::Reference;
use kelp_bundles::store::ImageUsage;
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

fn df(caller: &Caller, verbose: bool, format: Option<&str>) -> Result<ExitCode> {
    let taken = disk::measure(caller)?;
    match format {
        Some("json") if verbose => output::json_line(&details(&taken))?,
        None | Some("" | "table") if verbose => show_details(&taken)?,
        Some(template) if verbose => output::text(&Template::parse(template)?.render(&details(&taken))?)?,
        format => super::render_rows(format, TABLE, rows(&taken).into_iter(), HEADINGS)?,
    }
    Ok(ExitCode::SUCCESS)
}

const TABLE: &str = "table {{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}";
const HEADINGS: &[(&str, &str)] = &[("TotalCount", "TOTAL")];

/// Docker's rows, and one for what interrupted commands left.
fn rows(taken: &Taken) -> Vec<Value> {
    let images = &taken.images;
    // An image with several names is one, and so are two manifests of the same.
    let id = |it: &&ImageUsage| it.listed.image.as_ref().map_or(it.listed.target.clone(), |image| image.id.clone());
    let all: HashSet<_> = images.images.iter().map(|it| id(&it)).collect();
    let in_use: HashSet<_> = images.images.iter().filter(|it| it.containers > 0).map(|it| id(&it)).collect();
    let alive = taken.containers.iter().filter(|(_, status, _)| status.state.is_alive());
    let ended = taken.containers.iter().filter(|(_, status, _)| !status.state.is_alive());
    let used = taken.volumes.iter().filter(|(_, links, _)| *links > 0).count();
    let unused = taken.volumes.iter().filter(|(_, links, _)| *links == 0);
    let containers = taken.containers.iter().map(|it| it.2).sum();
    let volumes = taken.volumes.iter().map(|it| it.2).sum();
    vec![
        row("Images", all.len(), in_use.len(), images.bytes, images.reclaimable),
        row("Containers", taken.containers.len(), alive.count(), containers, ended.map(|it| it.2).sum()),
        row("Local Volumes", taken.volumes.len(), used, volumes, unused.map(|it| it.2).sum()),
        row("Leftovers", 0, 0, images.leftovers, images.leftovers),
    ]
}

fn details(taken: &Taken) -> Value {
    let images: Vec<Value> = taken.images.images.iter().map(image).collect();
    let containers: Vec<Value> = taken.containers.iter().map(container).collect();
    let volumes: Vec<Value> = taken.volumes.iter().map(local_volume).collect();
    json!({ "Images": images, "Containers": containers, "Volumes": volumes, "BuildCache": [] })
}

fn show_details(taken: &Taken) -> Result<()> {
    let details = details(taken);
    for (title, part, headings) in DETAILS {
        output::line(format!("{title} space usage:\n"))?;
        let mut table = Table::with_headings(headings.iter().map(|(_, title)| (*title).to_owned()).collect());
        for row in details[part].as_array().into_iter().flatten() {
            table.row(headings.iter().map(|(key, _)| text(&row[key])));
        }
        table.print()?;
        output::line("")?;
    }
    output::line(format!("Leftovers: {}", size::human(taken.images.leftovers)))
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
