// SPDX-License-Identifier: Apache-2.0
//! `kelp images`: what is in the store.

use super::filter::Filters;
use crate::error::{Error, Kind, Result};
use crate::options::size;
use crate::output::{self, Table};
use crate::places::Places;
use crate::time;
use clap::Args;
use kelp_bundles::store::{About, Summary};
use kelp_bundles::{Reference, Store};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::process::ExitCode;

/// List images
#[derive(Debug, Args)]
pub(crate) struct Images {
    /// Those without a name, too (they are always shown: nothing here has intermediate images)
    #[arg(short, long)]
    all: bool,
    /// Ids only
    #[arg(short, long)]
    quiet: bool,
    /// Show the digests registries know them by
    #[arg(long)]
    digests: bool,
    /// Show whole ids
    #[arg(long)]
    no_trunc: bool,
    /// Only those with this dangling, label, reference, before, since or until
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// json, or a template such as 'table {{.Repository}}\t{{.Size}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Only this repository, or this one image
    #[arg(value_name = "REPOSITORY[:TAG]")]
    name: Option<String>,
}

const KEYS: [&str; 6] = ["dangling", "label", "reference", "before", "since", "until"];
const HEADINGS: &[(&str, &str)] =
    &[("ID", "IMAGE ID"), ("CreatedSince", "CREATED"), ("CreatedAt", "CREATED AT"), ("Repository", "REPOSITORY")];

/// An image and what to show of it.
struct Row {
    summary: Summary,
    about: About,
    /// Seconds since 1970.
    created: i64,
}

/// Performs the command.
pub(crate) fn run(args: &Images, places: &Places) -> Result<ExitCode> {
    let filters = Filters::parse(&args.filter, &KEYS)?;
    let store = Store::open(&places.store)?;
    let mut rows: Vec<Row> = Vec::new();
    for summary in store.summaries()? {
        match &summary.about {
            Ok(about) => {
                let about = about.clone();
                let created = seconds(about.created.as_deref());
                rows.push(Row { summary, about, created });
            }
            Err(error) => output::note(format!("{}: {}", error.doing(), error.because())),
        }
    }
    let bound = |key: &str| bound(&store, &filters, key);
    let (before, since, until) = (bound("before")?, bound("since")?, until(&filters)?);
    rows.retain(|row| named(args.name.as_deref(), &row.summary) && matches(&filters, row));
    rows.retain(|row| before.is_none_or(|b| row.created < b) && since.is_none_or(|s| row.created > s));
    rows.retain(|row| until.is_none_or(|until| row.created < until));
    rows.sort_by_key(|row| std::cmp::Reverse(row.created));
    show(args, &rows)?;
    Ok(ExitCode::SUCCESS)
}

fn seconds(created: Option<&str>) -> i64 {
    created.and_then(time::seconds).unwrap_or_default()
}

/// When the image of `before=` or `since=` was made.
fn bound(store: &Store, filters: &Filters, key: &str) -> Result<Option<i64>> {
    match filters.first(key) {
        Some(name) => Ok(Some(seconds(store.find_any(name)?.config.created.as_deref()))),
        None => Ok(None),
    }
}

/// The moment of `until=`.
fn until(filters: &Filters) -> Result<Option<i64>> {
    let Some(text) = filters.first("until") else { return Ok(None) };
    let doing = || format!("cannot filter by \"until={text}\"");
    time::moment(text).map(Some).map_err(|why| Error::new(Kind::BadInput, doing(), why))
}

fn matches(filters: &Filters, row: &Row) -> bool {
    filters.all(|key, value| match key {
        "dangling" => matches!(value, "true" | "1") == row.summary.name.is_none(),
        "label" => super::filter::label(&row.about.labels, value),
        "reference" => row.summary.name.as_ref().is_some_and(|name| fits(value, name)),
        _ => true,
    })
}

