// SPDX-License-Identifier: Apache-2.0
//! `kelp tag`: another name for an image.

use crate::error::Result;
use crate::places::Places;
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
pub(crate) fn run(args: &Tag, places: &Places) -> Result<ExitCode> {
    let target: Reference = args.target.parse()?;
    Store::open(&places.store)?.tag(&args.source, &target)?;
    Ok(ExitCode::SUCCESS)
}
