// SPDX-License-Identifier: Apache-2.0
//! `kelp tag`: Give an image another name.

use crate::error::{Error, Kind, Result};
use crate::places::Places;
use clap::Args;
use std::process::ExitCode;

/// Give an image another name
#[derive(Debug, Args)]
pub(crate) struct Tag {}

/// Performs the command.
pub(crate) fn run(_args: &Tag, _places: &Places) -> Result<ExitCode> {
    Err(Error::new(Kind::Unsupported, "cannot tag", "not built yet"))
}
