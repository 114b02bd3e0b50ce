// SPDX-License-Identifier: Apache-2.0
//! `kelp load`: images from an archive, from standard input, or from an OCI layout.

use crate::caller::Caller;
use crate::error::{Doing, Error, Kind, Result};
use crate::events;
use crate::output;
use crate::progress::Shown;
use clap::Args;
use kelp_bundles::idmap::IdMap;
use kelp_bundles::load::{self, Source};
use kelp_bundles::{Reference, Store};
use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;

/// Load an image from a tar archive or an OCI layout
#[derive(Debug, Args)]
pub(crate) struct Load {
    /// A docker-archive or oci-archive, compressed or not; without it, standard input
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// The same, or the folder of an OCI layout
    #[arg(conflicts_with = "input")]
    path: Option<PathBuf>,
    /// No progress
    #[arg(short, long)]
    quiet: bool,
}

/// Performs the command.
pub(crate) fn run(args: &Load, caller: &Caller) -> Result<ExitCode> {
    let store = Store::open(&caller.places.store)?;
    let progress = if args.quiet { Shown::quiet() } else { Shown::new() };
    let map = IdMap::of_caller()?;
    let images = match args.input.as_ref().or(args.path.as_ref()) {
        Some(path) => load::load_and_unpack(&store, Source::Path(path), &map, &progress)?,
        None if std::io::stdin().is_terminal() => {
            return Err(Error::new(Kind::BadInput, "cannot load an image", "standard input is a terminal")
                .hint("kelp load -i FILE, or kelp load < FILE"));
        }
        None => {
            let input = std::io::stdin().as_fd().try_clone_to_owned().doing(|| "cannot open standard input")?;
            load::load_and_unpack(&store, Source::Open(File::from(input)), &map, &progress)?
        }
    };
    for image in &images {
        let name = image.name.as_ref().map(Reference::familiar).unwrap_or_default();
        events::image(caller, "load", &image.id.to_string(), &name);
        match &image.name {
            Some(name) => output::line(format!("Loaded image: {}", Reference::familiar(name)))?,
            None => output::line(format!("Loaded image ID: {}", image.id))?,
        }
    }
    Ok(ExitCode::SUCCESS)
}
