// SPDX-License-Identifier: Apache-2.0
//! `kelp-conformance`: judges any OCI runtime, sentence by sentence of the runtime-spec, and says how it knows.
//!
//! It links nothing of Kelp: it runs a program that it was given, as a container engine would, and looks at what that
//! program did from inside of containers (a copy of this file is the program there) and from outside (/proc, cgroups).
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is the program's output")]

mod case;
mod clauses;
mod compare;
mod config;
mod contract;
mod error;
mod facts;
mod judge;
mod place;
mod print;
mod probe;
mod trial;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::case::Case;
use crate::error::{Doing, Error, Result};
use crate::place::Place;
use crate::print::Format;

const USAGE: &str = "\
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
struct Options {
    compare: bool,
    list: bool,
    runtimes: Vec<PathBuf>,
    rootless: bool,
    user: Option<String>,
    suite: String,
    filters: Vec<String>,
    format: Format,
    mutate: bool,
    html: Option<PathBuf>,
    markdown: Option<PathBuf>,
    help: bool,
    /// For `compare`: results of judgements made before.
    from: Vec<PathBuf>,
}

fn parse() -> Result<Options> {
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

fn runtime(given: PathBuf) -> Result<PathBuf> {
    let found =
        if given.components().count() == 1 { place::in_path(&given.to_string_lossy()) } else { Some(given.clone()) };
    let found = found.filter(|p| p.is_file());
    let found =
        found.ok_or_else(|| Error::new(format!("cannot judge {}", given.display()), "there is no such program"))?;
    std::path::absolute(&found).doing(|| format!("cannot find {}", found.display()))
}

fn main() -> ExitCode {
    let mut args = std::env::args();
    let name = args.next().unwrap_or_default();
    if std::path::Path::new(&name).file_name().is_some_and(|n| n == probe::NAME) {
        return probe::main(args);
    }
    match parse().and_then(|o| dispatch(&o)) {
        Ok(status) => status,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::from(2)
        }
    }
}

fn dispatch(o: &Options) -> Result<ExitCode> {
    if o.help {
        print!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    }
    let cases = chosen(o)?;
    if o.list {
        for case in cases {
            println!("{:<60}{:<7}{}", case.name(), case.level.word(), case.quote);
        }
        return Ok(ExitCode::SUCCESS);
    }
    if o.compare {
        return compare::compare(o, &cases);
    }
    let [runtime] = o.runtimes.as_slice() else {
        return Err(Error::new("cannot judge", "name one runtime: --runtime PATH").hint(USAGE));
    };
    place::settle(o.rootless, o.user.as_deref())?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .doing(|| "cannot become a subreaper".into())?;
    let place = Place::open(runtime)?;
    let mut printer = print::Printer::new(o.format, &place, o.mutate);
    let results = match o.mutate {
        true => judge::mutate(&place, &cases, |r| printer.each(r)),
        false => judge::judge(&place, &cases, |r| printer.each(r)),
    };
    printer.end(&results);
    Ok(if results.iter().all(judge::Result::good) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn chosen(o: &Options) -> Result<Vec<&'static Case>> {
    let all = match o.suite.as_str() {
        "spec" => clauses::all(),
        "contract" => contract::all(),
        "all" => [clauses::all(), contract::all()].concat(),
        other => return Err(Error::new(format!("cannot judge by {other}"), "there is no such suite").hint(USAGE)),
    };
    let wanted = |c: &&Case| o.filters.is_empty() || o.filters.iter().any(|f| c.name().contains(f));
    Ok(all.into_iter().filter(wanted).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    fn all() -> Vec<&'static crate::case::Case> {
        [crate::clauses::all(), crate::contract::all()].concat()
    }

    #[test]
    fn every_case_has_its_own_name() {
        let mut seen = BTreeSet::new();
        for case in all() {
            assert!(seen.insert(case.name()), "{} is there twice", case.name());
        }
    }

    #[test]
    fn every_case_quotes_a_sentence_and_knows_a_lie_that_must_turn_it_red() {
        for case in all() {
            assert!(!case.quote.is_empty(), "{}", case.name());
            assert!(!case.mutations.is_empty(), "{}", case.name());
        }
    }
}
