// SPDX-License-Identifier: Apache-2.0
//! pasta: connects a container's network namespace to the host's sockets, with the host's own addresses inside.
//!
//! Runs in the engine, like [`crate::slirp`], which it differs from in three ways: its ports are given when it starts;
//! IPv6 works; and it does not notice that the container has gone. It writes its process id to a file, and
//! [`Pasta::stop`] ends it.
//!
//! UDP: passt of March 2023 (Debian 12) loses the answers to clients on the host itself when the port differs inside.
//!
//! pasta confines itself: no privileges but those over the namespace, an empty root directory, a seccomp filter. It
//! needs a container with a user namespace of its own. See pasta(1).

use crate::program::{self, Program};
use crate::{Error, Kind, Port, Protocol, Published, Result};
use kelp_sys::rustix;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, getuid, pidfd_open, pidfd_send_signal};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Answers names with the host's resolver, even where that one listens on loopback only.
pub const RESOLVER: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);

const PASTA: Program = Program { name: "pasta", package: "passt" };

/// Whether pasta can work here: the program is installed and the tunnel device may be opened. Touches nothing.
pub fn available() -> Result<()> {
    PASTA.find()?;
    program::tunnel_is_usable()
}

/// A running pasta.
#[derive(Debug)]
pub struct Pasta {
    pid_file: PathBuf,
}

impl Pasta {
    /// Gives the network namespace of process `init` a way out, forwards `ports` to it, and returns when it works.
    ///
    /// `pid_file` is written by pasta for [`Pasta::stop`]; its messages go to the file beside it with the ending `.log`.
    pub fn start(init: i32, ports: &[Port], pid_file: &Path) -> Result<(Pasta, Vec<Published>)> {
        let published = ports.iter().map(Port::probe).collect::<Result<Vec<_>>>()?;
        let log = pid_file.with_extension("log");
        let mut command = Command::new(PASTA.find()?);
        command
            .args(["--config-net", "--quiet", "--stderr", "--no-map-gw", "--tcp-ns=none", "--udp-ns=none"])
            .args(forwards(&published))
            .arg("--dns-forward")
            .arg(RESOLVER.to_string())
            .arg("--pid")
            .arg(pid_file)
            .args(user())
            .arg(init.to_string())
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(program::new_log(&log)?);
        // It goes to the background, and its first process ends, when everything works.
        let status = PASTA.spawn(&mut command)?.wait();
        match status {
            Ok(status) if status.success() => Ok((Pasta { pid_file: pid_file.into() }, published)),
            Ok(status) => Err(explain(init, ports, &status.to_string(), &program::read_log(&log))),
            Err(error) => Err(Error::new(Kind::Other, "wait for pasta", error)),
        }
    }

    /// The pasta that an earlier [`Pasta::start`] with this `pid_file` left running.
    pub fn at(pid_file: &Path) -> Pasta {
        Pasta { pid_file: pid_file.into() }
    }

    /// Ends it, and removes its file. One that has ended already is no error.
    pub fn stop(&self) -> Result<()> {
        let doing = || format!("stop the pasta of {}", self.pid_file.display());
        if let Some(process) = self.process().map_err(|error| Error::new(Kind::Other, doing(), error))? {
            match pidfd_send_signal(&process, Signal::TERM) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(errno) => return Err(Error::new(Kind::Permission, doing(), errno)),
            }
        }
        gone_is_fine(std::fs::remove_file(&self.pid_file)).map_err(|error| Error::new(Kind::Other, doing(), error))?;
        Ok(())
    }

    /// The process, unless it has ended. Its id may belong to somebody else by now: only one whose arguments name
    /// our file is ours, and a descriptor keeps meaning the process that we looked at.
    fn process(&self) -> io::Result<Option<OwnedFd>> {
        let Some(text) = gone_is_fine(std::fs::read_to_string(&self.pid_file))? else { return Ok(None) };
        let Some(pid) = text.trim().parse().ok().and_then(Pid::from_raw) else { return Ok(None) };
        let process = match pidfd_open(pid, PidfdFlags::empty()) {
            Err(Errno::SRCH) => return Ok(None),
            opened => opened?,
        };
        let arguments = gone_is_fine(std::fs::read(format!("/proc/{pid}/cmdline")))?.unwrap_or_default();
        let ours = arguments.split(|byte| *byte == 0).any(|it| it == self.pid_file.as_os_str().as_bytes());
        Ok(ours.then_some(process))
    }
}

