// SPDX-License-Identifier: Apache-2.0
//! `exec`.

use super::Log;
use super::arguments::{Arguments, unknown_option};
use super::foreground::{self, Sockets};
use kelp_runtime::{
    Changes, Error, ExecProcess, ExecRequest, Kind, Result, Runtime, Stdio, bundle, own_binary, pidfile, process,
};
use kelp_sys::rustix::fd::AsFd;
use oci_spec::runtime::{Capability, Process};
use std::path::PathBuf;
use std::str::FromStr;

/// The options of `exec`.
#[derive(Debug, Default)]
pub(crate) struct Exec {
    id: String,
    process: Option<PathBuf>,
    changes: Changes,
    /// `--user`, as it was written.
    user: Option<String>,
    /// `--cap`, as they were written.
    capabilities: Vec<String>,
    console_socket: Option<PathBuf>,
    pidfd_socket: Option<PathBuf>,
    pid_file: Option<PathBuf>,
    cgroup: Option<String>,
    preserve_fds: u32,
    detach: bool,
    ignore_paused: bool,
    status_by_cause: bool,
}

impl Exec {
    /// What a failure of our own leaves with. runc tells it from the program's by 255; `kelp exec` asks for what Docker's
    /// users expect: 127 where the program is not there, 126 where it cannot be executed, 125 for the rest.
    pub(super) fn failure_status(&self) -> fn(Kind) -> u8 {
        match self.status_by_cause {
            true => |kind| match kind {
                Kind::ProgramNotFound => 127,
                Kind::ProgramNotExecutable => 126,
                _ => 125,
            },
            false => |_| 255,
        }
    }
}

pub(super) fn parse(arguments: &mut Arguments) -> Result<Exec> {
    let mut exec = Exec::default();
    while let Some(option) = arguments.leading_option()? {
        let changes = &mut exec.changes;
        match option.as_str() {
            "process" | "p" => exec.process = Some(arguments.path()?),
            "detach" | "d" => exec.detach = arguments.switch()?,
            "tty" | "t" => changes.terminal = arguments.switch()?,
            "console-socket" => exec.console_socket = Some(arguments.path()?),
            "pidfd-socket" => exec.pidfd_socket = Some(arguments.path()?),
            "cgroup" => exec.cgroup = Some(arguments.text("--cgroup")?),
            "pid-file" => exec.pid_file = Some(arguments.path()?),
            "preserve-fds" => exec.preserve_fds = arguments.number("--preserve-fds")?,
            "ignore-paused" => exec.ignore_paused = arguments.switch()?,
            "status-by-cause" => exec.status_by_cause = arguments.switch()?,
            "cwd" => changes.cwd = Some(arguments.text("--cwd")?),
            "env" | "e" => changes.env.push(arguments.text("--env")?),
            "user" | "u" => exec.user = Some(arguments.text("--user")?),
            "additional-gids" | "g" => changes.groups.push(arguments.number("--additional-gids")?),
            "cap" | "c" => exec.capabilities.push(arguments.text("--cap")?),
            "no-new-privs" => changes.no_new_privileges = Some(arguments.switch()?),
            "apparmor" => changes.apparmor_profile = Some(arguments.text("--apparmor")?),
            "process-label" => changes.selinux_label = Some(arguments.text("--process-label")?),
            other => return Err(unknown_option(other, "exec")),
        }
    }
    exec.id = arguments.first_id("exec")?;
    exec.changes.args = arguments.rest()?;
    if exec.changes.args.first().is_some_and(|word| word == "--") {
        exec.changes.args.remove(0);
    }
    Ok(exec)
}

impl Exec {
    /// What the options mean. What is wrong with them fails the exec, with its status, and is no slip of the command line.
    fn understand(&mut self, log: &Log) -> Result<()> {
        if self.changes.args.is_empty() && self.process.is_none() {
            return Err(Error::bad_input("cannot exec")
                .because("process args cannot be empty: no program was given, and no --process"));
        }
        self.changes.user = self.user.as_deref().map(user).transpose()?;
        for name in &self.capabilities {
            match capability(name) {
                Some(known) => self.changes.capabilities.push(known),
                None => log.warn(&format!("ignoring unknown or unavailable capabilities: unknown capability {name:?}")),
            }
        }
        self.cgroup.as_deref().map_or(Ok(()), check_cgroup)
    }
}

