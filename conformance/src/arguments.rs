// SPDX-License-Identifier: Apache-2.0
//! The command line: what is judged, by which cases, as whom, and how it is told.

use std::path::PathBuf;
use std::str::FromStr;

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
  --share K/N        only the K-th of N equal shares of them: N judges at once take them all
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
    pub(crate) share: Share,
    pub(crate) format: Format,
    pub(crate) mutate: bool,
    pub(crate) html: Option<PathBuf>,
    pub(crate) markdown: Option<PathBuf>,
    pub(crate) help: bool,
    /// For `compare`: results of judgements made before.
    pub(crate) from: Vec<PathBuf>,
}

/// A share of the cases: every `of`-th, so that neighbours, which take as long as each other, are divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    /// From 0.
    which: usize,
    of: usize,
}

impl Default for Share {
    fn default() -> Self {
        Self { which: 0, of: 1 }
    }
}

impl Share {
    pub(crate) fn has(self, number: usize) -> bool {
        number % self.of == self.which
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let numbers =
            text.split_once('/').and_then(|(k, n)| Some((k.parse::<usize>().ok()?, n.parse::<usize>().ok()?)));
        match numbers {
            Some((k, n)) if 1 <= k && k <= n => Ok(Self { which: k - 1, of: n }),
            _ => Err(format!("{text} is no share: it is K/N, with K from 1 to N")),
        }
    }
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
                Long("share") => o.share = args.value().and_then(|v| v.parse()).map_err(wrong)?,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_have_every_case_once() {
        let shares = ["1/3", "2/3", "3/3"].map(|text| text.parse::<Share>().unwrap());
        for number in 0..10 {
            assert_eq!(shares.iter().filter(|share| share.has(number)).count(), 1, "{number}");
        }
        assert!((0..10).all(|number| Share::default().has(number)));
    }

    #[test]
    fn what_is_no_share_is_refused() {
        for text in ["", "1", "0/2", "3/2", "1/0", "a/b", "-1/2"] {
            text.parse::<Share>().unwrap_err();
        }
    }
}
