// SPDX-License-Identifier: Apache-2.0
//! Between the person's terminal (or pipes) and a process whose other ends of pipes, or whose pty, we have: `exec`.
//!
//! The process never gets a descriptor of the person's: one that it left to a child could read what is typed later. One
//! thread, one poll loop. Output is written only where poll promises room, so that a stalled reader of one stream keeps
//! neither signals nor the other stream waiting.

use super::keys::{Typed, Watch};
use super::relay::{Detached, PIPE_BUF, Relay, SIGCONT, SIGWINCH, catch_signals, descriptor};
use super::terminal::{self, RawTerminal};
use crate::error::{Doing, Error};
use crate::protocol::{DATA_MAX, Stream};
use kelp_sys::process::signal_process;
use kelp_sys::rustix::event::{PollFd, PollFlags, Timespec, poll};
use kelp_sys::rustix::fs::{OFlags, fcntl_setfl};
use kelp_sys::rustix::io::{Errno, fcntl_dupfd_cloexec, ioctl_fionread, read, write};
use kelp_sys::rustix::stdio::stdin;
use kelp_sys::sigaction::Caught;
use kelp_sys::{
    pty,
    term::{self, Winsize},
};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long nothing may come from a child that the ended process has left behind with its pipes.
const QUIET_MAX: Duration = Duration::from_millis(100);
/// How long output of such children is waited for at most: as the holder does for a container's program.
const DRAIN_MAX: Duration = Duration::from_secs(2);
const STREAMS: [Stream; 2] = [Stream::Stdout, Stream::Stderr];

/// Our ends of a process's streams.
#[derive(Debug, Default)]
pub struct Ends {
    input: Option<OwnedFd>,
    output: [Option<OwnedFd>; 2],
    /// The pty's other end: a program that closes its terminal for a moment has not ended it.
    peer: Option<OwnedFd>,
    terminal: bool,
}

impl Ends {
    /// Pipes. Without `input` the process has another stdin; without `stderr` its errors come with its output.
    ///
    /// # Errors
    /// They cannot be made non-blocking.
    pub fn of_pipes(input: Option<OwnedFd>, stdout: OwnedFd, stderr: Option<OwnedFd>) -> Result<Ends, Error> {
        for ours in [input.as_ref(), Some(&stdout), stderr.as_ref()].into_iter().flatten() {
            fcntl_setfl(ours, OFlags::NONBLOCK).doing(|| "cannot use the pipes of the program")?;
        }
        Ok(Ends { input, output: [Some(stdout), stderr], ..Ends::default() })
    }

    /// The master of a pty.
    ///
    /// # Errors
    /// It cannot be copied.
    pub fn of_terminal(master: OwnedFd) -> Result<Ends, Error> {
        let doing = || "cannot use the terminal of the program";
        fcntl_setfl(&master, OFlags::NONBLOCK | OFlags::RDWR).doing(doing)?;
        let peer = pty::peer(master.as_fd()).ok();
        let input = fcntl_dupfd_cloexec(&master, 3).doing(doing)?;
        Ok(Ends { input: Some(input), output: [Some(master), None], peer, terminal: true })
    }

    /// The master, for whoever keeps the terminal after us; pipes end with us.
    #[must_use]
    pub fn into_terminal(self) -> Option<OwnedFd> {
        let Ends { output: [master, _], terminal, .. } = self;
        master.filter(|_| terminal)
    }

    fn output(&self, stream: Stream) -> Option<&OwnedFd> {
        self.output[stream as usize].as_ref()
    }
}

/// Why a relay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parted {
    /// The process has ended, and all that it wrote is written.
    Ended,
    /// The person pressed the detach keys; the process goes on.
    Detached,
}

/// A relay whose signals are caught already: made before the process, so that none ends us in its place.
pub struct Direct {
    caught: Caught,
    keys: Watch,
    stdin: bool,
}

impl Direct {
    /// Catches signals from now on.
    ///
    /// # Errors
    /// They cannot be caught.
    pub fn new(relay: &Relay) -> Result<Direct, Error> {
        Ok(Direct { caught: catch_signals()?, keys: Watch::new(&relay.detach_keys), stdin: relay.streams.stdin })
    }

    /// Relays until the process, of which `pidfd` is a descriptor, ends or the person detaches.
    ///
    /// # Errors
    /// A stream of ours cannot be read or written for another reason than that it has ended.
    pub fn run(self, ends: &mut Ends, pidfd: BorrowedFd<'_>) -> Result<Parted, Error> {
        let raw = if ends.terminal && self.stdin { RawTerminal::enter(stdin()) } else { None };
        let session = Session {
            pidfd,
            stdin_open: self.stdin && ends.input.is_some(),
            ends,
            caught: self.caught,
            keys: self.keys,
            raw,
            typed: UnderWay::default(),
            written: [UnderWay::default(), UnderWay::default()],
            buffer: vec![0; DATA_MAX],
        };
        session.run()
    }
}

