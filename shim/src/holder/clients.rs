// SPDX-License-Identifier: Apache-2.0
//! The connected clients, what each is owed, and the output on its way to them.
//!
//! Runs in kelp-shim. A client costs a fixed amount of memory, whatever it does: what it is owed is a set of facts, not
//! a queue of messages, and output lies in one [`Spool`] for all.

use kelp_shim::protocol::{Reply, STALL_LIMIT, Stream, Streams};
use kelp_shim::{Error, Kind, Phase, Status};
use kelp_sys::rustix::io::Errno;
use kelp_sys::rustix::net::{SendFlags, send};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::Instant;

/// How many clients there can be.
pub(crate) const CLIENTS_MAX: usize = 64;

/// Output that not every client has taken.
///
/// While the program runs there is room for one piece: nothing more is read until all have it, and so the program
/// feels who does not read. Once it has ended, what is left in its pipes is taken in at once.
#[derive(Debug, Default)]
pub(crate) struct Spool {
    pieces: VecDeque<Piece>,
    /// The number of the first piece.
    first: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Piece {
    stream: Stream,
    packet: Vec<u8>,
}

impl Spool {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The number the next piece will have.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.pieces.len() as u64
    }

    pub(crate) fn push(&mut self, stream: Stream, bytes: &[u8]) {
        let mut packet = Vec::new();
        match stream {
            Stream::Stdout => Reply::Stdout(bytes),
            Stream::Stderr => Reply::Stderr(bytes),
        }
        .encode(&mut packet);
        self.bytes += packet.len();
        self.pieces.push_back(Piece { stream, packet });
    }

    fn get(&self, number: u64) -> Option<&Piece> {
        usize::try_from(number.checked_sub(self.first)?).ok().and_then(|index| self.pieces.get(index))
    }

    /// Forgets what comes before piece `number`.
    pub(crate) fn forget_before(&mut self, number: u64) {
        while self.first < number
            && let Some(piece) = self.pieces.pop_front()
        {
            self.first += 1;
            self.bytes -= piece.packet.len();
        }
    }
}

/// What a client is still to be told. Sent in the order of the fields, output in between.
#[derive(Debug, Default)]
pub(crate) struct Owed {
    pub(crate) created: Option<i32>,
    /// (terminal, stdin)
    pub(crate) attached: Option<(bool, bool)>,
    pub(crate) started: bool,
    pub(crate) stdin_taken: u32,
    pub(crate) pong: Option<(Phase, i32)>,
    /// Sent after all output; the connection ends with it.
    pub(crate) last: Option<Last>,
}

/// The last thing a client hears.
#[derive(Clone, Debug)]
pub(crate) enum Last {
    Exit(Status),
    Error(Error),
    /// It has detached: nothing but the end of the connection.
    Silence,
}

/// One connected client.
#[derive(Debug)]
pub(crate) struct Client {
    /// Its number, never used again.
    pub(crate) id: u64,
    pub(crate) socket: OwnedFd,
    /// It launched the container.
    pub(crate) starter: bool,
    /// It has said Hello.
    pub(crate) greeted: bool,
    /// What it is attached to.
    pub(crate) streams: Streams,
    /// It wants to hear of the end.
    pub(crate) waits: bool,
    pub(crate) owed: Owed,
    /// Input from it that the program has not taken.
    pub(crate) stdin_under_way: usize,
    /// The piece of output it gets next.
    next: u64,
    stalled_since: Option<Instant>,
}

/// What became of an attempt to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// It has all it is owed.
    All,
    /// Its socket is full.
    Blocked,
    /// It has heard its last word.
    Finished,
    /// It is gone.
    Gone,
}

impl Client {
    pub(crate) fn new(id: u64, socket: OwnedFd, starter: bool) -> Client {
        Client {
            id,
            socket,
            starter,
            greeted: false,
            streams: Streams::default(),
            waits: starter,
            owed: Owed::default(),
            stdin_under_way: 0,
            next: u64::MAX,
            stalled_since: None,
        }
    }

    pub(crate) fn attach(&mut self, streams: Streams, spool: &Spool) {
        self.streams = streams;
        self.waits = true;
        self.next = spool.end();
    }

    pub(crate) fn wants(&self, stream: Stream) -> bool {
        match stream {
            Stream::Stdout => self.streams.stdout,
            Stream::Stderr => self.streams.stderr,
        }
    }

    /// The first piece of output that this client still needs.
    pub(crate) fn needs_from(&self) -> u64 {
        self.next
    }

    /// No more output for it: `last` is all that it will hear.
    pub(crate) fn dismiss(&mut self, last: Last) {
        self.streams = Streams::default();
        self.next = u64::MAX;
        self.stalled_since = None;
        self.owed.last = Some(last);
    }

    /// When its patience with a full socket ends; never for the client that started the container.
    pub(crate) fn stall_deadline(&self) -> Option<Instant> {
        self.stalled_since.filter(|_| !self.starter).map(|since| since + STALL_LIMIT)
    }

    /// Lets it go, so that the others and the program can go on.
    pub(crate) fn give_up_on(&mut self) {
        let error = Error::new("cannot go on showing the container's output", "this client read too slowly")
            .hint("the container goes on: kelp logs has what was missed")
            .kind(Kind::TooSlow);
        self.dismiss(Last::Error(error));
    }