/// Whether the pattern (`*` and `?`) fits the name with or without its tag.
fn fits(pattern: &str, name: &Reference) -> bool {
    glob(pattern.as_bytes(), name.familiar().as_bytes()) || glob(pattern.as_bytes(), name.familiar_name().as_bytes())
}

/// Shell patterns; as in Go's `path.Match`, `*` stops at a slash.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            glob(rest, text) || text.split_first().is_some_and(|(c, text)| *c != b'/' && glob(pattern, text))
        }
        (Some((b'?', rest)), Some((c, text))) => *c != b'/' && glob(rest, text),
        (Some((p, rest)), Some((c, text))) => p == c && glob(rest, text),
        _ => false,
    }
}

/// A repository shows all its tags; a whole name shows one image.
fn named(wanted: Option<&str>, listed: &Summary) -> bool {
    let (Some(wanted), Some(name)) = (wanted, &listed.name) else { return wanted.is_none() };
    let Ok(reference) = wanted.parse::<Reference>() else { return fits(wanted, name) };
    let same_tag = !wanted.ends_with(&format!(":{}", reference.tag().unwrap_or_default())) || reference == *name;
    reference.repository() == name.repository() && reference.registry() == name.registry() && same_tag
}

fn show(args: &Images, rows: &[Row]) -> Result<()> {
    if args.quiet {
        let mut shown = HashSet::new();
        return rows
            .iter()
            .filter(|row| shown.insert(&row.about.id))
            .try_for_each(|row| output::line(shown_id(args, &row.about)));
    }
    match args.format.as_deref() {
        Some("json") => rows.iter().try_for_each(|row| output::json_line(&fields(args, row))),
        Some("table") | None => table(args, rows).print(),
        Some(template) => super::render_rows(template, rows.iter().map(|row| fields(args, row)), HEADINGS),
    }
}

fn table(args: &Images, rows: &[Row]) -> Table {
    let mut headings = vec!["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"];
    if args.digests {
        headings.insert(2, "DIGEST");
    }
    let mut table = Table::with_headings(headings.into_iter().map(str::to_owned).collect());
    for row in rows {
        let mut cells =
            vec![repository(row), tag(row), shown_id(args, &row.about), created(row), size::human(row.about.size)];
        if args.digests {
            cells.insert(2, digest(row));
        }
        table.row(cells);
    }
    table
}

fn none() -> String {
    "<none>".to_owned()
}

fn repository(row: &Row) -> String {
    row.summary.name.as_ref().map_or_else(none, Reference::familiar_name)
}

fn tag(row: &Row) -> String {
    row.summary.name.as_ref().and_then(Reference::tag).map_or_else(none, str::to_owned)
}

fn digest(row: &Row) -> String {
    row.summary.pulled.as_ref().map_or_else(none, ToString::to_string)
}

fn created(row: &Row) -> String {
    let created = row.about.created.as_deref().filter(|text| !text.is_empty());
    created.map_or_else(|| "N/A".to_owned(), |text| format!("{} ago", time::since(text)))
}

fn shown_id(args: &Images, about: &About) -> String {
    if args.no_trunc { about.id.to_string() } else { about.id.short().to_owned() }
}

/// Docker's fields.
fn fields(args: &Images, row: &Row) -> Value {
    json!({
        "ID": shown_id(args, &row.about),
        "Repository": repository(row),
        "Tag": tag(row),
        "Digest": digest(row),
        "CreatedAt": row.about.created.as_deref().filter(|text| !text.is_empty()).unwrap_or("N/A"),
        "CreatedSince": created(row),
        "Size": size::human(row.about.size),
        "VirtualSize": size::human(row.about.size),
        "Containers": "N/A",
        "Platform": row.about.platform,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stop_at_slashes() {
        for (pattern, text, fits) in [
            ("bus*", "busybox:1", true),
            ("*", "a/b", false),
            ("*/*", "a/b", true),
            ("b?x", "box", true),
            ("b", "bb", false),
        ] {
            assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), fits, "{pattern} {text}");
        }
    }
}