/// Bytes that were read and are not yet written.
#[derive(Default)]
struct UnderWay {
    bytes: Vec<u8>,
    done: usize,
}

impl UnderWay {
    fn rest(&self) -> &[u8] {
        self.bytes.get(self.done..).unwrap_or_default()
    }

    fn set(&mut self, bytes: &[u8]) {
        self.bytes.clear();
        self.bytes.extend_from_slice(bytes);
        self.done = 0;
    }
}

struct Session<'a> {
    ends: &'a mut Ends,
    pidfd: BorrowedFd<'a>,
    caught: Caught,
    keys: Watch,
    raw: Option<RawTerminal<'static>>,
    stdin_open: bool,
    typed: UnderWay,
    written: [UnderWay; 2],
    buffer: Vec<u8>,
}

/// What poll has found possible.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Event {
    Signal,
    Ended,
    Typed,
    InputRoom,
    Output(Stream),
    OutputRoom(Stream),
}

impl Session<'_> {
    fn run(mut self) -> Result<Parted, Error> {
        self.resize();
        loop {
            for event in self.wait(true, None)? {
                match event {
                    Event::Ended => return self.drain().map(|()| Parted::Ended),
                    Event::Signal => self.signals(),
                    Event::Typed if self.read_stdin() == Detached::Yes => return self.detach(),
                    Event::Typed => {}
                    Event::InputRoom => self.write_input(),
                    other => drop(self.move_output(other)?),
                }
            }
        }
    }

    /// What is possible now. A descriptor of which nothing is wanted is left out: poll would report its hang-up again and
    /// again. Input is of no use to a process that has ended.
    fn wait(&self, lives: bool, timeout: Option<Duration>) -> Result<Vec<Event>, Error> {
        let mut wanted = vec![(Event::Signal, self.caught.as_fd(), PollFlags::IN)];
        if lives {
            wanted.push((Event::Ended, self.pidfd, PollFlags::IN));
            match &self.ends.input {
                Some(_) if self.typed.rest().is_empty() && self.stdin_open => {
                    wanted.push((Event::Typed, stdin(), PollFlags::IN));
                }
                Some(input) if !self.typed.rest().is_empty() => {
                    wanted.push((Event::InputRoom, input.as_fd(), PollFlags::OUT));
                }
                _ => {}
            }
        }
        for stream in STREAMS {
            match self.ends.output(stream) {
                _ if !self.written[stream as usize].rest().is_empty() => {
                    wanted.push((Event::OutputRoom(stream), descriptor(stream), PollFlags::OUT));
                }
                Some(output) => wanted.push((Event::Output(stream), output.as_fd(), PollFlags::IN)),
                None => {}
            }
        }
        let mut fds: Vec<_> = wanted.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        let timeout = timeout.map(|left| Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        });
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).doing(|| "cannot wait for the program"),
        }
        let ready = wanted.iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty());
        Ok(ready.map(|((event, ..), _)| *event).collect())
    }

    /// ESRCH: it has just ended, which poll is about to say.
    fn signals(&mut self) {
        while let Some(signal) = self.caught.take() {
            match signal {
                SIGCONT | SIGWINCH => {
                    if let (SIGCONT, Some(raw)) = (signal, &self.raw) {
                        raw.again();
                    }
                    self.resize();
                }
                // EPERM: a program that has become another user's is not ours to signal, as under runc.
                _ => signal_process(self.pidfd, signal).unwrap_or_default(),
            }
        }
    }

    /// Whether a signal came that would end a process: there is no program left that it could be passed on to.
    fn is_called_away(&self) -> bool {
        let signals = std::iter::from_fn(|| self.caught.take());
        signals.filter(|signal| ![SIGCONT, SIGWINCH].contains(signal)).count() > 0
    }

    fn resize(&self) {
        if let (true, Some(master), Some(size)) =
            (self.ends.terminal, self.ends.output(Stream::Stdout), terminal::size())
        {
            let size = Winsize { ws_row: size.rows, ws_col: size.cols, ws_xpixel: 0, ws_ypixel: 0 };
            // A terminal that has just ended has no size to care for.
            term::set_size(master, size).unwrap_or_default();
        }
    }

    fn read_stdin(&mut self) -> Detached {
        let length = match read(stdin(), &mut self.buffer) {
            Ok(length) => length,
            Err(Errno::INTR | Errno::AGAIN) => return Detached::No,
            // A terminal that is gone, or not ours while we are in the background, is the end of input.
            Err(_) => 0,
        };
        let input = self.buffer.get(..length).unwrap_or_default();
        match (length, &self.raw) {
            // In raw mode ctrl-d is a key: this is a terminal that has gone away, and nobody sits there any more.
            (0, Some(_)) => return Detached::Yes,
            (0, None) => self.end_input(),
            (_, None) => self.typed.set(input),
            (_, Some(_)) => match self.keys.type_in(input) {
                Typed::Keys(keys) => self.typed.set(&keys),
                Typed::Detach(keys) => {
                    self.typed.set(&keys);
                    return Detached::Yes;
                }
            },
        }
        Detached::No
    }

    /// The end of our input is the end of its: a pipe closes.
    fn end_input(&mut self) {
        self.stdin_open = false;
        if !self.ends.terminal {
            self.ends.input = None;
        }
    }

    fn write_input(&mut self) {
        let Some(input) = &self.ends.input else { return };
        match write(input, self.typed.rest()) {
            Ok(written) => self.typed.done += written,
            Err(Errno::INTR | Errno::AGAIN) => {}
            // It reads no more.
            Err(_) => {
                self.typed = UnderWay::default();
                self.end_input();
                self.ends.input = None;
            }
        }
    }

    /// What was typed before the detach keys is still the program's, as far as it takes it.
    fn detach(mut self) -> Result<Parted, Error> {
        self.write_input();
        Ok(Parted::Detached)
    }

    /// Reads or writes some output, and returns how much was read.
    fn move_output(&mut self, event: Event) -> Result<usize, Error> {
        match event {
            Event::Output(stream) => Ok(self.read_output(stream)),
            Event::OutputRoom(stream) => self.write_output(stream).map(|()| 0),
            _ => Ok(0),
        }
    }

    fn read_output(&mut self, stream: Stream) -> usize {
        let Some(output) = self.ends.output(stream) else { return 0 };
        match read(output, &mut self.buffer) {
            Err(Errno::INTR | Errno::AGAIN) => 0,
            // EIO is how a pty says that nobody has its other end open.
            Ok(0) | Err(_) => {
                self.ends.output[stream as usize] = None;
                0
            }
            Ok(length) => {
                self.written[stream as usize].set(self.buffer.get(..length).unwrap_or_default());
                length
            }
        }
    }

    fn write_output(&mut self, stream: Stream) -> Result<(), Error> {
        let under_way = &mut self.written[stream as usize];
        let rest = under_way.rest();
        match write(descriptor(stream), &rest[..rest.len().min(PIPE_BUF)]) {
            Ok(written) => under_way.done += written,
            // EAGAIN: somebody who shares our terminal has made it non-blocking; poll tells when to go on.
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(Errno::PIPE | Errno::IO) => {
                *under_way = UnderWay::default();
                // As in any pipeline, the program learns by EPIPE that its reader is gone. A terminal is read on.
                if !self.ends.terminal {
                    self.ends.output[stream as usize] = None;
                }
            }
            Err(errno) => return Err(errno).doing(|| format!("cannot write the program's output to our {stream:?}")),
        }
        Ok(())
    }

    /// All that the process wrote lies in its pipes now. A child that it left behind may hold them for ever, so that their
    /// end is not waited for: only for as long as something comes, and not too long.
    fn drain(mut self) -> Result<(), Error> {
        self.ends.peer = None;
        self.ends.input = None;
        let end = Instant::now() + DRAIN_MAX;
        let mut quiet = Instant::now() + QUIET_MAX;
        let mut own = STREAMS.map(|stream| {
            let length = self.ends.output(stream).and_then(|output| ioctl_fionread(output).ok());
            length.map_or(0, |length| usize::try_from(length).unwrap_or(usize::MAX))
        });
        loop {
            let pending = self.written.iter().any(|under_way| !under_way.rest().is_empty());
            if !pending && STREAMS.iter().all(|stream| self.ends.output(*stream).is_none()) {
                return Ok(());
            }
            // What the process itself wrote is waited for as long as our reader takes.
            let patience =
                (!pending && own == [0, 0]).then(|| quiet.min(end).saturating_duration_since(Instant::now()));
            let events = self.wait(false, patience)?;
            let quiet_long_enough = patience.is_some_and(|left| left.is_zero() || events.is_empty());
            if quiet_long_enough || events.contains(&Event::Signal) && self.is_called_away() {
                return Ok(());
            }
            for event in events {
                let length = self.move_output(event)?;
                if let (Event::Output(stream), true) = (event, length > 0) {
                    own[stream as usize] = own[stream as usize].saturating_sub(length);
                    quiet = Instant::now() + QUIET_MAX;
                } else if let Event::Output(stream) = event {
                    own[stream as usize] = 0;
                }
            }
        }
    }
}
