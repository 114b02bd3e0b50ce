// SPDX-License-Identifier: Apache-2.0
//! As much of rtnetlink as moving a network device takes.
//!
//! Kernel: netlink(7), rtnetlink(7).

use kelp_sys::rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use kelp_sys::rustix::fs::{CWD, Mode, OFlags, openat};
use kelp_sys::rustix::io::{Errno, read, retry_on_intr, write};
use kelp_sys::rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use kelp_sys::rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Kinds of messages.
pub(crate) mod kind {
    /// `RTM_NEWLINK`
    pub(crate) const NEW_LINK: u16 = 16;
    /// `RTM_GETLINK`
    pub(crate) const GET_LINK: u16 = 18;
    /// `RTM_NEWADDR`
    pub(crate) const NEW_ADDRESS: u16 = 20;
    /// `RTM_GETADDR`
    pub(crate) const GET_ADDRESS: u16 = 22;
}

const REQUEST: u16 = 0x1;
const ACKNOWLEDGE: u16 = 0x4;
const DUMP: u16 = 0x300;
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// A socket to the network namespace in which it was opened, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Netlink(OwnedFd);

/// A message: its fixed part and its attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) fixed: Vec<u8>,
    pub(crate) attributes: Vec<(u16, Vec<u8>)>,
}

impl Message {
    /// `struct ifinfomsg` of this link: `flags` as they shall be where `change` has a bit.
    pub(crate) fn link(index: i32, flags: u32, change: u32) -> Self {
        let mut fixed = vec![0; 4];
        fixed.extend(index.to_ne_bytes());
        fixed.extend(flags.to_ne_bytes());
        fixed.extend(change.to_ne_bytes());
        Self { fixed, attributes: Vec::new() }
    }

    pub(crate) fn with(mut self, kind: u16, value: &[u8]) -> Self {
        self.attributes.push((kind, value.to_owned()));
        self
    }

    /// An attribute's bytes.
    pub(crate) fn attribute(&self, kind: u16) -> Option<&[u8]> {
        self.attributes.iter().find(|(known, _)| *known == kind).map(|(_, value)| value.as_slice())
    }

    /// The number at this place of the fixed part.
    pub(crate) fn number(&self, at: usize) -> Option<u32> {
        self.fixed.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
    }

    fn encode(&self, kind: u16, flags: u16, sequence: u32) -> Vec<u8> {
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(&self.fixed);
        for (kind, value) in &self.attributes {
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes.extend(((value.len() + 4) as u16).to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(value);
        }
        let length = bytes.len() as u32;
        bytes.splice(..4, length.to_ne_bytes());
        bytes
    }

    /// The message in these bytes, of which the first `fixed` are its fixed part.
    fn decode(bytes: &[u8], fixed: usize) -> Option<Self> {
        let (fixed, mut rest) = bytes.split_at_checked(fixed)?;
        let mut attributes = Vec::new();
        while let Some((length, kind)) = half(rest, 0).zip(half(rest, 2)) {
            let length = usize::from(length);
            let value = rest.get(4..length)?;
            // Without NLA_F_NESTED and NLA_F_NET_BYTEORDER.
            attributes.push((kind & 0x3fff, value.to_owned()));
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Some(Self { fixed: fixed.to_owned(), attributes })
    }
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

impl Netlink {
    /// In our network namespace.
    pub(crate) fn open() -> Result<Self, Errno> {
        // Without another: NETLINK_ROUTE.
        socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None).map(Self)
    }

    /// In this one: we enter it, and come back. Who may enter may come back; a thread for it would bring half of libc along.
    pub(crate) fn open_in(namespace: BorrowedFd<'_>) -> Result<Self, Errno> {
        let enter = |namespace| move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network));
        let ours = openat(CWD, c"/proc/thread-self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        enter(namespace)?;
        let socket = Self::open();
        enter(ours.as_fd())?;
        socket
    }

    /// Asks for a change.
    pub(crate) fn change(&self, kind: u16, flags: u16, message: &Message) -> Result<(), Errno> {
        self.exchange(&message.encode(kind, REQUEST | ACKNOWLEDGE | flags, 1), 0).map(drop)
    }

    /// All links, each with its name (`IFLA_IFNAME`, 3).
    pub(crate) fn links(&self) -> Result<Vec<Message>, Errno> {
        self.exchange(&Message::link(0, 0, 0).encode(kind::GET_LINK, REQUEST | DUMP, 1), 16)
    }

    /// All addresses of all links: `struct ifaddrmsg`.
    pub(crate) fn addresses(&self) -> Result<Vec<Message>, Errno> {
        let all = Message { fixed: vec![0; 8], attributes: Vec::new() };
        self.exchange(&all.encode(kind::GET_ADDRESS, REQUEST | DUMP, 1), 8)
    }

    fn exchange(&self, request: &[u8], fixed: usize) -> Result<Vec<Message>, Errno> {
        retry_on_intr(|| write(self.0.as_fd(), request))?;
        let (mut space, mut messages) = (vec![0; 65536], Vec::new());
        loop {
            let count = retry_on_intr(|| read(self.0.as_fd(), &mut *space))?;
            let datagram = space.get(..count).filter(|datagram| !datagram.is_empty()).ok_or(Errno::PROTO)?;
            if take(datagram, fixed, &mut messages)? == More::No {
                return Ok(messages);
            }
        }
    }
}

/// Whether an answer goes on in the next datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum More {
    Yes,
    No,
}

