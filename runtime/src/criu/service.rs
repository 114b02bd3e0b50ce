// SPDX-License-Identifier: Apache-2.0
//! criu as a child that answers one request: `criu swrk FD`.

use super::message::{Fields, Kind, Message, Request};
use crate::error::{Doing, Error, Result};
use kelp_sys::rustix::fd::{AsFd, AsRawFd, OwnedFd};
use kelp_sys::rustix::io::{Errno, FdFlags, fcntl_setfd};
use kelp_sys::rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

/// More than any answer of criu's.
const ANSWER: usize = 64 << 10;

/// What criu tells on its way.
#[derive(Debug)]
pub(crate) struct Notice {
    /// Where it is: `setup-namespaces`, `post-restore`, `orphan-pts-master` …
    pub(crate) script: String,
    /// The container's first process, as we see it.
    pub(crate) pid: Option<i32>,
    /// The master of a restored terminal.
    pub(crate) fd: Option<OwnedFd>,
}

/// A running criu.
#[derive(Debug)]
pub(crate) struct Service {
    program: PathBuf,
    socket: OwnedFd,
    child: Child,
}

impl Service {
    /// Starts it with our standard streams and these descriptors. Not from a program with threads that start others: for a
    /// moment what is for criu is inherited by whatever is executed.
    pub(super) fn start(program: &Path, inherited: &[OwnedFd]) -> Result<Self> {
        let doing = || format!("cannot run {}", program.display());
        let (socket, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .doing(|| "cannot open a channel to criu".into())?;
        let all = || inherited.iter().chain([&theirs]);
        all().try_for_each(|fd| fcntl_setfd(fd, FdFlags::empty())).doing(doing)?;
        let child = Command::new(program).arg("swrk").arg(theirs.as_raw_fd().to_string()).spawn();
        all().try_for_each(|fd| fcntl_setfd(fd, FdFlags::CLOEXEC)).doing(doing)?;
        let child = child.map_err(|error| {
            let because = match error.kind() {
                std::io::ErrorKind::NotFound if program.components().count() == 1 => {
                    format!("exec: {program:?}: executable file not found in $PATH")
                }
                _ => error.to_string(),
            };
            Error::new(doing())
                .because(because)
                .hint("checkpoint and restore are done by criu: install it, or name it with --criu")
        })?;
        Ok(Self { program: program.to_owned(), socket, child })
    }

    /// Its pid.
    pub(crate) fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Its version: major and minor.
    pub(super) fn version(mut self) -> Result<(u64, u64)> {
        let mut request = Message::default();
        request.number(1, Kind::Version as u64);
        self.say(&request)?;
        let (bytes, _) = self.hear()?;
        let version = version_in(&bytes);
        self.end()?;
        version.ok_or_else(|| self.odd("does not tell its version"))
    }

    /// Asks, answers what it tells on its way, and waits until it is done. Returns the restored pid, where it is one.
    pub(crate) fn perform(
        mut self,
        kind: Kind,
        request: &Request,
        mut tell: impl FnMut(Notice) -> Result<()>,
    ) -> Result<Option<i32>> {
        self.say(&request.whole(kind))?;
        loop {
            let (bytes, fd) = self.hear()?;
            let answer = Answer::read(&bytes).ok_or_else(|| self.odd("answers with no message of its protocol"))?;
            let notice = match answer {
                Answer::Failed { because } => {
                    self.end()?;
                    let doing = format!("cannot go on with {}", self.program.display());
                    return Err(Error::new(doing).because(because));
                }
                Answer::Done { restored } => {
                    self.end()?;
                    return Ok(restored);
                }
                Answer::Notify { script, pid } => Notice { script, pid, fd },
            };
            let told = tell(notice);
            let mut reply = Message::default();
            reply.number(1, Kind::Notify as u64);
            reply.number(3, told.is_ok().into());
            self.say(&reply)?;
            if let Err(error) = told {
                self.end()?;
                return Err(error);
            }
        }
    }

    fn odd(&self, what: &str) -> Error {
        Error::new(format!("cannot use {}", self.program.display())).because(format!("it {what}"))
    }

    fn say(&self, message: &Message) -> Result<()> {
        match kelp_sys::socket::send(self.socket.as_fd(), message.bytes(), &[]) {
            Err(Errno::PIPE | Errno::CONNRESET) => Err(self.odd("ended without an answer")),
            sent => sent.map(drop).doing(|| format!("cannot ask {}", self.program.display())),
        }
    }

    fn hear(&self) -> Result<(Vec<u8>, Option<OwnedFd>)> {
        let mut buffer = vec![0; ANSWER];
        let received = kelp_sys::socket::receive(self.socket.as_fd(), &mut buffer)
            .doing(|| format!("cannot hear from {}", self.program.display()))?;
        if received.bytes == 0 {
            return Err(self.odd("ended without an answer"));
        }
        buffer.truncate(received.bytes);
        let [fd, ..] = received.fds;
        Ok((buffer, fd))
    }

    /// Closes the channel, at which it ends, and waits for that.
    fn end(&mut self) -> Result<()> {
        kelp_sys::rustix::net::shutdown(&self.socket, kelp_sys::rustix::net::Shutdown::Write)
            .doing(|| format!("cannot close the channel to {}", self.program.display()))?;
        self.child.wait().map(drop).doing(|| format!("cannot wait for {}", self.program.display()))
    }
}

/// What criu answers: `criu_resp`.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// It could not.
    Failed { because: String },
    /// It tells where it is, and waits for an answer.
    Notify { script: String, pid: Option<i32> },
    /// It could.
    Done { restored: Option<i32> },
}

impl Answer {
    /// None: this is no message of the protocol.
    fn read(bytes: &[u8]) -> Option<Self> {
        let answer = Fields::read(bytes)?;
        if answer.number(2) != Some(1) {
            return Some(Self::Failed { because: failure(&answer) });
        }
        if answer.number(1) != Some(Kind::Notify as u64) {
            return Some(Self::Done { restored: answer.message(4).and_then(|restored| pid_in(&restored, 1)) });
        }
        let notify = answer.message(5).unwrap_or_default();
        Some(Self::Notify { script: notify.text(1).unwrap_or_default(), pid: pid_in(&notify, 2) })
    }
}

/// Why criu could not: its own words, and what its errno means.
fn failure(answer: &Fields<'_>) -> String {
    let said = answer.text(9).unwrap_or_default();
    let errno = match answer.number(7).map(i32::try_from) {
        Some(Ok(errno)) if errno != 0 => std::io::Error::from_raw_os_error(errno).to_string(),
        _ => String::new(),
    };
    let because = [said, errno].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(": ");
    if because.is_empty() { "it does not say why".to_owned() } else { because }
}

fn version_in(bytes: &[u8]) -> Option<(u64, u64)> {
    let version = Fields::read(bytes)?.message(10)?;
    version.number(1).zip(version.number(2))
}

/// For the fuzz targets.
pub(crate) fn read_foreign(bytes: &[u8]) {
    drop((version_in(bytes), Answer::read(bytes)));
}

fn pid_in(fields: &Fields<'_>, field: u64) -> Option<i32> {
    fields.number(field).and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 0)
}
