// SPDX-License-Identifier: Apache-2.0
//! Any OCI runtime, by its command line: `create --bundle … --pid-file … [--console-socket …] ID`, `start`, `delete`.
//!
//! What it has to say comes in its log (`--log FILE --log-format json`), as the container's init inherits its
//! standard error, and with it our pipe.

use super::{Created, Streams};
use kelp_shim::{Doing, Error, Kind, Launch};
use kelp_sys::rustix::event::{PollFd, PollFlags, poll};
use kelp_sys::rustix::fs::Timespec;
use kelp_sys::rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use kelp_sys::rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::fs;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How long a runtime that has said “created” may take to hand the terminal over.
const CONSOLE_TIMEOUT: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

#[derive(Debug)]
pub(crate) struct Program {
    path: PathBuf,
    args: Vec<String>,
    root: PathBuf,
    id: String,
    bundle: PathBuf,
    folder: PathBuf,
}

impl Program {
    pub(super) fn new(launch: &Launch, path: &Path, args: &[String], folder: &Path) -> Program {
        Program {
            path: path.to_owned(),
            args: args.to_vec(),
            root: launch.runtime_root(),
            id: launch.id.clone(),
            bundle: launch.bundle.clone(),
            folder: folder.to_owned(),
        }
    }

    pub(super) fn create(&self, streams: Streams) -> Result<Created, Error> {
        let (pid_file, socket) = (self.folder.join("pid"), self.folder.join("console.sock"));
        let mut command = self.command("create");
        command.arg("--bundle").arg(&self.bundle).arg("--pid-file").arg(&pid_file);
        let listener = match streams {
            Streams::Three([input, output, errors]) => {
                command.stdin(input).stdout(output).stderr(errors);
                None
            }
            Streams::Terminal => {
                let listener = UnixListener::bind(&socket).doing(|| format!("cannot bind {}", socket.display()))?;
                command.arg("--console-socket").arg(&socket);
                Some(listener)
            }
        };
        self.perform("create", &mut command)?;
        let pid = self.read_pid(&pid_file)?;
        let pidfd = Pid::from_raw(pid)
            .ok_or(kelp_sys::rustix::io::Errno::SRCH)
            .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()))
            .doing(|| format!("cannot hold on to process {pid} of container {}", self.id))?;
        let console = listener.map(|listener| self.console(&listener)).transpose()?;
        Ok(Created { pid, pidfd, console })
    }

    pub(super) fn start(&self) -> Result<(), Error> {
        self.perform("start", &mut self.command("start"))
    }

    pub(super) fn delete(&self) -> Result<(), Error> {
        self.perform("delete", self.command("delete").arg("--force"))
    }

    fn log(&self) -> PathBuf {
        self.folder.join("runtime.log")
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.path);
        command.arg("--root").arg(&self.root).arg("--log").arg(self.log()).args(["--log-format", "json"]);
        command.args(&self.args).arg(verb);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
        command
    }

    fn perform(&self, verb: &str, command: &mut Command) -> Result<(), Error> {
        let doing = || format!("cannot {verb} container {} with {}", self.id, self.path.display());
        let status = command.arg(&self.id).status().doing(doing)?;
        if status.success() {
            return Ok(());
        }
        let because = fs::read_to_string(self.log()).ok().and_then(|log| last_message(&log));
        let because =
            because.unwrap_or_else(|| format!("it ended with {status} and said nothing; see logs and shim.log"));
        let kind = kind_of(&because);
        Err(Error::new(doing(), because).kind(kind))
    }

    fn read_pid(&self, file: &Path) -> Result<i32, Error> {
        let doing = || format!("cannot read the pid of container {} in {}", self.id, file.display());
        let pid: i32 = fs::read_to_string(file).doing(doing)?.trim().parse().doing(doing)?;
        if pid > 1 { Ok(pid) } else { Err(Error::new(doing(), format!("{pid} is no container's"))) }
    }

    fn console(&self, listener: &UnixListener) -> Result<OwnedFd, Error> {
        let doing = || format!("cannot receive the terminal of container {}", self.id);
        let mut fds = [PollFd::new(listener, PollFlags::IN)];
        if poll(&mut fds, Some(&CONSOLE_TIMEOUT)).doing(doing)? == 0 {
            return Err(Error::new(doing(), "the runtime has not sent it within 5 s")
                .hint("process.terminal in config.json must be true, as in the launch"));
        }
        let (socket, _) = listener.accept().doing(doing)?;
        let mut space = [MaybeUninit::uninit(); kelp_sys::rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut name = [0u8; 4096];
        recvmsg(&socket, &mut [IoSliceMut::new(&mut name)], &mut control, RecvFlags::CMSG_CLOEXEC).doing(doing)?;
        let master = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        master.ok_or_else(|| Error::new(doing(), "no descriptor came with the message"))
    }
}

/// The last complaint in a log of JSON lines: `{"level":"error","msg":"…","time":"…"}`.
fn last_message(log: &str) -> Option<String> {
    log.lines().rev().find_map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        matches!(line.get("level")?.as_str()?, "error" | "fatal")
            .then(|| line.get("msg")?.as_str().map(str::to_owned))
            .flatten()
    })
}

/// Runtimes say in words only that a program or a name is not free or not there, and Docker reads the same words.
fn kind_of(message: &str) -> Kind {
    let message = message.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    match () {
        () if says(&["already exists"]) => Kind::AlreadyExists,
        () if !says(&["exec"]) => Kind::Other,
        () if says(&["executable file not found", "executable file `", "no such file or directory"]) => {
            if says(&["permission denied"]) { Kind::ProgramNotExecutable } else { Kind::ProgramNotFound }
        }
        () if says(&["permission denied", "is a directory", "exec format error"]) => Kind::ProgramNotExecutable,
        () => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runc_and_crun_say_of_a_missing_program_is_understood() {
        for (message, kind) in [
            (r#"exec: "nope": executable file not found in $PATH"#, Kind::ProgramNotFound),
            ("executable file `nope` not found in $PATH: No such file or directory", Kind::ProgramNotFound),
            (r#"exec: "/nope": stat /nope: no such file or directory"#, Kind::ProgramNotFound),
            (r#"exec: "/etc/passwd": permission denied"#, Kind::ProgramNotExecutable),
            ("exec container process `/bin/x`: Exec format error", Kind::ProgramNotExecutable),
            ("open /dev/null: permission denied", Kind::Other),
            ("container with given ID already exists", Kind::AlreadyExists),
        ] {
            assert_eq!(kind_of(message), kind, "{message}");
        }
    }

    #[test]
    fn the_last_error_of_the_log_is_the_reason() {
        let log = "{\"level\":\"error\",\"msg\":\"first\"}\n{\"level\":\"error\",\"msg\":\"last\"}\n\
                   {\"level\":\"warning\",\"msg\":\"no\"}\nnot json\n";
        assert_eq!(last_message(log).as_deref(), Some("last"));
        assert_eq!(last_message(""), None);
    }
}
