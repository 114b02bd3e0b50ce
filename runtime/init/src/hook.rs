// SPDX-License-Identifier: Apache-2.0
//! The hooks that belong into the container: createContainer and startContainer.
//!
//! Runs in init. Each hook is a child of ours that reads the container's state from stdin.
//! Spec: config.md "POSIX-platform Hooks", runtime.md "Lifecycle".

use crate::born;
use crate::channel::{Channel, Order, Report};
use crate::confine::{self, Confined};
use crate::root::Rootfs;
use crate::script::{Hook, Script};
use crate::step::{During, Step, Stop};
use kelp_sys::clone::{Clone, Cloned, Namespaces, Parent, clone3, execve, exit};
use kelp_sys::rustix::event::{PollFd, PollFlags, Timespec, poll};
use kelp_sys::rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use kelp_sys::rustix::fs::{MemfdFlags, SeekFrom, ftruncate, memfd_create, seek};
use kelp_sys::rustix::io::Errno;
use kelp_sys::rustix::process::{Signal, WaitId, WaitIdOptions, fchdir, pidfd_send_signal, waitid};
use kelp_sys::rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

/// How a hook ended that did not end well, as the errno of a [`Stop`]: this and its exit status. The kernel's errnos end below.
pub const EXITED: i32 = 1000;
/// The same for one that a signal ended: this and the signal's number.
pub const SIGNALLED: i32 = 2000;

/// The container's state as createContainer and as startContainer hooks shall read it, and what they say: files in memory.
pub(crate) struct States {
    creating: Option<OwnedFd>,
    created: Option<OwnedFd>,
    /// Opened before the seccomp filter is, which may deny it.
    said: Option<OwnedFd>,
}

impl States {
    /// What the hook that failed has said: its stdout and stderr are nobody's else, neither the container's nor a terminal's.
    pub(crate) fn said_before(&self, stop: Stop) -> Option<BorrowedFd<'_>> {
        matches!(stop.step, Step::ContainerHooks | Step::StartHooks).then_some(self.said.as_ref()?.as_fd())
    }
}

/// Lets the runtime run its hooks while the old root is still visible; then runs ours.
///
/// As with runc, createContainer hooks begin in the root file system's folder.
pub(crate) fn pause_and_run_container_hooks(script: &Script<'_>, rootfs: &Rootfs) -> Result<States, Stop> {
    if !script.pause_when_furnished {
        return Ok(States { creating: None, created: None, said: None });
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
    let said = match script.container_hooks.is_empty() && script.start_hooks.is_empty() {
        true => None,
        false => Some(memfd_create(c"hook", MemfdFlags::CLOEXEC).during(Step::AwaitRuntime)?),
    };
    let states = States { creating, created, said };
    match run_all(script, script.container_hooks, &states, Place::Before(rootfs)) {
        Ok(()) => Ok(states),
        Err(stop) => script.channel().last_word(stop, states.said_before(stop)),
    }
}

/// The confinement that a hook has which runs inside: the program's, the filter too.
pub(crate) struct Confinement<'a> {
    pub(crate) filter: &'a [u8],
    pub(crate) flags: u32,
    /// Who hears of a listener.
    pub(crate) answer: Channel<'a>,
    pub(crate) rights: &'a Confined,
}

/// Where hooks run.
#[derive(Clone, Copy)]
enum Place<'a> {
    /// createContainer: the root file system is not ours yet.
    Before(&'a Rootfs),
    /// startContainer: their programs are the container's.
    Inside(&'a Confinement<'a>),
}

/// Runs the startContainer hooks.
pub(crate) fn run_start_hooks(script: &Script<'_>, states: &States, confinement: &Confinement<'_>) -> Result<(), Stop> {
    run_all(script, script.start_hooks, states, Place::Inside(confinement))
}

fn run_all(script: &Script<'_>, hooks: &[Hook<'_>], states: &States, place: Place<'_>) -> Result<(), Stop> {
    let (step, state) = match place {
        Place::Before(_) => (Step::ContainerHooks, &states.creating),
        Place::Inside(_) => (Step::StartHooks, &states.created),
    };
    for (index, hook) in hooks.iter().enumerate() {
        script.begin(step)?;
        let (state, said) = state.as_ref().zip(states.said.as_ref()).ok_or(Errno::PROTO).during_nth(step, index)?;
        run(script, hook, &Surroundings { state, said, place }).during_nth(step, index)?;
    }
    Ok(())
}

/// What a hook finds.
struct Surroundings<'a> {
    /// Its stdin.
    state: &'a OwnedFd,
    /// Its stdout and stderr.
    said: &'a OwnedFd,
    place: Place<'a>,
}

/// One hook. [`EXITED`], [`SIGNALLED`]: how it ended, if not well; `ETIME`: it took too long and was killed.
fn run(script: &Script<'_>, hook: &Hook<'_>, around: &Surroundings<'_>) -> Result<(), Errno> {
    seek(around.state, SeekFrom::Start(0))?;
    // What the one before has said does not matter: it ended well.
    ftruncate(around.said, 0)?;
    seek(around.said, SeekFrom::Start(0))?;
    let request = Clone { namespaces: Namespaces::NONE, cgroup: None, parent: Parent::Caller };
    match clone3(&request)? {
        Cloned::Child => become_hook(script, hook, around),
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

/// The filter is loaded by the hook itself, after all that it might deny: we go on without one.
fn become_hook(script: &Script<'_>, hook: &Hook<'_>, around: &Surroundings<'_>) -> ! {
    let settled = settle(around).is_ok() && kelp_sys::process::close_on_exec_from(3).is_ok();
    let confined = match around.place {
        Place::Before(_) => true,
        Place::Inside(Confinement { filter, flags, answer, rights }) => {
            confine::filter(script.fail_at, filter, *flags, *answer, rights).is_ok()
        }
    };
    if settled && confined {
        let _: Errno = execve(hook.path, hook.argv, hook.envp);
    }
    exit(127)
}

fn settle(around: &Surroundings<'_>) -> Result<(), Errno> {
    if let Place::Before(rootfs) = around.place {
        // Its working directory.
        fchdir(rootfs)?;
    }
    dup2_stdin(around.state)?;
    dup2_stdout(around.said)?;
    dup2_stderr(around.said)
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
    match (status.exit_status(), status.terminating_signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => Err(Errno::from_raw_os_error(EXITED.saturating_add(code))),
        (None, Some(signal)) => Err(Errno::from_raw_os_error(SIGNALLED.saturating_add(signal))),
        (None, None) => Err(Errno::CHILD),
    }
}
