// SPDX-License-Identifier: Apache-2.0
//! A further program in a running container, by the container's runtime: `exec --detach`, with streams that are ours.
//!
//! Runs in `kelp`. The runtime hands the program what it has itself as standard streams, so that it gets pipes, /dev/null or a
//! pty of ours and never a descriptor of the caller's: a child that the program leaves behind could read what is typed at the
//! terminal later, and what stands in a file that output is appended to.

use super::find::Container;
use super::status::{self, State};
use super::{runtime, start};
use crate::caller::Caller;
use crate::error::{Doing, Error, Kind, Result};
use kelp_shim::client::Ends;
use kelp_shim::runtime_program::{kind_of, last_message, read_pid, receive_console};
use kelp_sys::rustix::event::{PollFd, PollFlags, Timespec, poll};
use kelp_sys::rustix::fs::{MemfdFlags, memfd_create};
use kelp_sys::rustix::io::Errno;
use kelp_sys::rustix::pipe::{PipeFlags, pipe_with};
use kelp_sys::rustix::process::{Pid, PidfdFlags, getpid, pidfd_open, set_child_subreaper};
use oci_spec::runtime::Process;
use std::fs::{self, DirBuilder, File};
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

/// Docker's status where a program could not be run for another reason than that it is not there.
const CANNOT_RUN: u8 = 126;

/// A process that ends has no namespaces any more a moment before it is seen to have ended.
const LAST_BREATH: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// A container that runs, held on to by its first process.
#[derive(Debug)]
pub struct Running<'a> {
    caller: &'a Caller,
    container: &'a Container,
    /// Its first process.
    pub pid: i32,
    init: OwnedFd,
}

/// Which streams a program gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Streams {
    /// Pipes.
    Pipes {
        /// For its input too; otherwise that is /dev/null.
        input: bool,
        /// One for its output and its errors, which go to one place: they keep their order.
        joined: bool,
    },
    /// A pty, which must be what the process says too.
    Terminal,
    /// /dev/null: nobody is there.
    Nobody,
}

/// A program that was started: a child of this process.
#[derive(Debug)]
pub struct Started {
    /// A descriptor of it.
    pub process: OwnedFd,
    /// Our ends of its streams.
    pub ends: Ends,
}

impl<'a> Running<'a> {
    /// Holds on to the container.
    ///
    /// # Errors
    /// [`Kind::WrongState`]: it does not run.
    pub fn of(caller: &'a Caller, container: &'a Container) -> Result<Self> {
        let pid = running_pid(caller, container)?;
        let init = Pid::from_raw(pid).ok_or(Errno::SRCH).and_then(|init| pidfd_open(init, PidfdFlags::empty()));
        match (init, running_pid(caller, container)?) {
            // The pid was its own before and after it was opened.
            (Ok(init), still) if still == pid => Ok(Self { caller, container, pid, init }),
            (Err(errno), _) if errno != Errno::SRCH => {
                Err(errno).doing(|| format!("cannot hold on to container {}", container.record.name))
            }
            _ => Err(not_running(container)),
        }
    }

    /// Runs the program.
    ///
    /// # Errors
    /// [`Kind::WrongState`]: the container has ended or was paused meanwhile. The status is Docker's otherwise.
    pub fn start(&self, process: &Process, streams: Streams) -> Result<Started> {
        // The program is a child of the runtime, which leaves at once.
        set_child_subreaper(Some(getpid())).doing(|| "cannot become the parent of the program")?;
        let folder = Folder::make(self.caller)?;
        let (mut command, ours) = self.runtime(&folder)?;
        let file = in_memory(process)?;
        command.arg("--process").arg(format!("/proc/self/fd/{}", file.as_raw_fd()));
        let waiting = Waiting::prepare(&mut command, streams, &folder)?;
        let status = command.arg(&self.container.record.id).status();
        let status = status.doing(|| format!("cannot start {}", command.get_program().to_string_lossy()))?;
        // Its copies of the program's ends.
        drop(command);
        if !status.success() {
            return Err(self.explain(status, &folder, ours));
        }
        let (_, process) = read_pid(&folder.pid_file())?;
        Ok(Started { process, ends: waiting.ends()? })
    }

    /// The error, unless the container has ended, which is the reason then for whatever went wrong.
    pub fn blame(&self, error: Error) -> Error {
        let patience = match error.kind() {
            Kind::ProgramNotFound | Kind::ProgramNotExecutable => Timespec::default(),
            _ => LAST_BREATH,
        };
        let mut fds = [PollFd::new(&self.init, PollFlags::IN)];
        match poll(&mut fds, Some(&patience)) {
            Ok(0) => running_pid(self.caller, self.container).err().unwrap_or(error),
            _ => not_running(self.container),
        }
    }

    /// `RUNTIME --root … --log … exec --detach --pid-file …`, and whether it is ours.
    fn runtime(&self, folder: &Folder) -> Result<(Command, bool)> {
        let record = &self.container.record;
        let (program, ours) = match &record.runtime {
            Some(other) => (other.clone(), false),
            None => (start::find_program(self.caller, "kelp-runtime", "KELP_RUNTIME")?, true),
        };
        let mut command = Command::new(program);
        command.arg("--root").arg(runtime::root(self.caller, record));
        command.arg("--log").arg(folder.log()).args(["--log-format", "json"]).arg("exec");
        if ours {
            command.arg("--status-by-cause");
        }
        command.arg("--detach").arg("--pid-file").arg(folder.pid_file());
        Ok((command, ours))
    }

