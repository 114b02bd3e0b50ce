// SPDX-License-Identifier: Apache-2.0
//! `kelp image prune`, `container prune`, `volume prune`, `system prune`: away with what nothing uses.
//!
//! What is kept is whole, whenever this is killed; what was removed by then is gone. Works on a full disk.

use crate::caller::Caller;
use crate::error::Result;
use crate::filter::Filters;
use crate::output;
use crate::prune::{self, Pruned};
use crate::request::size;
use clap::Args;
use kelp_bundles::store::Partials;
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

/// Performs `image prune`.
pub(crate) fn images(args: &Images, caller: &Caller) -> Result<ExitCode> {
    let question = match args.all {
        true => "all images without at least one container associated to them",
        false => "all dangling images",
    };
    let mut gone = Pruned::default();
    if args.how.agreed(question)? {
        gone.images(caller, args.all, Partials::Keep, &args.how.filters(&["until", "label", "label!", "dangling"])?)?;
        show(&gone)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Performs `container prune`.
pub(crate) fn containers(args: &Containers, caller: &Caller) -> Result<ExitCode> {
    let mut gone = Pruned::default();
    if args.how.agreed("all stopped containers")? {
        gone.containers(caller, &args.how.filters(&["until", "label", "label!"])?)?;
        show(&gone)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Performs `volume prune`.
pub(crate) fn volumes(args: &Volumes, caller: &Caller) -> Result<ExitCode> {
    let filters = args.how.filters(&["label", "label!", "all"])?;
    let all = args.all || matches!(filters.first("all"), Some("true" | "1"));
    let question = if all { "all volumes" } else { "all volumes without a name" };
    let mut gone = Pruned::default();
    if args.how.agreed(&format!("{question} not used by at least one container"))? {
        gone.volumes(caller, all, &filters)?;
        show(&gone)?;
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
    let mut gone = Pruned::default();
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
        prune::leftovers(caller)?;
        show(&gone)?;
        images?;
    }
    Ok(ExitCode::SUCCESS)
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
        prune::filters(&self.filter, known)
    }
}

/// Docker's lists and its last line.
fn show(gone: &Pruned) -> Result<()> {
    for (title, lines) in [("Containers", &gone.containers), ("Volumes", &gone.volumes), ("Images", &gone.images)] {
        if !lines.is_empty() {
            output::line(format!("Deleted {title}:\n{}\n", lines.join("\n")))?;
        }
    }
    output::line(format!("Total reclaimed space: {}", size::human(gone.bytes)))
}
