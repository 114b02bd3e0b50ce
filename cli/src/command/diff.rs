// SPDX-License-Identifier: Apache-2.0
//! `kelp diff`: what a container changed of its image.

use crate::caller::Caller;
use crate::container::files;
use crate::error::Result;
use crate::output;
use clap::Args;
use kelp_bundles::changes::Kind;
use std::process::ExitCode;

/// Show what a container changed of its image
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// A name or id
    container: String,
}

/// Performs the command.
pub(crate) fn run(args: &Diff, caller: &Caller) -> Result<ExitCode> {
    for change in files::changes(caller, &args.container)? {
        let letter = match change.kind {
            Kind::Changed => 'C',
            Kind::Added => 'A',
            Kind::Deleted => 'D',
        };
        output::line(format!("{letter} /{}", String::from_utf8_lossy(&change.path)))?;
    }
    Ok(ExitCode::SUCCESS)
}
