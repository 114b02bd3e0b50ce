// SPDX-License-Identifier: Apache-2.0
//! `state`, `list`, `ps`, `delete`.

use super::arguments::{Arguments, unknown_option};
use super::{Log, Verb};
use kelp_runtime::error::Doing;
use kelp_runtime::{Error, Result, Runtime, State};
use serde::Serialize;
use std::process::Command;

/// How `list` prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    #[default]
    Table,
    Json,
    Quiet,
}

pub(super) fn parse(arguments: &mut Arguments) -> Result<Verb> {
    let mut format = Format::default();
    while let Some(option) = arguments.next_option()? {
        match option.as_str() {
            "quiet" | "q" if arguments.switch()? => format = Format::Quiet,
            "format" | "f" if json(arguments)? => format = Format::Json,
            "quiet" | "q" | "format" | "f" => {}
            other => return Err(unknown_option(other, "list")),
        }
    }
    arguments.end("list")?;
    Ok(Verb::List(format))
}

fn json(arguments: &mut Arguments) -> Result<bool> {
    match arguments.text("--format")?.as_str() {
        "json" => Ok(true),
        "table" => Ok(false),
        other => {
            Err(Error::bad_input(format!("cannot use --format {other:?}")).because("it is neither table nor json"))
        }
    }
}

pub(super) fn parse_ps(arguments: &mut Arguments) -> Result<Verb> {
    let mut as_json = false;
    while let Some(option) = arguments.next_option()? {
        match option.as_str() {
            "format" | "f" => as_json = json(arguments)?,
            other => return Err(unknown_option(other, "ps")),
        }
    }
    let id = arguments.first_id("ps")?;
    Ok(Verb::Ps { id, json: as_json, arguments: arguments.rest()? })
}

pub(super) fn parse_delete(arguments: &mut Arguments) -> Result<Verb> {
    let mut force = false;
    while let Some(option) = arguments.next_option()? {
        match option.as_str() {
            "force" | "f" => force = arguments.switch()?,
            other => return Err(unknown_option(other, "delete")),
        }
    }
    let mut ids = vec![arguments.first_id("delete")?];
    while let Some(id) = arguments.operand()? {
        ids.push(id);
    }
    Ok(Verb::Delete { ids, force })
}

/// Deletes them all, whatever becomes of each; the last error is the call's.
pub(crate) fn delete(runtime: &Runtime, ids: &[String], force: bool, log: &Log) -> Result<u8> {
    let mut failed: Option<Error> = None;
    for id in ids {
        match runtime.delete(id, force) {
            Ok(warnings) => {
                log.warn_all(&warnings);
            }
            Err(error) => failed.replace(error).iter().for_each(|earlier| log.error(earlier)),
        }
    }
    failed.map_or(Ok(0), Err)
}

fn print_json<T: Serialize>(value: &T) -> Result<u8> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Error::new("cannot write JSON").because(error))?;
    println!("{text}");
    Ok(0)
}

pub(crate) fn state(runtime: &Runtime, id: &str) -> Result<u8> {
    print_json(&runtime.state(id)?)
}

pub(crate) fn list(runtime: &Runtime, format: Format) -> Result<u8> {
    match format {
        Format::Json => return print_json(&runtime.list()?),
        // One write, not one a line.
        Format::Quiet => print!("{}", runtime.ids()?.iter().map(|id| format!("{id}\n")).collect::<String>()),
        Format::Table => print_table(&runtime.list()?),
    }
    Ok(0)
}

fn print_table(states: &[State]) {
    let bundle = |state: &State| state.bundle.display().to_string();
    let widest =
        |of: &dyn Fn(&State) -> usize, least: usize| states.iter().map(of).chain([least]).max().unwrap_or(least);
    let (id_width, bundle_width) = (widest(&|state| state.id.len(), 2), widest(&|state| bundle(state).len(), 6));
    println!(
        "{:<id_width$}  {:<10}  {:<10}  {:<bundle_width$}  {:<30}  OWNER",
        "ID", "PID", "STATUS", "BUNDLE", "CREATED"
    );
    for state in states {
        let (bundle, State { id, pid, status, created, owner, .. }) = (bundle(state), state);
        println!("{id:<id_width$}  {pid:<10}  {status:<10}  {bundle:<bundle_width$}  {created:<30}  {owner}");
    }
}

/// Pids as JSON, or those lines of ps(1) that are about the container's processes.
pub(crate) fn ps(runtime: &Runtime, id: &str, json: bool, arguments: &[String]) -> Result<u8> {
    let pids = runtime.processes(id)?;
    if json {
        return print_json(&pids);
    }
    let defaults = ["-ef".to_owned()];
    let arguments = if arguments.is_empty() { defaults.as_slice() } else { arguments };
    let output = Command::new("ps").args(arguments).output().doing(|| "cannot run ps".into())?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Error::new("cannot list processes").because(format!("ps {}: {said}", arguments.join(" "))));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines();
    let title = lines.next().unwrap_or_default();
    let column = title
        .split_whitespace()
        .position(|word| word == "PID")
        .ok_or_else(|| Error::bad_input("cannot list processes").because("ps printed no column PID"))?;
    println!("{title}");
    for line in lines {
        let pid = line.split_whitespace().nth(column).and_then(|word| word.parse().ok());
        if pid.is_some_and(|pid: i32| pids.contains(&pid)) {
            println!("{line}");
        }
    }
    Ok(0)
}
