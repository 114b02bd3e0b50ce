// SPDX-License-Identifier: Apache-2.0
//! What a client and the holder say to each other.
//!
//! One message is one packet on a unix `SOCK_SEQPACKET` socket, at most [`MESSAGE_MAX`] bytes: the kernel keeps the
//! borders, so there is no resynchronising and a half-written message cannot be seen. The first byte is the type, then
//! come the fields: integers little-endian, texts with a `u16` length, byte strings up to the end of the packet.
//! A packet that is too short, too long or of an unknown type is [`Malformed`]; the holder answers
//! [`Reply::Error`] and drops that client, nobody else notices.
//!
//! The first message of a client is [`Request::Hello`], whose version must be ours. On the socket pair that the
//! holder is born with it is followed by [`Request::Launch`].
//!
//! **Flow of output.** The holder offers each piece of output to every attached client before it reads the next: a
//! client that does not read holds the program up, as a full pipe would (`kelp run image | less` loses nothing).
//! The client that started the container may do so for ever; any other only for [`STALL_LIMIT`], then it gets
//! [`Reply::Error`] of kind `TooSlow` and is dropped, so that a forgotten `kelp attach` cannot stop a service.
//!
//! **Flow of input.** A client may have [`STDIN_WINDOW`] bytes of input under way; [`Reply::StdinTaken`] says how
//! many the program's pipe has taken. So a program that reads nothing never stops signals and resizes behind it.

use crate::Restart;
use crate::error::{Error, Kind};
use std::time::Duration;

/// Raised when a peer of the last version could misread us.
pub const VERSION: u8 = 1;
/// The largest packet.
pub const MESSAGE_MAX: usize = 64 << 10;
/// The largest piece of input or output in one packet.
pub const DATA_MAX: usize = 32 << 10;
/// How much input may be under way.
pub const STDIN_WINDOW: usize = 64 << 10;
/// How long a client that did not start the container may hold its output up.
pub const STALL_LIMIT: Duration = Duration::from_secs(30);

/// Which streams a client wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streams {
    /// It will send input.
    pub stdin: bool,
    /// It wants standard output (all output of a terminal).
    pub stdout: bool,
    /// It wants standard error.
    pub stderr: bool,
}

impl Streams {
    /// All three.
    pub const ALL: Streams = Streams { stdin: true, stdout: true, stderr: true };
    /// Output and errors.
    pub const OUTPUT: Streams = Streams { stdin: false, stdout: true, stderr: true };
}

/// The size of a terminal in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub cols: u16,
}

/// One of the program's output streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// File descriptor 1, and everything of a terminal.
    Stdout,
    /// File descriptor 2.
    Stderr,
}

/// How a container ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// What `kelp run` exits with: the program's status, or 128 + the signal.
    pub code: i32,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// The kernel killed something in it for want of memory.
    pub oom: bool,
}

/// How far a container has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Waits for [`Request::Start`].
    Created,
    /// The program runs.
    Running,
    /// It ended and will be started again by its restart policy.
    Restarting,
    /// It ended.
    Exited,
}

