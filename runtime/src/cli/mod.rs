// SPDX-License-Identifier: Apache-2.0
//! Reads the command line into an invocation, and performs it.

mod arguments;
mod checkpoint;
mod create;
mod events;
mod exec;
mod features;
mod foreground;
mod help;
mod list;
mod log;
mod output;
mod signal;
mod spec;
mod update;

pub(crate) use arguments::Arguments;
pub(crate) use log::Log;
use output::answer;
pub(crate) use output::complain;

use kelp_runtime::cgroup::Manager;
use kelp_runtime::{Error, Result, Runtime, trace};
use std::path::PathBuf;

/// Options before the verb.
#[derive(Debug, Default)]
pub(crate) struct Global {
    /// `--root`
    pub(crate) root: Option<PathBuf>,
    /// `--log`
    pub(crate) log: Option<PathBuf>,
    /// `--log-format json`
    pub(crate) log_json: bool,
    /// `--trace`: where a picture of the steps goes.
    pub(crate) trace: Option<PathBuf>,
    /// `--debug`
    pub(crate) debug: bool,
    /// `--systemd-cgroup`, `--cgroup-manager`
    pub(crate) cgroups: Manager,
    /// `--criu`
    pub(crate) criu: Option<PathBuf>,
}

/// What to do.
#[derive(Debug)]
pub(crate) enum Verb {
    Create(create::Create),
    Run(create::Create),
    Start { id: String },
    State { id: String },
    Kill { id: String, signal: i32, all: bool },
    Delete { ids: Vec<String>, force: bool },
    Exec(Box<exec::Exec>),
    Pause { id: String },
    Resume { id: String },
    List(list::Format),
    Ps { id: String, json: bool, arguments: Vec<String> },
    Plan { bundle: PathBuf },
    Spec(spec::Write),
    Update(Box<update::Update>),
    Events(events::Watch),
    Checkpoint(Box<checkpoint::Checkpoint>),
    Restore(Box<checkpoint::Checkpoint>),
    Features,
    Steps,
    Print(String),
}

/// Reads the whole command line. The options before the verb come back whatever follows them: they say where its errors go.
pub(crate) fn parse(parser: lexopt::Parser) -> (Global, Result<Verb>) {
    let mut global = Global::default();
    let verb = parse_all(&mut Arguments::new(parser), &mut global);
    (global, verb)
}

fn parse_all(arguments: &mut Arguments, global: &mut Global) -> Result<Verb> {
    while let Some(option) = arguments.leading_option()? {
        match option.as_str() {
            "root" => global.root = Some(arguments.path()?),
            "log" => global.log = Some(arguments.path()?),
            "log-format" => global.log_json = log::is_json(&arguments.text("--log-format")?)?,
            "trace" => global.trace = Some(arguments.path()?),
            "debug" => global.debug = arguments.switch()?,
            "systemd-cgroup" if arguments.switch()? => global.cgroups = Manager::Systemd,
            "systemd-cgroup" => {}
            "cgroup-manager" => global.cgroups = manager(&arguments.text("--cgroup-manager")?)?,
            "rootless" => check_rootless(&arguments.text("--rootless")?)?,
            "criu" => global.criu = Some(arguments.path()?),
            "version" | "v" => return Ok(Verb::Print(help::version())),
            "help" | "h" => return Ok(Verb::Print(help::OVERVIEW.into())),
            other => return Err(arguments::unknown_option(other, "kelp-runtime")),
        }
    }
    let Some(verb) = arguments.operand()? else {
        return Err(Error::bad_input("cannot tell what to do")
            .because("no command was given")
            .hint("kelp-runtime --help"));
    };
    parse_verb(&verb, arguments)
}

/// For runc it says whether to go on where cgroups may not be made. Here a container that needs none runs without one whoever
/// starts it, and limits that cannot be had are always an error, so that all three of its words mean the same.
fn check_rootless(word: &str) -> Result<()> {
    match word {
        "auto" | "true" | "false" => Ok(()),
        other => {
            Err(Error::bad_input(format!("cannot use --rootless {other:?}")).because("it is none of auto, true, false"))
        }
    }
}

fn manager(name: &str) -> Result<Manager> {
    match name {
        "cgroupfs" => Ok(Manager::Cgroupfs),
        "systemd" => Ok(Manager::Systemd),
        "disabled" => Ok(Manager::Disabled),
        other => Err(Error::bad_input(format!("cannot use --cgroup-manager {other:?}"))
            .because("it is none of cgroupfs, systemd, disabled")),
    }
}

