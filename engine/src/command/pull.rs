// SPDX-License-Identifier: Apache-2.0
//! `kelp pull`: Download an image from a registry.

use crate::error::{Error, Kind, Result};
use crate::places::Places;
use clap::Args;
use std::process::ExitCode;

/// Download an image from a registry
#[derive(Debug, Args)]
pub(crate) struct Pull {}

/// Performs the command.
pub(crate) fn run(_args: &Pull, _places: &Places) -> Result<ExitCode> {
    Err(Error::new(Kind::Unsupported, "cannot pull", "not built yet"))
}
