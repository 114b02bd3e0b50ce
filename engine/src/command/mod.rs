// SPDX-License-Identifier: Apache-2.0
//! The commands: one file each, with its arguments (`struct`, derive `clap::Args`) and `run(args, places)`.
//!
//! A new command is a file here, a variant of [`Command`] and a line in [`perform`].

mod images;
mod load;
mod pull;
mod rmi;
mod tag;

use crate::error::Result;
use crate::places::Places;
use clap::Subcommand;
use std::process::ExitCode;

/// All commands, in the order `kelp --help` shows them.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List images
    Images(images::Images),
    /// Load an image from a tar archive or an OCI layout
    Load(load::Load),
    /// Download an image from a registry
    Pull(pull::Pull),
    /// Remove one or more images
    Rmi(rmi::Rmi),
    /// Give an image another name
    Tag(tag::Tag),
}

/// Performs one command; the status is what the process leaves with.
pub(crate) fn perform(command: &Command, places: &Places) -> Result<ExitCode> {
    match command {
        Command::Images(args) => images::run(args, places),
        Command::Load(args) => load::run(args, places),
        Command::Pull(args) => pull::run(args, places),
        Command::Rmi(args) => rmi::run(args, places),
        Command::Tag(args) => tag::run(args, places),
    }
}