/// A cgroup of the container, below its own. runc's CONTROLLER:CGROUP is for v1, where each controller has a tree of its own.
fn check_cgroup(path: &str) -> Result<()> {
    let wrong = |because: &str| Err(Error::bad_input(format!("cannot use --cgroup {path:?}")).because(because));
    match path.split('/').any(|part| part == "..") {
        true => wrong(&format!("{path} is not a sub cgroup path: it leads out of the container's cgroup")),
        false if path.contains(':') => wrong("with cgroup v2 all controllers have the same tree: give the path alone"),
        false => Ok(()),
    }
}

/// `UID[:GID]`
fn user(text: &str) -> Result<(u32, Option<u32>)> {
    let wrong = || {
        Error::bad_input(format!("cannot use --user {text:?}"))
            .because(format!("parsing {text} as int for uid failed: it is not UID or UID:GID"))
    };
    let (uid, gid) = match text.split_once(':') {
        Some((uid, gid)) => (uid, Some(gid.parse().map_err(|_| wrong())?)),
        None => (text, None),
    };
    Ok((uid.parse().map_err(|_| wrong())?, gid))
}

fn capability(name: &str) -> Option<Capability> {
    let upper = name.to_ascii_uppercase();
    Capability::from_str(upper.strip_prefix("CAP_").unwrap_or(&upper)).ok()
}

pub(crate) fn run(runtime: &Runtime, mut exec: Exec, log: &Log) -> Result<u8> {
    own_binary::protect()?;
    exec.understand(log)?;
    foreground::check_preserved(exec.preserve_fds)?;
    let mut whole = match &exec.process {
        Some(path) => {
            let (process, warnings) = bundle::read_process(path)?;
            warnings.iter().for_each(|warning| log.warn(warning));
            ExecProcess::Whole(Box::new(with_terminal(process, exec.changes.terminal)))
        }
        None => ExecProcess::Changed(exec.changes),
    };
    let terminal = match &whole {
        ExecProcess::Whole(process) => process.terminal().unwrap_or(false),
        ExecProcess::Changed(changes) => changes.terminal,
    };
    foreground::check_console(terminal, exec.detach, exec.console_socket.is_some())?;
    match &mut whole {
        _ if exec.detach => {}
        ExecProcess::Whole(process) => foreground::size_terminal(process)?,
        ExecProcess::Changed(changes) => changes.console_size = foreground::console_size()?,
    }
    let request = ExecRequest {
        process: whole,
        stdio: Stdio::Inherit,
        pid_file: exec.pid_file.as_deref(),
        preserve_fds: exec.preserve_fds.saturating_add(foreground::passed_sockets()),
        ignore_paused: exec.ignore_paused,
        cgroup: exec.cgroup.as_deref(),
        foreground: !exec.detach && exec.console_socket.is_none(),
    };
    let signals = (!exec.detach).then(foreground::hold_signals).transpose()?;
    let mut created = runtime.exec(&exec.id, request)?;
    created.warnings.iter().for_each(|warning| log.warn(warning));
    let sockets = Sockets { console: exec.console_socket.as_deref(), pidfd: exec.pidfd_socket.as_deref() };
    // A process that nobody could get hold of shall not run.
    sockets.hand_over(&mut created, "setns").map_err(|error| {
        let killed = process::signal(created.pidfd.as_fd(), 9).map(drop);
        let forgotten = exec.pid_file.as_deref().map_or(Ok(()), pidfile::take_back);
        [killed, forgotten].into_iter().filter_map(Result::err).fold(error, |error, undo| error.and_also(&undo))
    })?;
    signals.map_or(Ok(0), |signals| foreground::accompany(&created, signals))
}

/// `--tty` counts with `--process` too.
fn with_terminal(mut process: Process, terminal: bool) -> Process {
    if terminal {
        process.set_terminal(Some(true));
    }
    process
}
