// SPDX-License-Identifier: Apache-2.0
//! `checkpoint` and `restore`.

use super::Log;
use super::arguments::{Arguments, unknown_option};
use super::foreground::{self, Sockets};
use kelp_runtime::bundle::Bundle;
use kelp_runtime::criu::{CgroupMode, Options};
use kelp_runtime::error::Doing;
use kelp_runtime::{CreateRequest, Dump, Error, Result, Runtime};
use std::path::PathBuf;

/// The options of both.
#[derive(Debug, Default)]
pub(crate) struct Checkpoint {
    id: String,
    criu: Options,
    dump: Dump,
    bundle: Option<PathBuf>,
    console_socket: Option<PathBuf>,
    pid_file: Option<PathBuf>,
    detach: bool,
    no_subreaper: bool,
}

pub(super) fn parse(arguments: &mut Arguments, verb: &str) -> Result<Checkpoint> {
    let mut call =
        Checkpoint { criu: Options { images: "checkpoint".into(), ..Options::default() }, ..Checkpoint::default() };
    while let Some(option) = arguments.next_option()? {
        if !common(&mut call.criu, &option, arguments)? && !special(&mut call, &option, verb, arguments)? {
            return Err(unknown_option(&option, verb));
        }
    }
    call.id = arguments.id(verb)?;
    Ok(call)
}

fn common(criu: &mut Options, option: &str, arguments: &mut Arguments) -> Result<bool> {
    match option {
        "image-path" => criu.images = arguments.path()?,
        "work-path" => criu.work = Some(arguments.path()?),
        "tcp-established" => criu.tcp_established = arguments.switch()?,
        "ext-unix-sk" => criu.external_unix_sockets = arguments.switch()?,
        "shell-job" => criu.shell_job = arguments.switch()?,
        "file-locks" => criu.file_locks = arguments.switch()?,
        "auto-dedup" => criu.auto_dedup = arguments.switch()?,
        "manage-cgroups-mode" => criu.cgroups = mode(&arguments.text("--manage-cgroups-mode")?)?,
        "empty-ns" => check_empty(&arguments.text("--empty-ns")?)?,
        "lazy-pages" if arguments.switch()? => return Err(lazy("--lazy-pages")),
        "lazy-pages" => {}
        _ => return Ok(false),
    }
    Ok(true)
}

fn special(call: &mut Checkpoint, option: &str, verb: &str, arguments: &mut Arguments) -> Result<bool> {
    match (verb, option) {
        ("checkpoint", "parent-path") => call.criu.parent = Some(arguments.path()?),
        ("checkpoint", "page-server") => call.criu.page_server = Some(server(&arguments.text("--page-server")?)?),
        ("checkpoint", "link-remap") => call.criu.link_remap = arguments.switch()?,
        ("checkpoint", "tcp-skip-in-flight") => call.criu.tcp_skip_in_flight = arguments.switch()?,
        ("checkpoint", "leave-running") => call.dump.leave_running = arguments.switch()?,
        ("checkpoint", "pre-dump") => call.dump.pre_dump = arguments.switch()?,
        ("checkpoint", "status-fd") => return Err(lazy("--status-fd")),
        ("restore", "bundle" | "b") => call.bundle = Some(arguments.path()?),
        ("restore", "console-socket") => call.console_socket = Some(arguments.path()?),
        ("restore", "pid-file") => call.pid_file = Some(arguments.path()?),
        ("restore", "detach" | "d") => call.detach = arguments.switch()?,
        ("restore", "no-subreaper") => call.no_subreaper = arguments.switch()?,
        // criu makes the root, and how is its own affair.
        ("restore", "no-pivot") => drop(arguments.switch()?),
        ("restore", "lsm-profile") => call.criu.lsm_profile = Some(arguments.text("--lsm-profile")?),
        ("restore", "lsm-mount-context") => call.criu.lsm_mount_context = Some(arguments.text("--lsm-mount-context")?),
        _ => return Ok(false),
    }
    Ok(true)
}

