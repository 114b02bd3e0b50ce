// SPDX-License-Identifier: Apache-2.0
//! Between the person's terminal (or pipes) and the container: `run` in the foreground, `attach`, `start -a`.
//!
//! One thread, one poll loop. Output is written only where poll promises room, so that a stalled reader never keeps
//! signals, resizes and keys from the program; and nothing more is received until it is written, so that the holder,
//! and behind it the program, feels the stall.

use super::keys::{Typed, Watch};
use super::terminal::{self, RawTerminal};
use super::{Connection, DetachKeys, unexpected};
use crate::error::{Doing, Error};
use crate::protocol::{DATA_MAX, Reply, Request, STDIN_WINDOW, Status, Stream, Streams};
use kelp_sys::rustix::event::{PollFd, PollFlags, Timespec, poll};
use kelp_sys::rustix::io::{Errno, read, write};
use kelp_sys::rustix::stdio::{stderr, stdin, stdout};
use kelp_sys::sigaction::{Caught, Ignored};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// Signals that are passed on to the program. Not SIGTSTP and its kin: stopping the client is the shell's affair.
const PROXIED: [i32; 8] = [1, 2, 3, 10, 12, 13, 14, 15];
const SIGPIPE: i32 = 13;
pub(super) const SIGCONT: i32 = 18;
pub(super) const SIGWINCH: i32 = 28;
/// A write of this size does not block on a pipe, terminal or socket of which poll says that it takes output.
pub(super) const PIPE_BUF: usize = 4096;

/// How long a program has to see that its terminal has another size for a moment, which makes it show itself.
const NUDGE: Duration = Duration::from_millis(50);

/// What to relay, and how.
#[derive(Clone, Debug)]
pub struct Relay {
    /// Which of our streams. Input is taken only if the container takes it too (`-i`).
    pub streams: Streams,
    /// Leaves the container running. Only looked for while our terminal is raw.
    pub detach_keys: DetachKeys,
    /// SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM go to the program; otherwise they end the relay.
    pub proxy_signals: bool,
}

impl Default for Relay {
    /// All streams, ctrl-p ctrl-q, signals passed on.
    fn default() -> Relay {
        Relay { streams: Streams::ALL, detach_keys: DetachKeys::default(), proxy_signals: true }
    }
}

/// Why a relay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The container is over.
    Exited(Status),
    /// The person pressed the detach keys, or nobody reads what an attached client shows; the container goes on.
    Detached,
    /// Signals are not passed on, and this one came; the container goes on.
    Signalled(i32),
}

impl Connection {
    /// Attaches, starts the program and relays until one of both ends: nothing that it writes is lost.
    pub fn foreground(&mut self, relay: &Relay) -> Result<Ended, Error> {
        let mut session = Session::begin(self, relay)?;
        session.reader = Reader::OfPipeline;
        session.connection.start()?;
        session.run()
    }

    /// Attaches to a running program and relays until one of both ends.
    pub fn attach(&mut self, relay: &Relay) -> Result<Ended, Error> {
        let mut session = Session::begin(self, relay)?;
        session.nudged = Some(Instant::now() + NUDGE);
        session.run()
    }
}

/// From now on signals wait for a relay.
pub(super) fn catch_signals() -> Result<Caught, Error> {
    let mut signals = PROXIED.to_vec();
    signals.extend([SIGCONT, SIGWINCH]);
    // Rust ignores SIGPIPE at start and Go does not: a client never wants to be killed by it in here.
    signals.retain(|signal| *signal != SIGPIPE);
    Caught::new(&signals, Ignored::Respect).doing(|| "cannot catch signals")
}

/// What it means that nobody reads our stdout any more.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reader {
    /// The program learns of it, as in any pipeline: it is our program, and we stay until it ends.
    OfPipeline,
    /// We have come to look at another's program: we leave, at once.
    OfVisitor,
}

/// Output that has been received and not yet written.
#[derive(Default)]
struct Pending {
    bytes: Vec<u8>,
    written: usize,
    to: Option<Stream>,
}

