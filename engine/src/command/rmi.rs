// SPDX-License-Identifier: Apache-2.0
//! `kelp rmi`: Remove one or more images.

use crate::error::{Error, Kind, Result};
use crate::places::Places;
use clap::Args;
use std::process::ExitCode;

/// Remove one or more images
#[derive(Debug, Args)]
pub(crate) struct Rmi {}

/// Performs the command.
pub(crate) fn run(_args: &Rmi, _places: &Places) -> Result<ExitCode> {
    Err(Error::new(Kind::Unsupported, "cannot rmi", "not built yet"))
}
