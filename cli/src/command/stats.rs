// SPDX-License-Identifier: Apache-2.0
//! `kelp stats`: what containers use, as Docker shows it.
//!
//! Without `--no-stream` again each second until interrupted. The processor's share is what was used between two looks.

use crate::caller::Caller;
use crate::container::id;
use crate::container::statistics::{self, Look, Which};
use crate::error::Result;
use crate::output;
use crate::request::size::human;
use clap::Args;
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

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
    let which = match (args.containers.as_slice(), args.all) {
        ([], false) => Which::Running,
        ([], true) => Which::All,
        (names, _) => Which::Named(names),
    };
    statistics::look(caller, which)
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
    let counted = look.counted.as_ref();
    let earlier = before.iter().find(|earlier| earlier.container.record.id == record.id);
    let memory = counted.and_then(statistics::memory);
    let (bytes_in, bytes_out) = statistics::network(look.pid).unwrap_or_default();
    json!({
        "Container": id,
        "ID": id,
        "Name": record.name,
        "CPUPerc": earlier.and_then(|earlier| look.share_since(earlier)).map_or_else(unknown, percent),
        "MemUsage": memory.map_or_else(|| "-- / --".to_owned(), |(used, limit)| format!("{} / {}", binary(used), binary(limit))),
        "MemPerc": memory.map_or_else(unknown, |(used, limit)| percent(statistics::ratio(used, limit))),
        "NetIO": format!("{} / {}", human(bytes_in), human(bytes_out)),
        "BlockIO": counted.map_or_else(|| "-- / --".to_owned(), |counted| {
            format!("{} / {}", human(statistics::io(counted, "rbytes")), human(statistics::io(counted, "wbytes")))
        }),
        "PIDs": counted.and_then(|counted| counted.pids.current).map_or_else(unknown, |pids| pids.to_string()),
    })
}

fn percent(share: f64) -> String {
    format!("{:.2}%", share * 100.0)
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
