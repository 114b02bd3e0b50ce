// SPDX-License-Identifier: Apache-2.0
//! `state`, `list`, `ps`, `delete`.

use super::arguments::{Arguments, unknown_option};
use super::output::answer;
use super::{Log, Verb};
use kelp_runtime::error::Doing;
use kelp_runtime::{Error, Kind, Result, Runtime, State};
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
        other => Err(Error::bad_input(format!("cannot use --format {other:?}"))
            .because("invalid format option: it is neither table nor json")),
    }
}

pub(super) fn parse_ps(arguments: &mut Arguments) -> Result<Verb> {
    let mut as_json = false;
    while let Some(option) = arguments.leading_option()? {
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
    answer(format_args!("{}\n", kelp_runtime::visible::text(&text)))?;
    Ok(0)
}

pub(crate) fn state(runtime: &Runtime, id: &str) -> Result<u8> {
    print_json(&runtime.state(id)?)
}

/// `named`: whether the root was given. One that was not need not be there yet; one that was is mistyped.
pub(crate) fn list(runtime: &Runtime, format: Format, named: bool, log: &Log) -> Result<u8> {
    if named {
        std::fs::symlink_metadata(&runtime.root)
            .doing(|| format!("cannot list the containers of --root {}", runtime.root.display()))?;
    }
    match format {
        Format::Json => return print_json(&with_names_of_owners(states(runtime, log)?)),
        // One write, not one a line.
        Format::Quiet => answer(runtime.ids()?.iter().map(|id| format!("{id}\n")).collect::<String>())?,
        Format::Table => answer(table(&with_names_of_owners(states(runtime, log)?)))?,
    }
    Ok(0)
}

/// All that can be read. One that cannot is said, and does not hide the others; one that has just gone is none.
fn states(runtime: &Runtime, log: &Log) -> Result<Vec<State>> {
    let mut states = Vec::new();
    for id in runtime.ids()? {
        match runtime.state(&id) {
            Ok(state) => states.push(state),
            Err(error) if error.kind() == Kind::NoSuchContainer => {}
            Err(error) => log.warn(&format!("container {id} is left out: {error}")),
        }
    }
    Ok(states)
}

/// As runc lists them: the user's name, or `#` and the number of one who has none. Read as text: NSS has no place here.
fn with_names_of_owners(mut states: Vec<State>) -> Vec<State> {
    // Without the file nobody has a name.
    let users =
        if states.is_empty() { String::new() } else { std::fs::read_to_string("/etc/passwd").unwrap_or_default() };
    let name = |uid: &str| {
        let fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
        fields.into_iter().find(|fields| fields.get(2) == Some(&uid)).and_then(|fields| fields.first().copied())
    };
    for state in &mut states {
        state.owner = name(&state.owner).map_or_else(|| format!("#{}", state.owner), str::to_owned);
    }
    states
}

/// runc's columns: three spaces between them, and none narrower than twelve.
fn table(states: &[State]) -> String {
    let bundle = |state: &State| state.bundle.display().to_string();
    let widest = |of: &dyn Fn(&State) -> usize| states.iter().map(of).max().unwrap_or_default().max(9) + 3;
    let widths = [widest(&|state| state.id.len()), 12, 12, widest(&|state| bundle(state).len())];
    let created = widest(&|state| state.created.len());
    let line = |cells: [&str; 6]| {
        let [id, pid, status, bundle, made, owner] = cells;
        let [a, b, c, d] = widths;
        let line = format!("{id:<a$}{pid:<b$}{status:<c$}{bundle:<d$}{made:<created$}{owner}");
        format!("{}\n", kelp_runtime::visible::cell(&line))
    };
    let mut table = line(["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    for state in states {
        let (pid, status) = (state.pid.to_string(), state.status.to_string());
        table += &line([&state.id, &pid, &status, &bundle(state), &state.created, &state.owner]);
    }
    table
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
    let mut said = format!("{title}\n");
    for line in lines {
        let pid = line.split_whitespace().nth(column).and_then(|word| word.parse().ok());
        if pid.is_some_and(|pid: i32| pids.contains(&pid)) {
            said += &format!("{line}\n");
        }
    }
    answer(said)?;
    Ok(0)
}
