// SPDX-License-Identifier: Apache-2.0
//! `kelp tag`: another name for an image.

use crate::caller::Caller;
use crate::error::Result;
use crate::events;
use clap::Args;
use kelp_bundles::{Reference, Store};
use std::process::ExitCode;

/// Give an image another name
#[derive(Debug, Args)]
pub(crate) struct Tag {
    /// A name or id
    #[arg(value_name = "IMAGE")]
    source: String,
    /// The new name
    #[arg(value_name = "NAME")]
    target: String,
}

/// Performs the command.
pub(crate) fn run(args: &Tag, caller: &Caller) -> Result<ExitCode> {
    let target: Reference = args.target.parse()?;
    let store = Store::open(&caller.places.store)?;
    store.tag(&args.source, &target)?;
    let id = store.find_named(&target)?.id;
    events::image(caller, "tag", &id.to_string(), &target.familiar());
    Ok(ExitCode::SUCCESS)
}
