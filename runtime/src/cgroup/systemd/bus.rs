// SPDX-License-Identifier: Apache-2.0
//! A connection to a message bus: one at a time, blocking, a handful of calls long.
//!
//! Spec: D-Bus specification, "Authentication protocol" and "Message bus".

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::{Error, Kind, error};
use super::wire::{self, Body, Callee, Message};

/// How long systemd may take for an answer or a job. As runc's.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whose systemd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bus {
    /// The machine's.
    System,
    /// The user's own.
    User,
}

impl Bus {
    fn name(self) -> &'static str {
        match self {
            Self::System => "the system bus",
            Self::User => "the user's bus",
        }
    }

    /// What to do where the bus is not there.
    fn hint(self) -> &'static str {
        match self {
            Self::System => "is systemd running, with dbus? Leave --systemd-cgroup out where it is not",
            Self::User => {
                "log in by a session of your own (not su or sudo), or let your systemd run without one: \
                 loginctl enable-linger; XDG_RUNTIME_DIR must be set"
            }
        }
    }

    /// Where it listens. The user's bus is where `DBUS_SESSION_BUS_ADDRESS` says, or in the runtime directory.
    fn addresses(self) -> Vec<SocketAddr> {
        let (variable, usual) = match self {
            Self::System => ("DBUS_SYSTEM_BUS_ADDRESS", Some(PathBuf::from("/run/dbus/system_bus_socket"))),
            Self::User => {
                let directory = std::env::var_os("XDG_RUNTIME_DIR");
                ("DBUS_SESSION_BUS_ADDRESS", directory.map(|directory| PathBuf::from(directory).join("bus")))
            }
        };
        let told = std::env::var_os(variable).unwrap_or_default();
        let told = told.as_bytes().split(|byte| *byte == b';').filter_map(address);
        told.chain(usual.and_then(|path| SocketAddr::from_pathname(path).ok())).collect()
    }
}

/// One address: `unix:path=/run/user/1000/bus,guid=…` or `unix:abstract=…`.
fn address(text: &[u8]) -> Option<SocketAddr> {
    let mut pairs = text.strip_prefix(b"unix:")?.split(|byte| *byte == b',');
    pairs.find_map(|pair| {
        if let Some(path) = pair.strip_prefix(b"path=") {
            return SocketAddr::from_pathname(PathBuf::from(OsString::from_vec(unescape(path)))).ok();
        }
        SocketAddr::from_abstract_name(unescape(pair.strip_prefix(b"abstract=")?)).ok()
    })
}

/// Undoes the `%20` of addresses.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => {
                plain.push(byte);
                rest = &after[2..];
            }
            None => {
                plain.push(*first);
                rest = after;
            }
        }
    }
    plain
}

/// Why a call was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// `org.freedesktop.systemd1.UnitExists`
    pub(super) name: String,
    /// For people.
    pub(super) text: String,
}

/// A connection that has said hello.
#[derive(Debug)]
pub(super) struct Connection {
    bus: Bus,
    socket: UnixStream,
    serial: u32,
    /// What was read and is not a whole message yet.
    unread: Vec<u8>,
    /// Signals that came while we waited for an answer.
    signals: Vec<Message>,
}

