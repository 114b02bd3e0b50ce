// SPDX-License-Identifier: Apache-2.0
//! `create`, `run` and `plan`.

use super::Log;
use super::arguments::{Arguments, unknown_option};
use super::foreground::{self, Sockets};
use super::output::{answer, complain};
use kelp_runtime::bundle::Bundle;
use kelp_runtime::cgroup::{self, Facts, Manager};
use kelp_runtime::host::Host;
use kelp_runtime::plan::Plan;
use kelp_runtime::trace::{self, Phase};
use kelp_runtime::{CreateRequest, Created, Gate, Options, Result, Runtime, own_binary, pidfile, seccomp};
use std::path::{Path, PathBuf};

/// The options of `create` and `run`.
#[derive(Debug, Default)]
pub(crate) struct Create {
    id: String,
    bundle: Option<PathBuf>,
    console_socket: Option<PathBuf>,
    pidfd_socket: Option<PathBuf>,
    pid_file: Option<PathBuf>,
    options: Options,
    detach: bool,
    keep: bool,
    no_subreaper: bool,
}

pub(crate) fn parse(arguments: &mut Arguments, verb: &str) -> Result<Create> {
    let mut create = Create::default();
    while let Some(option) = arguments.next_option()? {
        match option.as_str() {
            "bundle" | "b" => create.bundle = Some(arguments.path()?),
            "console-socket" => create.console_socket = Some(arguments.path()?),
            "pidfd-socket" => create.pidfd_socket = Some(arguments.path()?),
            "pid-file" => create.pid_file = Some(arguments.path()?),
            "no-pivot" => create.options.no_pivot = arguments.switch()?,
            "no-new-keyring" => create.options.no_new_keyring = arguments.switch()?,
            "preserve-fds" => create.options.preserve_fds = arguments.number("--preserve-fds")?,
            "detach" | "d" if verb == "run" => create.detach = arguments.switch()?,
            "keep" if verb == "run" => create.keep = arguments.switch()?,
            "no-subreaper" if verb == "run" => create.no_subreaper = arguments.switch()?,
            other => return Err(unknown_option(other, verb)),
        }
    }
    create.id = arguments.id(verb)?;
    Ok(create)
}

pub(crate) fn parse_plan(arguments: &mut Arguments) -> Result<PathBuf> {
    let mut bundle = None;
    while let Some(option) = arguments.next_option()? {
        match option.as_str() {
            "bundle" | "b" => bundle = Some(arguments.path()?),
            other => return Err(unknown_option(other, "plan")),
        }
    }
    let operand = arguments.operand()?.map(PathBuf::from);
    arguments.end("plan")?;
    Ok(bundle.or(operand).unwrap_or_else(|| PathBuf::from(".")))
}

impl Create {
    fn folder(&self) -> &Path {
        self.bundle.as_deref().unwrap_or(Path::new("."))
    }

    fn request(&self, gate: Gate) -> CreateRequest<'_> {
        let mut options = self.options;
        options.listen_fds = foreground::passed_sockets();
        CreateRequest {
            gate,
            pid_file: self.pid_file.as_deref(),
            options,
            ..CreateRequest::new(&self.id, self.folder())
        }
    }

    /// Reads the bundle. Its terminal must have somewhere to go: to `--console-socket`, or to the one in front of us.
    fn read_bundle(&self, detached: bool) -> Result<Bundle> {
        trace::begin(Phase::Read);
        let bundle = Bundle::read(self.folder())?;
        foreground::check_preserved(self.options.preserve_fds)?;
        let terminal = bundle.spec.process().as_ref().and_then(|process| process.terminal()).unwrap_or(false);
        foreground::check_console(terminal, detached, self.console_socket.is_some())?;
        Ok(bundle)
    }
}

pub(crate) fn create(runtime: &Runtime, create: &Create, log: &Log) -> Result<u8> {
    own_binary::protect()?;
    let bundle = create.read_bundle(true)?;
    let created = runtime.create_read(create.request(Gate::Closed), bundle)?;
    hand_over(runtime, create, created, log)?;
    Ok(0)
}

/// Gives the terminal to whoever listens at `--console-socket`, and a pidfd at `--pidfd-socket`. If that fails, there is no
/// container.
fn hand_over(runtime: &Runtime, create: &Create, mut created: Created, log: &Log) -> Result<Created> {
    created.warnings.iter().for_each(|warning| log.warn(warning));
    let sockets = Sockets { console: create.console_socket.as_deref(), pidfd: create.pidfd_socket.as_deref() };
    sockets.hand_over(&mut created, "standard").map_err(|error| {
        let deleted = runtime.delete(&create.id, true).map(drop);
        let forgotten = create.pid_file.as_deref().map_or(Ok(()), pidfile::take_back);
        [deleted, forgotten].into_iter().filter_map(Result::err).fold(error, |error, undo| error.and_also(&undo))
    })?;
    Ok(created)
}

pub(crate) fn run(runtime: &Runtime, create: &Create, log: &Log) -> Result<u8> {
    own_binary::protect()?;
    let mut bundle = create.read_bundle(create.detach)?;
    if create.detach {
        let created = runtime.create_read(create.request(Gate::Open), bundle)?;
        hand_over(runtime, create, created, log)?;
        return Ok(0);
    }
    if !create.no_subreaper {
        foreground::become_subreaper()?;
    }
    if let Some(process) = bundle.spec.process_mut() {
        foreground::size_terminal(process)?;
    }
    let signals = foreground::hold_signals()?;
    let mut request = create.request(Gate::Open);
    request.options.foreground = create.console_socket.is_none();
    let (created, remains) = runtime.create_kept(request, bundle)?;
    let created = hand_over(runtime, create, created, log)?;
    trace::begin(Phase::Program);
    let status = foreground::accompany(&created, signals);
    trace::begin(Phase::Delete);
    if !create.keep {
        log.warn_all(&runtime.delete_ended(remains)?);
    }
    status
}

/// Prints what would be done; needs no rights and does nothing.
pub(crate) fn plan(folder: &Path, manager: Manager) -> Result<u8> {
    let bundle = Bundle::read(folder)?;
    let host = Host::look()?;
    let plan = Plan::make(&bundle, folder, "ID", &host, Options::default())?;
    let cgroup = cgroup::plan(&bundle.spec, "ID", &Facts::read()?, manager, host.nested)?;
    bundle.warnings.iter().for_each(|warning| complain(format_args!("warning: {warning}")));
    answer(format_args!("{plan}{cgroup}{}", seccomp_lines(&bundle)?))?;
    Ok(0)
}

/// How long the filter is, and which names of the profile mean nothing on this machine.
fn seccomp_lines(bundle: &Bundle) -> Result<String> {
    let profile = bundle.spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
    let Some(profile) = profile else { return Ok(String::new()) };
    let program = seccomp::compile(profile, seccomp::NATIVE)?;
    let mut lines = format!("seccomp     {} instructions\n", program.bytes().len() / 8);
    if !program.ignored.is_empty() {
        lines += &format!("            passed over, unknown here: {}\n", program.ignored.join(" "));
    }
    Ok(lines)
}