struct Session<'a> {
    connection: &'a mut Connection,
    caught: Caught,
    raw: Option<RawTerminal<'static>>,
    keys: Watch,
    proxy_signals: bool,
    stdin_open: bool,
    stdin_under_way: usize,
    pending: Pending,
    /// Streams of ours that nobody reads any more.
    hung_up: Streams,
    reader: Reader,
    /// Until when the program's terminal has another size than ours: see [`NUDGE`].
    nudged: Option<Instant>,
    input: Vec<u8>,
}

impl<'a> Session<'a> {
    fn begin(connection: &'a mut Connection, relay: &Relay) -> Result<Session<'a>, Error> {
        // Signals first: one that comes while we attach must find the terminal to give back, and be passed on.
        let caught = catch_signals()?;
        connection.send(&Request::Attach { streams: relay.streams, size: terminal::size() })?;
        let (terminal, stdin_open) = match connection.receive()? {
            Reply::Attached { terminal, stdin } => (terminal, stdin && relay.streams.stdin),
            other => return Err(unexpected(&other)),
        };
        let raw = if terminal && stdin_open { RawTerminal::enter(stdin()) } else { None };
        Ok(Session {
            connection,
            caught,
            keys: Watch::new(&relay.detach_keys),
            raw,
            proxy_signals: relay.proxy_signals,
            stdin_open,
            stdin_under_way: 0,
            pending: Pending::default(),
            hung_up: Streams::default(),
            reader: Reader::OfVisitor,
            nudged: None,
            input: vec![0; DATA_MAX],
        })
    }

    fn run(&mut self) -> Result<Ended, Error> {
        loop {
            let ready = self.wait()?;
            // What is typed meanwhile finds the right size too.
            if self.nudged.is_some_and(|until| ready.stdin || until <= Instant::now()) {
                self.nudged = None;
                self.resize()?;
            }
            if ready.signal
                && let Some(ended) = self.signals()?
            {
                return Ok(ended);
            }
            if ready.output {
                self.write_some()?;
            }
            if ready.reader_left || self.reader == Reader::OfVisitor && self.hung_up.stdout {
                self.connection.tell(&Request::Detach)?;
                return Ok(Ended::Detached);
            }
            if ready.socket
                && let Some(status) = self.receive()?
            {
                return Ok(Ended::Exited(status));
            }
            if ready.stdin && self.read_stdin()? == Detached::Yes {
                self.connection.tell(&Request::Detach)?;
                return Ok(Ended::Detached);
            }
        }
    }

    /// Sleeps until something can be done. A descriptor of which we want nothing now is left out: poll would report
    /// its hang-up again and again.
    fn wait(&self) -> Result<Ready, Error> {
        let target = self.pending.to.map(descriptor);
        let wants_stdin = self.stdin_open && self.stdin_under_way < STDIN_WINDOW;
        let mut fds = vec![PollFd::new(&self.caught, PollFlags::IN)];
        match &target {
            Some(target) => fds.push(PollFd::from_borrowed_fd(*target, PollFlags::OUT)),
            None => fds.push(PollFd::new(&self.connection.socket, PollFlags::IN)),
        }
        // No event: poll reports hang-ups and errors alone. What is not wanted stands there as our signals, once more.
        let unwanted = || PollFd::new(&self.caught, PollFlags::empty());
        fds.push(if wants_stdin { PollFd::from_borrowed_fd(stdin(), PollFlags::IN) } else { unwanted() });
        fds.push(match self.reader {
            Reader::OfVisitor => PollFd::from_borrowed_fd(stdout(), PollFlags::empty()),
            Reader::OfPipeline => unwanted(),
        });
        let timeout = self.nudged.map(|until| {
            let left = until.saturating_duration_since(Instant::now()).min(NUDGE);
            Timespec { tv_sec: 0, tv_nsec: left.subsec_nanos().into() }
        });
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).doing(|| "cannot wait for input"),
        }
        let ready = |index: usize| fds.get(index).is_some_and(|fd: &PollFd<'_>| !fd.revents().is_empty());
        Ok(Ready {
            signal: ready(0),
            output: ready(1) && target.is_some(),
            socket: ready(1) && target.is_none(),
            stdin: ready(2),
            reader_left: ready(3),
        })
    }

