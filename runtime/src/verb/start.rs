// SPDX-License-Identifier: Apache-2.0
//! `start`: opens the gate.
//!
//! Spec: runtime.md "Start", "Lifecycle" steps 6 to 9.

use crate::error::{Doing, Error, Kind, Result};
use crate::plan::ProcessPlan;
use crate::process::signal;
use crate::state::{Folder, GATE, Record, State, Status};
use crate::{Runtime, explain, hooks};
use kelp_init::{REPORT_SIZE, Report};
use kelp_sys::rustix::fd::{AsFd, OwnedFd};
use kelp_sys::rustix::fs::{AtFlags, unlinkat};
use kelp_sys::rustix::io::{Errno, retry_on_intr, write};
use kelp_sys::rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

impl Runtime {
    /// Starts the program of a created container; returns once it runs.
    ///
    /// # Errors
    /// The container is not in the state `created`; a startContainer hook fails; the program cannot be executed; a poststart
    /// hook fails, which ends the program.
    pub fn start(&self, id: &str) -> Result<()> {
        let folder = Folder::open(&self.root, id)?;
        let (state, record) = folder.state()?;
        if state.status != Status::Created {
            return Err(Error::new(format!("cannot start container {id}"))
                .because(format!("cannot start a container in the {} state", state.status))
                .of_kind(if state.status == Status::Stopped { Kind::NotRunning } else { Kind::Other }));
        }
        let gate = knock(&folder).map_err(|errno| {
            Error::new(format!("cannot start container {id}"))
                .because(format!("its init does not answer at the gate: {}", std::io::Error::from(errno)))
        })?;
        await_program(&gate, &folder, &record)?;
        match unlinkat(folder.owned_fd(), GATE, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno).doing(|| format!("cannot remove the start gate of container {id}")),
        }
        let hooks = hooks::run("poststart", &record.poststart, &State::of(&record, Status::Running));
        hooks.map_err(|error| end(&record, error))
    }
}

fn knock(folder: &Folder) -> std::result::Result<OwnedFd, Errno> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    connect(&socket, &SocketAddrUnix::new(folder.short(GATE))?)?;
    retry_on_intr(|| write(&socket, b"1"))?;
    Ok(socket)
}

/// The end of the stream without a report means that the program was executed.
fn await_program(gate: &OwnedFd, folder: &Folder, record: &Record) -> Result<()> {
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
            (Some(Report::Stopped(stop)), _) => {
                let (exec, _) = folder.read_exec()?;
                let plan = ProcessPlan::make(&exec.process, true, false, 0)?;
                return Err(explain::process(stop, &plan));
            }
            (other, _) => {
                return Err(Error::new("cannot start the container").because(format!("init reported {other:?}")));
            }
        }
    }
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
