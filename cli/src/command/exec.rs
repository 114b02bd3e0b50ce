// SPDX-License-Identifier: Apache-2.0
//! `kelp exec`: a further program in a running container.
//!
//! We say which process it is, the container's runtime runs it with pipes or a pty of ours, and we relay: terminal, signals,
//! status. `kelp-runtime exec` by itself hands on the caller's own streams, as engines expect of a runtime.

use crate::caller::Caller;
use crate::container::exec;
use crate::container::find::{self, Container};
use crate::error::{Doing, Error, Kind, Result};
use crate::output;
use crate::request::{env, mount, user};
use crate::terminal_keeper;
use clap::Args;
use kelp_bundles::LayerStack;
use kelp_shim::Streams;
use kelp_shim::client::{DetachKeys, Direct, Ends, Parted, Relay};
use kelp_sys::rustix::fs::{Mode, OFlags, open};
use oci_spec::runtime::{BoxBuilder, Process, Spec};
use std::fs;
use std::io::IsTerminal;
use std::os::fd::{AsFd, AsRawFd as _};
use std::path::PathBuf;
use std::process::ExitCode;

/// Run a program in a running container
#[derive(Debug, Args)]
#[command(override_usage = "kelp exec [OPTIONS] CONTAINER COMMAND [ARG...]")]
pub(crate) struct Exec {
    /// Keep stdin open
    #[arg(short, long)]
    interactive: bool,
    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,
    /// Leave it running
    #[arg(short, long)]
    detach: bool,
    /// Set an environment variable
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = env::variable)]
    env: Vec<String>,
    /// Read environment variables from a file
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Work in this folder of the container
    #[arg(short, long, value_name = "DIR", value_parser = user::workdir)]
    workdir: Option<String>,
    /// Run as this user: name or number
    #[arg(short, long, value_name = "USER[:GROUP]", allow_hyphen_values = true, value_parser = user::parse)]
    user: Option<String>,
    /// All capabilities
    #[arg(long)]
    privileged: bool,
    /// Keys that detach from the program, which goes on; ctrl-p,ctrl-q by default
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<DetachKeys>,
    /// The container, then the program and its arguments; flags end here
    #[arg(value_names = ["CONTAINER", "COMMAND"], required = true, trailing_var_arg = true, num_args = 2..)]
    container_and_command: Vec<String>,
}

/// Performs the command: leaves with the program's status.
pub(crate) fn run(args: &Exec, caller: &Caller) -> Result<ExitCode> {
    let container = find::one(caller, args.container_and_command.first().map_or("", String::as_str))?;
    if args.interactive && args.tty && !args.detach && !std::io::stdin().is_terminal() {
        let doing = format!("cannot run a program in container {}", container.record.name);
        return Err(
            Error::new(Kind::BadInput, doing, "-t with -i needs a terminal, and stdin is none").hint("leave out -t")
        );
    }
    let detach_keys = super::detach_keys(args.detach_keys.as_ref(), caller)?;
    let running = exec::Running::of(caller, &container)?;
    let process = describe(args, caller, &container, running.pid).map_err(|error| running.blame(error))?;
    let relay = Relay {
        streams: Streams { stdin: args.interactive && !args.detach, ..Streams::ALL },
        detach_keys,
        proxy_signals: true,
    };
    if args.detach {
        return leave(running.start(&process, streams(args))?.ends);
    }
    let direct = Direct::new(&relay)?;
    let mut started = running.start(&process, streams(args))?;
    match direct.run(&mut started.ends, started.process.as_fd())? {
        Parted::Ended => Ok(super::run::exit_code(kelp_runtime::process::await_status(&started.process)?)),
        Parted::Detached => leave(started.ends),
    }
}

/// A terminal outlives us; of what has none nobody hears any more.
fn leave(ends: Ends) -> Result<ExitCode> {
    ends.into_terminal().map_or(Ok(()), terminal_keeper::keep)?;
    Ok(ExitCode::SUCCESS)
}

