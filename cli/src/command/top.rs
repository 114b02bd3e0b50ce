// SPDX-License-Identifier: Apache-2.0
//! `kelp top`: the processes of a container, as the host sees them.

use crate::caller::Caller;
use crate::container::processes;
use crate::error::Result;
use crate::output::Table;
use clap::Args;
use std::process::ExitCode;

/// Show the processes of a container
#[derive(Debug, Args)]
pub(crate) struct Top {
    /// Name or id
    container: String,
    /// Options of ps, as in -o pid,cmd or aux
    #[arg(value_name = "PS OPTIONS", trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<String>,
}

/// Performs the command.
pub(crate) fn run(args: &Top, caller: &Caller) -> Result<ExitCode> {
    let found = processes::of(caller, &args.container, &args.options)?;
    let mut table = Table::with_headings(found.titles);
    found.processes.into_iter().for_each(|row| table.row(row));
    table.print()?;
    Ok(ExitCode::SUCCESS)
}
