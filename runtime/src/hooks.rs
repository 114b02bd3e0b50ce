// SPDX-License-Identifier: Apache-2.0
//! Hooks that run outside the container, in the runtime's own namespaces: prestart, createRuntime, poststart, poststop.
//!
//! Spec: config.md "POSIX-platform Hooks", runtime.md "Lifecycle".

use crate::error::{Doing, Error, Result};
use crate::plan::HookPlan;
use crate::process::await_end;
use crate::state::{Record, State, Status};
use kelp_init::hook::{EXITED, SIGNALLED};
use kelp_sys::rustix::fd::OwnedFd;
use kelp_sys::rustix::fs::{MemfdFlags, memfd_create};
use kelp_sys::rustix::io::Errno;
use kelp_sys::rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use oci_spec::runtime::Hook;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command};
use std::time::Duration;

/// How much of what a failing hook has said is told.
const TOLD: usize = 16 * 1024;

/// Runs the hooks in order; the first that fails ends it.
///
/// # Errors
/// A hook cannot be run, ends with another status than 0, or takes longer than its timeout.
pub(crate) fn run(kind: &str, hooks: &[Hook], state: &State) -> Result<()> {
    hooks.iter().enumerate().try_for_each(|(nth, hook)| run_one(kind, nth, hook, state))
}

/// Runs the poststop hooks, whatever becomes of each: the spec says that their errors are logged and the lifecycle goes on.
/// Returns the errors.
pub(crate) fn poststop(record: &Record) -> Vec<Error> {
    let state = State::of(record, Status::Stopped);
    let hooks = record.poststop.iter().enumerate();
    hooks.filter_map(|(nth, hook)| run_one("poststop", nth, hook, &state).err()).collect()
}

/// The error of the nth hook of a kind. It has runc's words, which people and programs search for.
pub(crate) fn failed(kind: &str, nth: usize, path: &str, cause: &str) -> Error {
    Error::new(format!("cannot run the {kind} hook {path}")).because(format!("error running hook #{nth}: {cause}"))
}

/// How a hook has ended that did not end well, and what it said: the errno is init's, see [`EXITED`].
pub(crate) fn ending(errno: Errno, said: Option<&File>, timeout: Option<u32>) -> String {
    let said = said.map_or_else(String::new, what_was_said);
    let output = format!("stdout and stderr: {}", said.trim());
    match errno.raw_os_error() {
        // execve(2) failed in the hook's process, or a shell says so.
        code if code == EXITED + 127 && said.is_empty() => {
            "error running hook: exit status 127: no such file or directory, or it cannot be executed".into()
        }
        code if code >= SIGNALLED => format!("error running hook: {}, {output}", signal(code - SIGNALLED)),
        code if code >= EXITED => format!("error running hook: exit status {}, {output}", code - EXITED),
        _ if errno == Errno::TIME => {
            let seconds = timeout.unwrap_or_default();
            format!("hook ran past specified timeout of {seconds}.0s, {output}")
        }
        _ => std::io::Error::from(errno).to_string(),
    }
}

/// A signal as Go names it.
fn signal(number: i32) -> String {
    let name = match number {
        1 => "hangup",
        2 => "interrupt",
        4 => "illegal instruction",
        6 => "aborted",
        7 => "bus error",
        8 => "floating point exception",
        9 => "killed",
        11 => "segmentation fault",
        13 => "broken pipe",
        15 => "terminated",
        _ => return format!("signal: signal {number}"),
    };
    format!("signal: {name}")
}

fn what_was_said(file: &File) -> String {
    let mut bytes = vec![0; TOLD];
    // What cannot be read is not told: the error itself is.
    let length = file.read_at(&mut bytes, 0).unwrap_or(0);
    String::from_utf8_lossy(bytes.get(..length).unwrap_or_default()).into_owned()
}

fn run_one(kind: &str, nth: usize, hook: &Hook, state: &State) -> Result<()> {
    let plan = crate::plan::hook_plan(hook, &[])?;
    let path = hook.path().display().to_string();
    let wrong = |error: std::io::Error| failed(kind, nth, &path, &format!("fork/exec {path}: {error}"));
    let text = serde_json::to_vec(state).map_err(|error| failed(kind, nth, &path, &error.to_string()))?;
    // Files and no pipes: a hook need not read, and may leave somebody behind who holds them.
    let file = || memfd_create("hook", MemfdFlags::CLOEXEC).map(File::from).map_err(|errno| wrong(errno.into()));
    let (told, said) = (file()?, file()?);
    told.write_all_at(&text, 0).map_err(wrong)?;
    let mut command = command(&plan, hook.env().is_none(), &said).map_err(wrong)?;
    let mut child = command.stdin(told).spawn().map_err(wrong)?;
    let in_time = plan.timeout.map_or(Ok(true), |seconds| limit(&child, Duration::from_secs(u64::from(seconds))))?;
    let status = child.wait().map_err(wrong)?;
    let errno = match (in_time, status.code(), status.signal()) {
        (true, Some(0), _) => return Ok(()),
        (false, ..) => Errno::TIME,
        (_, Some(code), _) => Errno::from_raw_os_error(EXITED + code),
        (_, _, signal) => Errno::from_raw_os_error(SIGNALLED + signal.unwrap_or_default()),
    };
    Err(failed(kind, nth, &path, &ending(errno, Some(&said), plan.timeout)))
}

/// `inherits`: it gets our environment, since the spec says none.
fn command(plan: &HookPlan, inherits: bool, said: &File) -> std::io::Result<Command> {
    use std::os::unix::process::CommandExt;
    let os = |text: &std::ffi::CString| std::ffi::OsStr::from_bytes(text.as_bytes()).to_owned();
    let mut command = Command::new(os(&plan.path));
    command.arg0(plan.argv.first().map(os).unwrap_or_default()).args(plan.argv.iter().skip(1).map(os));
    if !inherits {
        command.env_clear().envs(plan.env.iter().filter_map(|entry| {
            let entry = os(entry);
            let at = entry.as_bytes().iter().position(|&byte| byte == b'=')?;
            let (name, value) = entry.as_bytes().split_at(at);
            Some((std::ffi::OsStr::from_bytes(name).to_owned(), std::ffi::OsStr::from_bytes(&value[1..]).to_owned()))
        }));
    }
    let (stdout, stderr) = (OwnedFd::from(said.try_clone()?), OwnedFd::from(said.try_clone()?));
    command.stdout(stdout).stderr(stderr);
    Ok(command)
}

/// Waits for the child; kills it when its time is up, and then says false.
fn limit(child: &Child, time: Duration) -> Result<bool> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let Some(pid) = pid else { return Ok(true) };
    let fd = pidfd_open(pid, PidfdFlags::empty()).doing(|| "cannot watch the hook".into())?;
    if await_end(&fd, Some(time))? {
        return Ok(true);
    }
    pidfd_send_signal(&fd, Signal::KILL).doing(|| "cannot kill the hook".into())?;
    Ok(false)
}