/// What a client says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// First of all: the sender's [`VERSION`].
    Hello {
        /// The sender's version.
        version: u8,
    },
    /// A [`Launch`](crate::Launch) as JSON; file descriptors sent along are kept open until the holder exits.
    /// Answered by [`Reply::Created`], and before it perhaps by [`Reply::Born`].
    Launch(&'a [u8]),
    /// Run the program. Answered by [`Reply::Started`].
    Start,
    /// Send me these streams from now on. Answered by [`Reply::Attached`].
    Attach {
        /// Which.
        streams: Streams,
        /// The client's terminal, to resize the container's.
        size: Option<Size>,
    },
    /// Input for the program, at most [`DATA_MAX`] bytes.
    Stdin(&'a [u8]),
    /// No more input from me.
    StdinEof,
    /// My terminal has this size now.
    Resize(Size),
    /// Send this signal to the program.
    Signal(i32),
    /// I leave; the container goes on. The holder closes the connection.
    Detach,
    /// Tell me when the container ends: [`Reply::Exit`].
    Wait,
    /// Answered by [`Reply::Pong`].
    Ping,
    /// Send `signal`, and SIGKILL after `timeout_ms` (`u32::MAX`: never); and do not restart. Implies `Wait`.
    Stop {
        /// First signal.
        signal: i32,
        /// Milliseconds until SIGKILL.
        timeout_ms: u32,
    },
    /// Nobody reads this stream of mine any more (EPIPE). Said by the client that started the container, and
    /// unless others are attached, the program itself gets EPIPE; else the stream is only no longer sent.
    Hangup(Stream),
    /// After [`Reply::Exit`]: I have cleaned up, do not run `on_exit`.
    Settled,
    /// From now on this is the restart policy. Answered by [`Reply::Pong`], or by [`Reply::Exit`] where the container was only
    /// waiting to be started again.
    Policy(Restart),
}

/// What the holder says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// Init lives in its namespaces, and the rest of the container is being made: its network may be, too. Said at most once,
    /// to the client that started the holder, before [`Reply::Created`].
    Born {
        /// Init's pid, as the holder sees it.
        pid: i32,
    },
    /// The container exists; this is its init's pid as the holder sees it.
    Created {
        /// The pid.
        pid: i32,
    },
    /// The program runs.
    Started,
    /// What `Attach` found.
    Attached {
        /// The container's streams are a terminal: the client's should be in raw mode.
        terminal: bool,
        /// Input is taken.
        stdin: bool,
    },
    /// Output of the program.
    Stdout(&'a [u8]),
    /// Errors of the program.
    Stderr(&'a [u8]),
    /// So many more bytes of input have been taken.
    StdinTaken(u32),
    /// The container is over, its status recorded, its resources released. Nothing follows.
    Exit(Status),
    /// Something failed; it ends the request that it answers, and where the holder cannot go on, the connection.
    Error(Error),
    /// I live.
    Pong {
        /// How far the container has come.
        phase: Phase,
        /// Its init, or 0.
        pid: i32,
    },
}

/// A packet that means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the other side sent a packet that means nothing")
    }
}

mod tag {
    pub(super) const HELLO: u8 = b'h';
    pub(super) const LAUNCH: u8 = b'L';
    pub(super) const START: u8 = b's';
    pub(super) const ATTACH: u8 = b'a';
    pub(super) const STDIN: u8 = b'i';
    pub(super) const STDIN_EOF: u8 = b'z';
    pub(super) const RESIZE: u8 = b'r';
    pub(super) const SIGNAL: u8 = b'k';
    pub(super) const DETACH: u8 = b'd';
    pub(super) const WAIT: u8 = b'w';
    pub(super) const PING: u8 = b'p';
    pub(super) const STOP: u8 = b't';
    pub(super) const HANGUP: u8 = b'g';
    pub(super) const SETTLED: u8 = b'c';
    pub(super) const POLICY: u8 = b'y';

    pub(super) const BORN: u8 = b'B';
    pub(super) const CREATED: u8 = b'C';
    pub(super) const STARTED: u8 = b'S';
    pub(super) const ATTACHED: u8 = b'A';
    pub(super) const STDOUT: u8 = b'1';
    pub(super) const STDERR: u8 = b'2';
    pub(super) const STDIN_TAKEN: u8 = b'0';
    pub(super) const EXIT: u8 = b'X';
    pub(super) const ERROR: u8 = b'E';
    pub(super) const PONG: u8 = b'P';
}

