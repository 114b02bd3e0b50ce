// SPDX-License-Identifier: Apache-2.0
//! What clients ask for, and what comes of it.
//!
//! Runs in kelp-shim. A client that says what means nothing, or what cannot be now, hears why and is dropped; nobody
//! else notices.

use super::birth::other_version;
use super::clients::{CLIENTS_MAX, Client, Last};
use super::life::{Holder, Stage};
use super::not_running;
use super::restart::By;
use kelp_shim::protocol::{DATA_MAX, Malformed, Request, STDIN_WINDOW, Stream, Streams, VERSION};
use kelp_shim::{Doing, Error, Kind, Restart, Size, Stdin};
use kelp_sys::rustix::io::Errno;
use kelp_sys::rustix::net::sockopt::socket_peercred;
use kelp_sys::rustix::net::{RecvFlags, SocketFlags, accept_with, recv};
use kelp_sys::rustix::process::geteuid;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// The longest request after the launch: a longer packet is malformed, whatever it says.
pub(super) const REQUEST_MAX: usize = DATA_MAX + 1;

/// Lets a client in: of our own user, or root; and not too many.
pub(super) fn accept(listener: &OwnedFd, id: u64, present: usize) -> Result<Option<Client>, Error> {
    let doing = || "cannot accept a client";
    let socket = match accept_with(listener, SocketFlags::CLOEXEC) {
        Ok(socket) => socket,
        Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => return Ok(None),
        Err(errno) => return Err(Error::new(doing(), errno)),
    };
    let peer = socket_peercred(&socket).doing(doing)?;
    let mut client = Client::new(id, socket, false);
    if peer.uid != geteuid() && !peer.uid.is_root() {
        let error = Error::new("cannot talk to this container", "it belongs to another user").kind(Kind::Permission);
        client.dismiss(Last::Error(error));
    } else if present >= CLIENTS_MAX {
        let because = format!("{CLIENTS_MAX} clients are connected already");
        client.dismiss(Last::Error(Error::new("cannot talk to this container", because)));
    }
    Ok(Some(client))
}

impl Holder {
    /// Receives one request of a client.
    pub(super) fn hear(&mut self, id: u64) {
        let mut packet = std::mem::take(&mut self.buffer);
        self.hear_with(id, &mut packet);
        self.buffer = packet;
    }

