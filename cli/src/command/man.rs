// SPDX-License-Identifier: Apache-2.0
//! `kelp man`: the manual pages, generated from the same table of commands as `--help`.

use crate::caller::Caller;
use crate::cli::Cli;
use crate::error::{Doing, Result};
use crate::output;
use clap::{Args, Command, CommandFactory};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Print or write the manual pages
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Write one page per command into this folder
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// Performs the command.
pub(crate) fn run(args: &Man, _caller: &Caller) -> Result<ExitCode> {
    let mut root = Cli::command();
    root.build();
    match &args.folder {
        None => output::raw(&page(&root)?)?,
        Some(folder) => {
            fs::create_dir_all(folder).doing(|| format!("cannot make {}", folder.display()))?;
            write(&root, "kelp", folder)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn page(command: &Command) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut text).doing(|| "cannot write the manual page")?;
    Ok(text)
}

/// `kelp-run.1`, `kelp-volume-ls.1` …
fn write(command: &Command, name: &str, folder: &Path) -> Result<()> {
    let file = folder.join(format!("{name}.1"));
    fs::write(&file, page(&command.clone().display_name(name.to_owned()))?)
        .doing(|| format!("cannot write {}", file.display()))?;
    command.get_subcommands().try_for_each(|inner| write(inner, &format!("{name}-{}", inner.get_name()), folder))
}