impl Request<'_> {
    /// Puts the packet in place of what `packet` held.
    pub fn encode(&self, packet: &mut Vec<u8>) {
        packet.clear();
        match self {
            Request::Hello { version } => packet.extend([tag::HELLO, *version]),
            Request::Launch(json) => put_bytes(packet, tag::LAUNCH, json),
            Request::Start => packet.push(tag::START),
            Request::Attach { streams, size } => {
                let size = size.unwrap_or(Size { rows: 0, cols: 0 });
                packet.extend([tag::ATTACH, streams.bits()]);
                put_size(packet, size);
            }
            Request::Stdin(bytes) => put_bytes(packet, tag::STDIN, bytes),
            Request::StdinEof => packet.push(tag::STDIN_EOF),
            Request::Resize(size) => {
                packet.push(tag::RESIZE);
                put_size(packet, *size);
            }
            Request::Signal(signal) => put_i32(packet, tag::SIGNAL, *signal),
            Request::Detach => packet.push(tag::DETACH),
            Request::Wait => packet.push(tag::WAIT),
            Request::Ping => packet.push(tag::PING),
            Request::Stop { signal, timeout_ms } => {
                put_i32(packet, tag::STOP, *signal);
                packet.extend(timeout_ms.to_le_bytes());
            }
            Request::Hangup(stream) => packet.extend([tag::HANGUP, stream.number()]),
            Request::Settled => packet.push(tag::SETTLED),
            Request::Policy(policy) => {
                let (number, max) = numbers(*policy);
                packet.extend([tag::POLICY, number]);
                packet.extend(max.to_le_bytes());
            }
        }
    }

    /// Reads a packet.
    pub fn decode(packet: &[u8]) -> Result<Request<'_>, Malformed> {
        let (&tag, rest) = packet.split_first().ok_or(Malformed)?;
        let mut fields = Fields(rest);
        let request = match tag {
            tag::HELLO => Request::Hello { version: fields.byte()? },
            tag::LAUNCH => Request::Launch(fields.rest(MESSAGE_MAX)?),
            tag::START => Request::Start,
            tag::ATTACH => Request::Attach {
                streams: Streams::from_bits(fields.byte()?)?,
                size: Some(fields.size()?).filter(|size| size.rows != 0 && size.cols != 0),
            },
            tag::STDIN => Request::Stdin(fields.rest(DATA_MAX)?),
            tag::STDIN_EOF => Request::StdinEof,
            tag::RESIZE => Request::Resize(fields.size()?),
            tag::SIGNAL => Request::Signal(fields.signal()?),
            tag::DETACH => Request::Detach,
            tag::WAIT => Request::Wait,
            tag::PING => Request::Ping,
            tag::STOP => Request::Stop { signal: fields.signal()?, timeout_ms: fields.u32()? },
            tag::HANGUP => Request::Hangup(Stream::from_number(fields.byte()?)?),
            tag::SETTLED => Request::Settled,
            tag::POLICY => Request::Policy(policy(fields.byte()?, fields.u32()?)?),
            _ => return Err(Malformed),
        };
        fields.end().map(|()| request)
    }
}

/// A policy's number, and how often at most.
fn numbers(policy: Restart) -> (u8, u32) {
    match policy {
        Restart::No => (0, 0),
        Restart::OnFailure { max } => (1, max),
        Restart::Always => (2, 0),
        Restart::UnlessStopped => (3, 0),
    }
}

fn policy(number: u8, max: u32) -> Result<Restart, Malformed> {
    match (number, max) {
        (0, 0) => Ok(Restart::No),
        (1, max) => Ok(Restart::OnFailure { max }),
        (2, 0) => Ok(Restart::Always),
        (3, 0) => Ok(Restart::UnlessStopped),
        _ => Err(Malformed),
    }
}

impl Reply<'_> {
    /// Puts the packet in place of what `packet` held.
    pub fn encode(&self, packet: &mut Vec<u8>) {
        packet.clear();
        match self {
            Reply::Born { pid } => put_i32(packet, tag::BORN, *pid),
            Reply::Created { pid } => put_i32(packet, tag::CREATED, *pid),
            Reply::Started => packet.push(tag::STARTED),
            Reply::Attached { terminal, stdin } => {
                packet.extend([tag::ATTACHED, u8::from(*terminal), u8::from(*stdin)]);
            }
            Reply::Stdout(bytes) => put_bytes(packet, tag::STDOUT, bytes),
            Reply::Stderr(bytes) => put_bytes(packet, tag::STDERR, bytes),
            Reply::StdinTaken(bytes) => {
                packet.push(tag::STDIN_TAKEN);
                packet.extend(bytes.to_le_bytes());
            }
            Reply::Exit(status) => {
                put_i32(packet, tag::EXIT, status.code);
                packet.extend(status.signal.unwrap_or(0).to_le_bytes());
                packet.push(u8::from(status.oom));
            }
            Reply::Error(error) => {
                packet.extend([tag::ERROR, error.kind as u8]);
                put_text(packet, &error.doing);
                put_text(packet, &error.because);
                put_text(packet, error.hint.as_deref().unwrap_or(""));
            }
            Reply::Pong { phase, pid } => {
                packet.extend([tag::PONG, phase.number()]);
                packet.extend(pid.to_le_bytes());
            }
        }
    }

    /// Reads a packet.
    pub fn decode(packet: &[u8]) -> Result<Reply<'_>, Malformed> {
        let (&tag, rest) = packet.split_first().ok_or(Malformed)?;
        let mut fields = Fields(rest);
        let reply = match tag {
            tag::BORN => Reply::Born { pid: fields.i32()? },
            tag::CREATED => Reply::Created { pid: fields.i32()? },
            tag::STARTED => Reply::Started,
            tag::ATTACHED => Reply::Attached { terminal: fields.flag()?, stdin: fields.flag()? },
            tag::STDOUT => Reply::Stdout(fields.rest(DATA_MAX)?),
            tag::STDERR => Reply::Stderr(fields.rest(DATA_MAX)?),
            tag::STDIN_TAKEN => Reply::StdinTaken(fields.u32()?),
            tag::EXIT => Reply::Exit(Status {
                code: fields.i32()?,
                signal: Some(fields.i32()?).filter(|signal| *signal != 0),
                oom: fields.flag()?,
            }),
            tag::ERROR => Reply::Error(Error {
                kind: Kind::from_number(fields.byte()?),
                doing: fields.text()?,
                because: fields.text()?,
                hint: Some(fields.text()?).filter(|hint| !hint.is_empty()),
            }),
            tag::PONG => Reply::Pong { phase: Phase::from_number(fields.byte()?)?, pid: fields.i32()? },
            _ => return Err(Malformed),
        };
        fields.end().map(|()| reply)
    }
}

