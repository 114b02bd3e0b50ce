// SPDX-License-Identifier: Apache-2.0
//! The command line: what is judged, by which cases, as whom, and how it is told.

use std::path::PathBuf;

use crate::error::{Doing, Error, Result};
use crate::place;
use crate::print::Format;

pub(crate) const USAGE: &str = "\
usage: kelp-conformance --runtime PATH [options]     judge one runtime
       kelp-conformance compare RUNTIME… [options]   judge several; write one HTML page and one Markdown table
       kelp-conformance list                         the cases and the sentences they come from

  --runtime PATH     the runtime; a name is looked up in PATH
  --rootless         as an unprivileged user; root turns into one (see --user)
  --user NAME        into whom (the first with a range in /etc/subuid)
  --suite NAME       spec, contract (the command line that engines rely on) or all (all)
  --filter TEXT      only cases whose name contains TEXT; may be repeated
  --format FORMAT    table, tap, json or junit (table)
  --mutate           lie to each case: one that stays green proves nothing
  --html FILE        compare: where the page goes (conformance.html)
  --markdown FILE    compare: where the table goes (conformance.md)
  --from FILE        compare: a judgement made before, with --format json; may be repeated

Status 0: no case is red. 1: some are. 2: the judging itself stopped.
";

#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(crate) compare: bool,
    pub(crate) list: bool,
    pub(crate) runtimes: Vec<PathBuf>,
    pub(crate) rootless: bool,
    pub(crate) user: Option<String>,
    pub(crate) suite: String,
    pub(crate) filters: Vec<String>,
    pub(crate) format: Format,
    pub(crate) mutate: bool,
    pub(crate) html: Option<PathBuf>,
    pub(crate) markdown: Option<PathBuf>,
    pub(crate) help: bool,
    /// For `compare`: results of judgements made before.
    pub(crate) from: Vec<PathBuf>,
}

impl Options {
    /// Those of this program.
    pub(crate) fn parse() -> Result<Self> {
        use lexopt::prelude::*;
        let mut o = Options { suite: "all".into(), ..Options::default() };
        let mut args = lexopt::Parser::from_env();
        let wrong = |e: lexopt::Error| Error::new("cannot understand the arguments", e).hint(USAGE);
        let mut first = true;
        while let Some(arg) = args.next().map_err(wrong)? {
            match arg {
                Long("runtime") => o.runtimes.push(runtime(args.value().map_err(wrong)?.into())?),
                Long("rootless") => o.rootless = true,
                Long("mutate") => o.mutate = true,
                Long("user") => o.user = Some(args.value().and_then(|v| v.parse()).map_err(wrong)?),
                Long("suite") => o.suite = args.value().and_then(|v| v.parse()).map_err(wrong)?,
                Long("filter") => o.filters.push(args.value().and_then(|v| v.parse()).map_err(wrong)?),
                Long("format") => o.format = args.value().and_then(|v| v.parse()).map_err(wrong)?,
                Long("html") => o.html = Some(args.value().map_err(wrong)?.into()),
                Long("markdown") => o.markdown = Some(args.value().map_err(wrong)?.into()),
                Long("from") => o.from.push(args.value().map_err(wrong)?.into()),
                Long("help") | Short('h') => o.help = true,
                Value(v) if first && v == "compare" => o.compare = true,
                Value(v) if first && v == "list" => o.list = true,
                Value(v) if o.compare => o.runtimes.push(runtime(v.into())?),
                other => return Err(wrong(other.unexpected())),
            }
            first = false;
        }
        Ok(o)
    }
}

fn runtime(given: PathBuf) -> Result<PathBuf> {
    let found =
        if given.components().count() == 1 { place::in_path(&given.to_string_lossy()) } else { Some(given.clone()) };
    let found = found.filter(|p| p.is_file());
    let found =
        found.ok_or_else(|| Error::new(format!("cannot judge {}", given.display()), "there is no such program"))?;
    std::path::absolute(&found).doing(|| format!("cannot find {}", found.display()))
}
