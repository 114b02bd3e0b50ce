// SPDX-License-Identifier: Apache-2.0
//! The command line as a whole: global flags, then one command. Parsing only; `command` acts.

use crate::command::Command;
use clap::Parser;
use std::path::PathBuf;

/// Containers without a daemon and without root
#[derive(Debug, Parser)]
#[command(name = "kelp", version, disable_help_subcommand = true, infer_subcommands = false, max_term_width = 100)]
pub(crate) struct Cli {
    /// Keep images, containers and volumes in this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// What to do
    #[command(subcommand)]
    pub(crate) command: Command,
}
