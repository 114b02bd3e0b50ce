// SPDX-License-Identifier: Apache-2.0
//! `kelp export`: the files of a container as a tar.

use crate::caller::Caller;
use crate::container::{files, find};
use crate::error::{Doing, Error, Kind, Result};
use clap::Args;
use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::ExitCode;

/// Write the files of a container as a tar archive
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The file; without it, standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// A name or id
    container: String,
}

/// Performs the command. Volumes and what is mounted are not the container's.
pub(crate) fn run(args: &Export, caller: &Caller) -> Result<ExitCode> {
    let doing = || format!("cannot export {}", args.container);
    // Before a file of that name is emptied.
    find::one(caller, &args.container)?;
    let out: OwnedFd = match &args.output {
        Some(file) => File::create(file).doing(doing)?.into(),
        None if std::io::stdout().is_terminal() => {
            return Err(Error::new(Kind::BadInput, doing(), "standard output is a terminal")
                .hint("kelp export -o FILE, or kelp export … > FILE"));
        }
        None => std::io::stdout().as_fd().try_clone_to_owned().doing(doing)?,
    };
    files::export(caller, &args.container, out)?;
    Ok(ExitCode::SUCCESS)
}