fn streams(args: &Exec) -> exec::Streams {
    match (args.tty, args.detach, args.interactive) {
        (true, ..) => exec::Streams::Terminal,
        (false, true, _) => exec::Streams::Nobody,
        (false, false, input) => exec::Streams::Pipes { input, joined: output::is_joined() },
    }
}

/// The container's own process with another program, environment, place and user.
fn describe(args: &Exec, caller: &Caller, container: &Container, pid: i32) -> Result<Process> {
    let path = container.folder.join("config.json");
    let doing = || format!("cannot read {}", path.display());
    let json = fs::read(&path).doing(doing)?;
    let spec: Spec = serde_json::from_slice(&json).map_err(|error| Error::new(Kind::BadInput, doing(), error))?;
    let mut process = spec.process().clone().unwrap_or_default();
    let mut variables = process.env().clone().unwrap_or_default();
    for new in env::collect(&args.env_file, &args.env, |key| caller.environment.text(key))? {
        set(&mut variables, new);
    }
    if let Some(user) = &args.user {
        become_user(&mut process, user, pid, &mut variables)?;
    }
    if args.tty {
        set_default(&mut variables, "TERM", "xterm");
    }
    if args.privileged {
        let all = crate::config::all_capabilities();
        process.set_capabilities(Some(all));
    }
    let command = args.container_and_command.get(1..).unwrap_or_default().to_vec();
    process.set_args(Some(command)).set_env(Some(variables)).set_terminal(Some(args.tty)).set_console_size(size(args)?);
    if let Some(dir) = args.workdir.as_ref().filter(|dir| !dir.is_empty()) {
        let inside = if dir == "/" { Ok(PathBuf::from("/")) } else { mount::inside(dir) };
        process.set_cwd(inside.map_err(|why| Error::new(Kind::BadInput, "cannot use --workdir", why))?);
    }
    Ok(process)
}

/// The program's terminal is as large as ours from its first instruction on.
fn size(args: &Exec) -> Result<Option<oci_spec::runtime::Box>> {
    let Some(size) = kelp_shim::client::terminal_size().filter(|_| args.tty) else { return Ok(None) };
    let built = BoxBuilder::default().height(u64::from(size.rows)).width(u64::from(size.cols)).build();
    built.map(Some).map_err(|error| Error::new(Kind::Other, "cannot size the terminal", error))
}

/// Names are those of the container's own files as they are now, read as text and never followed out of it.
fn become_user(process: &mut Process, name: &str, pid: i32, variables: &mut Vec<String>) -> Result<()> {
    let doing = || "cannot look at the container's files";
    // Not close-on-exec: what is closed to us is read by a helper inside the id map, which may not look at the process.
    let handle = open(format!("/proc/{pid}/root"), OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).doing(doing)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd()));
    let root = LayerStack::open_inside(&[path], &crate::ids::of_caller()?)?;
    let found = kelp_bundles::user::find(name, &root)?;
    process
        .user_mut()
        .set_uid(found.uid)
        .set_gid(found.gid)
        .set_additional_gids((!found.additional_gids.is_empty()).then(|| found.additional_gids.clone()));
    set(variables, format!("HOME={}", found.home));
    if let Some(mut rights) = process.capabilities().clone() {
        // As at the container's start: a user other than root begins without rights.
        let effective = if found.uid == 0 { rights.bounding().clone() } else { Some(Default::default()) };
        rights.set_effective(effective.clone()).set_permitted(effective);
        process.set_capabilities(Some(rights));
    }
    Ok(())
}

fn set(variables: &mut Vec<String>, new: String) {
    let key = new.split('=').next().unwrap_or_default().to_owned();
    variables.retain(|entry| entry.split('=').next() != Some(key.as_str()));
    variables.push(new);
}

fn set_default(variables: &mut Vec<String>, key: &str, value: &str) {
    if !variables.iter().any(|entry| entry.split('=').next() == Some(key)) {
        variables.push(format!("{key}={value}"));
    }
}
