// SPDX-License-Identifier: Apache-2.0
//! The client's side: start a holder, find one, talk to it.
//!
//! Runs in `kelp`. A [`Connection`] is one socket; its calls block, and none of them starts a thread.

mod birth;
mod direct;
mod keys;
mod relay;
mod terminal;

use crate::Restart;
use crate::error::{Doing, Error, Kind};
use crate::launch::{socket_address, socket_path};
use crate::protocol::{MESSAGE_MAX, Phase, Reply, Request, Size, Status, VERSION};
pub use birth::{KEPT_MAX, Waiting, launch};
pub use direct::{Direct, Ends, Parted};
use kelp_sys::rustix::fs::{FlockOperation, flock};
use kelp_sys::rustix::io::Errno;
use kelp_sys::rustix::net::sockopt::socket_peercred;
use kelp_sys::rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect as connect_socket, recv, send, socket_with,
};
use kelp_sys::rustix::process::geteuid;
pub use keys::DetachKeys;
pub use relay::{Ended, Relay};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
pub use terminal::size as terminal_size;

/// A conversation with the holder of one container.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    id: String,
    pid: i32,
    /// We started the holder.
    launched: bool,
    /// The holder has said something.
    heard: bool,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
}

/// Finds the holder of a container.
///
/// # Errors
/// [`Kind::NoSuchContainer`]: nobody holds it (any more): see [`Exit::read`](crate::Exit::read).
pub fn connect(run: &Path, id: &str) -> Result<Connection, Error> {
    let path = socket_path(run, id);
    let doing = || format!("cannot reach the holder of container {id}");
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).doing(doing)?;
    let (address, _folder) = socket_address(&run.join(id)).map_err(|because| match because.kind() {
        std::io::ErrorKind::NotFound => Error::new(doing(), because).kind(Kind::NoSuchContainer),
        _ => Error::new(doing(), because),
    })?;
    connect_socket(&socket, &address).map_err(|errno| {
        let error = Error::new(doing(), format!("connect({}): {errno}", path.display()));
        match errno {
            Errno::NOENT | Errno::CONNREFUSED | Errno::NOTDIR => error.kind(Kind::NoSuchContainer),
            Errno::ACCESS | Errno::PERM => error.kind(Kind::Permission),
            _ => error,
        }
    })?;
    let peer = socket_peercred(&socket).doing(doing)?.uid.as_raw();
    check_peer(peer, geteuid().as_raw()).map_err(|because| Error::new(doing(), because).kind(Kind::Permission))?;
    let mut connection = Connection::new(socket, id);
    connection.send(&Request::Hello { version: VERSION })?;
    Ok(connection)
}

/// What we say to a holder is what somebody types into his container: another user who listens in its place gets none of it.
fn check_peer(peer: u32, us: u32) -> Result<(), String> {
    if peer == us || peer == 0 { Ok(()) } else { Err(format!("user {peer} answers there, not {us}")) }
}

/// Whether a holder lives for this container folder: it has a lock on `lock` for as long as it does.
pub fn is_held(container: &Path) -> Result<bool, Error> {
    let path = container.join("lock");
    let doing = || format!("cannot see whether {} is held", path.display());
    let lock = match File::open(&path) {
        Ok(lock) => lock,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error).doing(doing),
    };
    // Shared, and given back at once: the holder tolerates it (see holder/place.rs).
    match flock(&lock, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(Errno::WOULDBLOCK) => Ok(true),
        Err(errno) => Err(errno).doing(doing),
    }
}

impl Connection {
    fn new(socket: OwnedFd, id: &str) -> Connection {
        Connection {
            socket,
            id: id.to_owned(),
            pid: 0,
            launched: false,
            heard: false,
            outgoing: Vec::new(),
            incoming: vec![0; MESSAGE_MAX],
        }
    }

    /// The pid of the container's init, if this connection launched it.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Runs the program.
    ///
    /// # Errors
    /// [`Kind::ProgramNotFound`], [`Kind::ProgramNotExecutable`] and others: [`Kind::exit_status`] tells them apart.
    /// The container is over then, and its record written.
    pub fn start(&mut self) -> Result<(), Error> {
        self.send(&Request::Start)?;
        match self.receive()? {
            Reply::Started => Ok(()),
            Reply::Exit(status) => Err(Error::new(
                "cannot start the container",
                format!("its first process has ended already, with status {}", status.code),
            )
            .kind(Kind::NotRunning)),
            other => Err(unexpected(&other)),
        }
    }

