// SPDX-License-Identifier: Apache-2.0
//! The hooks that belong into the container: createContainer and startContainer.
//!
//! Runs in init. Each hook is a child of ours that reads the container's state from stdin.
//! Spec: config.md "POSIX-platform Hooks", runtime.md "Lifecycle".

use crate::born;
use crate::channel::{Order, Report};
use crate::script::{Hook, Script};
use crate::step::{During, Step, Stop};
use kelp_sys::clone::{Clone, Cloned, Namespaces, Parent, clone3, execve, exit};
use kelp_sys::rustix::event::{PollFd, PollFlags, Timespec, poll};
use kelp_sys::rustix::fd::{AsFd, OwnedFd};
use kelp_sys::rustix::fs::{SeekFrom, seek};
use kelp_sys::rustix::io::Errno;
use kelp_sys::rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};

/// The container's state as createContainer and as startContainer hooks shall read it: files in memory.
pub(crate) struct States {
    creating: Option<OwnedFd>,
    created: Option<OwnedFd>,
}

/// Lets the runtime run its hooks while the old root is still visible; then runs ours.
pub(crate) fn pause_and_run_container_hooks(script: &Script<'_>) -> Result<States, Stop> {
    if !script.pause_when_furnished {
        return Ok(States { creating: None, created: None });
    }
    // Hooks of the runtime reach our namespaces through `/proc/PID/ns`, also those of the user who made us; as in `gate`.
    let reachable = script.birth.namespaces.has(Namespaces::USER);
    if reachable {
        born::show().during(Step::AwaitRuntime)?;
    }
    script.channel().report(Report::Furnished, None).during(Step::AwaitRuntime)?;
    let [creating, created] = script.channel().await_order(Order::Continue).during(Step::AwaitRuntime)?;
    if reachable {
        born::hide().during(Step::AwaitRuntime)?;
    }
    let states = States { creating, created };
    run_all(script, script.container_hooks, states.creating.as_ref(), Step::ContainerHooks)?;
    Ok(states)
}

/// Runs the startContainer hooks.
pub(crate) fn run_start_hooks(script: &Script<'_>, states: &States) -> Result<(), Stop> {
    run_all(script, script.start_hooks, states.created.as_ref(), Step::StartHooks)
}

fn run_all(script: &Script<'_>, hooks: &[Hook<'_>], state: Option<&OwnedFd>, step: Step) -> Result<(), Stop> {
    for (index, hook) in hooks.iter().enumerate() {
        script.begin(step)?;
        let state = state.ok_or(Errno::PROTO).during_nth(step, index)?;
        run(hook, state).during_nth(step, index)?;
    }
    Ok(())
}

/// One hook. `ECHILD`: it ended with another status than 0; `ETIME`: it took too long and was killed.
fn run(hook: &Hook<'_>, state: &OwnedFd) -> Result<(), Errno> {
    seek(state, SeekFrom::Start(0))?;
    let request = Clone { namespaces: Namespaces::NONE, cgroup: None, parent: Parent::Caller };
    match clone3(&request)? {
        Cloned::Child => become_hook(hook, state),
        Cloned::Parent { pidfd, .. } => {
            let outcome = await_end(&pidfd, hook.timeout);
            if outcome == Err(Errno::TIME) {
                pidfd_send_signal(&pidfd, Signal::KILL)?;
                await_end(&pidfd, None)?;
            }
            outcome?;
            reap(&pidfd)
        }
    }
}

fn become_hook(hook: &Hook<'_>, state: &OwnedFd) -> ! {
    if kelp_sys::rustix::stdio::dup2_stdin(state).is_ok() && kelp_sys::process::close_on_exec_from(3).is_ok() {
        let _: Errno = execve(hook.path, hook.argv, hook.envp);
    }
    exit(127)
}

fn await_end(pidfd: &OwnedFd, timeout: Option<u32>) -> Result<(), Errno> {
    let limit = timeout.map(|seconds| Timespec { tv_sec: i64::from(seconds), tv_nsec: 0 });
    let mut ready = [PollFd::new(pidfd, PollFlags::IN)];
    loop {
        match poll(&mut ready, limit.as_ref()) {
            Ok(0) => return Err(Errno::TIME),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

fn reap(pidfd: &OwnedFd) -> Result<(), Errno> {
    let status = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED)?.ok_or(Errno::CHILD)?;
    if status.exit_status() == Some(0) { Ok(()) } else { Err(Errno::CHILD) }
}
