// SPDX-License-Identifier: Apache-2.0
//! `kelp manifest`: what a registry has under a name, as it stands there.

use crate::error::{Doing, Result};
use crate::output;
use crate::places::Places;
use clap::{Args, Subcommand};
use kelp_bundles::pull::{self, Options};
use kelp_bundles::{Store, registries};
use serde_json::Value;
use std::process::ExitCode;

/// Look at manifests and lists of images
#[derive(Debug, Args)]
pub(crate) struct Manifest {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show a manifest, or a list of them
    Inspect(Inspect),
}

/// Show a manifest, or a list of them
#[derive(Debug, Args)]
struct Inspect {
    /// debian, user/app:1.0, localhost:5000/app@sha256:…
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Show its digest, too
    #[arg(short, long)]
    verbose: bool,
    /// Do not check certificates, and do without TLS where there is none
    #[arg(long)]
    insecure: bool,
    /// Check certificates and insist on TLS
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1,
          default_missing_value = "true", require_equals = true)]
    tls_verify: bool,
}

/// Performs the command.
pub(crate) fn run(args: &Manifest, places: &Places) -> Result<ExitCode> {
    let Verb::Inspect(args) = &args.verb;
    let store = Store::open(&places.store)?;
    let options = Options { verify: args.tls_verify && !args.insecure, ..Options::default() };
    let (digest, bytes) = pull::inspect(&store, &registries::complete(&args.image)?, &options)?;
    let document = serde_json::from_slice::<Value>(&bytes).map_err(std::io::Error::from);
    let document = document.doing(|| format!("cannot read the manifest of {}", args.image))?;
    let shown = match args.verbose {
        true => serde_json::json!({ "Ref": args.image, "Digest": digest.to_string(), "Manifest": document }),
        false => document,
    };
    let text =
        serde_json::to_string_pretty(&shown).map_err(std::io::Error::from).doing(|| "cannot show the manifest")?;
    output::line(text)?;
    Ok(ExitCode::SUCCESS)
}
