// SPDX-License-Identifier: Apache-2.0
//! From a holder's start to a container that waits to be started.
//!
//! Runs in `kelp`. The two steps are apart, so that the holder's own start costs nothing while its container's folder
//! is still being made.

use super::{Connection, unexpected};
use crate::error::{Doing, Error, Kind};
use crate::launch::Launch;
use crate::protocol::{MESSAGE_MAX, Reply, Request, VERSION};
use kelp_sys::rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sendmsg, socketpair,
};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// How many descriptors can be handed to the holder.
pub const KEPT_MAX: usize = 8;

/// A holder that waits to hear what to hold. Dropped before [`Waiting::launch`], it ends.
#[derive(Debug)]
pub struct Waiting {
    socket: OwnedFd,
    child: Child,
}

impl Waiting {
    /// Starts a holder, by the path of `kelp-shim`, for the container of this id.
    ///
    /// # Errors
    /// It cannot be executed.
    pub fn start(shim: &Path, id: &str) -> Result<Waiting, Error> {
        let (socket, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .doing(|| format!("cannot start a holder for container {id}"))?;
        let child = Command::new(shim).arg(id).stdin(theirs).stdout(Stdio::null()).spawn();
        let child = child.map_err(|because| {
            Error::new(format!("cannot start the holder {}", shim.display()), because)
                .hint("kelp-shim belongs beside kelp or in PATH; KELP_SHIM=PATH names another")
        })?;
        Ok(Waiting { socket, child })
    }

    /// Has it create the container, and waits until that exists: its network can be made then, or already when `on_birth` is
    /// called with its pid, at most once, before.
    ///
    /// `kept` stays open in the holder until it ends. Dropping the connection before [`Connection::start`] tears the
    /// container down.
    ///
    /// # Errors
    /// Whatever keeps the runtime from creating the container, as the runtime says it.
    pub fn launch(self, launch: &Launch, kept: &[OwnedFd], on_birth: &mut dyn FnMut(i32)) -> Result<Connection, Error> {
        let doing = || format!("cannot start a holder for container {}", launch.id);
        let json = serde_json::to_vec(launch).doing(doing)?;
        if json.len() >= MESSAGE_MAX || kept.len() > KEPT_MAX {
            return Err(Error::new(doing(), "its configuration does not fit one message").kind(Kind::BadInput));
        }
        let mut connection = Connection::new(self.socket, &launch.id);
        connection.launched = true;
        let created = connection.introduce(&json, kept).and_then(|()| connection.created(on_birth));
        let spawned = reap(self.child);
        created.map_err(|error| match (error.kind, spawned) {
            (Kind::Lost, Err(why)) => Error::new(doing(), why).kind(Kind::Lost),
            _ => error,
        })?;
        Ok(connection)
    }
}

/// Starts a holder and has it create the container: [`Waiting::start`] and [`Waiting::launch`] in one.
///
/// # Errors
/// Those of both.
pub fn launch(shim: &Path, launch: &Launch, kept: &[OwnedFd]) -> Result<Connection, Error> {
    Waiting::start(shim, &launch.id)?.launch(launch, kept, &mut drop)
}

/// The process that we spawned leaves at once and its child is the holder: without this wait it would be a zombie.
fn reap(mut child: Child) -> Result<(), String> {
    match child.wait() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("kelp-shim ended at once ({status})")),
        Err(error) => Err(error.to_string()),
    }
}

impl Connection {
    fn introduce(&mut self, launch: &[u8], kept: &[OwnedFd]) -> Result<(), Error> {
        self.send(&Request::Hello { version: VERSION })?;
        let kept: Vec<BorrowedFd<'_>> = kept.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); kelp_sys::rustix::cmsg_space!(ScmRights(KEPT_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !kept.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(&kept));
        }
        Request::Launch(launch).encode(&mut self.outgoing);
        sendmsg(&self.socket, &[IoSlice::new(&self.outgoing)], &mut control, SendFlags::NOSIGNAL)
            .map(drop)
            .map_err(|errno| self.lost(errno))
    }

    fn created(&mut self, on_birth: &mut dyn FnMut(i32)) -> Result<(), Error> {
        loop {
            match self.receive()? {
                Reply::Born { pid } => on_birth(pid),
                Reply::Created { pid } => {
                    self.pid = pid;
                    return Ok(());
                }
                other => return Err(unexpected(&other)),
            }
        }
    }
}
