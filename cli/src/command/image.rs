// SPDX-License-Identifier: Apache-2.0
//! `kelp image`: all that is done with images, under one roof.

use super::{bundle, history, images, import, inspect, load, prune, pull, push, rmi, save, tag};
use crate::caller::Caller;
use crate::error::{Error, Kind, Result};
use clap::{Args, Subcommand};
use std::process::ExitCode;

/// Manage images
#[derive(Debug, Args)]
pub(crate) struct ImageArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List images
    #[command(visible_alias = "list")]
    Ls(images::Images),
    /// Download an image from a registry
    Pull(pull::Pull),
    /// Upload an image to a registry
    Push(push::Push),
    /// Load an image from a tar archive or an OCI layout
    Load(load::Load),
    /// Save images to a tar archive or an OCI layout
    Save(save::Save),
    /// Make an image of a tar archive of files
    Import(import::Import),
    /// Write an OCI bundle of an image
    Bundle(bundle::Bundle),
    /// Show how an image was built
    History(history::History),
    /// Show all that is known of images
    Inspect(Inspect),
    /// Give an image another name
    Tag(tag::Tag),
    /// Remove one or more images
    #[command(visible_alias = "remove")]
    Rm(rmi::Rmi),
    /// Remove images that nothing uses
    Prune(prune::Images),
}

/// Show all that is known of images
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// json, or a template such as '{{.Config.Cmd}}'
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Of a list, the image for this machine
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<String>,
    /// Names or ids
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

/// Performs the command.
pub(crate) fn run(args: &ImageArgs, caller: &Caller) -> Result<ExitCode> {
    match &args.verb {
        Verb::Ls(args) => images::run(args, caller),
        Verb::Pull(args) => pull::run(args, caller),
        Verb::Push(args) => push::run(args, caller),
        Verb::Load(args) => load::run(args, caller),
        Verb::Save(args) => save::run(args, caller),
        Verb::Import(args) => import::run(args, caller),
        Verb::Bundle(args) => bundle::run(args, caller),
        Verb::History(args) => history::run(args, caller),
        Verb::Inspect(args) => inspect_images(args, caller),
        Verb::Tag(args) => tag::run(args, caller),
        Verb::Rm(args) => rmi::run(args, caller),
        Verb::Prune(args) => prune::images(args, caller),
    }
}

fn inspect_images(args: &Inspect, caller: &Caller) -> Result<ExitCode> {
    let one = |name: &str| {
        let found = crate::image::inspect(caller, name, args.platform.as_deref())?;
        found.ok_or_else(|| {
            Error::new(Kind::NotFound, format!("cannot inspect {name}"), format!("no such image: {name}"))
                .hint("kelp images shows what there is")
        })
    };
    inspect::show(&args.images, one, args.format.as_deref())
}
