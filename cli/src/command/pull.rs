// SPDX-License-Identifier: Apache-2.0
//! `kelp pull`: images from a registry.

use crate::caller::Caller;
use crate::error::{Error, Kind, Result};
use crate::events;
use crate::output;
use crate::platform;
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
    /// Print the full name only
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    trust: Trust,
    /// Check certificates and insist on TLS
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1,
          default_missing_value = "true", require_equals = true)]
    tls_verify: bool,
}

/// Docker's signatures of names, which nobody serves any more.
#[derive(Debug, Args)]
pub(crate) struct Trust {
    /// Do not check signatures
    #[arg(long, hide = true, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1,
          default_missing_value = "true", require_equals = true)]
    disable_content_trust: bool,
}

impl Trust {
    pub(crate) fn check(&self) -> Result<()> {
        match self.disable_content_trust {
            true => Ok(()),
            false => Err(Error::new(Kind::Unsupported, "cannot check signatures", "Kelp knows no notary")
                .hint("name the image by its digest, as in app@sha256:…")),
        }
    }
}

/// Performs the command.
pub(crate) fn run(args: &Pull, caller: &Caller) -> Result<ExitCode> {
    args.trust.check()?;
    let reference = registries::complete(&args.image)?;
    if !(args.quiet || args.all_tags || has_tag(&args.image)) {
        output::line("Using default tag: latest")?;
    }
    let store = Store::open(&caller.places.store)?;
    let is_asked = platform::asked(args.platform.as_deref(), caller).is_some();
    let platform = platform::wanted(args.platform.as_deref(), caller)?;
    let unpack = Some(IdMap::of_caller()?);
    let options = Options { platform: platform.clone(), verify: args.tls_verify, unpack, ..Options::default() };
    let progress = if args.quiet { Shown::quiet() } else { Shown::new() };
    let names = if args.all_tags { all(args, &reference)? } else { vec![reference] };
    for name in names {
        let before = store.find_named(&name).ok().map(|image| image.manifest);
        let image = pull::pull(&store, &name, &options, &progress)?;
        events::transfer(caller, "pull", &name);
        warn_if_foreign(&image);
        if is_asked && image.check_platform(&platform).is_err() {
            output::note(format!(
                "it is for {}, not for {platform}: the registry has no other",
                image.config.platform()
            ));
        }
        match args.quiet {
            true => output::line(&name)?,
            false => show(&store, &name, &image, before.as_ref() == Some(&image.manifest))?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Docker's last lines.
fn show(store: &Store, name: &Reference, image: &Image, had_it: bool) -> Result<()> {
    let here = |it: &&Reference| (it.registry(), it.repository()) == (name.registry(), name.repository());
    let pinned = store.digests(image)?;
    if let Some(digest) = pinned.iter().find(here).and_then(Reference::digest) {
        output::line(format!("Digest: {digest}"))?;
    }
    let status = if had_it { "Image is up to date" } else { "Downloaded newer image" };
    output::line(format!("Status: {status} for {}", name.familiar()))?;
    output::line(name)
}

/// Whether the name as it was typed has a tag or a digest.
fn has_tag(name: &str) -> bool {
    name.rsplit('/').next().is_some_and(|last| last.contains(['@', ':']))
}

fn all(args: &Pull, reference: &Reference) -> Result<Vec<Reference>> {
    if has_tag(&args.image) {
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
