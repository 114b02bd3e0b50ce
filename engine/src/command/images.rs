// SPDX-License-Identifier: Apache-2.0
//! `kelp images`: what is in the store.

use super::filter::Filters;
use crate::error::Result;
use crate::options::size;
use crate::output::{self, Table};
use crate::places::Places;
use crate::template::Template;
use crate::time;
use clap::Args;
use kelp_bundles::store::Listed;
use kelp_bundles::{Digest, Image, Reference, Store};
use serde_json::{Value, json};
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
    /// Only those with this dangling, label, reference, before or since
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// json, or a template such as 'table {{.Repository}}\t{{.Size}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Only this repository, or this one image
    #[arg(value_name = "REPOSITORY[:TAG]")]
    name: Option<String>,
}

const KEYS: [&str; 5] = ["dangling", "label", "reference", "before", "since"];
const TABLE: &str = "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";
const TABLE_WITH_DIGESTS: &str = "table {{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";
const HEADINGS: &[(&str, &str)] =
    &[("ID", "IMAGE ID"), ("CreatedSince", "CREATED"), ("CreatedAt", "CREATED AT"), ("Repository", "REPOSITORY")];

/// Performs the command.
pub(crate) fn run(args: &Images, places: &Places) -> Result<ExitCode> {
    let filters = Filters::parse(&args.filter, &KEYS)?;
    let store = Store::open(&places.store)?;
    let mut rows: Vec<(Listed, Image)> = Vec::new();
    for listed in store.list()? {
        match &listed.image {
            Ok(image) => {
                let image = image.clone();
                rows.push((listed, image));
            }
            Err(error) => output::note(format!("{}: {}", error.doing(), error.because())),
        }
    }
    let bound = |key: &str| bound(&store, &filters, key);
    let (before, since) = (bound("before")?, bound("since")?);
    rows.retain(|(listed, image)| named(args.name.as_deref(), listed) && matches(&filters, listed, image));
    rows.retain(|(_, image)| before.is_none_or(|b| created(image) < b) && since.is_none_or(|s| created(image) > s));
    rows.sort_by_key(|(_, image)| std::cmp::Reverse(created(image)));
    show(args, &store, &rows)?;
    Ok(ExitCode::SUCCESS)
}

fn created(image: &Image) -> i64 {
    image.config.created.as_deref().and_then(time::seconds).unwrap_or_default()
}

/// When the image of `before=` or `since=` was made.
fn bound(store: &Store, filters: &Filters, key: &str) -> Result<Option<i64>> {
    match filters.first(key) {
        Some(name) => Ok(Some(created(&store.find_any(name)?))),
        None => Ok(None),
    }
}

fn matches(filters: &Filters, listed: &Listed, image: &Image) -> bool {
    filters.all(|key, value| match key {
        "dangling" => matches!(value, "true" | "1") == listed.name.is_none(),
        "label" => super::filter::label(&image.config.run().labels.unwrap_or_default(), value),
        "reference" => listed.name.as_ref().is_some_and(|name| fits(value, name)),
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
fn named(wanted: Option<&str>, listed: &Listed) -> bool {
    let (Some(wanted), Some(name)) = (wanted, &listed.name) else { return wanted.is_none() };
    let Ok(reference) = wanted.parse::<Reference>() else { return fits(wanted, name) };
    let same_tag = !wanted.ends_with(&format!(":{}", reference.tag().unwrap_or_default())) || reference == *name;
    reference.repository() == name.repository() && reference.registry() == name.registry() && same_tag
}

fn show(args: &Images, store: &Store, rows: &[(Listed, Image)]) -> Result<()> {
    if args.quiet {
        let mut shown: Vec<&Digest> = Vec::new();
        for (_, image) in rows {
            if !shown.contains(&&image.id) {
                shown.push(&image.id);
                output::line(shown_id(args, image))?;
            }
        }
        return Ok(());
    }
    let fields = |(listed, image): &(Listed, Image)| fields(args, store, listed, image);
    match args.format.as_deref() {
        Some("json") => rows.iter().try_for_each(|row| output::json_line(&fields(row))),
        Some("table") | None if rows.is_empty() => {
            let mut headings = vec!["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"];
            if args.digests {
                headings.insert(2, "DIGEST");
            }
            Table::with_headings(headings.into_iter().map(str::to_owned).collect()).print()
        }
        Some("table") | None => {
            let table = if args.digests { TABLE_WITH_DIGESTS } else { TABLE };
            Template::parse(table)?;
            super::render_rows(table, rows.iter().map(fields), HEADINGS)
        }
        Some(template) => super::render_rows(template, rows.iter().map(fields), HEADINGS),
    }
}

fn shown_id(args: &Images, image: &Image) -> String {
    if args.no_trunc { image.id.to_string() } else { image.id.short().to_owned() }
}

/// Docker's fields.
fn fields(args: &Images, store: &Store, listed: &Listed, image: &Image) -> Value {
    let none = || "<none>".to_owned();
    let created = image.config.created.as_deref().unwrap_or_default();
    let bytes = store.size(image);
    json!({
        "ID": shown_id(args, image),
        "Repository": listed.name.as_ref().map_or_else(none, Reference::familiar_name),
        "Tag": listed.name.as_ref().and_then(Reference::tag).map_or_else(none, str::to_owned),
        "Digest": listed.pulled.as_ref().map_or_else(none, ToString::to_string),
        "CreatedAt": if created.is_empty() { "N/A" } else { created },
        "CreatedSince": if created.is_empty() { "N/A".to_owned() } else { format!("{} ago", time::since(created)) },
        "Size": size::human(bytes),
        "VirtualSize": size::human(bytes),
        "Containers": "N/A",
        "Platform": image.config.platform().to_string(),
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
