// SPDX-License-Identifier: Apache-2.0
//! `kelp pull`: images from a registry.

use crate::error::{Error, Kind, Result};
use crate::output;
use crate::places::Places;
use crate::progress::Shown;
use clap::Args;
use kelp_bundles::idmap::IdMap;
use kelp_bundles::pull::{self, Options};
use kelp_bundles::{Image, Platform, Reference, Store, registries, search};
use std::process::ExitCode;

/// Download an image from a registry
#[derive(Debug, Args)]
pub(crate) struct Pull {
    /// debian, user/app:1.0, localhost:5000/app@sha256:…
    #[arg(value_name = "IMAGE")]
    image: String,
    /// All tags of the repository
    #[arg(short, long)]
    all_tags: bool,
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
    let reference = registries::complete(&args.image)?;
    let store = Store::open(&places.store)?;
    let platform = args.platform.as_deref().map_or_else(|| Ok(Platform::host()), str::parse)?;
    let unpack = Some(IdMap::of_caller()?);
    let options = Options { platform, verify: args.tls_verify, unpack, ..Options::default() };
    let progress = if args.quiet { Shown::quiet() } else { Shown::new() };
    let names = if args.all_tags { all(args, &reference)? } else { vec![reference] };
    for name in names {
        let image = pull::pull(&store, &name, &options, &progress)?;
        warn_if_foreign(&image);
        match args.quiet {
            true => output::line(&image.id)?,
            false => output::line(name)?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn all(args: &Pull, reference: &Reference) -> Result<Vec<Reference>> {
    let last = args.image.rsplit('/').next().unwrap_or_default();
    if last.contains(['@', ':']) {
        let error = Error::new(Kind::BadInput, format!("cannot pull {}", args.image), "--all-tags takes no tag");
        return Err(error.hint(format!("kelp pull -a {}", reference.familiar_name())));
    }
    let options = search::Options { verify: args.tls_verify, ..search::Options::default() };
    Ok(search::tags(reference, &options)?.iter().map(|tag| reference.with_tag(tag)).collect())
}

fn warn_if_foreign(image: &Image) {
    let own = image.config.platform();
    if !own.runs_here() {
        let host = Platform::host();
        output::note(format!(
            "this machine ({host}) cannot run it: it is for {own}, and binfmt_misc has no interpreter"
        ));
    }
}