/// Who asks a command for its help gets that, whatever else is wrong.
fn parse_verb(verb: &str, arguments: &mut Arguments) -> Result<Verb> {
    let parsed = parse_known(verb, arguments);
    if arguments.wants_help() { help::of(verb).map(Verb::Print) } else { parsed }
}

fn parse_known(verb: &str, arguments: &mut Arguments) -> Result<Verb> {
    Ok(match verb {
        "create" => Verb::Create(create::parse(arguments, "create")?),
        "run" => Verb::Run(create::parse(arguments, "run")?),
        "start" => Verb::Start { id: arguments.only_id("start")? },
        "state" => Verb::State { id: arguments.only_id("state")? },
        "pause" => Verb::Pause { id: arguments.only_id("pause")? },
        "resume" => Verb::Resume { id: arguments.only_id("resume")? },
        "kill" => signal::parse(arguments)?,
        "delete" => list::parse_delete(arguments)?,
        "exec" => Verb::Exec(Box::new(exec::parse(arguments)?)),
        "list" => list::parse(arguments)?,
        "ps" => list::parse_ps(arguments)?,
        "plan" => Verb::Plan { bundle: create::parse_plan(arguments)? },
        "spec" => Verb::Spec(spec::parse(arguments)?),
        "update" => Verb::Update(Box::new(update::parse(arguments)?)),
        "events" => Verb::Events(events::parse(arguments)?),
        "checkpoint" => Verb::Checkpoint(Box::new(checkpoint::parse(arguments, "checkpoint")?)),
        "restore" => Verb::Restore(Box::new(checkpoint::parse(arguments, "restore")?)),
        "features" => arguments.end("features").map(|()| Verb::Features)?,
        "steps" => arguments.end("steps").map(|()| Verb::Steps)?,
        "help" | "h" => Verb::Print(match arguments.operand()? {
            Some(verb) => help::of(&verb)?,
            None => help::OVERVIEW.into(),
        }),
        other => return Err(help::unknown_command(other)),
    })
}

/// Performs the invocation, with a trace if one is wanted; returns the exit status.
pub(crate) fn run_traced(global: &Global, verb: Verb, log: &Log) -> Result<u8> {
    let Some(path) = &global.trace else { return run(global, verb, log) };
    trace::start()?;
    let result = run(global, verb, log);
    // What failed is what one wants to look at: the trace is written all the same.
    match (result, trace::write(path)) {
        (Err(error), Err(untraced)) => Err(error.and_also(&untraced)),
        (result, written) => written.and(result),
    }
}

fn run(global: &Global, verb: Verb, log: &Log) -> Result<u8> {
    if global.debug {
        let words: Vec<_> = std::env::args_os().collect();
        log.debug(&format!("version {}, called with {words:?}", env!("CARGO_PKG_VERSION")));
    }
    let mut runtime = Runtime::new(global.root.clone().unwrap_or_else(Runtime::default_root));
    runtime.cgroups = global.cgroups;
    match verb {
        Verb::Create(create) => create::create(&runtime, &create, log),
        Verb::Run(create) => create::run(&runtime, &create, log),
        Verb::Exec(exec) => {
            let status = exec.failure_status();
            exec::run(&runtime, *exec, log).or_else(|error| {
                log.error(&error);
                Ok(status(error.kind()))
            })
        }
        Verb::Start { id } => runtime.start(&id).map(|()| 0),
        Verb::Delete { ids, force } => list::delete(&runtime, &ids, force, log),
        Verb::Kill { id, signal, all } => runtime.kill(&id, signal, all).map(|()| 0),
        Verb::Pause { id } => runtime.pause(&id).map(|()| 0),
        Verb::Resume { id } => runtime.resume(&id).map(|()| 0),
        Verb::State { id } => list::state(&runtime, &id),
        Verb::List(format) => list::list(&runtime, format, global.root.is_some(), log),
        Verb::Ps { id, json, arguments } => list::ps(&runtime, &id, json, &arguments),
        Verb::Plan { bundle } => create::plan(&bundle, runtime.cgroups),
        Verb::Spec(write) => spec::write(&write),
        Verb::Update(update) => update::run(&runtime, *update, log),
        Verb::Events(watch) => events::run(&runtime, &watch),
        Verb::Checkpoint(call) => checkpoint::checkpoint(&runtime, &call, global.criu.clone(), log),
        Verb::Restore(call) => checkpoint::restore(&runtime, &call, global.criu.clone(), log),
        Verb::Features => features::print(),
        Verb::Steps => {
            answer(kelp_runtime::Step::ALL.iter().map(|step| format!("{}\n", step.name())).collect::<String>())?;
            Ok(0)
        }
        Verb::Print(text) => {
            answer(text)?;
            Ok(0)
        }
    }
}
