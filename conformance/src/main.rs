// SPDX-License-Identifier: Apache-2.0
//! `kelp-conformance`: judges any OCI runtime, sentence by sentence of the runtime-spec, and says how it knows.
//!
//! It links nothing of Kelp: it runs a program that it was given, as a container engine would, and looks at what that
//! program did from inside of containers (a copy of this file is the program there) and from outside (/proc, cgroups).
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is the program's output")]

mod arguments;
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

use std::process::ExitCode;

use crate::arguments::{Options, USAGE};
use crate::case::Case;
use crate::error::{Doing, Error, Result};
use crate::place::Place;

fn main() -> ExitCode {
    let mut args = std::env::args();
    let name = args.next().unwrap_or_default();
    if std::path::Path::new(&name).file_name().is_some_and(|n| n == probe::NAME) {
        return probe::main(args);
    }
    match Options::parse().and_then(|o| dispatch(&o)) {
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
    let ours = |(number, case)| o.share.has(number).then_some(case);
    Ok(all.into_iter().filter(wanted).enumerate().filter_map(ours).collect())
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