fn lazy(option: &str) -> Error {
    Error::unsupported(option, "memory that comes page by page needs a page server that outlives the call")
        .hint("leave it out: all memory is written, and read, at once")
}

fn mode(word: &str) -> Result<CgroupMode> {
    Ok(match word {
        "soft" => CgroupMode::Soft,
        "full" => CgroupMode::Full,
        "strict" => CgroupMode::Strict,
        "ignore" => CgroupMode::Ignore,
        other => {
            return Err(Error::bad_input(format!("cannot use --manage-cgroups-mode {other:?}"))
                .because("it is none of soft, full, strict, ignore"));
        }
    })
}

/// The network is always made empty: its devices are the engine's.
fn check_empty(kind: &str) -> Result<()> {
    if kind == "network" {
        return Ok(());
    }
    Err(Error::bad_input(format!("cannot use --empty-ns {kind:?}"))
        .because("only a network namespace can be made empty"))
}

fn server(text: &str) -> Result<(String, u16)> {
    let parts = text.rsplit_once(':').and_then(|(address, port)| Some((address, port.parse().ok()?)));
    let parts = parts.filter(|(address, _)| !address.is_empty());
    parts
        .map(|(address, port)| (address.trim_matches(['[', ']']).to_owned(), port))
        .ok_or_else(|| Error::bad_input(format!("cannot use --page-server {text:?}")).because("it is not ADDRESS:PORT"))
}

impl Checkpoint {
    fn criu(&self, program: Option<PathBuf>) -> Options {
        Options { program, ..self.criu.clone() }
    }
}

pub(crate) fn checkpoint(runtime: &Runtime, call: &Checkpoint, program: Option<PathBuf>, log: &Log) -> Result<u8> {
    check_parent(call)?;
    Ok(log.warn_all(&runtime.checkpoint(&call.id, call.dump, &call.criu(program))?))
}

/// criu resolves it against the folder of the files.
fn check_parent(call: &Checkpoint) -> Result<()> {
    let Some(parent) = &call.criu.parent else { return Ok(()) };
    std::fs::create_dir_all(&call.criu.images).doing(|| format!("cannot make {}", call.criu.images.display()))?;
    let wrong = |because: &str| {
        Err(Error::bad_input(format!("cannot use --parent-path {}", parent.display())).because(because))
    };
    match () {
        () if parent.is_absolute() => wrong("it must be relative to --image-path"),
        () if !call.criu.images.join(parent).is_dir() => wrong("there is no such folder in --image-path"),
        () => Ok(()),
    }
}

pub(crate) fn restore(runtime: &Runtime, call: &Checkpoint, program: Option<PathBuf>, log: &Log) -> Result<u8> {
    let folder = call.bundle.clone().unwrap_or_else(|| PathBuf::from("."));
    let bundle = Bundle::read(&folder)?;
    let terminal = bundle.spec.process().as_ref().and_then(|process| process.terminal()).unwrap_or(false);
    foreground::check_console(terminal, call.detach, call.console_socket.is_some())?;
    if !call.detach && !call.no_subreaper {
        foreground::become_subreaper()?;
    }
    let request = CreateRequest { pid_file: call.pid_file.as_deref(), ..CreateRequest::new(&call.id, &folder) };
    let signals = (!call.detach).then(foreground::hold_signals).transpose()?;
    let mut created = runtime.restore(&request, &call.criu(program))?;
    created.warnings.iter().for_each(|warning| log.warn(warning));
    let sockets = Sockets { console: call.console_socket.as_deref(), pidfd: None };
    sockets.hand_over(&mut created, "standard").map_err(|error| match runtime.delete(&call.id, true) {
        Ok(_) => error,
        Err(undo) => error.and_also(&undo),
    })?;
    let Some(signals) = signals else { return Ok(0) };
    let status = foreground::accompany(&created, signals);
    log.warn_all(&runtime.delete(&call.id, true)?);
    status
}
