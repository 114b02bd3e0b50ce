// SPDX-License-Identifier: Apache-2.0
//! `kelp search` and `kelp tags`: what a registry has.

use crate::caller::Caller;
use crate::error::{Error, Kind, Result};
use crate::filter::{self, Filters};
use crate::output::{self, Table};
use clap::Args;
use kelp_bundles::registries;
use kelp_bundles::search::{self, Found, Options};
use serde_json::{Value, json};
use std::process::ExitCode;

/// Search a registry for images
#[derive(Debug, Args)]
pub(crate) struct Search {
    /// busybox, or localhost:5000/app for another registry than Docker's
    #[arg(value_name = "TERM")]
    term: String,
    /// Only those with this stars, is-official
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// json, or a template such as '{{.Name}}: {{.Description}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// How many at most
    #[arg(long, default_value_t = 25, value_name = "NUMBER")]
    limit: usize,
    /// The tags of this one repository
    #[arg(long)]
    list_tags: bool,
    /// Show whole descriptions
    #[arg(long)]
    no_trunc: bool,
    /// Check certificates and insist on TLS
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1,
          default_missing_value = "true", require_equals = true)]
    tls_verify: bool,
}

/// List the tags of a repository of a registry
#[derive(Debug, Args)]
pub(crate) struct Tags {
    /// debian, localhost:5000/app
    #[arg(value_name = "REPOSITORY")]
    repository: String,
    /// Check certificates and insist on TLS
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1,
          default_missing_value = "true", require_equals = true)]
    tls_verify: bool,
}

const KEYS: [&str; 3] = ["stars", "is-official", "is-automated"];
const TABLE: &str = "table {{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}";
const HEADINGS: &[(&str, &str)] = &[("StarCount", "STARS"), ("IsOfficial", "OFFICIAL"), ("IsAutomated", "AUTOMATED")];
/// Characters of a description, as in Docker.
const DESCRIPTION: usize = 45;

/// Performs `kelp search`.
pub(crate) fn run(args: &Search, _caller: &Caller) -> Result<ExitCode> {
    let options = Options { verify: args.tls_verify, limit: args.limit, ..Options::default() };
    if args.list_tags {
        return list_tags(&args.term, &options);
    }
    if !(1..=100).contains(&args.limit) {
        let because = format!("--limit {} is not between 1 and 100", args.limit);
        return Err(Error::new(Kind::BadInput, format!("cannot search for {}", args.term), because));
    }
    let filters = Filters::parse(&args.filter, &KEYS)?;
    filters.check_truths(&["is-official", "is-automated"])?;
    filters.check("stars", |value| value.parse::<u64>().map(drop).map_err(|_| "expected a number".to_owned()))?;
    let mut found = search::search(&args.term, &options)?;
    found.retain(|one| fits(&filters, one));
    let is_json = args.format.as_deref() == Some("json");
    let rows = found.iter().map(|one| fields(one, args.no_trunc || is_json));
    super::render_rows(args.format.as_deref(), TABLE, rows, HEADINGS)?;
    Ok(ExitCode::SUCCESS)
}

/// Performs `kelp tags`: one a line.
pub(crate) fn run_tags(args: &Tags, _caller: &Caller) -> Result<ExitCode> {
    let options = Options { verify: args.tls_verify, ..Options::default() };
    let tags = search::tags(&registries::complete(&args.repository)?, &options)?;
    tags.iter().try_for_each(output::line)?;
    Ok(ExitCode::SUCCESS)
}

fn list_tags(repository: &str, options: &Options) -> Result<ExitCode> {
    let reference = registries::complete(repository)?;
    let mut table = Table::with_headings(vec!["NAME".to_owned(), "TAG".to_owned()]);
    for tag in search::tags(&reference, options)?.into_iter().take(options.limit) {
        table.row([reference.familiar_name(), tag]);
    }
    table.print()?;
    Ok(ExitCode::SUCCESS)
}

fn fits(filters: &Filters, one: &Found) -> bool {
    filters.all(|key, value| match key {
        "stars" => value.parse().is_ok_and(|least: u64| one.stars >= least),
        "is-official" => filter::truth(value) == Some(one.official),
        "is-automated" => filter::truth(value) == Some(false),
        _ => true,
    })
}

fn fields(one: &Found, whole: bool) -> Value {
    let short = || {
        let line = one.description.lines().collect::<Vec<_>>().join(" ");
        match line.char_indices().nth(DESCRIPTION) {
            Some((end, _)) => format!("{}…", &line[..end]),
            None => line,
        }
    };
    json!({
        "Name": one.name,
        "Description": if whole { one.description.clone() } else { short() },
        "StarCount": one.stars.to_string(),
        "IsOfficial": if one.official { "[OK]" } else { "" },
        // No registry says so any more.
        "IsAutomated": "",
    })
}
