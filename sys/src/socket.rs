// SPDX-License-Identifier: Apache-2.0
//! Messages with descriptors over unix sockets.

use core::mem::MaybeUninit;
use rustix::cmsg_space;
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::io::{Errno, IoSlice, IoSliceMut};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

/// The most descriptors that one message carries here.
pub const MAX_FDS: usize = 4;

/// `sendmsg(socket, bytes, SCM_RIGHTS fds, MSG_NOSIGNAL)`, again on `EINTR`. See unix(7).
///
/// # Errors
/// `EINVAL` for more than [`MAX_FDS`] descriptors; `EPIPE` where nobody listens.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::INVAL);
    }
    rustix::io::retry_on_intr(|| sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL))
}

/// What [`receive`] got.
#[derive(Debug)]
pub struct Received {
    /// Bytes written to the buffer; 0 at the end of the stream.
    pub bytes: usize,
    /// Descriptors that came along, in order, close-on-exec.
    pub fds: [Option<OwnedFd>; MAX_FDS],
    /// Whether bytes or descriptors were lost because there was no room.
    pub truncated: bool,
}

/// `recvmsg(socket, buffer, SCM_RIGHTS, MSG_CMSG_CLOEXEC)`, again on `EINTR`. See unix(7).
///
/// A peer that ends with something of ours unread leaves `ECONNRESET`, and the kernel tells that before it gives what
/// the peer has said last: so it is asked once more.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<Received, Errno> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut once = || {
        rustix::io::retry_on_intr(|| {
            recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, RecvFlags::CMSG_CLOEXEC)
        })
    };
    let message = match once() {
        Err(Errno::CONNRESET) => once()?,
        result => result?,
    };
    let mut received = Received {
        bytes: message.bytes,
        fds: [None, None, None, None],
        truncated: message.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC),
    };
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = part {
            let mut places = received.fds.iter_mut();
            for fd in fds {
                match places.next() {
                    Some(place) => *place = Some(fd),
                    // Dropped here, and thereby closed.
                    None => received.truncated = true,
                }
            }
        }
    }
    Ok(received)
}
