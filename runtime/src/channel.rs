// SPDX-License-Identifier: Apache-2.0
//! The runtime's end of the channel to init.

use crate::error::{Doing, Error, Result};
use kelp_init::{ORDER_SIZE, Order, REPORT_SIZE, Report};
use kelp_sys::memory::Pages;
use kelp_sys::rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use kelp_sys::rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::cell::RefCell;
use std::collections::VecDeque;

/// Our end.
#[derive(Debug)]
pub(crate) struct Channel {
    socket: OwnedFd,
    /// What was said before it was asked for: see `hear_birth`.
    early: RefCell<VecDeque<Heard>>,
}

/// What init said.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A report, and the descriptor that came with it.
    Report(Report, Option<OwnedFd>),
    /// Init closed its end: it executed the program, or died without a word.
    Closed,
}

/// Where init will put our last word: made before the clone, which copies it.
pub(crate) fn space() -> Result<Pages> {
    Pages::map(ORDER_SIZE).doing(|| "cannot have memory for init".into())
}

impl Channel {
    /// The pair: ours, and init's.
    pub(crate) fn open() -> Result<(Self, OwnedFd)> {
        let (ours, inits) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .doing(|| "cannot open the channel to init".into())?;
        Ok((Self { socket: ours, early: RefCell::default() }, inits))
    }

    /// The next report.
    pub(crate) fn hear(&self) -> Result<Heard> {
        let early = self.early.borrow_mut().pop_front();
        early.map_or_else(|| self.receive(), Ok)
    }

    /// The helper's report of a birth; without one, the last word of either. Who is born runs by then and may be the first to
    /// speak, of its terminal or of its end: that is heard next.
    pub(crate) fn hear_birth(&self) -> Result<Heard> {
        loop {
            match self.receive()? {
                birth @ Heard::Report(Report::Born(_), _) => return Ok(birth),
                Heard::Closed => return Ok(self.early.borrow_mut().pop_front().unwrap_or(Heard::Closed)),
                other => self.early.borrow_mut().push_back(other),
            }
        }
    }

    fn receive(&self) -> Result<Heard> {
        let mut buffer = [0; REPORT_SIZE];
        let received = match kelp_sys::socket::receive(self.socket.as_fd(), &mut buffer) {
            // Init ended with an order of ours unread.
            Err(kelp_sys::rustix::io::Errno::CONNRESET) => return Ok(Heard::Closed),
            other => other.doing(|| "cannot hear from init".into())?,
        };
        if received.bytes == 0 {
            return Ok(Heard::Closed);
        }
        let [fd, ..] = received.fds;
        let report = Report::decode(&buffer)
            .ok_or_else(|| Error::new("cannot understand what init reports").because(format!("{buffer:?}")))?;
        Ok(Heard::Report(report, fd))
    }

    /// Sends an order. An init that has stopped cannot hear it; its last report says why, and is read next.
    pub(crate) fn say(&self, order: Order<'_>, fds: &[BorrowedFd<'_>]) -> Result<()> {
        let header = order.header();
        let sent = match order {
            Order::Finish { filter, .. } if !filter.is_empty() => {
                let message = [header.as_slice(), filter].concat();
                kelp_sys::socket::send(self.socket.as_fd(), &message, fds)
            }
            _ => kelp_sys::socket::send(self.socket.as_fd(), &header, fds),
        };
        match sent {
            Ok(_) | Err(kelp_sys::rustix::io::Errno::PIPE | kelp_sys::rustix::io::Errno::CONNRESET) => Ok(()),
            Err(errno) => Err(errno).doing(|| "cannot give init an order".into()),
        }
    }
}
