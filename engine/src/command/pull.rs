// SPDX-License-Identifier: Apache-2.0
//! `kelp pull`: an image from a registry.

use crate::error::Result;
use crate::output;
use crate::places::Places;
use crate::progress::Shown;
use clap::Args;
use kelp_bundles::pull::{self, Options};
use kelp_bundles::{Platform, Reference, Store};
use std::process::ExitCode;

/// Download an image from a registry
#[derive(Debug, Args)]
pub(crate) struct Pull {
    /// debian, user/app:1.0, localhost:5000/app@sha256:…
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Another machine's image: linux/arm64
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<String>,
    /// Print the id only
    #[arg(short, long)]
    quiet: bool,
    /// Check certificates and insist on TLS
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1,
          default_missing_value = "true", require_equals = true)]
    tls_verify: bool,
}

/// Performs the command.
pub(crate) fn run(args: &Pull, places: &Places) -> Result<ExitCode> {
    let reference: Reference = args.image.parse()?;
    let store = Store::open(&places.store)?;
    let platform = args.platform.as_deref().map_or_else(|| Ok(Platform::host()), str::parse)?;
    let options = Options { platform: platform.clone(), verify: args.tls_verify, ..Options::default() };
    let progress = if args.quiet { Shown::quiet() } else { Shown::new() };
    let image = pull::pull(&store, &reference, &options, &progress)?;
    if let Err(error) = image.check_platform(&Platform::host()) {
        output::note(format!("this machine cannot run it: {}", error.because()));
    }
    super::load::unpack(&store, std::slice::from_ref(&image), &progress)?;
    match args.quiet {
        true => output::line(&image.id)?,
        false => output::line(reference)?,
    }
    Ok(ExitCode::SUCCESS)
}
