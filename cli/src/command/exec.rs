// SPDX-License-Identifier: Apache-2.0
//! `kelp exec`: a further program in a running container.
//!
//! Thin: we say which process it is; `kelp-runtime exec` replaces us and does terminal, signals and status itself.

use crate::caller::Caller;
use crate::container::find::{self, Container};
use crate::container::{runtime, start, status};
use crate::error::{Doing, Error, Kind, Result};
use crate::request::{env, mount};
use clap::Args;
use kelp_bundles::{LayerStack, user};
use kelp_sys::rustix::fs::{MemfdFlags, memfd_create};
use oci_spec::runtime::{Process, Spec};
use std::fs::{self, File};
use std::io::{IsTerminal, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

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
    #[arg(short, long, value_name = "KEY=VALUE")]
    env: Vec<String>,
    /// Read environment variables from a file
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Work in this folder of the container
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// Run as this user: name or number
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// All capabilities
    #[arg(long)]
    privileged: bool,
    /// The container, then the program and its arguments; flags end here
    #[arg(value_names = ["CONTAINER", "COMMAND"], required = true, trailing_var_arg = true, num_args = 2..)]
    container_and_command: Vec<String>,
}

/// Performs the command: returns only on an error.
pub(crate) fn run(args: &Exec, caller: &Caller) -> Result<ExitCode> {
    let container = find::one(caller, args.container_and_command.first().map_or("", String::as_str))?;
    let record = &container.record;
    let doing = || format!("cannot run a program in container {}", record.name);
    let status = status::of(caller, &container)?;
    if status.state != status::State::Running {
        let because = format!("it is {}", status.state.word());
        return Err(Error::new(Kind::WrongState, doing(), because).hint(format!("kelp start {}", record.name)));
    }
    if args.interactive && args.tty && !std::io::stdin().is_terminal() {
        return Err(
            Error::new(Kind::BadInput, doing(), "-t with -i needs a terminal, and stdin is none").hint("leave out -t")
        );
    }
    let process = describe(args, &container, status.pid)?;
    let file = in_memory(&process)?;
    let (program, ours) = match &record.runtime {
        Some(other) => (other.clone(), false),
        None => (start::find_program(caller, "kelp-runtime", "KELP_RUNTIME")?, true),
    };
    let mut command = Command::new(&program);
    command.arg("--root").arg(runtime::root(caller, record)).arg("exec");
    if ours {
        command.arg("--status-by-cause");
    }
    if args.tty {
        command.arg("--tty");
    }
    if args.detach {
        command.arg("--detach");
    }
    command.arg("--process").arg(format!("/proc/self/fd/{}", file.as_raw_fd())).arg(&record.id);
    if !args.interactive {
        command.stdin(Stdio::null());
    }
    let error = command.exec();
    Err(error).doing(|| format!("cannot start {}", program.display()))
}

/// The container's own process with another program, environment, place and user.
fn describe(args: &Exec, container: &Container, pid: i32) -> Result<Process> {
    let path = container.folder.join("config.json");
    let doing = || format!("cannot read {}", path.display());
    let json = fs::read(&path).doing(doing)?;
    let spec: Spec = serde_json::from_slice(&json).map_err(|error| Error::new(Kind::BadInput, doing(), error))?;
    let mut process = spec.process().clone().unwrap_or_default();
    let mut variables = process.env().clone().unwrap_or_default();
    for new in env::collect(&args.env_file, &args.env, |key| std::env::var(key).ok())? {
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
    process.set_args(Some(command)).set_env(Some(variables)).set_terminal(args.tty.then_some(true));
    if let Some(dir) = &args.workdir {
        let inside = if dir == "/" { Ok(PathBuf::from("/")) } else { mount::inside(dir) };
        process.set_cwd(inside.map_err(|why| Error::new(Kind::BadInput, "cannot use --workdir", why))?);
    }
    Ok(process)
}

/// Names are those of the container's own files as they are now, read as text and never followed out of it.
fn become_user(process: &mut Process, name: &str, pid: i32, variables: &mut Vec<String>) -> Result<()> {
    let root = LayerStack::open(&[PathBuf::from(format!("/proc/{pid}/root/."))])?;
    let found = user::find(name, &root)?;
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

/// A file without a name, which the runtime inherits: nothing is left behind, whatever happens.
fn in_memory(process: &Process) -> Result<File> {
    let doing = || "cannot describe the process to the runtime";
    let json = serde_json::to_vec(process).map_err(|error| Error::new(Kind::Other, doing(), error))?;
    let mut file = File::from(memfd_create(c"process.json", MemfdFlags::empty()).doing(doing)?);
    file.write_all(&json).doing(doing)?;
    Ok(file)
}
