// SPDX-License-Identifier: Apache-2.0
//! `kelp top`: the processes of a container, as the host sees them.

use crate::caller::Caller;
use crate::container::find;
use crate::container::runtime::Runtime;
use crate::container::status;
use crate::error::{Error, Kind, Result};
use crate::events;
use crate::output::Table;
use clap::Args;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::ExitCode;

/// Show the processes of a container
#[derive(Debug, Args)]
pub(crate) struct Top {
    /// Name or id
    container: String,
}

/// One process, from /proc.
struct Process {
    uid: u32,
    parent: String,
    ticks: u64,
    command: String,
}

/// The kernel's USER_HZ, 100 on every architecture we run on.
const TICKS_PER_SECOND: u64 = 100;

/// Performs the command.
pub(crate) fn run(args: &Top, caller: &Caller) -> Result<ExitCode> {
    let container = find::one(caller, &args.container)?;
    let record = &container.record;
    if !status::of(caller, &container)?.state.is_alive() {
        let doing = format!("cannot show the processes of container {}", record.name);
        return Err(Error::new(Kind::WrongState, doing, "it is not running"));
    }
    let mut table = Table::new(["UID", "PID", "PPID", "TIME", "CMD"]);
    let processes =
        Runtime::of(caller, record).processes().map_err(|error| super::explain(caller, &container, "top", error))?;
    for pid in processes {
        // One that ended since is not shown.
        let Some(process) = look(pid) else { continue };
        let seconds = process.ticks / TICKS_PER_SECOND;
        let time = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
        table.row([process.uid.to_string(), pid.to_string(), process.parent, time, process.command]);
    }
    events::container(caller, record, "top");
    table.print()?;
    Ok(ExitCode::SUCCESS)
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
