// SPDX-License-Identifier: Apache-2.0
//! `kelp bundle`: an image as a folder that any OCI runtime runs.

use crate::caller::Caller;
use crate::error::Result;
use crate::progress::Shown;
use crate::request::Isolation;
use crate::{config, ids, image, output, platform};
use clap::Args;
use kelp_bundles::Store;
use kelp_bundles::bundle::{self, Options, Rootfs};
use std::path::PathBuf;
use std::process::ExitCode;

/// Write an OCI bundle of an image
///
/// Then, in that folder: kelp-runtime run NAME, crun run NAME, or runc run NAME. What an ordinary user writes is for him: it
/// has his user namespace.
#[derive(Debug, Args)]
pub(crate) struct Bundle {
    /// Mount the store's layers instead of copying the files (not for crun); the store keeps them while the folder is there
    #[arg(long)]
    overlay: bool,
    /// Take this platform's image, as linux/arm64
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<String>,
    /// Say nothing while pulling
    #[arg(short, long)]
    quiet: bool,
    /// A name or id; pulled if it is not here
    image: String,
    /// A folder that is empty or not there yet
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Performs the command.
pub(crate) fn run(args: &Bundle, caller: &Caller) -> Result<ExitCode> {
    let store = Store::open(&caller.places.store)?;
    let platform = platform::wanted(args.platform.as_deref(), caller)?;
    let image = image::find_or_pull(caller, &store, &args.image, &platform, args.quiet)?;
    let defaults = Isolation::default();
    let capabilities = config::capabilities(&defaults)?;
    let options = Options {
        rootfs: if args.overlay { Rootfs::Overlay } else { Rootfs::Copy },
        seccomp: config::seccomp::decide(&defaults, &capabilities)?,
        capabilities,
    };
    let progress = if args.quiet { Shown::quiet() } else { Shown::new() };
    let written = bundle::write(&store, &image, &args.folder, &ids::of_caller()?, &options, &progress)?;
    written.omitted.iter().for_each(output::note);
    Ok(ExitCode::SUCCESS)
}
