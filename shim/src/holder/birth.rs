// SPDX-License-Identifier: Apache-2.0
//! From the socket on our standard input to a process of our own with a container to hold.
//!
//! Runs in kelp-shim, first of all. Until the launch has been read, errors can only go back over that socket.

use kelp_shim::protocol::{MESSAGE_MAX, Malformed, Reply, Request, VERSION};
use kelp_shim::{Doing, Error, Kind, Launch, client};
use kelp_sys::process::close_range;
use kelp_sys::rustix::fs::{Mode, OFlags, open};
use kelp_sys::rustix::io::{Errno, fcntl_dupfd_cloexec};
use kelp_sys::rustix::net::sockopt::socket_type;
use kelp_sys::rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, SocketType, recvmsg, send,
};
use kelp_sys::rustix::process::chdir;
use kelp_sys::rustix::stdio::{dup2_stdin, dup2_stdout, stdin};
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

/// The first descriptor after the standard ones.
const FIRST_FREE: u32 = 3;

/// What a holder is born with.
#[derive(Debug)]
pub(crate) struct Birth {
    pub(crate) launch: Launch,
    /// The client that started us.
    pub(crate) socket: OwnedFd,
    /// Descriptors to keep until we end, and to do nothing with.
    pub(crate) kept: Vec<OwnedFd>,
}

/// The socket that `client::launch` gave us for standard input, out of the way of the standard descriptors;
/// `None`: we were started by hand.
///
/// Whatever else was open in the command is closed: a pipe or a lock of a script that says `kelp run -d` must not
/// stay open for as long as the container lives.
pub(crate) fn inherited_socket() -> Option<OwnedFd> {
    socket_type(stdin()).ok().filter(|kind| *kind == SocketType::SEQPACKET)?;
    close_range(FIRST_FREE, u32::MAX).ok()?;
    fcntl_dupfd_cloexec(stdin(), FIRST_FREE.cast_signed()).ok()
}

/// Goes on as a program that no container can write (CVE-2019-5736): a container's init is cloned from us.
///
/// An ordinary user pays nothing where the program is root's, and with one process and one exec where it is his own.
pub(crate) fn become_unwritable() -> Result<(), Error> {
    kelp_runtime::own_binary::protect().map_err(super::backend::ours)
}

/// Leaves the terminal, the session and the folder of who started us.
pub(crate) fn leave_the_command() -> Result<(), Error> {
    let doing = || "cannot leave the session of the command";
    kelp_sys::daemon::into_own_session().doing(doing)?;
    chdir("/").doing(doing)?;
    let null = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).doing(doing)?;
    dup2_stdin(&null).and_then(|()| dup2_stdout(&null)).doing(doing)
}

/// Hears who we are to be.
pub(crate) fn hear(socket: OwnedFd) -> Result<Birth, (OwnedFd, Error)> {
    match launch_of(&socket) {
        Ok((launch, kept)) => Ok(Birth { launch, socket, kept }),
        Err(error) => Err((socket, error)),
    }
}

/// Says an error to a client that is connected to nothing else yet. If it is gone, so is everybody who wants to know.
pub(crate) fn refuse(socket: &OwnedFd, error: Error) {
    let mut packet = Vec::new();
    Reply::Error(error).encode(&mut packet);
    send(socket, &packet, SendFlags::NOSIGNAL).map(drop).unwrap_or_default();
}

/// Tells our client that a network can be made. A client that is gone, or does not take it, is found out when it matters.
pub(crate) fn announce(socket: &OwnedFd, pid: i32) {
    let mut packet = Vec::new();
    Reply::Born { pid }.encode(&mut packet);
    send(socket, &packet, SendFlags::NOSIGNAL | SendFlags::DONTWAIT).map(drop).unwrap_or_default();
}

fn launch_of(socket: &OwnedFd) -> Result<(Launch, Vec<OwnedFd>), Error> {
    let doing = || "cannot understand what to hold";
    let mut packet = vec![0; MESSAGE_MAX];
    let (length, _) = receive(socket, &mut packet).doing(doing)?;
    match Request::decode(&packet[..length]).doing(doing)? {
        Request::Hello { version: VERSION } => {}
        Request::Hello { version } => return Err(other_version(version)),
        _ => return Err(Error::new(doing(), Malformed).kind(Kind::BadInput)),
    }
    let (length, kept) = receive(socket, &mut packet).doing(doing)?;
    let Ok(Request::Launch(json)) = Request::decode(&packet[..length]) else {
        return Err(Error::new(doing(), Malformed).kind(Kind::BadInput));
    };
    let launch: Launch = serde_json::from_slice(json).doing(doing).map_err(|error| error.kind(Kind::BadInput))?;
    check(&launch)?;
    Ok((launch, kept))
}

/// What a client of another version is told.
pub(crate) fn other_version(version: u8) -> Error {
    Error::new("cannot talk to this client", format!("it speaks version {version} of the protocol, we speak {VERSION}"))
        .hint("kelp and kelp-shim belong to one installation; containers started by an older one must end first")
        .kind(Kind::Unsupported)
}

/// We have left the caller's folder, and the id becomes a file name.
fn check(launch: &Launch) -> Result<(), Error> {
    let bad = |because: String| Err(Error::new("cannot hold this container", because).kind(Kind::BadInput));
    for path in [&launch.container, &launch.bundle, &launch.run] {
        if !path.is_absolute() {
            return bad(format!("the path {} is not absolute", path.display()));
        }
    }
    match launch.id.as_str() {
        "" | "." | ".." => bad("its id is empty".to_owned()),
        id if id.contains(['/', '\0']) => bad(format!("its id {id:?} is no file name")),
        _ => Ok(()),
    }
}

fn receive(socket: &OwnedFd, packet: &mut [u8]) -> Result<(usize, Vec<OwnedFd>), Errno> {
    let mut space = [MaybeUninit::uninit(); kelp_sys::rustix::cmsg_space!(ScmRights(client::KEPT_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let into = &mut [IoSliceMut::new(packet)];
        match recvmsg(socket, into, &mut control, RecvFlags::CMSG_CLOEXEC | RecvFlags::TRUNC) {
            Err(Errno::INTR) => {}
            other => break other?,
        }
    };
    if received.bytes == 0 || received.bytes > packet.len() {
        return Err(if received.bytes == 0 { Errno::CONNRESET } else { Errno::MSGSIZE });
    }
    let mut kept = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            kept.extend(fds);
        }
    }
    Ok((received.bytes, kept))
}
