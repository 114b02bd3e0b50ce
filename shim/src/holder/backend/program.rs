// SPDX-License-Identifier: Apache-2.0
//! Any OCI runtime, by its command line: `create --bundle … --pid-file … [--console-socket …] ID`, `start`, `delete`.
//!
//! What it has to say comes in its log (`--log FILE --log-format json`), as the container's init inherits its
//! standard error, and with it our pipe.

use super::{Created, Streams};
use kelp_shim::runtime_program::{kind_of, last_message, read_pid, receive_console};
use kelp_shim::{Doing, Error, Launch};
use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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
        let (pid, pidfd) = read_pid(&pid_file)?;
        let console = listener.map(|listener| receive_console(&listener)).transpose()?;
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
}
