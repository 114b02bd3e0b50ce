// SPDX-License-Identifier: Apache-2.0
//! `kelp ps`: containers and what they are doing.

use crate::caller::Caller;
use crate::container::find::{self, Container};
use crate::container::id;
use crate::container::status::{self, Status};
use crate::error::Result;
use crate::filter::Filters;
use crate::output;
use crate::request::restart;
use crate::time;
use clap::Args;
use kelp_shim::Restart;
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
    #[arg(short = 'n', long, value_name = "NUMBER")]
    last: Option<usize>,
    /// The one that was made last, running or not
    #[arg(short, long)]
    latest: bool,
    /// Only those with this name, id, label, status, ancestor, volume, network, exited, publish, expose, before, since,
    /// restart-policy or should-start-on-boot
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// json, or a template such as 'table {{.Names}}\t{{.Status}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

/// Performs the command.
pub(crate) fn run(args: &Ps, caller: &Caller) -> Result<ExitCode> {
    let filters = Filters::parse(&args.filter, &KEYS)?;
    let mut rows = Vec::new();
    let age = Age::of(&filters, caller)?;
    for container in find::all(caller)?.into_iter().filter(|container| age.fits(container)) {
        let status = status::of(caller, &container)?;
        // Whoever asks for a status wants those that have it.
        let shown = args.all || status.state.is_alive() || filters.has("status") || filters.has("exited");
        if (shown || args.last.is_some() || args.latest) && matches(&filters, &container, &status) {
            rows.push((container, status));
        }
    }
    rows.truncate(if args.latest { 1 } else { args.last.unwrap_or(usize::MAX) });
    show(args, &rows)?;
    Ok(ExitCode::SUCCESS)
}

/// `--filter before=CONTAINER`, `since=CONTAINER`: when those were made.
pub(super) struct Age {
    before: Option<String>,
    since: Option<String>,
}

impl Age {
    pub(super) fn of(filters: &Filters, caller: &Caller) -> Result<Age> {
        let made = |key: &str| {
            let named = filters.first(key).map(|name| find::one(caller, name));
            named.transpose().map(|found| found.map(|container| container.record.created))
        };
        Ok(Age { before: made("before")?, since: made("since")? })
    }

    /// Both are RFC 3339 in UTC with as many digits, in which order is that of time.
    pub(super) fn fits(&self, container: &Container) -> bool {
        let created = &container.record.created;
        self.before.as_ref().is_none_or(|before| created < before)
            && self.since.as_ref().is_none_or(|since| created > since)
    }
}

/// Whether `80`, `53/udp` or `80-90` names the port.
fn names_port(wanted: &str, port: u16, protocol: &str) -> bool {
    let (range, of) = wanted.split_once('/').unwrap_or((wanted, "tcp"));
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let number = |text: &str| text.parse::<u16>().ok();
    of == protocol && number(first).is_some_and(|first| first <= port) && number(last).is_some_and(|last| port <= last)
}

pub(super) const KEYS: [&str; 14] = [
    "name",
    "id",
    "label",
    "status",
    "ancestor",
    "volume",
    "network",
    "exited",
    "restart-policy",
    "should-start-on-boot",
    "before",
    "since",
    "publish",
    "expose",
];

pub(super) fn matches(filters: &Filters, container: &Container, status: &Status) -> bool {
    let record = &container.record;
    filters.all(|key, value| match key {
        "name" => record.name.contains(value.trim_start_matches('/')),
        "id" => record.id.starts_with(value),
        "label" => crate::filter::label(&record.labels, value),
        "status" => status.state.word() == value,
        "ancestor" => record.image == value || record.image_id.trim_start_matches("sha256:").starts_with(value),
        "volume" => {
            record.mounts.iter().any(|mount| mount.name.as_deref() == Some(value) || mount.destination == value)
        }
        "network" => record.network.to_string() == value,
        "restart-policy" => restart::shown(record.restart).0 == value,
        "should-start-on-boot" => should_start_on_boot(record.restart, status).to_string() == value,
        "publish" => record.ports.iter().any(|port| names_port(value, port.container, &port.protocol.to_string())),
        "expose" => record.exposed.iter().any(|port| {
            let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
            number.parse().is_ok_and(|number| names_port(value, number, protocol))
        }),
        // Of the whole list: see `Age`.
        "before" | "since" => true,
        "exited" => status.exit.as_ref().is_some_and(|exit| exit.code.to_string() == value),
        _ => false,
    })
}

/// Docker's rules for a daemon that starts, podman's word for them: a policy counts from the first start on, `always` also
/// after `stop`. `on-failure` is about programs that fail, not about machines that go down.
fn should_start_on_boot(policy: Restart, status: &Status) -> bool {
    let stopped = status.exit.as_ref().is_some_and(|exit| exit.stopped);
    match policy {
        Restart::No | Restart::OnFailure { .. } => false,
        Restart::Always => status.start.is_some(),
        Restart::UnlessStopped => status.start.is_some() && !stopped,
    }
}

fn show(args: &Ps, rows: &[(Container, Status)]) -> Result<()> {
    if args.quiet {
        return rows.iter().try_for_each(|(container, _)| output::line(shown_id(args, container)));
    }
    let fields = |(container, status): &(Container, Status)| fields(args, container, status);
    super::render_rows(args.format.as_deref(), TABLE, rows.iter().map(fields), HEADINGS)
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
    use crate::container::record::Start;
    use crate::container::status::State;

    #[test]
    fn a_boot_starts_what_docker_would() {
        let exit = |stopped| {
            let mut exit = kelp_shim::Exit::now(kelp_shim::Status { code: 1, signal: None, oom: false }, None);
            exit.stopped = stopped;
            exit
        };
        let never = Status { state: State::Created, pid: 0, exit: None, start: None };
        let killed = Status { state: State::Dead, pid: 0, exit: None, start: Some(Start::default()) };
        let ended = Status { state: State::Exited, exit: Some(exit(false)), ..killed.clone() };
        let stopped = Status { state: State::Exited, exit: Some(exit(true)), ..killed.clone() };
        let started = |policy| [&never, &killed, &ended, &stopped].map(|status| should_start_on_boot(policy, status));
        assert_eq!(started(Restart::Always), [false, true, true, true]);
        assert_eq!(started(Restart::UnlessStopped), [false, true, true, false]);
        assert_eq!(started(Restart::OnFailure { max: 0 }), [false; 4]);
        assert_eq!(started(Restart::No), [false; 4]);
    }

    #[test]
    fn long_commands_are_cut_at_a_character() {
        assert_eq!(cut("sh -c 'echo hello world'", 20), "sh -c 'echo hello w…");
        assert_eq!(cut("sh", 20), "sh");
        assert_eq!(cut("ääää", 2), "ä…");
    }
}
