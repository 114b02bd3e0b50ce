// SPDX-License-Identifier: Apache-2.0
//! A second process of the holder's, with the rights that the holder itself gives up: see `confinement`.
//!
//! The holder reads what a hostile program writes; it keeps only what that takes. What takes more is known before the
//! program runs: start the container, delete it, run the launch's clean-up. This process does those three for one container,
//! each when told by one byte, and understands nothing else. It ends with the holder.

use super::backend::Backend;
use crate::complain;
use kelp_shim::protocol::{MESSAGE_MAX, Reply};
use kelp_shim::{Doing, Error, Launch};
use kelp_sys::daemon::{Forked, fork};
use kelp_sys::process::close_range;
use kelp_sys::rustix::io::Errno;
use kelp_sys::rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};
use kelp_sys::rustix::process::{Pid, WaitOptions, waitpid};
use kelp_sys::sigaction::Caught;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

const START: u8 = b's';
const DELETE: u8 = b'd';
const CLEAN_UP: u8 = b'c';

/// The process, as the holder sees it.
#[derive(Debug)]
pub(super) struct Hand {
    pid: i32,
    socket: OwnedFd,
}

impl Hand {
    /// Forks it. `caught`: the pipe of our signals, which stay caught there too, and mean as little.
    pub(super) fn fork(launch: &Launch, backend: &Backend, caught: &Caught) -> Result<Hand, Errno> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        match fork()? {
            Forked::Parent { pid } => Ok(Hand { pid, socket: ours }),
            Forked::Child => {
                // Sockets, the lock, the program's streams: none of them may live on here when the holder is gone.
                if let Err(errno) = close_all_but(&theirs, caught) {
                    complain(&format_args!("cannot close what is the holder's: {errno}"));
                    kelp_sys::clone::exit(1);
                }
                serve(&theirs, launch, backend)
            }
        }
    }

    /// As [`Backend::start`].
    pub(super) fn start(&self) -> Result<(), Error> {
        self.ask(START).and_then(|reply| reply)
    }

    /// As [`Backend::delete`].
    pub(super) fn delete(&self) -> Result<(), Error> {
        self.ask(DELETE).and_then(|reply| reply)
    }

    /// Makes it the launch's `on_exit`; returns the pid, whose end is that of the clean-up.
    pub(super) fn clean_up(&self) -> Result<i32, Error> {
        send(&self.socket, &[CLEAN_UP], SendFlags::NOSIGNAL).map(|_| self.pid).doing(doing)
    }

    /// Lets it end, and takes it in.
    pub(super) fn dismiss(self) {
        drop(self.socket);
        let ended = Pid::from_raw(self.pid).map(|pid| waitpid(Some(pid), WaitOptions::empty()));
        // ECHILD: it has been taken in with the others.
        if let Some(Err(errno)) = ended
            && errno != Errno::CHILD
        {
            complain(&format_args!("cannot wait for process {}: {errno}", self.pid));
        }
    }

    fn ask(&self, task: u8) -> Result<Result<(), Error>, Error> {
        send(&self.socket, &[task], SendFlags::NOSIGNAL).doing(doing)?;
        let mut packet = vec![0; MESSAGE_MAX];
        let length = loop {
            match recv(&self.socket, &mut *packet, RecvFlags::empty()) {
                Err(Errno::INTR) => {}
                received => break received.doing(doing)?.0,
            }
        };
        match Reply::decode(&packet[..length]) {
            Ok(Reply::Started) => Ok(Ok(())),
            Ok(Reply::Error(error)) => Ok(Err(error)),
            _ => Err(Error::new(doing(), "it has ended")),
        }
    }
}

fn doing() -> &'static str {
    "cannot reach the process that starts and deletes the container"
}

fn close_all_but(socket: &OwnedFd, caught: &Caught) -> Result<(), Errno> {
    let mut kept = [socket.as_fd(), caught.fds()[0], caught.fds()[1]].map(|fd| fd.as_raw_fd().cast_unsigned());
    kept.sort_unstable();
    let mut next = 3;
    for fd in kept {
        if fd > next {
            close_range(next, fd - 1)?;
        }
        next = fd + 1;
    }
    close_range(next, u32::MAX)
}

/// Runs in the new process.
fn serve(socket: &OwnedFd, launch: &Launch, backend: &Backend) -> ! {
    // It sleeps until the container starts, and then until it ends: by far the most of its life.
    loop {
        kelp_sys::memory::trim_heap();
        kelp_sys::memory::forget_text();
        let mut task = [0];
        let done = match recv(socket, &mut task[..], RecvFlags::empty()) {
            Err(Errno::INTR) => continue,
            Ok((_, 1)) => match task[0] {
                START => backend.start(),
                DELETE => backend.delete(),
                CLEAN_UP => kelp_sys::clone::exit(become_on_exit(launch)),
                _ => kelp_sys::clone::exit(2),
            },
            // The holder is gone, or has no more to do for us.
            _ => kelp_sys::clone::exit(0),
        };
        let mut packet = Vec::new();
        match done {
            Ok(()) => Reply::Started.encode(&mut packet),
            Err(error) => Reply::Error(error).encode(&mut packet),
        }
        if send(socket, &packet, SendFlags::NOSIGNAL).is_err() {
            kelp_sys::clone::exit(1);
        }
    }
}

fn become_on_exit(launch: &Launch) -> i32 {
    let Some((program, args)) = launch.on_exit.split_first() else { return 0 };
    let error = Command::new(program).args(args).stdin(Stdio::null()).exec();
    complain(&format_args!("cannot run on_exit {program}: {error}"));
    127
}
