// SPDX-License-Identifier: Apache-2.0
//! What a holder must know to hold a container: written by the engine, read by `kelp-shim`.
//!
//! It travels as JSON in the first message on the socket pair, never through the command line or a file,
//! so that nothing of it can be stale, read by others in `ps`, or left behind.

use crate::error::{Error, Kind};
use kelp_sys::rustix::net::SocketAddrUnix;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// One container to hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Launch {
    /// The container's id, also the name it has in the OCI runtime.
    pub id: String,
    /// `containers/<id>`: here lie `lock`, `log`, `exit.json` and `shim.log`.
    pub container: PathBuf,
    /// The OCI bundle (the folder of `config.json`); mostly the same folder.
    pub bundle: PathBuf,
    /// Kelp's run directory: the socket is `<run>/<id>/shim.sock`, the runtime's state `<run>/runtime`.
    pub run: PathBuf,
    /// Who creates the container.
    pub runtime: Runtime,
    /// The container's `process.terminal`: its standard streams are one pty.
    pub terminal: bool,
    /// Its standard output and error are one pipe, as `2>&1` makes them: what is written keeps its order, and all of it is kept
    /// and shown as output.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub joined: bool,
    /// What the program reads on its standard input.
    pub stdin: Stdin,
    /// How much of the output is kept.
    pub log: LogLimits,
    /// What happens when the program ends.
    pub restart: Restart,
    /// What asks the program to end when the holder itself is told to (SIGTERM): the machine, or the service that the
    /// container was started in, goes down.
    pub stop_signal: i32,
    /// Seconds from that to SIGKILL; negative: for ever.
    pub stop_timeout: i64,
    /// A program and its arguments, run with the new init's pid as its last argument each time the container has
    /// been created again by its restart policy, before it starts: what the engine does at first between `Created`
    /// and `Start`, the network above all. The descriptors that were given to be kept are closed before, and its standard input
    /// is the end of a pipe whose other end is kept in their place.
    pub on_restart: Vec<String>,
    /// A program and its arguments, run at the very end unless the client that started the container
    /// said [`Request::Settled`](crate::protocol::Request::Settled): the clean-up of `run --rm`.
    pub on_exit: Vec<String>,
    /// Whether `exit.json` must survive a power cut (fsync). Not needed where `on_exit` removes it at once.
    pub durable: bool,
    /// The folder of the journal that hears what happens to the container (see [`events`](crate::events)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<PathBuf>,
}

/// Who creates, starts and deletes the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Runtime {
    /// kelp-runtime, called as a library: nothing is executed.
    Library {
        /// Who makes the cgroup.
        cgroups: Cgroups,
    },
    /// Any OCI runtime with runc's command line.
    Program {
        /// The program, by path.
        path: PathBuf,
        /// Options before the verb, such as `--systemd-cgroup`.
        args: Vec<String>,
    },
}

/// Who makes the container's cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cgroups {
    /// The runtime, by mkdir below a delegated cgroup.
    Cgroupfs,
    /// systemd, asked over D-Bus for a transient scope.
    Systemd,
    /// Nobody.
    Disabled,
}

/// What the program reads on its standard input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stdin {
    /// `/dev/null` (no `-i`). A terminal takes no input then.
    Null,
    /// From the attached clients; end of file once the first client that attached with input ends or leaves
    /// (`run -i`).
    Once,
    /// From the attached clients; stays open when they leave (`run -d -i`).
    Keep,
}

/// How much of the output is kept: `files` files of `max_size` bytes each, the newest named `log`, then `log.1` ….
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogLimits {
    /// Size at which a file is put aside and a new one begun. 0 keeps no log at all.
    pub max_size: u64,
    /// How many files there are at most, the current one included; at least 1.
    pub files: u32,
}

impl LogLimits {
    /// The size of a log that is never cut.
    pub const UNLIMITED: u64 = u64::MAX;
}

impl Default for LogLimits {
    /// All of it, as in Docker; once there is a limit, the file before the current one too.
    fn default() -> LogLimits {
        LogLimits { max_size: LogLimits::UNLIMITED, files: 2 }
    }
}

/// What happens when the program ends: Docker's `--restart`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// The container is over.
    #[default]
    No,
    /// Started again while its status is not 0, at most `max` times (0: for ever).
    OnFailure {
        /// How often at most; 0 is without end.
        max: u32,
    },
    /// Started again, unless it was stopped by [`Request::Stop`](crate::protocol::Request::Stop).
    Always,
    /// As `Always`; the difference shows only after a reboot, when [`Exit::stopped`](crate::Exit::stopped) is asked.
    UnlessStopped,
}

