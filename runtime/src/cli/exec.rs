// SPDX-License-Identifier: Apache-2.0
//! `exec`.

use super::arguments::{Arguments, unknown_option};
use super::foreground;
use kelp_runtime::{Changes, Error, ExecProcess, ExecRequest, Kind, Result, Runtime, Stdio, bundle, own_binary};
use oci_spec::runtime::{Capability, Process};
use std::path::PathBuf;
use std::str::FromStr;

/// The options of `exec`.
#[derive(Debug, Default)]
pub(crate) struct Exec {
    id: String,
    process: Option<PathBuf>,
    changes: Changes,
    console_socket: Option<PathBuf>,
    pid_file: Option<PathBuf>,
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
    while let Some(option) = arguments.next_option()? {
        let changes = &mut exec.changes;
        match option.as_str() {
            "process" | "p" => exec.process = Some(arguments.path()?),
            "detach" | "d" => exec.detach = arguments.switch()?,
            "tty" | "t" => changes.terminal = arguments.switch()?,
            "console-socket" => exec.console_socket = Some(arguments.path()?),
            "pid-file" => exec.pid_file = Some(arguments.path()?),
            "preserve-fds" => exec.preserve_fds = arguments.number("--preserve-fds")?,
            "ignore-paused" => exec.ignore_paused = arguments.switch()?,
            "status-by-cause" => exec.status_by_cause = arguments.switch()?,
            "cwd" => changes.cwd = Some(arguments.text("--cwd")?),
            "env" | "e" => changes.env.push(arguments.text("--env")?),
            "user" | "u" => changes.user = Some(user(&arguments.text("--user")?)?),
            "additional-gids" | "g" => changes.groups.push(arguments.number("--additional-gids")?),
            "cap" | "c" => changes.capabilities.push(capability(&arguments.text("--cap")?)?),
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
    if exec.changes.args.is_empty() && exec.process.is_none() {
        return Err(Error::bad_input("cannot exec").because("no program was given, and no --process"));
    }
    Ok(exec)
}

/// `UID[:GID]`
fn user(text: &str) -> Result<(u32, Option<u32>)> {
    let wrong = || Error::bad_input(format!("cannot use --user {text:?}")).because("it is not UID or UID:GID");
    let (uid, gid) = match text.split_once(':') {
        Some((uid, gid)) => (uid, Some(gid.parse().map_err(|_| wrong())?)),
        None => (text, None),
    };
    Ok((uid.parse().map_err(|_| wrong())?, gid))
}

fn capability(name: &str) -> Result<Capability> {
    let upper = name.to_uppercase();
    Capability::from_str(upper.strip_prefix("CAP_").unwrap_or(&upper))
        .map_err(|_| Error::bad_input(format!("cannot use --cap {name:?}")).because("there is no such capability"))
}

pub(crate) fn run(runtime: &Runtime, exec: Exec) -> Result<u8> {
    own_binary::protect()?;
    let mut process = match &exec.process {
        Some(path) => ExecProcess::Whole(Box::new(with_terminal(bundle::read_process(path)?, exec.changes.terminal))),
        None => ExecProcess::Changed(exec.changes),
    };
    let terminal = match &process {
        ExecProcess::Whole(process) => process.terminal().unwrap_or(false),
        ExecProcess::Changed(changes) => changes.terminal,
    };
    foreground::check_console(terminal, exec.detach, exec.console_socket.is_some())?;
    match &mut process {
        _ if exec.detach => {}
        ExecProcess::Whole(process) => foreground::size_terminal(process)?,
        ExecProcess::Changed(changes) => changes.console_size = foreground::console_size()?,
    }
    let request = ExecRequest {
        process,
        stdio: Stdio::Inherit,
        pid_file: exec.pid_file.as_deref(),
        preserve_fds: exec.preserve_fds.saturating_add(foreground::passed_sockets()),
        ignore_paused: exec.ignore_paused,
    };
    let signals = (!exec.detach).then(foreground::hold_signals).transpose()?;
    let mut created = runtime.exec(&exec.id, request)?;
    if let Some(path) = &exec.console_socket
        && let Some(master) = created.console.take()
    {
        foreground::send_console(path, &master)?;
    }
    signals.map_or(Ok(0), |signals| foreground::accompany(&created, signals))
}

/// `--tty` counts with `--process` too.
fn with_terminal(mut process: Process, terminal: bool) -> Process {
    if terminal {
        process.set_terminal(Some(true));
    }
    process
}