    /// Why the runtime has not run it, from its log.
    fn explain(&self, status: ExitStatus, folder: &Folder, ours: bool) -> Error {
        let record = &self.container.record;
        let because = fs::read_to_string(folder.log()).ok().and_then(|log| last_message(&log));
        let because = because.unwrap_or_else(|| format!("the runtime ended with {status} and said nothing"));
        let kind = match (ours, status.code()) {
            (true, Some(127)) => Kind::ProgramNotFound,
            (true, Some(126)) => Kind::ProgramNotExecutable,
            (true, _) => Kind::Other,
            (false, _) => Error::from(kelp_shim::Error::new("", "").kind(kind_of(&because))).kind(),
        };
        let status = if kind == Kind::ProgramNotFound { 127 } else { CANNOT_RUN };
        let doing = format!("cannot run a program in container {}", record.name);
        self.blame(Error::new(kind, doing, because).status(status))
    }
}

/// Its first process, if it runs and is not paused.
fn running_pid(caller: &Caller, container: &Container) -> Result<i32> {
    let name = &container.record.name;
    let wrong = |because: String| Error::new(Kind::WrongState, doing(container), because);
    let status = status::of(caller, container)?;
    match status.state {
        State::Running if status.pid > 0 => Ok(status.pid),
        State::Paused => Err(wrong(format!("container {name} is paused")).hint(format!("kelp unpause {name}"))),
        State::Restarting => Err(wrong(format!("container {name} is restarting, wait until the container is running"))
            .hint(format!("kelp logs {name} may say why it ended"))),
        _ => Err(not_running(container)),
    }
}

fn doing(container: &Container) -> String {
    format!("cannot run a program in container {}", container.record.name)
}

fn not_running(container: &Container) -> Error {
    let name = &container.record.name;
    let because = format!("container {name} is not running");
    Error::new(Kind::WrongState, doing(container), because).hint(format!("kelp start {name}"))
}

/// Our ends, until the runtime has made what it makes of them.
enum Waiting {
    Pipes { input: Option<OwnedFd>, stdout: OwnedFd, stderr: Option<OwnedFd> },
    Terminal(UnixListener),
    Nobody,
}

impl Waiting {
    fn prepare(command: &mut Command, streams: Streams, folder: &Folder) -> Result<Waiting> {
        let doing = || "cannot make the streams of the program";
        let pipe = || pipe_with(PipeFlags::CLOEXEC).doing(doing);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        match streams {
            Streams::Nobody => Ok(Waiting::Nobody),
            Streams::Terminal => {
                let socket = folder.0.join("tty");
                command.arg("--tty").arg("--console-socket").arg(&socket);
                Ok(Waiting::Terminal(UnixListener::bind(socket).doing(doing)?))
            }
            Streams::Pipes { input, joined } => {
                let input = match input {
                    true => {
                        let (theirs, ours) = pipe()?;
                        command.stdin(theirs);
                        Some(ours)
                    }
                    false => None,
                };
                let (stdout, their_stdout) = pipe()?;
                let (stderr, their_stderr) = match joined {
                    true => (None, their_stdout.try_clone().doing(doing)?),
                    false => pipe().map(|(ours, theirs)| (Some(ours), theirs))?,
                };
                command.stdout(their_stdout).stderr(their_stderr);
                Ok(Waiting::Pipes { input, stdout, stderr })
            }
        }
    }

    fn ends(self) -> Result<Ends> {
        Ok(match self {
            Waiting::Pipes { input, stdout, stderr } => Ends::of_pipes(input, stdout, stderr)?,
            Waiting::Terminal(listener) => Ends::of_terminal(receive_console(&listener)?)?,
            Waiting::Nobody => Ends::default(),
        })
    }
}

/// A folder for what the runtime writes, as long as it takes to start the program.
struct Folder(PathBuf);

impl Folder {
    fn make(caller: &Caller) -> Result<Folder> {
        caller.places.make_run()?;
        let parent = &caller.places.run;
        for number in 0_u32.. {
            let path = parent.join(format!("exec-{}-{number}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Folder(path)),
                // One that a killed kelp has left, or another call of this process.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).doing(|| format!("cannot make {}", path.display())),
            }
        }
        Err(Error::new(Kind::Other, format!("cannot make a folder in {}", parent.display()), "all names are taken"))
    }

    fn pid_file(&self) -> PathBuf {
        self.0.join("pid")
    }

    fn log(&self) -> PathBuf {
        self.0.join("log")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

/// Nothing in it is of any use to anyone: that it stays is not worth an error of a program that ran.
fn remove(folder: &Path) {
    fs::remove_dir_all(folder).unwrap_or_default();
}

/// A file without a name, which the runtime inherits: nothing is left behind, whatever happens.
fn in_memory(process: &Process) -> Result<File> {
    let doing = || "cannot describe the process to the runtime";
    let json = serde_json::to_vec(process).map_err(|error| Error::new(Kind::Other, doing(), error))?;
    let mut file = File::from(memfd_create(c"process.json", MemfdFlags::empty()).doing(doing)?);
    file.write_all(&json).doing(doing)?;
    Ok(file)
}
