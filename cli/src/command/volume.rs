// SPDX-License-Identifier: Apache-2.0
//! `kelp volume`: folders that outlive containers.

use crate::caller::Caller;
use crate::container;
use crate::error::{Error, Kind, Result};
use crate::filter::{self, Filters};
use crate::output;
use crate::request::env;
use crate::volume::{self, Volume};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::process::ExitCode;

/// Manage volumes
#[derive(Debug, Args)]
pub(crate) struct VolumeArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a volume
    Create {
        /// Its name; without one it gets a random one
        name: Option<String>,
        /// Add a label
        #[arg(short, long, value_name = "KEY=VALUE", value_parser = env::pair)]
        label: Vec<(String, String)>,
        /// Only local is there
        #[arg(short, long, default_value = "local", hide = true)]
        driver: String,
    },
    /// List volumes
    #[command(visible_alias = "list")]
    Ls {
        /// Names only
        #[arg(short, long)]
        quiet: bool,
        /// Only those with this name, label or dangling
        #[arg(short, long, value_name = "KEY=VALUE")]
        filter: Vec<String>,
        /// json, or a template
        #[arg(long, value_name = "FORMAT")]
        format: Option<String>,
    },
    /// Show all that is known of volumes
    Inspect {
        /// json, or a template
        #[arg(short, long, value_name = "FORMAT")]
        format: Option<String>,
        /// Names
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Remove volumes
    #[command(visible_alias = "remove")]
    Rm {
        /// One that is not there is no error
        #[arg(short, long)]
        force: bool,
        /// Names
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Remove volumes that no container uses
    Prune(super::prune::Volumes),
}

/// Performs the command.
pub(crate) fn run(args: &VolumeArgs, caller: &Caller) -> Result<ExitCode> {
    match &args.verb {
        Verb::Create { name, label, driver } => {
            if driver != "local" {
                return Err(Error::new(
                    Kind::Unsupported,
                    "cannot make the volume",
                    format!("there is no driver {driver}"),
                ));
            }
            let name = name.clone().map_or_else(container::id::random, Ok)?;
            let labels = label.iter().cloned().collect();
            let existing = volume::find(caller, &name)?;
            let volume = existing.map_or_else(|| volume::make(caller, &name, labels), Ok)?;
            output::line(volume.name)?;
            Ok(ExitCode::SUCCESS)
        }
        Verb::Ls { quiet, filter, format } => list(caller, *quiet, filter, format.as_deref()),
        Verb::Inspect { format, names } => {
            super::inspect::show(names, |name| Ok(fields(&one(caller, name)?)), format.as_deref())
        }
        Verb::Rm { force, names } => super::each(names, |name| match volume::remove(caller, name) {
            // As Docker: what is not there is as good as removed.
            Err(error) if *force && error.kind() == Kind::NotFound => output::line(name),
            Err(error) => Err(error),
            Ok(()) => output::line(name),
        }),
        Verb::Prune(args) => super::prune::volumes(args, caller),
    }
}

fn one(caller: &Caller, name: &str) -> Result<Volume> {
    volume::find(caller, name)?.ok_or_else(|| {
        Error::new(Kind::NotFound, format!("cannot find volume {name}"), format!("no such volume: {name}"))
    })
}

fn list(caller: &Caller, quiet: bool, filter: &[String], format: Option<&str>) -> Result<ExitCode> {
    let filters = Filters::parse(filter, &["name", "label", "dangling", "driver"])?;
    filters.check_truths(&["dangling"])?;
    let names = filters.patterns("name")?;
    let mut volumes = Vec::new();
    for volume in volume::all(caller)? {
        let dangling = filters.has("dangling") && volume::users(caller, &volume.name)?.is_empty();
        let holds = |key: &str, value: &str| match key {
            "name" => names.match_in(value, &volume.name),
            "label" => filter::label(&volume.record.labels, value),
            "dangling" => filter::truth(value) == Some(dangling),
            _ => value == "local",
        };
        if filters.all(holds) {
            volumes.push(volume);
        }
    }
    match format {
        _ if quiet => volumes.iter().try_for_each(|volume| output::line(&volume.name))?,
        format => {
            let format = super::format(caller, format, "volumesFormat")?;
            let headings = [("Name", "VOLUME NAME")];
            super::render_rows(
                format.as_deref(),
                "table {{.Driver}}\t{{.Name}}",
                volumes.iter().map(fields),
                &headings,
            )?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Docker's fields.
pub(super) fn fields(volume: &Volume) -> Value {
    json!({
        "CreatedAt": volume.record.created,
        "Driver": "local",
        "Labels": volume.record.labels,
        "Mountpoint": volume.data(),
        "Name": volume.name,
        "Options": {},
        "Scope": "local",
    })
}