impl std::str::FromStr for Restart {
    type Err = Error;

    /// Docker's words: `no`, `on-failure[:n]`, `always`, `unless-stopped`.
    fn from_str(word: &str) -> Result<Restart, Error> {
        let bad = || {
            Error::new(format!("cannot read the restart policy {word:?}"), "it is none of those there are")
                .hint("one of: no, on-failure, on-failure:3, always, unless-stopped")
                .kind(Kind::BadInput)
        };
        match word.split_once(':') {
            None => match word {
                "no" | "" => Ok(Restart::No),
                "on-failure" => Ok(Restart::OnFailure { max: 0 }),
                "always" => Ok(Restart::Always),
                "unless-stopped" => Ok(Restart::UnlessStopped),
                _ => Err(bad()),
            },
            Some(("on-failure", times)) => times.parse().map(|max| Restart::OnFailure { max }).map_err(|_| bad()),
            Some(_) => Err(bad()),
        }
    }
}

impl Launch {
    /// A container in `containers/<id>`, its own bundle, without terminal, input, restart or clean-up,
    /// created by the library below cgroupfs, stopped as Docker stops.
    pub fn new(id: impl Into<String>, container: impl Into<PathBuf>, run: impl Into<PathBuf>) -> Launch {
        let container = container.into();
        Launch {
            id: id.into(),
            bundle: container.clone(),
            container,
            run: run.into(),
            runtime: Runtime::Library { cgroups: Cgroups::Cgroupfs },
            terminal: false,
            joined: false,
            stdin: Stdin::Null,
            log: LogLimits::default(),
            restart: Restart::No,
            stop_signal: 15,
            stop_timeout: 10,
            on_restart: Vec::new(),
            on_exit: Vec::new(),
            durable: true,
            events: None,
        }
    }

    /// Where the runtime keeps its state: `<run>/runtime`, and beside it for other programs, whose format differs.
    pub fn runtime_root(&self) -> PathBuf {
        match &self.runtime {
            Runtime::Library { .. } => self.run.join("runtime"),
            Runtime::Program { path, .. } => {
                let name = path.file_name().map_or_else(Default::default, |name| name.to_string_lossy());
                self.run.join(format!("runtime-{name}"))
            }
        }
    }
}

/// Where clients find the holder of a container: `<run>/<id>/shim.sock`.
pub fn socket_path(run: &Path, id: &str) -> PathBuf {
    run.join(id).join(SOCKET)
}

/// The socket's name in the container's run folder.
const SOCKET: &str = "shim.sock";

/// The socket's address. A path longer than the 107 bytes that fit is reached through its folder's descriptor,
/// which must stay open until bind or connect has been called.
pub fn socket_address(folder: &Path) -> std::io::Result<(SocketAddrUnix, Option<File>)> {
    if let Ok(address) = SocketAddrUnix::new(folder.join(SOCKET)) {
        return Ok((address, None));
    }
    let folder = File::open(folder)?;
    let address = SocketAddrUnix::new(format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd()))?;
    Ok((address, Some(folder)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_launch_survives_json() {
        let mut launch = Launch::new("web", "/c/web", "/run/kelp");
        launch.restart = Restart::OnFailure { max: 3 };
        launch.runtime = Runtime::Program { path: "/usr/bin/crun".into(), args: vec!["--debug".into()] };
        let json = serde_json::to_string(&launch).unwrap();
        assert_eq!(serde_json::from_str::<Launch>(&json).unwrap(), launch);
    }

    #[test]
    fn restart_policies_read_as_docker_writes_them() {
        assert_eq!("no".parse(), Ok(Restart::No));
        assert_eq!("on-failure".parse(), Ok(Restart::OnFailure { max: 0 }));
        assert_eq!("on-failure:5".parse(), Ok(Restart::OnFailure { max: 5 }));
        assert_eq!("always".parse(), Ok(Restart::Always));
        assert_eq!("unless-stopped".parse(), Ok(Restart::UnlessStopped));
        for wrong in ["on-failure:", "on-failure:-1", "always:2", "sometimes"] {
            assert_eq!(wrong.parse::<Restart>().unwrap_err().kind, Kind::BadInput, "{wrong}");
        }
    }
}
