// SPDX-License-Identifier: Apache-2.0
//! The console socket: a unix stream socket of the caller, over which the runtime sends one descriptor, the master
//! end of the container's terminal.

use std::mem::MaybeUninit;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::{Value, json};

use crate::case::{Judged, Stop, ensure};
use crate::config::steps;
use crate::facts::Facts;
use crate::trial::{Trial, broken, wait_readable};

/// What came over a connection and the descriptors that came with it, until it is `enough`; and whether it has ended.
pub(crate) fn receive(
    stream: &UnixStream,
    patience: Duration,
    enough: impl Fn(&[u8]) -> bool,
) -> Judged<(String, Vec<OwnedFd>, bool)> {
    broken(stream.set_read_timeout(Some(patience)), "the socket")?;
    let (mut bytes, mut fds) = (Vec::new(), Vec::new());
    loop {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut chunk = [0; 4096];
        let got = recvmsg(stream, &mut [std::io::IoSliceMut::new(&mut chunk)], &mut ancillary, RecvFlags::CMSG_CLOEXEC);
        let got = match got {
            // Nothing more, but the other end is still open.
            Err(rustix::io::Errno::AGAIN) if !fds.is_empty() => {
                return Ok((String::from_utf8_lossy(&bytes).into_owned(), fds, false));
            }
            got => broken(got, "the socket")?.bytes,
        };
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                fds.extend(rights);
            }
        }
        if got == 0 {
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), fds, true));
        }
        bytes.extend_from_slice(&chunk[..got]);
        if !fds.is_empty() && enough(&bytes) {
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), fds, false));
        }
    }
}

/// The terminal's master end that `create --console-socket` sent.
pub(crate) fn accept(listener: &UnixListener, patience: Duration) -> Judged<OwnedFd> {
    let readable = wait_readable(&rustix::fd::AsFd::as_fd(listener), patience)?;
    ensure(readable, || "nobody connected to the console socket".into())?;
    let (stream, _) = broken(listener.accept(), "the console socket")?;
    let (_, mut fds, _) = receive(&stream, patience, |_| true)?;
    ensure(fds.len() == 1, || format!("{} descriptors came over the console socket, wanted 1", fds.len()))?;
    fds.pop().ok_or_else(|| Stop::Red("no descriptor came over the console socket".into()))
}

/// create with a terminal, start, wait, delete: what the probe saw and printed on the terminal.
pub(crate) fn look(t: &mut Trial<'_>, edit: impl FnOnce(&mut Value)) -> Judged<Facts> {
    let socket = t.path("console.sock");
    drop(std::fs::remove_file(&socket));
    let listener = broken(UnixListener::bind(&socket), "a socket")?;
    let bundle = t.bundle(|c| {
        c["process"]["terminal"] = json!(true);
        steps(c, &["report", "answer"]);
        edit(c);
    })?;
    let path = socket.to_string_lossy().into_owned();
    let container = t.create_in(&bundle, &["--console-socket", &path])?;
    let master = accept(&listener, t.patience)?;
    t.start(&container)?;
    let said = converse(&master, t.patience)?;
    t.wait(&container)?;
    t.delete(&container)?;
    t.facts_of(&said)
}

/// Reads a terminal until the last process has closed the other end (EIO), and answers the first line: what the
/// program said must not depend on what a hangup leaves.
pub(crate) fn converse(master: &OwnedFd, patience: Duration) -> Judged<String> {
    let (mut bytes, mut answered) = (Vec::new(), false);
    while wait_readable(master, patience)? {
        let mut chunk = [0; 65536];
        match rustix::io::read(master, &mut chunk) {
            Ok(0) | Err(_) => return Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Ok(n) => bytes.extend_from_slice(&chunk[..n]),
        }
        if !answered && bytes.contains(&b'\n') {
            answered = broken(rustix::io::write(master, b"\n"), "the terminal").is_ok();
        }
    }
    Err(Stop::Red("the terminal stayed open".into()))
}