    /// Sends the program a signal, and returns when it has been sent.
    pub fn signal(&mut self, signal: i32) -> Result<(), Error> {
        self.send(&Request::Signal(signal))?;
        self.tell(&Request::Ping)?;
        match self.receive()? {
            // The signal may have been the end.
            Reply::Pong { .. } | Reply::Exit(_) => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Tells the container's terminal its size.
    pub fn resize(&mut self, size: Size) -> Result<(), Error> {
        self.send(&Request::Resize(size))
    }

    /// Sends `signal`, after the timeout SIGKILL (`None`: never), waits for the end. No restart follows.
    pub fn stop(&mut self, signal: i32, timeout: Option<std::time::Duration>) -> Result<Status, Error> {
        let timeout_ms = timeout.map_or(u32::MAX, |timeout| u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX - 1));
        self.exit(&Request::Stop { signal, timeout_ms })
    }

    /// Waits until the container is over.
    pub fn wait(&mut self) -> Result<Status, Error> {
        self.exit(&Request::Wait)
    }

    /// Changes the restart policy of the container as it runs.
    ///
    /// # Errors
    /// [`Kind::Unsupported`]: it had none, and its holder cannot make it anew.
    pub fn set_restart(&mut self, policy: Restart) -> Result<(), Error> {
        self.send(&Request::Policy(policy))?;
        match self.receive()? {
            Reply::Pong { .. } | Reply::Exit(_) => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// How far the container has come, and its init's pid.
    pub fn ping(&mut self) -> Result<(Phase, i32), Error> {
        self.send(&Request::Ping)?;
        match self.receive()? {
            Reply::Pong { phase, pid } => Ok((phase, pid)),
            other => Err(unexpected(&other)),
        }
    }

    /// After the end: this client has cleaned up, `on_exit` need not run.
    pub fn settled(&mut self) -> Result<(), Error> {
        self.send(&Request::Settled)
    }

    /// Sends one message, waiting for room.
    pub fn send(&mut self, request: &Request<'_>) -> Result<(), Error> {
        let mut packet = std::mem::take(&mut self.outgoing);
        request.encode(&mut packet);
        let sent = self.send_raw(&packet);
        self.outgoing = packet;
        sent
    }

    /// Sends one message. A holder that has left has said why before: that is received next, and is what counts.
    fn tell(&mut self, request: &Request<'_>) -> Result<(), Error> {
        match self.send(request) {
            Err(error) if matches!(error.kind, Kind::Lost | Kind::NoSuchContainer) => Ok(()),
            sent => sent,
        }
    }

    /// Sends a packet as it is, for tests of what the holder makes of nonsense.
    #[doc(hidden)]
    pub fn send_raw(&self, packet: &[u8]) -> Result<(), Error> {
        loop {
            return match send(&self.socket, packet, SendFlags::NOSIGNAL) {
                Ok(_) => Ok(()),
                Err(Errno::INTR) => continue,
                Err(errno @ (Errno::PIPE | Errno::CONNRESET)) => Err(self.lost(errno)),
                Err(errno) => Err(errno).doing(|| format!("cannot send to the holder of container {}", self.id)),
            };
        }
    }

    /// Receives one message, waiting for it. A [`Reply::Error`] comes as `Err`.
    pub fn receive(&mut self) -> Result<Reply<'_>, Error> {
        let length = loop {
            match recv(&self.socket, &mut self.incoming[..], RecvFlags::TRUNC) {
                // ECONNRESET: it has left without having read all that we said. What it said before is still to come.
                Err(Errno::INTR | Errno::CONNRESET) => continue,
                Ok((_, 0)) => return Err(self.lost("it closed the connection")),
                Err(errno) => return Err(errno).doing(|| format!("cannot hear the holder of container {}", self.id)),
                Ok((_, length)) => break length,
            }
        };
        self.heard = true;
        let reply = self.incoming.get(..length).ok_or(crate::protocol::Malformed).and_then(Reply::decode);
        match reply.doing(|| format!("cannot understand the holder of container {}", self.id))? {
            Reply::Error(error) => Err(error),
            reply => Ok(reply),
        }
    }

    /// The status, whatever else is under way before it.
    fn exit(&mut self, request: &Request<'_>) -> Result<Status, Error> {
        self.tell(request)?;
        loop {
            if let Reply::Exit(status) = self.receive()? {
                return Ok(status);
            }
        }
    }

    fn lost(&self, because: impl std::fmt::Display) -> Error {
        Error::new(format!("cannot go on with container {}: its holder is gone", self.id), because)
            .hint(
                "shim.log in the container's folder may say why; the kernel's log, if it was killed for want of memory",
            )
            .kind(Kind::Lost)
    }
}

fn unexpected(reply: &Reply<'_>) -> Error {
    let word = match reply {
        Reply::Stdout(_) | Reply::Stderr(_) => "output".to_owned(),
        other => format!("{other:?}"),
    };
    Error::new("cannot go on with the holder", format!("it answered something else than was asked: {word}"))
}

#[cfg(test)]
mod tests {
    use super::check_peer;

    #[test]
    fn a_holder_of_another_user_is_not_spoken_to() {
        assert!(check_peer(1000, 1000).is_ok() && check_peer(0, 1000).is_ok());
        assert_eq!(check_peer(1001, 1000).unwrap_err(), "user 1001 answers there, not 1000");
        assert!(check_peer(1000, 0).is_err());
    }
}
