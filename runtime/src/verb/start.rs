// SPDX-License-Identifier: Apache-2.0
//! `start`: opens the gate.
//!
//! Spec: runtime.md "Start", "Lifecycle" steps 6 to 9.

use crate::error::{Doing, Error, Kind, Result};
use crate::plan::ProcessPlan;
use crate::process::signal;
use crate::state::{Folder, GATE, Record, State, Status};
use crate::{Runtime, explain, hooks, undo};
use kelp_init::{REPORT_SIZE, Report, Step, Stop};
use kelp_sys::rustix::fd::{AsFd, OwnedFd};
use kelp_sys::rustix::fs::{AtFlags, unlinkat};
use kelp_sys::rustix::io::{Errno, retry_on_intr, write};
use kelp_sys::rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use oci_spec::runtime::Hook;

impl Runtime {
    /// Starts the program of a created container; returns once it runs.
    ///
    /// # Errors
    /// The container is not in the state `created`; the program cannot be executed. A startContainer or a poststart hook fails:
    /// then the container is destroyed, and its poststop hooks have run (runtime.md, steps 7, 9, 12).
    pub fn start(&self, id: &str) -> Result<()> {
        let folder = Folder::open(&self.root, id)?;
        let (state, record) = folder.state()?;
        if state.status != Status::Created {
            return Err(not_created(id, state.status));
        }
        let gate = knock(&folder).map_err(|errno| {
            Error::new(format!("cannot start container {id}"))
                .because(format!("its init does not answer at the gate: {}", std::io::Error::from(errno)))
        })?;
        match await_program(&gate, &folder, &record) {
            Err(Stopped::ByHook(error)) => return Err(self.destroy(&folder, &record, error)),
            Err(Stopped::Otherwise(error)) => return Err(error),
            Ok(()) => {}
        }
        match unlinkat(folder.owned_fd(), GATE, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno).doing(|| format!("cannot remove the start gate of container {id}")),
        }
        let hooks = hooks::run("poststart", &record.poststart, &State::of(&record, Status::Running));
        hooks.map_err(|error| self.destroy(&folder, &record, error))
    }

    /// Ends the container and undoes what `create` did, because of the error; then its poststop hooks run.
    fn destroy(&self, folder: &Folder, record: &Record, error: Error) -> Error {
        let mut failures = undo::unmake(self, folder);
        failures.extend(hooks::poststop(record));
        failures.iter().fold(error, Error::and_also)
    }
}

fn not_created(id: &str, status: Status) -> Error {
    // runc's words: people and programs look for them.
    let (because, kind) = match status {
        Status::Running => ("cannot start an already running container".to_owned(), Kind::Other),
        Status::Stopped => ("cannot start a container that has stopped".to_owned(), Kind::NotRunning),
        status => (format!("cannot start a container in the {status} state"), Kind::Other),
    };
    let error = Error::new(format!("cannot start container {id}")).because(because).of_kind(kind);
    match status {
        Status::Paused => error.hint(format!("`kelp-runtime resume {id}` first")),
        Status::Stopped => error.hint(format!("`kelp-runtime delete {id}`, and create it again")),
        _ => error,
    }
}

/// Why no program runs.
enum Stopped {
    /// A startContainer hook has failed.
    ByHook(Error),
    /// Anything else.
    Otherwise(Error),
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::Otherwise(error)
    }
}

fn knock(folder: &Folder) -> std::result::Result<OwnedFd, Errno> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    connect(&socket, &SocketAddrUnix::new(folder.short(GATE))?)?;
    retry_on_intr(|| write(&socket, b"1"))?;
    Ok(socket)
}

/// The end of the stream without a report means that the program was executed.
fn await_program(gate: &OwnedFd, folder: &Folder, record: &Record) -> std::result::Result<(), Stopped> {
    loop {
        let mut buffer = [0; REPORT_SIZE];
        let received = match kelp_sys::socket::receive(gate.as_fd(), &mut buffer) {
            Err(Errno::CONNRESET) => return Ok(()),
            other => other.doing(|| "cannot hear from init".into())?,
        };
        let [fd, ..] = received.fds;
        match (Report::decode(buffer.get(..received.bytes).unwrap_or_default()), fd) {
            (None, _) if received.bytes == 0 => return Ok(()),
            (Some(Report::Listener), Some(listener)) => hand_over(&listener, folder, record)?,
            (Some(Report::Stopped(stop)), said) => return Err(stopped(stop, said, folder, record)),
            (other, _) => {
                return Err(Error::new("cannot start the container")
                    .because(format!("init reported {other:?}"))
                    .into());
            }
        }
    }
}

fn stopped(stop: Stop, said: Option<OwnedFd>, folder: &Folder, record: &Record) -> Stopped {
    if stop.step == Step::StartHooks {
        let hook = record.start_hooks.get(stop.index as usize);
        let path = hook.map_or_else(String::new, |hook| hook.path().display().to_string());
        let timeout = hook.and_then(Hook::timeout).and_then(|seconds| u32::try_from(seconds).ok());
        return Stopped::ByHook(explain::hook("startContainer", stop, &path, timeout, said));
    }
    let plan = folder.read_exec().and_then(|(exec, _)| ProcessPlan::make(&exec.process, true, false, 0));
    plan.map_or_else(Stopped::Otherwise, |plan| Stopped::Otherwise(explain::process(stop, &plan)))
}

/// A program whose notifications nobody will ever answer must not go on.
fn hand_over(listener: &OwnedFd, folder: &Folder, record: &Record) -> Result<()> {
    let (exec, _) = folder.read_exec()?;
    let state = State::of(record, Status::Created);
    let given = crate::seccomp::hand_over(exec.seccomp_agent.as_ref(), listener, record.init.pid, &state);
    given.map_err(|error| end(record, error))
}

/// Ends the program, because of the error.
fn end(record: &Record, error: Error) -> Error {
    match record.init.open().and_then(|init| init.map(|init| signal(init.as_fd(), 9)).transpose()) {
        Ok(_) => error,
        Err(undo) => error.and_also(&undo),
    }
}