    /// Whether there is something to send.
    pub(crate) fn is_owed(&self, spool: &Spool) -> bool {
        let Owed { created, attached, started, stdin_taken, pong, last } = &self.owed;
        let word = created.is_some() || attached.is_some() || *started || *stdin_taken > 0 || pong.is_some();
        word || last.is_some() || self.next < spool.end()
    }

    /// Sends what it is owed, as far as its socket takes it.
    pub(crate) fn flush(&mut self, spool: &Spool) -> Flushed {
        match self.try_flush(spool) {
            Ok(()) if self.owed.last.is_some() => Flushed::Finished,
            Ok(()) => Flushed::All,
            Err(Errno::AGAIN | Errno::NOBUFS | Errno::INTR) => Flushed::Blocked,
            Err(_) => Flushed::Gone,
        }
    }

    fn try_flush(&mut self, spool: &Spool) -> Result<(), Errno> {
        self.words()?;
        while let Some(piece) = spool.get(self.next) {
            if self.wants(piece.stream)
                && let Err(errno) = put(&self.socket, &piece.packet)
            {
                self.stalled_since.get_or_insert_with(Instant::now);
                return Err(errno);
            }
            self.stalled_since = None;
            self.next += 1;
        }
        match &self.owed.last {
            Some(Last::Exit(status)) => self.say(&Reply::Exit(*status)),
            Some(Last::Error(error)) => self.say(&Reply::Error(error.clone())),
            Some(Last::Silence) | None => Ok(()),
        }
    }

    fn words(&mut self) -> Result<(), Errno> {
        if let Some(pid) = self.owed.created {
            self.say(&Reply::Created { pid })?;
            self.owed.created = None;
        }
        if let Some((terminal, stdin)) = self.owed.attached {
            self.say(&Reply::Attached { terminal, stdin })?;
            self.owed.attached = None;
        }
        if self.owed.started {
            self.say(&Reply::Started)?;
            self.owed.started = false;
        }
        if self.owed.stdin_taken > 0 {
            self.say(&Reply::StdinTaken(self.owed.stdin_taken))?;
            self.owed.stdin_taken = 0;
        }
        if let Some((phase, pid)) = self.owed.pong {
            self.say(&Reply::Pong { phase, pid })?;
            self.owed.pong = None;
        }
        Ok(())
    }

    fn say(&self, reply: &Reply<'_>) -> Result<(), Errno> {
        let mut packet = Vec::new();
        reply.encode(&mut packet);
        put(&self.socket, &packet)
    }
}

fn put(socket: &OwnedFd, packet: &[u8]) -> Result<(), Errno> {
    send(socket, packet, SendFlags::NOSIGNAL | SendFlags::DONTWAIT).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kelp_sys::rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socketpair};
    use std::time::Duration;

    fn attached(starter: bool, spool: &Spool) -> (Client, OwnedFd) {
        let pair = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
        let (ours, theirs) = pair.unwrap();
        let mut client = Client::new(1, ours, starter);
        client.attach(Streams::OUTPUT, spool);
        (client, theirs)
    }

    /// Pieces until the client's socket takes no more.
    fn fill(client: &mut Client, spool: &mut Spool) -> u64 {
        while client.flush(spool) == Flushed::All {
            spool.push(Stream::Stdout, &[b'x'; 16 << 10]);
        }
        spool.end()
    }

    fn read_all(socket: &OwnedFd) -> Vec<Vec<u8>> {
        let mut packet = vec![0; 64 << 10];
        let mut all = Vec::new();
        while let Ok((_, length)) = recv(socket, &mut packet[..], RecvFlags::DONTWAIT) {
            all.push(packet[..length].to_vec());
        }
        all
    }

    #[test]
    fn only_who_started_the_container_may_stall_for_ever() {
        for starter in [true, false] {
            let mut spool = Spool::default();
            let (mut client, theirs) = attached(starter, &spool);
            assert_eq!(client.stall_deadline(), None);
            fill(&mut client, &mut spool);
            let deadline = client.stall_deadline();
            assert_eq!(deadline.is_none(), starter);
            if let Some(deadline) = deadline {
                assert!(deadline > Instant::now() + STALL_LIMIT - Duration::from_secs(5));
            }
            read_all(&theirs);
            assert_eq!((client.flush(&spool), client.stall_deadline()), (Flushed::All, None), "reading ends a stall");
        }
    }

    #[test]
    fn who_is_given_up_on_holds_up_nobody_and_is_told_when_it_reads_again() {
        let mut spool = Spool::default();
        let (mut client, theirs) = attached(false, &spool);
        let end = fill(&mut client, &mut spool);
        assert!(client.needs_from() < end);
        client.give_up_on();
        assert_eq!((client.needs_from(), client.flush(&spool)), (u64::MAX, Flushed::Blocked));
        read_all(&theirs);
        assert_eq!(client.flush(&spool), Flushed::Finished);
        let last = read_all(&theirs).pop().unwrap();
        assert!(matches!(Reply::decode(&last), Ok(Reply::Error(error)) if error.kind == Kind::TooSlow));
    }

    #[test]
    fn the_spool_forgets_what_all_have() {
        let mut spool = Spool::default();
        let (mut client, theirs) = attached(true, &spool);
        for text in ["one", "two"] {
            spool.push(Stream::Stdout, text.as_bytes());
        }
        assert_eq!(client.flush(&spool), Flushed::All);
        spool.forget_before(client.needs_from());
        assert_eq!((spool.bytes(), spool.end()), (0, 2));
        assert_eq!(read_all(&theirs), [b"1one".to_vec(), b"1two".to_vec()]);
    }
}
