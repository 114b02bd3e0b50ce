// SPDX-License-Identifier: Apache-2.0
//! `kelp events`: what happened to containers, images and volumes, and what happens.

use crate::caller::Caller;
use crate::error::Result;
use crate::events::filter;
use crate::events::journal::{From, Journal};
use crate::filter::Filters;
use crate::output::{self, Woken};
use crate::template::Template;
use crate::time;
use clap::Args;
use kelp_shim::events::Event;
use kelp_shim::time::Timestamp;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;

/// Show what happens to containers, images and volumes
#[derive(Debug, Args)]
pub(crate) struct Events {
    /// Only what FILTER says: type=container, event=die, container=NAME, image=NAME, volume=NAME, label=KEY[=VALUE]
    #[arg(short, long, value_name = "FILTER")]
    filter: Vec<String>,
    /// json, or a template such as '{{.Type}} {{.Action}} {{.Actor.Attributes.name}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// From this time on: 2026-01-31T12:00:00Z, seconds since 1970, or 10m
    #[arg(long, value_name = "TIME", value_parser = time::nano_moment)]
    since: Option<i64>,
    /// Up to this time, and then end; it may be to come
    #[arg(long, value_name = "TIME", value_parser = time::nano_moment)]
    until: Option<i64>,
}

/// How an event is shown.
enum Format {
    /// Docker's line.
    Line,
    Json,
    Template(Template),
}

/// Performs the command. Without a time it shows what happens from now on, until it is interrupted.
pub(crate) fn run(args: &Events, caller: &Caller) -> Result<ExitCode> {
    let filters = filter::parse(&args.filter)?;
    let format = match args.format.as_deref() {
        None | Some("") => Format::Line,
        Some("json" | "{{json .}}") => Format::Json,
        Some(template) => Format::Template(Template::parse(template)?),
    };
    let past = args.since.is_some() || args.until.is_some();
    let mut journal = Journal::open(caller, if past { From::Oldest } else { From::Now })?;
    loop {
        // Looked at before the journal: what was written until then is in it.
        let left = args.until.map(|until| until.saturating_sub(now()));
        for event in journal.events()? {
            if args.asks_for(&event, &filters) {
                show(&event, &format)?;
            }
        }
        let wait = match left {
            Some(..=0) => return Ok(ExitCode::SUCCESS),
            left => left.map(|nanoseconds| Duration::from_nanos(nanoseconds.unsigned_abs())),
        };
        if output::wait_for(Some(journal.changes()), wait) == Woken::ReaderGone {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

impl Events {
    fn asks_for(&self, event: &Event, filters: &Filters) -> bool {
        self.since.is_none_or(|since| event.time_nano >= since)
            && self.until.is_none_or(|until| event.time_nano <= until)
            && filter::holds(filters, event)
    }
}

fn now() -> i64 {
    let Timestamp { seconds, nanoseconds } = Timestamp::now();
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds.into())
}

fn show(event: &Event, format: &Format) -> Result<()> {
    match format {
        Format::Line => output::line(in_words(event)),
        Format::Json => output::json_line(event),
        Format::Template(template) => output::line(template.render(&fields(event))?),
    }
}

/// `2026-01-31T12:00:00.000000000Z container die 4f… (exitCode=0, image=busybox, name=web)`.
fn in_words(event: &Event) -> String {
    let nanoseconds = u32::try_from(event.time_nano.rem_euclid(1_000_000_000)).unwrap_or(0);
    let time = Timestamp { seconds: event.time_nano.div_euclid(1_000_000_000), nanoseconds };
    let attributes: Vec<String> = event.actor.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let attributes = if attributes.is_empty() { String::new() } else { format!(" ({})", attributes.join(", ")) };
    format!("{time} {} {} {}{attributes}", event.kind, event.action, event.actor.id)
}

/// The fields that Docker's templates have.
fn fields(event: &Event) -> Value {
    json!({
        "Type": event.kind,
        "Action": event.action,
        "Actor": {"ID": event.actor.id, "Attributes": event.actor.attributes},
        "Scope": event.scope,
        "Time": event.time,
        "TimeNano": event.time_nano,
        "Status": event.status.as_deref().unwrap_or_default(),
        "ID": event.id.as_deref().unwrap_or_default(),
        "From": event.from.as_deref().unwrap_or_default(),
    })
}
