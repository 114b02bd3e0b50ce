// SPDX-License-Identifier: Apache-2.0
//! `kelp-bench`: measures Kelp beside the floor and the peers installed on this machine.
//!
//! Absolute figures of a shared machine mean little; runs are interleaved and the ratios are what to read.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is the program's output")]

mod budget;
mod bundle;
mod error;
mod host;
mod image;
mod lab;
mod layer;
mod page;
mod plot;
mod report;
mod scenario;
mod timing;
mod tools;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use crate::error::{Doing, Error, Result};
use crate::host::{Machine, User};
use crate::lab::Lab;
use crate::report::Report;
use crate::scenario::{Scenario, Who};
use crate::timing::{Line, output};

const USAGE: &str = "\
usage: kelp-bench [options] all                measure everything; write docs/budgets.md and its plots
       kelp-bench [options] run SCENARIO…      measure some; print only
       kelp-bench [options] check [SCENARIO…]  measure, and say which budget is broken (status 1)
       kelp-bench check --from FILE            the same, of figures measured before
       kelp-bench draw --from FILE             write the page and the plots again
       kelp-bench list                         the scenarios

  --runs N           measured runs of each program (60)
  --many N           containers for the scenarios that need many (1000)
  --programs DIR     where kelp, kelp-shim and kelp-runtime are (beside kelp-bench, else PATH)
  --user NAME        whom root measures rootless things as (the first with a range in /etc/subuid)
  --docs DIR         where the page goes (docs)
  --json FILE        also write the figures there
";

/// No scenario takes as long, however slow the machine is.
const WHOLE_PART: Duration = Duration::from_secs(4 * 3600);

#[derive(Debug)]
struct Options {
    verb: String,
    scenarios: Vec<String>,
    runs: usize,
    many: usize,
    programs: Option<PathBuf>,
    user: Option<String>,
    docs: PathBuf,
    json: Option<PathBuf>,
    from: Option<PathBuf>,
}

fn parse() -> Result<Options> {
    use lexopt::prelude::*;
    let mut o = Options {
        verb: String::new(),
        scenarios: Vec::new(),
        runs: 60,
        many: 1000,
        programs: None,
        user: None,
        docs: "docs".into(),
        json: None,
        from: None,
    };
    let mut args = lexopt::Parser::from_env();
    let wrong = |e: lexopt::Error| Error::new("cannot understand the arguments", e).hint(USAGE);
    while let Some(arg) = args.next().map_err(wrong)? {
        match arg {
            Long("runs") => o.runs = args.value().and_then(|v| v.parse()).map_err(wrong)?,
            Long("many") => o.many = args.value().and_then(|v| v.parse()).map_err(wrong)?,
            Long("programs") => o.programs = Some(absolute(args.value().map_err(wrong)?.into())?),
            Long("user") => o.user = Some(args.value().and_then(|v| v.parse()).map_err(wrong)?),
            Long("docs") => o.docs = args.value().map_err(wrong)?.into(),
            Long("json") => o.json = Some(args.value().map_err(wrong)?.into()),
            Long("from") => o.from = Some(args.value().map_err(wrong)?.into()),
            Long("help") | Short('h') => o.verb = "help".into(),
            Value(v) if o.verb.is_empty() => o.verb = v.to_string_lossy().into_owned(),
            Value(v) => o.scenarios.push(v.to_string_lossy().into_owned()),
            other => return Err(wrong(other.unexpected())),
        }
    }
    Ok(o)
}

fn absolute(path: PathBuf) -> Result<PathBuf> {
    std::path::absolute(&path).doing(|| format!("cannot find {}", path.display()))
}

fn main() -> ExitCode {
    match parse().and_then(|o| dispatch(&o)) {
        Ok(status) => status,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::from(2)
        }
    }
}

fn dispatch(o: &Options) -> Result<ExitCode> {
    match o.verb.as_str() {
        "list" => list(),
        "all" => publish(&measure_here(o, scenario::ALL.iter().collect())?, &o.docs)?,
        "run" => drop(measure_here(o, chosen(o)?)?),
        "check" => return check(o),
        "draw" => publish(&Report::read(from(o)?)?, &o.docs)?,
        // What root starts as the user: prints a report as JSON.
        "user-part" => println!("{}", serde_json::to_string(&user_part(o)?).doing(|| "cannot report".into())?),
        // What a layer costs before a file is written.
        "inflate" => o.scenarios.iter().try_for_each(|blob| layer::inflate(Path::new(blob)))?,
        "help" => print!("{USAGE}"),
        _ => return Err(Error::new("cannot understand the arguments", "no such command").hint(USAGE)),
    }
    Ok(ExitCode::SUCCESS)
}

fn from(o: &Options) -> Result<&Path> {
    o.from.as_deref().ok_or_else(|| Error::new("cannot understand the arguments", "--from FILE is missing").hint(USAGE))
}

fn list() {
    for s in scenario::ALL {
        println!("{:<16}{}", s.key, s.title);
    }
}