    fn hear_with(&mut self, id: u64, packet: &mut [u8]) {
        let Some(client) = self.clients.iter().find(|client| client.id == id) else { return };
        let length = match recv(&client.socket, &mut *packet, RecvFlags::DONTWAIT | RecvFlags::TRUNC) {
            Ok((_, 0)) => return self.forget(id),
            Ok((_, length)) => length,
            // ECONNRESET: it has left without having read all of ours. What it said before is still to come.
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNRESET) => return,
            Err(_) => return self.forget(id),
        };
        let request = packet.get(..length).ok_or(Malformed).and_then(Request::decode);
        let answered = self.take_in(id, request);
        // What was asked may have changed who is there.
        if let (Err(error), Some(client)) = (answered, self.clients.iter_mut().find(|client| client.id == id)) {
            client.dismiss(Last::Error(error));
        }
    }

    fn take_in(&mut self, id: u64, request: Result<Request<'_>, Malformed>) -> Result<(), Error> {
        let Some(index) = self.clients.iter().position(|client| client.id == id) else { return Ok(()) };
        let client = &mut self.clients[index];
        if client.owed.last.is_some() {
            return Ok(()); // it has been told to go, and does not know yet
        }
        match request {
            Err(error) => Err(malformed(&error.to_string())),
            Ok(request) if client.greeted => self.answer(index, request),
            Ok(Request::Hello { version: VERSION }) => {
                client.greeted = true;
                Ok(())
            }
            Ok(Request::Hello { version }) => Err(other_version(version)),
            Ok(_) => Err(malformed("it has not said hello")),
        }
    }

    fn answer(&mut self, index: usize, request: Request<'_>) -> Result<(), Error> {
        let client = &mut self.clients[index];
        match request {
            Request::Hello { .. } | Request::Launch(_) => return Err(malformed("that comes first, and once")),
            Request::Start => return self.start_for(index),
            Request::Attach { streams, size } => self.attach(index, streams, size),
            Request::Stdin(bytes) => return self.take_input(index, bytes),
            Request::StdinEof => self.end_input(index),
            Request::Resize(size) => self.resize(size),
            Request::Signal(signal) => return self.signal(index, signal),
            Request::Detach => self.detach(index),
            Request::Wait => client.waits = true,
            Request::Ping => {
                let pid = self.init.as_ref().map_or(0, |init| init.pid);
                let phase = self.phase();
                self.clients[index].owed.pong = Some((phase, pid));
            }
            Request::Stop { signal, timeout_ms } => self.stop(index, signal, timeout_ms),
            Request::Hangup(stream) => self.hang_up(index, stream),
            Request::Settled => self.settle(index),
            Request::Policy(policy) => return self.set_policy(index, policy),
        }
        Ok(())
    }

    fn start_for(&mut self, index: usize) -> Result<(), Error> {
        let doing = "cannot start the container";
        match self.stage {
            Stage::Created if self.init.is_some() => {}
            Stage::Running => return Err(not_running(doing, "it has been started").kind(Kind::AlreadyExists)),
            _ => return Err(not_running(doing, "it has ended")),
        }
        match self.start() {
            Ok(()) => self.clients[index].owed.started = true,
            // Everybody hears when it has been recorded.
            Err(error) => self.fail(error),
        }
        Ok(())
    }

    fn attach(&mut self, index: usize, streams: Streams, size: Option<Size>) {
        if let Some(size) = size {
            // A change, so that a shell shows its prompt and a full-screen program paints itself for who has just come. The client
            // says the right size once the program has had the time to see this one.
            let nudged = Size { rows: size.rows.saturating_add(1), cols: size.cols.saturating_add(1) };
            self.resize(if matches!(self.stage, Stage::Running) { nudged } else { size });
        }
        let takes_input = self.launch.stdin != Stdin::Null;
        let terminal = self.launch.terminal;
        let client = &mut self.clients[index];
        client.attach(Streams { stdin: streams.stdin && takes_input, ..streams }, &self.spool);
        client.owed.attached = Some((terminal, takes_input));
    }

    fn resize(&self, size: Size) {
        // ENOTTY, EIO: a terminal that has just ended has no size to care for.
        self.stdio.resize(size).unwrap_or_default();
    }

    fn take_input(&mut self, index: usize, bytes: &[u8]) -> Result<(), Error> {
        let client = &mut self.clients[index];
        if !client.streams.stdin {
            return Err(malformed("it sends input and is not attached to it"));
        }
        if client.stdin_under_way + bytes.len() > STDIN_WINDOW {
            return Err(malformed("it sends more input than it may"));
        }
        client.stdin_under_way += bytes.len();
        let id = client.id;
        self.stdio.input.push(id, bytes);
        self.write_input();
        Ok(())
    }

    fn end_input(&mut self, index: usize) {
        let client = &mut self.clients[index];
        if std::mem::take(&mut client.streams.stdin) && self.launch.stdin == Stdin::Once {
            self.stdio.input.end();
            self.write_input();
        }
    }

    fn signal(&mut self, index: usize, signal: i32) -> Result<(), Error> {
        // One that is attached hears of the end anyway; its signal has merely crossed with it.
        if self.init.is_none() && self.clients[index].streams == Streams::default() {
            return Err(not_running("cannot send a signal", "the container has ended"));
        }
        self.clients[index].waits = true; // for the case that it is the last signal of all
        self.record_kill(signal);
        self.kill(signal);
        Ok(())
    }

    fn detach(&mut self, index: usize) {
        let client = &mut self.clients[index];
        let gave_input = client.streams.stdin;
        client.dismiss(Last::Silence);
        if gave_input {
            self.input_left();
        }
    }

    fn stop(&mut self, index: usize, signal: i32, timeout_ms: u32) {
        self.clients[index].waits = true;
        let timeout = (timeout_ms != u32::MAX).then(|| Duration::from_millis(timeout_ms.into()));
        self.end(By::Client, signal, timeout);
    }

    /// A holder that was launched without a policy is confined by now, and makes no container anew.
    fn set_policy(&mut self, index: usize, policy: Restart) -> Result<(), Error> {
        if self.launch.restart == Restart::No && policy != Restart::No {
            let because = "its holder has given up the right to make it anew";
            return Err(Error::new("cannot have the container started again", because).kind(Kind::Unsupported));
        }
        self.restarts.policy = policy;
        if let (Stage::Pausing { status, .. }, Restart::No) = (&self.stage, policy) {
            let status = *status;
            self.clients[index].waits = true;
            self.leave(status);
            return Ok(());
        }
        let pid = self.init.as_ref().map_or(0, |init| init.pid);
        self.clients[index].owed.pong = Some((self.phase(), pid));
        Ok(())
    }

    /// A reader is gone. Behind the client that started the container the program stands as in a pipeline, unless
    /// others listen: it gets EPIPE.
    fn hang_up(&mut self, index: usize, stream: Stream) {
        let client = &mut self.clients[index];
        match stream {
            Stream::Stdout => client.streams.stdout = false,
            Stream::Stderr => client.streams.stderr = false,
        }
        let wanted = self.clients.iter().any(|client| client.wants(stream));
        if self.clients[index].starter && !wanted && !self.launch.terminal {
            self.stdio.close_output(stream);
        }
    }

    fn settle(&mut self, index: usize) {
        if self.clients[index].starter {
            self.settled = true;
            self.clients[index].dismiss(Last::Silence);
        }
    }
}

fn malformed(because: &str) -> Error {
    Error::new("cannot understand this client", because).kind(Kind::BadInput)
}
