// SPDX-License-Identifier: Apache-2.0
//! `kelp ps`: containers and what they are doing.

use crate::caller::Caller;
use crate::container::filter::Filter;
use crate::container::find::{self, Container};
use crate::container::id;
use crate::container::status::{self, Status};
use crate::error::Result;
use crate::output;
use crate::time;
use clap::Args;
use serde_json::{Value, json};
use std::process::ExitCode;

/// List containers
#[derive(Debug, Args)]
pub(crate) struct Ps {
    /// Those that do not run, too
    #[arg(short, long)]
    all: bool,
    /// Ids only
    #[arg(short, long)]
    quiet: bool,
    /// Show whole ids and commands
    #[arg(long)]
    no_trunc: bool,
    /// The last that were made, running or not
    #[arg(short = 'n', long, value_name = "NUMBER", allow_hyphen_values = true)]
    last: Option<i64>,
    /// The one that was made last, running or not
    #[arg(short, long)]
    latest: bool,
    /// Only those with this name, id, label, status, health, ancestor, volume, network, exited, publish, expose, before,
    /// since, is-task, restart-policy or should-start-on-boot
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// json, or a template such as 'table {{.Names}}\t{{.Status}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

/// Performs the command.
pub(crate) fn run(args: &Ps, caller: &Caller) -> Result<ExitCode> {
    let filter = Filter::parse(caller, &args.filter)?;
    // As in Docker, -1 is the same as nothing, and 0 too.
    let asked = args.last.and_then(|number| usize::try_from(number).ok()).filter(|number| *number > 0);
    let last = if args.latest { Some(1) } else { asked };
    let mut rows = Vec::new();
    for container in find::all(caller)? {
        let status = status::of(caller, &container)?;
        // Whoever asks for a status wants those that have it.
        let shown = args.all || status.state.is_alive() || filter.asks_for_the_ended();
        if (shown || last.is_some()) && filter.matches(&container, &status) {
            rows.push((container, status));
        }
    }
    rows.truncate(last.unwrap_or(usize::MAX));
    show(args, caller, &rows)?;
    Ok(ExitCode::SUCCESS)
}

fn show(args: &Ps, caller: &Caller, rows: &[(Container, Status)]) -> Result<()> {
    if args.quiet {
        return rows.iter().try_for_each(|(container, _)| output::line(shown_id(args, container)));
    }
    let fields = |(container, status): &(Container, Status)| fields(args, container, status);
    let format = super::format(caller, args.format.as_deref(), "psFormat")?;
    super::render_rows(format.as_deref(), TABLE, rows.iter().map(fields), HEADINGS)
}

/// What is shown where nothing else is asked for.
const TABLE: &str = "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";

/// The headings of `--format 'table …'`.
const HEADINGS: &[(&str, &str)] = &[("ID", "CONTAINER ID"), ("RunningFor", "CREATED"), ("CreatedAt", "CREATED AT")];

fn shown_id<'a>(args: &Ps, container: &'a Container) -> &'a str {
    if args.no_trunc { &container.record.id } else { id::short(&container.record.id) }
}

/// Docker's fields.
fn fields(args: &Ps, container: &Container, status: &Status) -> Value {
    let record = &container.record;
    let labels: Vec<String> = record.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let mounts: Vec<&str> =
        record.mounts.iter().map(|mount| mount.name.as_deref().unwrap_or(mount.source.as_str())).collect();
    json!({
        "ID": shown_id(args, container),
        "Image": record.image,
        "Command": format!("\"{}\"", cut(&record.command_line(), if args.no_trunc { usize::MAX } else { 20 })),
        "CreatedAt": record.created,
        "RunningFor": format!("{} ago", time::since(&record.created)),
        "Ports": ports(container, status),
        "State": status.state.word(),
        "Status": status.sentence(),
        "Names": record.name,
        "Labels": labels.join(","),
        "Mounts": mounts.join(","),
        "LocalVolumes": record.mounts.iter().filter(|mount| mount.name.is_some()).count(),
        "Networks": record.network,
        "Size": "",
    })
}

fn ports(container: &Container, status: &Status) -> String {
    if !status.state.is_alive() {
        return String::new();
    }
    let published = status.start.as_ref().map(|start| start.published.as_slice()).unwrap_or_default();
    let inside: Vec<String> = published.iter().map(|port| format!("{}/{}", port.container, port.protocol)).collect();
    let exposed = container.record.exposed.iter().filter(|port| !inside.contains(port)).cloned();
    published.iter().map(ToString::to_string).chain(exposed).collect::<Vec<_>>().join(", ")
}

/// At most `length` characters, the last one an ellipsis if more were there.
fn cut(text: &str, length: usize) -> String {
    match text.char_indices().nth(length) {
        Some(_) => text.chars().take(length.saturating_sub(1)).chain(['…']).collect(),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_commands_are_cut_at_a_character() {
        assert_eq!(cut("sh -c 'echo hello world'", 20), "sh -c 'echo hello w…");
        assert_eq!(cut("sh", 20), "sh");
        assert_eq!(cut("ääää", 2), "ä…");
    }
}
