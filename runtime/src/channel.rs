// SPDX-License-Identifier: Apache-2.0
//! The runtime's end of the channel to init.

use crate::error::{Doing, Error, Result};
use kelp_init::{Order, REPORT_SIZE, Report};
use kelp_sys::rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use kelp_sys::rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

/// Our end.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

/// What init said.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A report, and the descriptor that came with it.
    Report(Report, Option<OwnedFd>),
    /// Init closed its end: it executed the program, or died without a word.
    Closed,
}

impl Channel {
    /// The pair: ours, and init's.
    pub(crate) fn open() -> Result<(Self, OwnedFd)> {
        let (ours, inits) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .doing(|| "cannot open the channel to init".into())?;
        Ok((Self(ours), inits))
    }

    pub(crate) fn hear(&self) -> Result<Heard> {
        let mut buffer = [0; REPORT_SIZE];
        let received = match kelp_sys::socket::receive(self.0.as_fd(), &mut buffer) {
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
                kelp_sys::socket::send(self.0.as_fd(), &message, fds)
            }
            _ => kelp_sys::socket::send(self.0.as_fd(), &header, fds),
        };
        match sent {
            Ok(_) | Err(kelp_sys::rustix::io::Errno::PIPE | kelp_sys::rustix::io::Errno::CONNRESET) => Ok(()),
            Err(errno) => Err(errno).doing(|| "cannot give init an order".into()),
        }
    }
}