impl Connection {
    /// Connects and says who we are.
    pub(super) fn open(bus: Bus) -> Result<Self, Error> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "it has no address here");
        for address in bus.addresses() {
            match UnixStream::connect_addr(&address) {
                Ok(socket) => return Self::greet(bus, socket),
                Err(error) => last = error,
            }
        }
        Err(error(Kind::Unsupported, "cannot reach systemd", format!("{}: {last}", bus.name())).hint(bus.hint()))
    }

    fn greet(bus: Bus, socket: UnixStream) -> Result<Self, Error> {
        let mut connection = Self { bus, socket, serial: 0, unread: Vec::new(), signals: Vec::new() };
        connection.authenticate().map_err(|error| connection.lost(&error))?;
        let hello = Callee {
            service: "org.freedesktop.DBus",
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            method: "Hello",
        };
        let serial = connection.send(hello, &Body::default())?;
        connection.must(serial, "say hello to the message bus")?;
        Ok(connection)
    }

    /// EXTERNAL without a name: the bus takes our uid from the socket, as it is outside of any user namespace.
    fn authenticate(&mut self) -> io::Result<()> {
        self.socket.set_read_timeout(Some(PATIENCE))?;
        self.socket.set_write_timeout(Some(PATIENCE))?;
        self.socket.write_all(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")?;
        loop {
            let line = self.read_line()?;
            if line.starts_with(b"OK ") {
                return Ok(());
            }
            if !line.starts_with(b"DATA") {
                let said = String::from_utf8_lossy(&line).into_owned();
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("it does not know us: {said}")));
            }
        }
    }

    /// A line of the authentication, without its end.
    fn read_line(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|pair| pair == b"\r\n") {
                let mut line: Vec<u8> = self.unread.drain(..end + 2).collect();
                line.truncate(end);
                return Ok(line);
            }
            self.read_more()?;
        }
    }

    fn read_more(&mut self) -> io::Result<()> {
        let mut bytes = [0; 4096];
        match self.socket.read(&mut bytes) {
            Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it hung up")),
            Ok(length) => {
                self.unread.extend(&bytes[..length]);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer in {} seconds", PATIENCE.as_secs())))
            }
            Err(error) => Err(error),
        }
    }

    /// Sends a call; says under which number it will be answered. Several may be sent before the first answer is awaited.
    pub(super) fn send(&mut self, callee: Callee<'_>, body: &Body) -> Result<u32, Error> {
        self.serial += 1;
        let bytes = wire::call(self.serial, callee, body);
        self.socket.write_all(&bytes).map_err(|error| self.lost(&error))?;
        Ok(self.serial)
    }

    /// Waits for the answer to a call.
    pub(super) fn answer(&mut self, serial: u32) -> Result<Result<Message, Refusal>, Error> {
        loop {
            let message = self.next()?;
            match message.kind {
                wire::Kind::Signal => self.signals.push(message),
                wire::Kind::Return if message.reply_to == Some(serial) => return Ok(Ok(message)),
                wire::Kind::Error if message.reply_to == Some(serial) => {
                    let text = message.arguments().text().unwrap_or_default();
                    return Ok(Err(Refusal { name: message.error.unwrap_or_default(), text }));
                }
                // Answers nobody waited for.
                _ => {}
            }
        }
    }

    /// Waits for the answer to a call that is not expected to be refused.
    pub(super) fn must(&mut self, serial: u32, what: &str) -> Result<Message, Error> {
        self.answer(serial)?.map_err(|refusal| refused(&format!("cannot {what}"), &refusal))
    }

    /// Waits for a signal of this name whose arguments `is_it` says yes to.
    pub(super) fn signal<T>(&mut self, name: &str, is_it: impl Fn(&Message) -> Option<T>) -> Result<T, Error> {
        let matching = |message: &Message| (message.member.as_deref() == Some(name)).then(|| is_it(message)).flatten();
        for message in std::mem::take(&mut self.signals) {
            if let Some(found) = matching(&message) {
                return Ok(found);
            }
        }
        loop {
            let message = self.next()?;
            if let Some(found) = matching(&message) {
                return Ok(found);
            }
        }
    }

    fn next(&mut self) -> Result<Message, Error> {
        loop {
            let whole = match wire::message_length(&self.unread) {
                Err(why) => return Err(self.nonsense(why)),
                Ok(length) => length.filter(|length| *length <= self.unread.len()),
            };
            if let Some(length) = whole {
                let message = wire::parse(&self.unread[..length]);
                self.unread.drain(..length);
                return message.ok_or_else(|| self.nonsense("a message is malformed"));
            }
            self.read_more().map_err(|error| self.lost(&error))?;
        }
    }

    fn lost(&self, cause: &io::Error) -> Error {
        let because = format!("{}: {cause}", self.bus.name());
        error(Kind::Other, "cannot speak with systemd", because).hint(self.bus.hint())
    }

    fn nonsense(&self, why: &str) -> Error {
        error(Kind::Other, "cannot speak with systemd", format!("{}: {why}", self.bus.name()))
    }
}

/// The words for a refusal.
pub(super) fn refused(doing: &str, refusal: &Refusal) -> Error {
    let kind = match refusal.name.rsplit('.').next() {
        Some("UnitExists") => Kind::AlreadyExists,
        Some("AccessDenied" | "InteractiveAuthorizationRequired") => Kind::Permission,
        Some("InvalidArgs" | "PropertyReadOnly" | "UnknownProperty") => Kind::BadInput,
        _ => Kind::Other,
    };
    error(kind, doing, format!("systemd says: {} ({})", refusal.text, refusal.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_paths_or_abstract_names() {
        let path = address(b"unix:path=/run/user/1000/b%20us,guid=12").unwrap();
        assert_eq!(path.as_pathname().unwrap(), std::path::Path::new("/run/user/1000/b us"));
        assert_eq!(address(b"unix:abstract=/tmp/x").unwrap().as_abstract_name(), Some(b"/tmp/x".as_slice()));
        assert!(address(b"tcp:host=localhost,port=1").is_none());
        assert_eq!(unescape(b"%zz%2"), b"%zz%2");
    }
}
