// SPDX-License-Identifier: Apache-2.0
//! An OCI runtime that contains nothing: for tests of the holder, which only needs its manners.
//!
//! `create` starts `sh <bundle>/program` behind a gate, `start` opens the gate, `delete` kills and forgets. A bundle
//! without a program cannot be started; one with a file `refuse` cannot be created.

use kelp_sys::rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use kelp_sys::rustix::process::{Pid, Signal, kill_process_group};
use std::collections::HashMap;
use std::io::{IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::{env, fs};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let (options, words) = arguments();
    let Some(([verb, .., id], root)) = Some(words.as_slice()).zip(options.get("--root")) else {
        return ExitCode::from(2);
    };
    let state = Path::new(root).join(id);
    let done = match verb.as_str() {
        "create" => create(&options, &state),
        "start" => start(&state),
        "delete" => delete(&state),
        _ => Err("no such verb".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&options, &error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// `--name value` pairs, and the rest; `--force` stands alone.
fn arguments() -> (HashMap<String, String>, Vec<String>) {
    let (mut options, mut words) = (HashMap::new(), Vec::new());
    let mut args = env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.starts_with("--") {
            true if arg == "--force" => {}
            true => drop(options.insert(arg, args.next().unwrap_or_default())),
            false => words.push(arg),
        }
    }
    (options, words)
}

fn complain(options: &HashMap<String, String>, message: &str) {
    let line = serde_json::json!({"level": "error", "msg": message, "time": "now"});
    let log = options.get("--log").map(|log| fs::OpenOptions::new().append(true).create(true).open(log));
    if let Some(Ok(mut log)) = log {
        writeln!(log, "{line}").unwrap_or_default();
    }
}

fn create(options: &HashMap<String, String>, state: &Path) -> Result<()> {
    let bundle = PathBuf::from(options.get("--bundle").ok_or("no bundle")?);
    if bundle.join("refuse").exists() {
        return Err("this bundle refuses to be created".into());
    }
    if state.exists() {
        return Err("this container already exists".into());
    }
    fs::create_dir_all(state)?;
    fs::write(state.join("bundle"), bundle.as_os_str().as_encoded_bytes())?;
    let gate = state.join("gate");
    if !Command::new("mkfifo").arg(&gate).status()?.success() {
        return Err("no gate".into());
    }
    let script = "read go < \"$0\"; exec sh \"$1\"";
    let master = options.contains_key("--console-socket").then(kelp_sys::pty::open).transpose()?;
    // setsid makes the terminal the program's own; it executes the shell in its place, so that the pid stays.
    let mut command = Command::new(if master.is_some() { "setsid" } else { "sh" });
    if let Some(master) = &master {
        let slave = kelp_sys::pty::peer(master.as_fd())?;
        command.stdin(slave.try_clone()?).stdout(slave.try_clone()?).stderr(slave).args(["--ctty", "sh"]);
    } else {
        command.stdin(Stdio::inherit()).process_group(0);
    }
    let child = command.arg("-c").arg(script).arg(&gate).arg(bundle.join("program")).spawn()?;
    fs::write(state.join("pid"), child.id().to_string())?;
    fs::write(options.get("--pid-file").ok_or("no pid file")?, child.id().to_string())?;
    match (master, options.get("--console-socket")) {
        (Some(master), Some(socket)) => hand_over(&master, socket),
        _ => Ok(()),
    }
}

fn hand_over(master: &OwnedFd, socket: &str) -> Result<()> {
    let stream = UnixStream::connect(socket)?;
    let mut space = [MaybeUninit::uninit(); kelp_sys::rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [master.as_fd()];
    control.push(SendAncillaryMessage::ScmRights(&fds));
    sendmsg(&stream, &[IoSlice::new(b"/dev/ptmx")], &mut control, SendFlags::empty())?;
    Ok(())
}

fn start(state: &Path) -> Result<()> {
    let bundle = fs::read_to_string(state.join("bundle"))?;
    if !Path::new(&bundle).join("program").exists() {
        return Err("exec: \"program\": executable file not found in $PATH".into());
    }
    fs::write(state.join("gate"), "go\n")?;
    Ok(())
}

fn delete(state: &Path) -> Result<()> {
    let pid = fs::read_to_string(state.join("pid"))?.parse().ok().and_then(Pid::from_raw).ok_or("no pid")?;
    // ESRCH: all have ended already. What has left the group is left alone, as under `--pid host`.
    kill_process_group(pid, Signal::KILL).unwrap_or_default();
    fs::remove_dir_all(state)?;
    Ok(())
}
