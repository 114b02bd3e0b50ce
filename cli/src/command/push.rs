// SPDX-License-Identifier: Apache-2.0
//! `kelp push`: an image to a registry.

use super::pull::Trust;
use crate::caller::Caller;
use crate::error::{Error, Kind, Result};
use crate::events;
use crate::output;
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
    /// All tags of the repository that are here
    #[arg(short, long)]
    all_tags: bool,
    /// No progress
    #[arg(short, long)]
    quiet: bool,
    /// Of a list, the image for this machine
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<String>,
    #[command(flatten)]
    trust: Trust,
    /// Check certificates and insist on TLS
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1,
          default_missing_value = "true", require_equals = true)]
    tls_verify: bool,
}

/// Performs the command.
pub(crate) fn run(args: &Push, caller: &Caller) -> Result<ExitCode> {
    args.trust.check()?;
    let store = Store::open(&caller.places.store)?;
    let progress = if args.quiet { Shown::quiet() } else { Shown::new() };
    let options = Options { verify: args.tls_verify, ..Options::default() };
    let names = if args.all_tags { all(args, &store)? } else { vec![one(args)?] };
    for name in &names {
        let image = store.find_named(name).map_err(|error| absent(args, error))?;
        if let Some(platform) = &args.platform {
            image.check_platform(&platform.parse()?)?;
        }
        let pushed = push::push(&store, &image, name, &options, &progress)?;
        events::transfer(caller, "push", name);
        match args.quiet {
            true => output::line(name)?,
            false => {
                let tag = name.tag().unwrap_or("latest");
                output::line(format!("{tag}: digest: {} size: {}", pushed.digest, pushed.size))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// An id, or a part of one, is no name: what it means here would go somewhere nobody meant.
fn absent(args: &Push, error: kelp_bundles::Error) -> Error {
    let error = Error::from(error);
    match error.kind() {
        Kind::NotFound => {
            Error::new(Kind::NotFound, format!("cannot push {}", args.name), "no image here has this name")
                .hint("kelp images shows what is here; kelp tag IMAGE NAME gives a name")
        }
        _ => error,
    }
}

fn one(args: &Push) -> Result<Reference> {
    let name: Reference = args.name.parse()?;
    match name.digest() {
        None => Ok(name),
        Some(_) => {
            Err(Error::new(Kind::BadInput, format!("cannot push {}", args.name), "a digest is no name to push to")
                .hint("give the name with a tag, as in app:1.0"))
        }
    }
}

fn all(args: &Push, store: &Store) -> Result<Vec<Reference>> {
    let doing = || format!("cannot push {}", args.name);
    let last = args.name.rsplit('/').next().unwrap_or_default();
    let repository: Reference = args.name.parse()?;
    if last.contains(['@', ':']) {
        let error = Error::new(Kind::BadInput, doing(), "--all-tags takes no tag");
        return Err(error.hint(format!("kelp push -a {}", repository.familiar_name())));
    }
    let mut names: Vec<Reference> = store.list()?.into_iter().filter_map(|listed| listed.name).collect();
    let same =
        |name: &Reference| (name.registry(), name.repository()) == (repository.registry(), repository.repository());
    names.retain(|name| name.tag().is_some() && same(name));
    names.sort_by_key(Reference::to_string);
    names.dedup_by_key(|name| name.to_string());
    match names.is_empty() {
        false => Ok(names),
        true => Err(Error::new(Kind::NotFound, doing(), "no image here has a tag of this repository")
            .hint("kelp images shows what is here; kelp tag IMAGE NAME gives a name")),
    }
}