impl Streams {
    fn bits(self) -> u8 {
        u8::from(self.stdin) | u8::from(self.stdout) << 1 | u8::from(self.stderr) << 2
    }

    fn from_bits(bits: u8) -> Result<Streams, Malformed> {
        match bits & !0b111 {
            0 => Ok(Streams { stdin: bits & 1 != 0, stdout: bits & 2 != 0, stderr: bits & 4 != 0 }),
            _ => Err(Malformed),
        }
    }
}

impl Stream {
    fn number(self) -> u8 {
        match self {
            Stream::Stdout => 1,
            Stream::Stderr => 2,
        }
    }

    fn from_number(number: u8) -> Result<Stream, Malformed> {
        match number {
            1 => Ok(Stream::Stdout),
            2 => Ok(Stream::Stderr),
            _ => Err(Malformed),
        }
    }
}

impl Phase {
    const ALL: [Phase; 4] = [Phase::Created, Phase::Running, Phase::Restarting, Phase::Exited];

    fn number(self) -> u8 {
        self as u8
    }

    fn from_number(number: u8) -> Result<Phase, Malformed> {
        Phase::ALL.get(usize::from(number)).copied().ok_or(Malformed)
    }
}

fn put_bytes(packet: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    packet.push(tag);
    packet.extend_from_slice(bytes);
}

fn put_i32(packet: &mut Vec<u8>, tag: u8, number: i32) {
    packet.push(tag);
    packet.extend(number.to_le_bytes());
}

fn put_size(packet: &mut Vec<u8>, size: Size) {
    packet.extend(size.rows.to_le_bytes());
    packet.extend(size.cols.to_le_bytes());
}

/// Three of them fit a packet: a text longer than 16 KiB is cut at a character.
fn put_text(packet: &mut Vec<u8>, text: &str) {
    let cut = (0..=text.len().min(16 << 10)).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    let text = &text[..cut];
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    packet.extend(length.to_le_bytes());
    packet.extend_from_slice(text.as_bytes());
}

