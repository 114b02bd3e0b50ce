// SPDX-License-Identifier: Apache-2.0
//! Hooks that run outside the container, in the runtime's own namespaces: prestart, createRuntime, poststart, poststop.
//!
//! Spec: config.md "POSIX-platform Hooks", runtime.md "Lifecycle".

use crate::error::{Doing, Error, Result};
use crate::plan::HookPlan;
use crate::process::await_end;
use crate::state::{Record, State, Status};
use kelp_sys::rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use oci_spec::runtime::Hook;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Runs the hooks in order; the first that fails ends it.
///
/// # Errors
/// A hook cannot be run, ends with another status than 0, or takes longer than its timeout.
pub(crate) fn run(kind: &str, hooks: &[Hook], state: &State) -> Result<()> {
    hooks.iter().try_for_each(|hook| run_one(kind, hook, state))
}

/// Runs the poststop hooks, whatever becomes of each: the spec says that their errors are logged and the lifecycle goes on.
/// Returns the errors.
pub(crate) fn poststop(record: &Record) -> Vec<Error> {
    let state = State::of(record, Status::Stopped);
    record.poststop.iter().filter_map(|hook| run_one("poststop", hook, &state).err()).collect()
}

fn run_one(kind: &str, hook: &Hook, state: &State) -> Result<()> {
    let plan = crate::plan::hook_plan(hook)?;
    let doing = || format!("cannot run the {kind} hook {}", hook.path().display());
    let state = serde_json::to_vec(state).map_err(|error| Error::new(doing()).because(error))?;
    let mut child = command(&plan).spawn().doing(doing)?;
    feed(&mut child, &state).doing(doing)?;
    if let Some(seconds) = plan.timeout {
        limit(&child, Duration::from_secs(u64::from(seconds)))?
            .then_some(())
            .ok_or_else(|| Error::new(doing()).because(format!("it took longer than its timeout of {seconds} s")))
            .or_else(|error| child.wait().doing(doing).and(Err(error)))?;
    }
    let output = child.wait_with_output().doing(doing)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::new(doing()).because(format!("{}: {}", output.status, said.trim())))
}

fn command(plan: &HookPlan) -> Command {
    use std::os::unix::process::CommandExt;
    let os = |text: &std::ffi::CString| std::ffi::OsStr::from_bytes(text.as_bytes()).to_owned();
    let mut command = Command::new(os(&plan.path));
    command.arg0(plan.argv.first().map(os).unwrap_or_default()).args(plan.argv.iter().skip(1).map(os));
    command.env_clear().envs(plan.env.iter().filter_map(|entry| {
        let entry = os(entry);
        let at = entry.as_bytes().iter().position(|&byte| byte == b'=')?;
        let (name, value) = entry.as_bytes().split_at(at);
        Some((std::ffi::OsStr::from_bytes(name).to_owned(), std::ffi::OsStr::from_bytes(&value[1..]).to_owned()))
    }));
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// A hook need not read its stdin.
fn feed(child: &mut Child, state: &[u8]) -> std::io::Result<()> {
    let Some(mut stdin) = child.stdin.take() else { return Ok(()) };
    match stdin.write_all(state) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
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
