// SPDX-License-Identifier: Apache-2.0
//! `kelp images`: List images.

use crate::error::{Error, Kind, Result};
use crate::places::Places;
use clap::Args;
use std::process::ExitCode;

/// List images
#[derive(Debug, Args)]
pub(crate) struct Images {}

/// Performs the command.
pub(crate) fn run(_args: &Images, _places: &Places) -> Result<ExitCode> {
    Err(Error::new(Kind::Unsupported, "cannot images", "not built yet"))
}
