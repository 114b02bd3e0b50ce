// SPDX-License-Identifier: Apache-2.0
//! The processes of a container, as the host sees them.

use super::runtime::Runtime;
use super::{find, status};
use crate::caller::Caller;
use crate::docker::container::Processes;
use crate::error::{Doing, Error, Kind, Result};
use crate::events;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

/// One process, from /proc.
struct Process {
    uid: u32,
    parent: String,
    ticks: u64,
    command: String,
}

/// The kernel's USER_HZ, 100 on every architecture we run on.
const TICKS_PER_SECOND: u64 = 100;

/// Those of a container that runs, with the columns that options of ps ask for.
///
/// # Errors
/// There is no such container, it does not run, or ps does not take the options.
pub fn of(caller: &Caller, wanted: &str, options: &[String]) -> Result<Processes> {
    let container = find::one(caller, wanted)?;
    let record = &container.record;
    if !status::of(caller, &container)?.state.is_alive() {
        let doing = format!("cannot show the processes of container {}", record.name);
        return Err(Error::new(Kind::WrongState, doing, "it is not running"));
    }
    let pids = Runtime::of(caller, record).processes();
    let pids = pids.map_err(|error| status::explain(caller, &container, "top", error))?;
    let processes = if options.is_empty() { ours(&pids) } else { of_ps(options, &pids)? };
    events::container(caller, record, "top");
    Ok(processes)
}

/// What ps of this machine says of these processes, with its columns.
fn of_ps(options: &[String], pids: &[i32]) -> Result<Processes> {
    let doing = || format!("cannot show processes by ps {}", options.join(" "));
    let output = Command::new("ps").args(options).stdin(Stdio::null()).output();
    let output =
        output.doing(doing).map_err(|error| error.hint("install ps (Debian: procps), or leave its options out"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let mut lines = said.lines();
    let titles: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let because = if complaint.is_empty() { output.status.to_string() } else { complaint };
        return Err(Error::new(Kind::BadInput, doing(), because));
    }
    let Some(column) = titles.iter().position(|title| *title == "PID") else {
        let because = "ps shows no column PID, by which the container's processes are found";
        return Err(Error::new(Kind::BadInput, doing(), because).hint("add pid: -o pid,cmd"));
    };
    let mut rows = Vec::new();
    for line in lines {
        let cells = cells(line, titles.len());
        if cells.get(column).and_then(|pid| pid.parse().ok()).is_some_and(|pid: i32| pids.contains(&pid)) {
            rows.push(cells);
        }
    }
    Ok(Processes { titles: titles.iter().map(|title| (*title).to_owned()).collect(), processes: rows })
}

/// A line of ps in so many columns: the last one, mostly a command, has the rest with its spaces.
fn cells(line: &str, columns: usize) -> Vec<String> {
    let mut rest = line.trim_start();
    let mut cells = Vec::new();
    while cells.len() + 1 < columns {
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        cells.push(rest[..end].to_owned());
        rest = rest[end..].trim_start();
    }
    cells.push(rest.to_owned());
    cells
}

/// What /proc says of them.
fn ours(pids: &[i32]) -> Processes {
    let mut rows = Vec::new();
    for &pid in pids {
        // One that ended since is not shown.
        let Some(process) = look(pid) else { continue };
        let seconds = process.ticks / TICKS_PER_SECOND;
        let time = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
        rows.push(vec![process.uid.to_string(), pid.to_string(), process.parent, time, process.command]);
    }
    Processes { titles: ["UID", "PID", "PPID", "TIME", "CMD"].map(str::to_owned).to_vec(), processes: rows }
}

/// See proc_pid_stat(5): after the name in parentheses come state, parent …; utime and stime are 14 and 15.
fn look(pid: i32) -> Option<Process> {
    let folder = format!("/proc/{pid}");
    let uid = fs::metadata(&folder).ok()?.uid();
    let stat = fs::read_to_string(format!("{folder}/stat")).ok()?;
    let (before, after) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = after.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    let arguments = fs::read(format!("{folder}/cmdline")).ok()?;
    let arguments = String::from_utf8_lossy(&arguments).trim_end_matches('\0').replace('\0', " ");
    let name = before.split_once('(')?.1;
    Some(Process {
        uid,
        parent: (*fields.get(1)?).to_owned(),
        ticks: number(11)? + number(12)?,
        command: if arguments.is_empty() { format!("[{name}]") } else { arguments },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_column_keeps_its_spaces() {
        assert_eq!(cells("  12 root  sh -c  x", 3), ["12", "root", "sh -c  x"]);
        assert_eq!(cells("12", 2), ["12", ""]);
    }
}
