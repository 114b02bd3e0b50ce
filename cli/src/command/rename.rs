// SPDX-License-Identifier: Apache-2.0
//! `kelp rename`: give a container another name.

use crate::caller::Caller;
use crate::container::rename;
use crate::error::Result;
use clap::Args;
use std::process::ExitCode;

/// Give a container another name
#[derive(Debug, Args)]
pub(crate) struct Rename {
    /// Its name or id
    container: String,
    /// Its new name
    name: String,
}

/// Performs the command.
pub(crate) fn run(args: &Rename, caller: &Caller) -> Result<ExitCode> {
    rename::rename(caller, &args.container, &args.name)?;
    Ok(ExitCode::SUCCESS)
}