/// What is left of a packet.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (first, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*first)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn flag(&mut self) -> Result<bool, Malformed> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }

    fn i32(&mut self) -> Result<i32, Malformed> {
        self.take().map(i32::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.take().map(u32::from_le_bytes)
    }

    fn signal(&mut self) -> Result<i32, Malformed> {
        // 64 is the kernel's _NSIG.
        self.i32().and_then(|signal| if (1..=64).contains(&signal) { Ok(signal) } else { Err(Malformed) })
    }

    fn size(&mut self) -> Result<Size, Malformed> {
        Ok(Size { rows: self.take().map(u16::from_le_bytes)?, cols: self.take().map(u16::from_le_bytes)? })
    }

    fn text(&mut self) -> Result<String, Malformed> {
        let length = usize::from(self.take().map(u16::from_le_bytes)?);
        let (text, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).map_err(|_| Malformed)
    }

    fn rest(&mut self, max: usize) -> Result<&'a [u8], Malformed> {
        match self.0.len() <= max {
            true => Ok(std::mem::take(&mut self.0)),
            false => Err(Malformed),
        }
    }

    fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(any::<u8>(), 0..300)
    }

    proptest! {
        #[test]
        fn no_packet_makes_either_side_panic_and_what_is_understood_is_said_back_the_same(packet in bytes()) {
            let mut again = Vec::new();
            if let Ok(request) = Request::decode(&packet) {
                request.encode(&mut again);
                prop_assert_eq!(Request::decode(&again), Ok(request));
            }
            if let Ok(reply) = Reply::decode(&packet) {
                reply.encode(&mut again);
                prop_assert_eq!(Reply::decode(&again), Ok(reply));
            }
        }

        #[test]
        fn a_packet_cut_short_or_with_more_behind_is_malformed(signal in 1..65i32, timeout_ms: u32, extra: u8) {
            let mut packet = Vec::new();
            Request::Stop { signal, timeout_ms }.encode(&mut packet);
            prop_assert_eq!(Request::decode(&packet), Ok(Request::Stop { signal, timeout_ms }));
            for length in 0..packet.len() {
                prop_assert_eq!(Request::decode(&packet[..length]), Err(Malformed));
            }
            packet.push(extra);
            prop_assert_eq!(Request::decode(&packet), Err(Malformed));
        }

        #[test]
        fn errors_survive_whatever_they_say(doing: String, because: String, hint: String, kind in 0..11u8) {
            let hint = Some(hint).filter(|hint| !hint.is_empty());
            let error = Error { doing, because, hint, kind: Kind::from_number(kind) };
            let mut packet = Vec::new();
            Reply::Error(error.clone()).encode(&mut packet);
            prop_assert_eq!(Reply::decode(&packet), Ok(Reply::Error(error)));
        }
    }

    #[test]
    fn everything_that_can_be_said_is_understood() {
        let size = Size { rows: 24, cols: 80 };
        let requests = [
            Request::Hello { version: VERSION },
            Request::Launch(b"{}"),
            Request::Start,
            Request::Attach { streams: Streams::ALL, size: None },
            Request::Attach { streams: Streams::OUTPUT, size: Some(size) },
            Request::Stdin(b"text"),
            Request::StdinEof,
            Request::Resize(size),
            Request::Signal(9),
            Request::Detach,
            Request::Wait,
            Request::Ping,
            Request::Stop { signal: 15, timeout_ms: 10_000 },
            Request::Hangup(Stream::Stderr),
            Request::Settled,
            Request::Policy(Restart::No),
            Request::Policy(Restart::OnFailure { max: 3 }),
            Request::Policy(Restart::Always),
            Request::Policy(Restart::UnlessStopped),
        ];
        let mut packet = Vec::new();
        for request in requests {
            request.encode(&mut packet);
            assert_eq!(Request::decode(&packet), Ok(request));
        }
        let replies = [
            Reply::Born { pid: 41 },
            Reply::Created { pid: 42 },
            Reply::Started,
            Reply::Attached { terminal: true, stdin: false },
            Reply::Stdout(b"out"),
            Reply::Stderr(b"err"),
            Reply::StdinTaken(7),
            Reply::Exit(Status { code: 137, signal: Some(9), oom: true }),
            Reply::Exit(Status { code: 0, signal: None, oom: false }),
            Reply::Error(Error::new("doing", "because").hint("hint").kind(Kind::ProgramNotFound)),
            Reply::Pong { phase: Phase::Restarting, pid: 0 },
        ];
        for reply in replies {
            reply.encode(&mut packet);
            assert_eq!(Reply::decode(&packet), Ok(reply));
        }
    }

    #[test]
    fn an_error_too_long_for_a_packet_is_cut_at_a_character() {
        let error = Error::new("é".repeat(20_000), "ü".repeat(20_000)).hint("ß".repeat(20_000));
        let mut packet = Vec::new();
        Reply::Error(error).encode(&mut packet);
        assert!(packet.len() <= MESSAGE_MAX);
        assert!(matches!(Reply::decode(&packet), Ok(Reply::Error(error)) if error.doing.chars().all(|c| c == 'é')));
    }
}
