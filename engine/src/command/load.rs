// SPDX-License-Identifier: Apache-2.0
//! `kelp load`: Load an image from a tar archive or an OCI layout.

use crate::error::{Error, Kind, Result};
use crate::places::Places;
use clap::Args;
use std::process::ExitCode;

/// Load an image from a tar archive or an OCI layout
#[derive(Debug, Args)]
pub(crate) struct Load {}

/// Performs the command.
pub(crate) fn run(_args: &Load, _places: &Places) -> Result<ExitCode> {
    Err(Error::new(Kind::Unsupported, "cannot load", "not built yet"))
}