fn chosen(o: &Options) -> Result<Vec<&'static Scenario>> {
    o.scenarios.iter().map(|key| scenario::named(key)).collect()
}

fn check(o: &Options) -> Result<ExitCode> {
    let report = match (&o.from, o.scenarios.is_empty()) {
        (Some(file), _) => Report::read(file)?,
        (None, true) => measure_here(o, scenario::ALL.iter().collect())?,
        (None, false) => measure_here(o, chosen(o)?)?,
    };
    let verdicts = budget::judge(&report);
    for verdict in &verdicts {
        println!("{verdict}");
    }
    let broken = verdicts.iter().filter(|v| v.broken()).count();
    println!("{broken} of {} budgets broken", verdicts.len());
    Ok(if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn publish(report: &Report, docs: &Path) -> Result<()> {
    let bench = docs.join("bench");
    std::fs::create_dir_all(&bench).doing(|| format!("cannot make {}", bench.display()))?;
    report.write(&bench.join("figures.json"))?;
    let plots = plot::all(report);
    for (name, svg) in &plots {
        let file = bench.join(name);
        std::fs::write(&file, svg).doing(|| format!("cannot write {}", file.display()))?;
    }
    let file = docs.join("budgets.md");
    std::fs::write(&file, page::budgets(report, &plots)).doing(|| format!("cannot write {}", file.display()))?;
    println!("wrote {} and {} plots in {}", file.display(), plots.len(), bench.display());
    Ok(())
}

fn user_of(o: &Options) -> Result<Option<User>> {
    match &o.user {
        Some(name) => {
            User::named(name).map(Some).ok_or_else(|| Error::new(format!("cannot measure as {name}"), "no such user"))
        }
        None if host::is_root() => Ok(User::likely()),
        None => Ok(User::myself()),
    }
}

fn measure_here(o: &Options, scenarios: Vec<&'static Scenario>) -> Result<Report> {
    host::settle_cgroups()?;
    let lab = Lab::open(o.runs, o.many, user_of(o)?, o.programs.as_deref())?;
    let mut report = Report { date: host::today(), command: command(), machine: Machine::look(), ..Report::default() };
    report.machine.programs = lab.tools.versions();
    for scenario in scenarios {
        eprintln!("measuring: {}", scenario.title);
        let (rows, left_out) = (report.rows.len(), report.left_out.len());
        match (scenario.who, lab.as_root()) {
            (Who::Root, false) => report.left_out.push(format!("{}: needs root", scenario.title)),
            (Who::User, true) => as_user(o, &lab, scenario, &mut report)?,
            _ => scenario.measure(&lab, &mut report),
        }
        let part = Report {
            rows: report.rows[rows..].to_vec(),
            left_out: report.left_out[left_out..].to_vec(),
            ..Report::default()
        };
        print!("{}", part.table());
    }
    if let Some(file) = &o.json {
        report.write(file)?;
    }
    Ok(report)
}

/// What one types to measure the same again: without the options that only say where files are.
fn command() -> String {
    let mut words = vec!["kelp-bench".to_owned()];
    let mut args = std::env::args().skip(1);
    while let Some(word) = args.next() {
        if matches!(word.as_str(), "--docs" | "--json" | "--programs") {
            args.next();
        } else {
            words.push(word);
        }
    }
    words.join(" ")
}

/// Starts this program again as the user, so that timed commands need no setpriv in front of them.
fn as_user(o: &Options, lab: &Lab, scenario: &Scenario, report: &mut Report) -> Result<()> {
    let Some(user) = &lab.user else {
        report.left_out.push(format!("{}: no unprivileged user (--user NAME)", scenario.title));
        return Ok(());
    };
    let me = std::env::current_exe().doing(|| "cannot find myself".into())?;
    let dir = lab.user_dir("u")?;
    let mut line = Line::new(&dir, [me.as_os_str(), "user-part".as_ref(), scenario.key.as_ref()]);
    line.argv.extend(["--user".into(), user.name.clone().into()]);
    line.argv.extend(["--runs".into(), o.runs.to_string().into(), "--many".into(), o.many.to_string().into()]);
    line.argv.extend(o.programs.iter().flat_map(|p| ["--programs".into(), p.into()]));
    // Ourselves: each command of this part has its own limit.
    let mut line = lab.user_line(line).patient(WHOLE_PART);
    line.env.push((lab::WORK.into(), dir.into()));
    match output(&line, &lab.errors()) {
        Ok(json) => {
            let part: Report =
                serde_json::from_str(&json).doing(|| format!("cannot read the part of {}", user.name))?;
            report.rows.extend(part.rows);
            report.curves.extend(part.curves);
            report.left_out.extend(part.left_out);
        }
        Err(e) => report.left_out.push(format!("{}: {}", scenario.title, e.because())),
    }
    Ok(())
}

fn user_part(o: &Options) -> Result<Report> {
    let lab = Lab::open(o.runs, o.many, user_of(o)?, o.programs.as_deref())?;
    let mut report = Report::default();
    for scenario in chosen(o)? {
        scenario.measure(&lab, &mut report);
    }
    Ok(report)
}
