// SPDX-License-Identifier: Apache-2.0
//! `kelp inspect`: all that is known, in the JSON that Docker's users read.

use crate::caller::Caller;
use crate::container::find::{self, Container};
use crate::container::inspect;
use crate::container::record::Storage;
use crate::error::{Error, Kind, Result};
use crate::output;
use crate::template::Template;
use crate::volume;
use clap::Args;
use kelp_bundles::Store;
use serde::Serialize;
use serde_json::Value;
use std::process::ExitCode;

/// Show all that is known of containers, images and volumes
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// json, or a template such as '{{.State.Pid}}'
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Only look for this: container, image or volume
    #[arg(long, value_name = "TYPE", value_parser = ["container", "image", "volume"], hide_possible_values = true)]
    r#type: Option<String>,
    /// Also show how much a container has written, and with its image
    #[arg(short, long)]
    size: bool,
    /// Names or ids
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// Show all that is known of containers
#[derive(Debug, Args)]
pub(crate) struct InspectContainers {
    /// json, or a template such as '{{.State.Pid}}'
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Also show how much it has written, and with its image
    #[arg(short, long)]
    size: bool,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Whether sizes are shown, which takes a walk through all files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sizes {
    Shown,
    Left,
}

impl From<bool> for Sizes {
    fn from(asked: bool) -> Self {
        if asked { Sizes::Shown } else { Sizes::Left }
    }
}

/// Performs `container inspect`: an image or a volume of the same name is not meant.
pub(crate) fn run_containers(args: &InspectContainers, caller: &Caller) -> Result<ExitCode> {
    let sizes = args.size.into();
    show(&args.containers, |name| container(caller, &find::one(caller, name)?, sizes), args.format.as_deref())
}

fn container(caller: &Caller, container: &Container, sizes: Sizes) -> Result<Value> {
    let mut object = value(&inspect::inspect(caller, container)?)?;
    if sizes == Sizes::Shown {
        let written = crate::disk::measured(&[container.files().top.folder().to_owned()])?.iter().sum::<u64>();
        let store = Store::open(&caller.places.store)?;
        let image = match container.record.storage {
            Storage::Overlay => store.find_any(&container.record.image_id).map_or(0, |image| store.size(&image)),
            // Everything of the image is in the copy.
            Storage::Copy => 0,
        };
        object["SizeRw"] = written.into();
        object["SizeRootFs"] = (written + image).into();
    }
    Ok(object)
}

/// Performs the command.
pub(crate) fn run(args: &Inspect, caller: &Caller) -> Result<ExitCode> {
    let wants = |kind: &str| args.r#type.as_deref().is_none_or(|wanted| wanted == kind);
    show(&args.names, |name| object(caller, name, &wants, args.size.into()), args.format.as_deref())
}

/// The first that has this name: a container, an image, a volume.
fn object(caller: &Caller, name: &str, wants: &impl Fn(&str) -> bool, sizes: Sizes) -> Result<Value> {
    if wants("container") {
        match find::one(caller, name) {
            Ok(found) => return container(caller, &found, sizes),
            Err(error) if error.kind() != Kind::NotFound => return Err(error),
            Err(error) if !wants("image") => return Err(error),
            Err(_) => {}
        }
    }
    let image = if wants("image") { crate::image::inspect(caller, name, None) } else { Ok(None) };
    if let Ok(Some(image)) = image {
        return Ok(image);
    }
    if wants("volume")
        && let Some(volume) = volume::find(caller, name)?
    {
        return Ok(super::volume::fields(&volume));
    }
    image?;
    Err(Error::new(Kind::NotFound, format!("cannot inspect {name}"), format!("no such object: {name}"))
        .hint("kelp ps -a, kelp images and kelp volume ls show what there is"))
}

fn value(object: &impl Serialize) -> Result<Value> {
    serde_json::to_value(object).map_err(|error| Error::new(Kind::Other, "cannot show the object as JSON", error))
}

/// Prints objects as a JSON list, or each through the template. What is not there is told after those that are.
pub(crate) fn show(names: &[String], find: impl Fn(&str) -> Result<Value>, format: Option<&str>) -> Result<ExitCode> {
    let (mut objects, mut errors) = (Vec::new(), Vec::new());
    for name in names {
        match find(name) {
            Ok(object) => objects.push(object),
            Err(error) => errors.push(error),
        }
    }
    print(&objects, format)?;
    errors.iter().for_each(output::error);
    Ok(errors.last().map_or(ExitCode::SUCCESS, |error| ExitCode::from(error.exit_status())))
}

fn print(objects: &[Value], format: Option<&str>) -> Result<()> {
    match format {
        None | Some("") => output::json(&objects)?,
        Some("json") => output::json_line(&objects)?,
        Some(text) => {
            let template = Template::parse(text)?;
            objects.iter().try_for_each(|object| output::line(template.render(object)?))?;
        }
    }
    Ok(())
}