    fn signals(&mut self) -> Result<Option<Ended>, Error> {
        while let Some(signal) = self.caught.take() {
            match signal {
                SIGCONT | SIGWINCH => {
                    if let (SIGCONT, Some(raw)) = (signal, &self.raw) {
                        raw.again();
                    }
                    self.resize()?;
                }
                _ if self.proxy_signals => self.connection.tell(&Request::Signal(signal))?,
                _ => return Ok(Some(Ended::Signalled(signal))),
            }
        }
        Ok(None)
    }

    fn resize(&mut self) -> Result<(), Error> {
        terminal::size().map_or(Ok(()), |size| self.connection.tell(&Request::Resize(size)))
    }

    fn receive(&mut self) -> Result<Option<Status>, Error> {
        let pending = &mut self.pending;
        match self.connection.receive()? {
            Reply::Stdout(bytes) if !self.hung_up.stdout => pending.set(Stream::Stdout, bytes),
            Reply::Stderr(bytes) if !self.hung_up.stderr => pending.set(Stream::Stderr, bytes),
            Reply::StdinTaken(bytes) => {
                self.stdin_under_way = self.stdin_under_way.saturating_sub(bytes as usize);
            }
            Reply::Exit(status) => return Ok(Some(status)),
            _ => {}
        }
        Ok(None)
    }

    fn write_some(&mut self) -> Result<(), Error> {
        let Some(stream) = self.pending.to else { return Ok(()) };
        let rest = &self.pending.bytes[self.pending.written..];
        match write(descriptor(stream), &rest[..rest.len().min(PIPE_BUF)]) {
            Ok(written) => self.pending.advance(written),
            // EAGAIN: somebody who shares our terminal has made it non-blocking; poll tells when to go on.
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(Errno::PIPE | Errno::IO) => {
                // As in any pipeline: the program shall learn that its reader is gone.
                match stream {
                    Stream::Stdout => self.hung_up.stdout = true,
                    Stream::Stderr => self.hung_up.stderr = true,
                }
                self.pending = Pending::default();
                self.connection.tell(&Request::Hangup(stream))?;
            }
            Err(errno) => return Err(errno).doing(|| format!("cannot write the container's output to our {stream:?}")),
        }
        Ok(())
    }

    fn read_stdin(&mut self) -> Result<Detached, Error> {
        let room = self.input.len().min(STDIN_WINDOW - self.stdin_under_way);
        let length = match read(stdin(), &mut self.input[..room]) {
            Ok(length) => length,
            Err(Errno::INTR | Errno::AGAIN) => return Ok(Detached::No),
            // A terminal that is gone, or not ours while we are in the background, is the end of input.
            Err(_) => 0,
        };
        if length == 0 && self.raw.is_some() {
            // In raw mode ctrl-d is a key: this is a terminal that has gone away, and nobody sits there any more.
            return Ok(Detached::Yes);
        }
        if length == 0 {
            self.stdin_open = false;
            self.connection.tell(&Request::StdinEof)?;
            return Ok(Detached::No);
        }
        if self.raw.is_none() {
            self.stdin_under_way += length;
            self.connection.tell(&Request::Stdin(&self.input[..length]))?;
            return Ok(Detached::No);
        }
        let (keys, detached) = match self.keys.type_in(&self.input[..length]) {
            Typed::Keys(keys) => (keys, Detached::No),
            Typed::Detach(keys) => (keys, Detached::Yes),
        };
        for piece in keys.chunks(DATA_MAX) {
            self.stdin_under_way += piece.len();
            self.connection.tell(&Request::Stdin(piece))?;
        }
        Ok(detached)
    }
}

/// Whether the detach keys were typed.
#[derive(PartialEq, Eq)]
pub(super) enum Detached {
    Yes,
    No,
}

struct Ready {
    signal: bool,
    output: bool,
    socket: bool,
    stdin: bool,
    reader_left: bool,
}

impl Pending {
    fn set(&mut self, stream: Stream, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.bytes.clear();
            self.bytes.extend_from_slice(bytes);
            self.written = 0;
            self.to = Some(stream);
        }
    }

    fn advance(&mut self, written: usize) {
        self.written += written;
        if self.written >= self.bytes.len() {
            self.to = None;
        }
    }
}

pub(super) fn descriptor(stream: Stream) -> BorrowedFd<'static> {
    match stream {
        Stream::Stdout => stdout(),
        Stream::Stderr => stderr(),
    }
}
