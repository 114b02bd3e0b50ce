// SPDX-License-Identifier: Apache-2.0
//! Descriptors that come over a unix socket: terminals, processes.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

/// Waits for a connection; returns the one descriptor that comes over it, and the text that it comes with.
pub fn receive_descriptor(listener: &UnixListener) -> (OwnedFd, String) {
    let (connection, _) = listener.accept().expect("somebody connects");
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut data = [0; 4096];
    let mut buffers = [IoSliceMut::new(&mut data)];
    let message = rustix::net::recvmsg(&connection, &mut buffers, &mut ancillary, RecvFlags::CMSG_CLOEXEC);
    let bytes = message.expect("a message comes").bytes;
    let fds: Vec<OwnedFd> = ancillary
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(fds.len(), 1, "one descriptor is sent");
    let text = String::from_utf8_lossy(&data[..bytes]).into_owned();
    (fds.into_iter().next().expect("just counted"), text)
}
