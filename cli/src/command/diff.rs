// SPDX-License-Identifier: Apache-2.0
//! `kelp diff`: what a container changed of its image.

use crate::caller::Caller;
use crate::container::find;
use crate::error::Result;
use crate::{ids, output};
use clap::Args;
use kelp_bundles::changes::Kind;
use kelp_bundles::{Store, commit};
use std::process::ExitCode;

/// Show what a container changed of its image
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// A name or id
    container: String,
}

/// Performs the command.
pub(crate) fn run(args: &Diff, caller: &Caller) -> Result<ExitCode> {
    let container = find::one(caller, &args.container)?;
    let store = Store::open(&caller.places.store)?;
    for change in commit::changes(&store, &container.folder, &container.files(), &ids::of_caller()?)? {
        let letter = match change.kind {
            Kind::Changed => 'C',
            Kind::Added => 'A',
            Kind::Deleted => 'D',
        };
        output::line(format!("{letter} /{}", String::from_utf8_lossy(&change.path)))?;
    }
    Ok(ExitCode::SUCCESS)
}