/// Takes the messages of a datagram, which the kernel aligns at four bytes.
fn take(datagram: &[u8], fixed: usize, messages: &mut Vec<Message>) -> Result<More, Errno> {
    let mut rest = datagram;
    while let Some((header, kind)) = rest.get(..4).zip(half(rest, 4)) {
        let length = header.try_into().map_or(0, u32::from_ne_bytes) as usize;
        let body = rest.get(16..length).ok_or(Errno::PROTO)?;
        match kind {
            DONE => return Ok(More::No),
            ERROR => match body.get(..4).and_then(|code| code.try_into().ok()).map(i32::from_ne_bytes) {
                Some(0) => return Ok(More::No),
                // The kernel's errors, negated.
                Some(code @ -4095..=-1) => return Err(Errno::from_raw_os_error(-code)),
                _ => return Err(Errno::PROTO),
            },
            _ => messages.push(Message::decode(body, fixed).ok_or(Errno::PROTO)?),
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(More::Yes)
}

/// For the fuzz targets: a datagram of links, and one of addresses.
pub(crate) fn read_foreign(datagram: &[u8]) {
    for fixed in [16, 8] {
        let mut messages = Vec::new();
        if let Err(errno) = take(datagram, fixed, &mut messages) {
            assert!((1..4096).contains(&errno.raw_os_error()), "{errno:?}");
        }
        for message in messages {
            // What was read can be said again, and is understood.
            let again = message.encode(kind::NEW_LINK, 0, 1);
            assert_eq!(Message::decode(&again[16..], fixed).as_ref(), Some(&message));
            drop((message.number(4), message.attribute(3).map(<[u8]>::to_owned)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let message = Message::link(7, 1, 1).with(3, b"eth0\0").with(28, &5_i32.to_ne_bytes());
        let bytes = message.encode(kind::NEW_LINK, 0, 1);
        assert_eq!(bytes.len(), 16 + 16 + 12 + 8);
        assert_eq!(Message::decode(&bytes[16..], 16).unwrap(), message);
        assert_eq!(message.number(4), Some(7));
        assert!(Message::decode(&bytes[16..bytes.len() - 1], 16).is_none());
    }

    #[test]
    fn an_error_that_is_no_errno_is_a_breach_of_the_protocol() {
        let answer = |code: i32| {
            let message = Message { fixed: code.to_ne_bytes().to_vec(), attributes: Vec::new() };
            take(&message.encode(ERROR, 0, 1), 16, &mut Vec::new())
        };
        assert_eq!(answer(0), Ok(More::No));
        assert_eq!(answer(-1), Err(Errno::PERM));
        // i32::MIN has no counterpart above zero: to negate it would panic, or give it back.
        for code in [1, -4096, i32::MIN, i32::MAX] {
            assert_eq!(answer(code), Err(Errno::PROTO), "{code}");
        }
    }

    #[test]
    fn every_machine_has_a_loopback_interface() {
        let links = Netlink::open().unwrap().links().unwrap();
        assert!(links.iter().any(|link| link.attribute(3) == Some(b"lo\0")), "{links:?}");
    }
}
