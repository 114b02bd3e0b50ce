// SPDX-License-Identifier: Apache-2.0
//! `kelp push`: an image to a registry.

use crate::error::Result;
use crate::output;
use crate::places::Places;
use crate::progress::Shown;
use clap::Args;
use kelp_bundles::push::{self, Options};
use kelp_bundles::{Reference, Store};
use std::process::ExitCode;

/// Upload an image to a registry
#[derive(Debug, Args)]
pub(crate) struct Push {
    /// localhost:5000/app:1.0
    #[arg(value_name = "NAME")]
    name: String,
    /// No progress
    #[arg(short, long)]
    quiet: bool,
    /// Check certificates and insist on TLS
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1,
          default_missing_value = "true", require_equals = true)]
    tls_verify: bool,
}

/// Performs the command.
pub(crate) fn run(args: &Push, places: &Places) -> Result<ExitCode> {
    let name: Reference = args.name.parse()?;
    let store = Store::open(&places.store)?;
    let image = store.find_any(&args.name)?;
    let progress = if args.quiet { Shown::quiet() } else { Shown::new() };
    let options = Options { verify: args.tls_verify, ..Options::default() };
    let digest = push::push(&store, &image, &name, &options, &progress)?;
    match args.quiet {
        true => output::line(name)?,
        false => output::line(format!("{}: digest: {digest}", name.tag().unwrap_or("latest")))?,
    }
    Ok(ExitCode::SUCCESS)
}
