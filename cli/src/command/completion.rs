// SPDX-License-Identifier: Apache-2.0
//! `kelp completion`: what a shell needs to complete our command lines.

use crate::caller::Caller;
use crate::cli::Cli;
use crate::error::Result;
use crate::output;
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use std::process::ExitCode;

/// Print the completion of a shell
#[derive(Debug, Args)]
pub(crate) struct Completion {
    /// bash, zsh, fish, elvish or powershell
    shell: Shell,
}

/// Performs the command.
pub(crate) fn run(args: &Completion, _caller: &Caller) -> Result<ExitCode> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "kelp", &mut text);
    output::raw(&text)?;
    Ok(ExitCode::SUCCESS)
}
