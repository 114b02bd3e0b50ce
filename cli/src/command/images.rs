// SPDX-License-Identifier: Apache-2.0
//! `kelp images`: what is in the store.

use crate::caller::Caller;
use crate::error::{Error, Kind, Result};
use crate::filter::Filters;
use crate::glob;
use crate::output;
use crate::request::size;
use crate::time;
use clap::Args;
use kelp_bundles::store::{About, Summary};
use kelp_bundles::{Digest, Reference, Store};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
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
const TABLE: &str = "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";
const WITH_DIGESTS: &str = "table {{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";
const HEADINGS: &[(&str, &str)] = &[("ID", "IMAGE ID"), ("CreatedSince", "CREATED"), ("CreatedAt", "CREATED AT")];

/// An image and what to show of it.
struct Row {
    summary: Summary,
    about: About,
    /// Seconds since 1970.
    created: i64,
    /// The digest that a registry knows it by in this repository.
    digest: Option<Digest>,
}

impl Row {
    /// A name with a digest only is not shown where a tag of the same repository is.
    fn is_pinned(&self) -> bool {
        self.summary.name.as_ref().is_some_and(|name| name.tag().is_none())
    }

    fn is_dangling(&self) -> bool {
        self.summary.name.as_ref().is_none_or(|name| name.tag().is_none())
    }

    /// The image within a repository.
    fn place(&self) -> Option<(Digest, String)> {
        Some((self.about.id.clone(), self.summary.name.as_ref()?.familiar_name()))
    }
}

/// Performs the command.
pub(crate) fn run(args: &Images, caller: &Caller) -> Result<ExitCode> {
    let filters = Filters::parse(&args.filter, &KEYS)?;
    filters.check_truths(&["dangling"])?;
    filters.check("reference", glob::check)?;
    if let Some(name) = &args.name {
        glob::check(name).map_err(|why| Error::new(Kind::BadInput, format!("cannot list images {name}"), why))?;
    }
    let store = Store::open(&caller.places.store)?;
    let mut rows: Vec<Row> = Vec::new();
    for summary in store.summaries()? {
        match &summary.about {
            Ok(about) => {
                let about = about.clone();
                let created = seconds(about.created.as_deref());
                let digest = summary.pulled.clone().or_else(|| summary.name.as_ref()?.digest().cloned());
                rows.push(Row { summary, about, created, digest });
            }
            Err(error) => output::note(format!("{}: {}", error.doing(), error.because())),
        }
    }
    let mut rows = fold(rows);
    let bound = |key: &str| bound(&store, &filters, key);
    let (before, since, until) = (bound("before")?, bound("since")?, until(&filters)?);
    rows.retain(|row| named(args.name.as_deref(), &row.summary) && matches(&filters, row));
    rows.retain(|row| before.is_none_or(|b| row.created < b) && since.is_none_or(|s| row.created > s));
    rows.retain(|row| until.is_none_or(|until| row.created < until));
    rows.sort_by_key(|row| std::cmp::Reverse(row.created));
    show(args, caller, &rows)?;
    Ok(ExitCode::SUCCESS)
}

/// As in Docker: one line for a tag, with the digest its repository has for it, and one for a digest without a tag.
fn fold(rows: Vec<Row>) -> Vec<Row> {
    let mut digests: HashMap<(Digest, String), Digest> = HashMap::new();
    let mut tagged = HashSet::new();
    for row in &rows {
        let Some(place) = row.place() else { continue };
        if let Some(digest) = &row.digest {
            digests.insert(place.clone(), digest.clone());
        }
        if !row.is_pinned() {
            tagged.insert(place);
        }
    }
    let shown = |row: &Row| !row.is_pinned() || row.place().is_none_or(|place| !tagged.contains(&place));
    let mut rows: Vec<Row> = rows.into_iter().filter(shown).collect();
    for row in &mut rows {
        row.digest = row.digest.take().or_else(|| digests.get(&row.place()?).cloned());
    }
    rows
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
        "dangling" => crate::filter::truth(value) == Some(row.is_dangling()),
        "label" => crate::filter::label(&row.about.labels, value),
        "reference" => row.summary.name.as_ref().is_some_and(|name| fits(value, name)),
        _ => true,
    })
}

/// Whether the pattern fits the name with or without its tag.
fn fits(pattern: &str, name: &Reference) -> bool {
    glob::fits(pattern, &name.familiar()) || glob::fits(pattern, &name.familiar_name())
}

/// A repository shows all its tags; a whole name shows one image.
fn named(wanted: Option<&str>, listed: &Summary) -> bool {
    let (Some(wanted), Some(name)) = (wanted, &listed.name) else { return wanted.is_none() };
    let Ok(reference) = wanted.parse::<Reference>() else { return fits(wanted, name) };
    let same_tag = !wanted.ends_with(&format!(":{}", reference.tag().unwrap_or_default())) || reference == *name;
    reference.repository() == name.repository() && reference.registry() == name.registry() && same_tag
}

fn show(args: &Images, caller: &Caller, rows: &[Row]) -> Result<()> {
    if args.quiet {
        let mut shown = HashSet::new();
        return rows
            .iter()
            .filter(|row| shown.insert(&row.about.id))
            .try_for_each(|row| output::line(shown_id(args, &row.about)));
    }
    let table = if args.digests { WITH_DIGESTS } else { TABLE };
    let format = super::format(caller, args.format.as_deref(), "imagesFormat")?;
    super::render_rows(format.as_deref(), table, rows.iter().map(|row| fields(args, row)), HEADINGS)
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
    row.digest.as_ref().map_or_else(none, ToString::to_string)
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
        "CreatedAt": time::in_words(row.about.created.as_deref().filter(|text| !text.is_empty()).unwrap_or("N/A")),
        "CreatedSince": created(row),
        "Size": size::human(row.about.size),
        "VirtualSize": size::human(row.about.size),
        "Containers": "N/A",
        "SharedSize": "N/A",
        "UniqueSize": "N/A",
        "Platform": row.about.platform,
    })
}