fn gone_is_fine<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// Root is told to stay root: as the user nobody, to which it changes otherwise, it may not enter the namespaces.
fn user() -> &'static [&'static str] {
    if getuid().is_root() { &["--runas", "0"] } else { &[] }
}

/// `-t`/`-u` options for exactly these ports: without any, pasta would forward every port that the container binds.
fn forwards(published: &[Published]) -> Vec<String> {
    let mut options = Vec::new();
    for (option, protocol) in [("--tcp-ports", Protocol::Tcp), ("--udp-ports", Protocol::Udp)] {
        let before = options.len();
        for it in published.iter().filter(|it| it.protocol == protocol) {
            options.push(option.to_owned());
            options.push(format!("{}/{}:{}", it.address, it.host, it.container));
        }
        if options.len() == before {
            options.extend([option.to_owned(), "none".to_owned()]);
        }
    }
    options
}

fn explain(init: i32, ports: &[Port], exit: &str, log: &str) -> Error {
    let chatter = |line: &&str| line.is_empty() || line.contains("to syslog") || line.starts_with("Don't run as root");
    let cause = log.lines().map(str::trim).rfind(|line| !chatter(line)).unwrap_or(exit);
    // It does not say why it could not listen, but the kernel tells us when we try the same.
    if let Some(reason) = ports.iter().find_map(|port| port.probe().err()) {
        return reason;
    }
    let error = |kind| Error::new(kind, format!("connect process {init} to the network with pasta"), cause);
    if cause.contains("/dev/net/tun") {
        Error { because: cause.into(), ..program::tunnel_error(&io::ErrorKind::NotFound.into()) }
    } else if cause.contains("namespace") {
        error(Kind::Permission)
            .hint("pasta needs a container that is alive and has a user namespace; or --network slirp4netns")
    } else if cause.contains("option") {
        error(Kind::Unsupported).hint("a newer passt is needed; or --network slirp4netns")
    } else {
        error(Kind::Other).hint("try --network slirp4netns, or do without: --network none")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_wanted_ports_are_forwarded() {
        let published = |address: &str, host, protocol| Published {
            address: address.parse().unwrap(),
            host,
            container: 80,
            protocol,
        };
        assert_eq!(forwards(&[]), ["--tcp-ports", "none", "--udp-ports", "none"]);
        let both = [published("0.0.0.0", 8080, Protocol::Tcp), published("::1", 8081, Protocol::Udp)];
        assert_eq!(forwards(&both), ["--tcp-ports", "0.0.0.0/8080:80", "--udp-ports", "::1/8081:80"]);
    }

    #[test]
    fn the_cause_is_what_pasta_said_last() {
        let log =
            "Failed to send 67 bytes to syslog\n\nCouldn't open user namespace /proc/1/ns/user: Permission denied\n";
        let error = explain(1, &[], "exit status: 1", log);
        assert_eq!(error.because, "Couldn't open user namespace /proc/1/ns/user: Permission denied");
        assert_eq!(error.kind(), Kind::Permission);
        assert_eq!(explain(1, &[], "exit status: 1", "").because, "exit status: 1");
    }

    #[test]
    fn stopping_what_never_ran_is_no_error() {
        Pasta::at(Path::new("/nonexistent/pasta.pid")).stop().unwrap();
    }
}
