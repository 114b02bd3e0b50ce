// SPDX-License-Identifier: Apache-2.0
//! `kelp stats`: what containers use, as Docker shows it.
//!
//! Without `--no-stream` again each second until interrupted. The processor's share is what was used between two looks.

use crate::caller::Caller;
use crate::container::find::{self, Container};
use crate::container::id;
use crate::container::runtime::Runtime;
use crate::container::status;
use crate::error::{Kind, Result};
use crate::output;
use crate::request::size::human;
use clap::Args;
use kelp_runtime::cgroup::Statistics;
use serde_json::{Value, json};
use std::fs;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Show what containers use
#[derive(Debug, Args)]
pub(crate) struct Stats {
    /// Those that do not run, too
    #[arg(short, long)]
    all: bool,
    /// Once, and end
    #[arg(long)]
    no_stream: bool,
    /// Show whole ids
    #[arg(long)]
    no_trunc: bool,
    /// json, or a template such as 'table {{.Name}}\t{{.MemUsage}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Names or ids; all that run by default
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

const INTERVAL: Duration = Duration::from_secs(1);

/// One look at one container.
struct Look {
    container: Container,
    at: Instant,
    pid: i32,
    /// None where it does not run, or no cgroup counts for it.
    statistics: Option<Statistics>,
}

/// Performs the command.
pub(crate) fn run(args: &Stats, caller: &Caller) -> Result<ExitCode> {
    let format = super::format(caller, args.format.as_deref(), "statsFormat")?;
    let mut before = look_at_all(args, caller)?;
    loop {
        if !output::reader_stays(INTERVAL) {
            return Ok(ExitCode::SUCCESS);
        }
        let now = look_at_all(args, caller)?;
        let rows: Vec<Value> = now.iter().map(|look| row(args, look, &before)).collect();
        if !args.no_stream && format.is_none() && std::io::stdout().is_terminal() {
            // Over what was there before.
            output::raw(b"\x1b[2J\x1b[H")?;
        }
        super::render_rows(format.as_deref(), TABLE, rows.into_iter(), HEADINGS)?;
        if args.no_stream {
            return Ok(ExitCode::SUCCESS);
        }
        before = now;
    }
}

fn look_at_all(args: &Stats, caller: &Caller) -> Result<Vec<Look>> {
    let containers = if args.containers.is_empty() {
        find::all(caller)?
    } else {
        args.containers.iter().map(|wanted| find::one(caller, wanted)).collect::<Result<_>>()?
    };
    let mut looks = Vec::new();
    for container in containers {
        let status = status::of(caller, &container)?;
        let alive = status.state.is_alive() && status.pid > 0;
        if !alive && args.containers.is_empty() && !args.all {
            continue;
        }
        let statistics = if alive { statistics(caller, &container, status.pid)? } else { None };
        looks.push(Look { at: Instant::now(), pid: if alive { status.pid } else { 0 }, statistics, container });
    }
    Ok(looks)
}

/// A container that has ended since, or whose creator was delegated no cgroup, has no numbers.
fn statistics(caller: &Caller, container: &Container, pid: i32) -> Result<Option<Statistics>> {
    match Runtime::of(caller, &container.record).statistics(pid) {
        Ok(statistics) => Ok(Some(statistics)),
        Err(error) if [Kind::WrongState, Kind::Permission, Kind::NotFound].contains(&error.kind()) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The headings of `--format 'table …'`.
const HEADINGS: &[(&str, &str)] = &[
    ("ID", "CONTAINER ID"),
    ("CPUPerc", "CPU %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("MemPerc", "MEM %"),
    ("NetIO", "NET I/O"),
    ("BlockIO", "BLOCK I/O"),
];

/// What is shown where nothing else is asked for.
const TABLE: &str =
    "table {{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}";

/// Docker's fields, as text; `--` where nothing is counted.
fn row(args: &Stats, look: &Look, before: &[Look]) -> Value {
    let record = &look.container.record;
    let id = if args.no_trunc { record.id.as_str() } else { id::short(&record.id) };
    let unknown = || "--".to_owned();
    let counted = look.statistics.as_ref();
    let earlier = before.iter().find(|earlier| earlier.container.record.id == record.id);
    let memory = counted.and_then(memory);
    let (bytes_in, bytes_out) = network(look.pid).unwrap_or_default();
    json!({
        "Container": id,
        "ID": id,
        "Name": record.name,
        "CPUPerc": earlier.and_then(|earlier| share(earlier, look)).map_or_else(unknown, percent),
        "MemUsage": memory.map_or_else(|| "-- / --".to_owned(), |(used, limit)| format!("{} / {}", binary(used), binary(limit))),
        "MemPerc": memory.map_or_else(unknown, |(used, limit)| percent(ratio(used, limit))),
        "NetIO": format!("{} / {}", human(bytes_in), human(bytes_out)),
        "BlockIO": counted.map_or_else(|| "-- / --".to_owned(), |counted| {
            format!("{} / {}", human(io(counted, "rbytes")), human(io(counted, "wbytes")))
        }),
        "PIDs": counted.and_then(|counted| counted.pids.current).map_or_else(unknown, |pids| pids.to_string()),
    })
}

#[allow(clippy::cast_precision_loss, reason = "two decimals are shown")]
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn percent(share: f64) -> String {
    format!("{:.2}%", share * 100.0)
}

/// How much of one processor it used between two looks.
fn share(before: &Look, now: &Look) -> Option<f64> {
    let used = |look: &Look| look.statistics.as_ref()?.cpu.get("usage_usec").copied();
    let microseconds = u64::try_from(now.at.duration_since(before.at).as_micros()).ok()?;
    Some(ratio(used(now)?.saturating_sub(used(before)?), microseconds))
}

/// As Docker counts: without the pages of files that nobody has looked at lately. Without a limit, that of the machine.
fn memory(statistics: &Statistics) -> Option<(u64, u64)> {
    let idle = statistics.memory_stat.get("inactive_file").copied().unwrap_or_default();
    let used = statistics.memory.current?.saturating_sub(idle);
    Some((used, statistics.memory.max.or_else(machine_memory)?))
}

fn machine_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().trim_end_matches(" kB").parse::<u64>().ok()?.checked_mul(1024)
}

/// Bytes in and out of all devices but the loopback: proc_pid_net(5).
fn network(pid: i32) -> Option<(u64, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/net/dev")).ok()?;
    let mut total = (0_u64, 0_u64);
    for (name, counters) in text.lines().skip(2).filter_map(|line| line.split_once(':')) {
        if name.trim() != "lo" {
            let counters: Vec<u64> = counters.split_whitespace().filter_map(|word| word.parse().ok()).collect();
            total.0 = total.0.saturating_add(counters.first().copied().unwrap_or_default());
            total.1 = total.1.saturating_add(counters.get(8).copied().unwrap_or_default());
        }
    }
    Some(total)
}

fn io(statistics: &Statistics, key: &str) -> u64 {
    statistics.io.values().filter_map(|device| device.get(key)?.parse::<u64>().ok()).sum()
}

/// Bytes in units of 1024, four digits, as Docker shows memory: `1.934MiB`.
fn binary(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    #[allow(clippy::cast_precision_loss, reason = "four digits are shown")]
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let decimals = match value {
        _ if unit == 0 => 0,
        value if value >= 1000.0 => 0,
        value if value >= 100.0 => 1,
        value if value >= 10.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    let short = if decimals > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{short}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_shown_as_docker_shows_it() {
        for (bytes, shown) in
            [(0, "0B"), (512, "512B"), (2_027_520, "1.934MiB"), (1 << 30, "1GiB"), (100 << 20, "100MiB")]
        {
            assert_eq!(binary(bytes), shown);
        }
    }
}
