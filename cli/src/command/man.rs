// SPDX-License-Identifier: Apache-2.0
//! `kelp man`: the manual pages, generated from the same table of commands as `--help`.

use crate::caller::Caller;
use crate::cli::Cli;
use crate::error::{Doing, Error, Kind, Result};
use crate::output;
use clap::{Args, Command, CommandFactory};
use std::fs;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode, Stdio};

/// Show a manual page
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Write one page per command into this folder instead
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
    /// The command, as in volume ls
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
}

/// Performs the command.
pub(crate) fn run(args: &Man, _caller: &Caller) -> Result<ExitCode> {
    let mut root = Cli::command();
    root.build();
    if let Some(folder) = &args.write {
        fs::create_dir_all(folder).doing(|| format!("cannot make {}", folder.display()))?;
        write(&root, "kelp", folder)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut command = &root;
    for word in &args.command {
        let doing = || format!("cannot show the page of {}", args.command.join(" "));
        command = command.find_subcommand(word).ok_or_else(|| {
            Error::new(Kind::NotFound, doing(), format!("there is no command {word}")).hint("kelp --help shows all")
        })?;
    }
    let name = std::iter::once("kelp").chain(args.command.iter().map(String::as_str)).collect::<Vec<_>>().join("-");
    show(&page(&command.clone().display_name(name))?)
}

/// Through man where somebody looks at it; elsewhere, and without man, as it is written: roff.
fn show(page: &[u8]) -> Result<ExitCode> {
    if !std::io::stdout().is_terminal() {
        return output::raw(page).map(|()| ExitCode::SUCCESS);
    }
    let child = process::Command::new("man").args(["-l", "-"]).stdin(Stdio::piped()).spawn();
    let Ok(mut child) = child else { return output::raw(page).map(|()| ExitCode::SUCCESS) };
    if let Some(mut stdin) = child.stdin.take() {
        // Whoever leaves man early has read enough.
        stdin.write_all(page).ok();
    }
    let status = child.wait().doing(|| "cannot wait for man")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
    let shown = command.get_subcommands().filter(|inner| !inner.is_hide_set());
    shown.into_iter().try_for_each(|inner| write(inner, &format!("{name}-{}", inner.get_name()), folder))
}
