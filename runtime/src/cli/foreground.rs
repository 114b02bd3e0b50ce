// SPDX-License-Identifier: Apache-2.0
//! What a program in the foreground needs of us: its terminal relayed, signals passed on, its status returned.

use kelp_runtime::error::Doing;
use kelp_runtime::{Created, Error, Result, process};
use kelp_sys::rustix::event::{PollFd, PollFlags, Timespec, poll};
use kelp_sys::rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use kelp_sys::rustix::io::{Errno, read, retry_on_intr, write};
use kelp_sys::rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use kelp_sys::rustix::process::{getpid, set_child_subreaper};
use kelp_sys::rustix::stdio::{stdin, stdout};
use kelp_sys::rustix::termios::{Winsize, isatty, tcgetwinsize, tcsetwinsize};
use kelp_sys::term::Raw;
use oci_spec::runtime::{BoxBuilder, Process};
use std::path::Path;

const SIGCHLD: i32 = 17;
const SIGWINCH: i32 = 28;
/// Signals that are passed on. Those that a process raises itself, and the stop signals of a terminal, are not.
const PASSED_ON: [i32; 14] = [1, 2, 3, 10, 12, 13, 14, 15, 18, 23, SIGWINCH, 29, 30, SIGCHLD];

/// How many sockets systemd passes (sd_listen_fds(3)): they go on to the container.
pub(crate) fn passed_sockets() -> u32 {
    let ours = std::env::var("LISTEN_PID").ok().is_none_or(|pid| pid == std::process::id().to_string());
    let count = std::env::var("LISTEN_FDS").ok().and_then(|count| count.parse().ok());
    count.filter(|_| ours).unwrap_or(0)
}

/// The descriptors of `--preserve-fds` are there: those behind the sockets that were passed to us.
pub(crate) fn check_preserved(count: u32) -> Result<()> {
    let first = passed_sockets().saturating_add(3);
    for nth in 0..count {
        let path = format!("/proc/self/fd/{}", first.saturating_add(nth));
        std::fs::symlink_metadata(&path).map_err(|error| {
            Error::bad_input(format!("cannot use --preserve-fds {count}"))
                .because(format!("unable to stat preserved-fd {nth} (of {count}): stat {path}: {error}"))
                .hint("it counts the descriptors from 3 on that the caller has opened for the program")
        })?;
    }
    Ok(())
}

/// Orphans of a container without a pid namespace come to us, so that none outlives `run`.
pub(crate) fn become_subreaper() -> Result<()> {
    set_child_subreaper(Some(getpid())).doing(|| "cannot become the reaper of orphans".into())
}

/// Whether the terminal of the process has somewhere to go.
pub(crate) fn check_console(terminal: bool, detached: bool, socket: bool) -> Result<()> {
    match (terminal, detached, socket) {
        (true, true, false) => Err(Error::bad_input("cannot open a terminal for the process")
            .because("cannot allocate tty if runc will detach without setting console socket: nobody would hold it")
            .hint("give --console-socket, or set process.terminal to false")),
        (false, _, true) => Err(Error::bad_input("cannot use --console-socket")
            .because("cannot use console socket if runc will not detach or allocate tty: process.terminal is false")),
        _ => Ok(()),
    }
}

/// Where what belongs to a new process is sent.
#[derive(Debug)]
pub(crate) struct Sockets<'a> {
    /// `--console-socket`: gets the terminal's master.
    pub(crate) console: Option<&'a Path>,
    /// `--pidfd-socket`: gets the process.
    pub(crate) pidfd: Option<&'a Path>,
}

impl Sockets<'_> {
    /// Sends what was asked for. `life`: runc's word for it, the name that the pidfd is sent with.
    pub(crate) fn hand_over(&self, created: &mut Created, life: &str) -> Result<()> {
        if let Some(path) = self.pidfd {
            send(path, life.as_bytes(), created.pidfd.as_fd()).map_err(|errno| unsent("pidfd", path, errno))?;
        }
        if let Some(path) = self.console
            && let Some(master) = created.console.take()
        {
            send(path, b"/dev/ptmx", master.as_fd()).map_err(|errno| unsent("terminal", path, errno))?;
        }
        Ok(())
    }
}

/// With runc's words for it.
fn unsent(what: &str, path: &Path, errno: Errno) -> Error {
    let (path, cause) = (path.display(), std::io::Error::from(errno));
    Error::new(format!("cannot send the {what} to {path}")).because(format!("dial unix {path}: connect: {cause}"))
}

/// Sends a descriptor, and a name as runc does.
fn send(path: &Path, name: &[u8], fd: BorrowedFd<'_>) -> std::result::Result<(), Errno> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    kelp_sys::socket::send(socket.as_fd(), name, &[fd]).map(drop)
}

/// Holds back the signals that are passed on. To be called before the program begins, lest one ends us in its place.
pub(crate) fn hold_signals() -> Result<OwnedFd> {
    kelp_sys::signal::open(&PASSED_ON).doing(|| "cannot receive signals".into())
}

/// The program's terminal is as large as ours from its first instruction on, unless the spec says how large it is.
pub(crate) fn size_terminal(process: &mut Process) -> Result<()> {
    if process.terminal().unwrap_or(false) && process.console_size().is_none() {
        process.set_console_size(console_size()?);
    }
    Ok(())
}

/// The size of our terminal, as the spec writes it.
pub(crate) fn console_size() -> Result<Option<oci_spec::runtime::Box>> {
    let build = |size: Winsize| BoxBuilder::default().height(size.ws_row).width(size.ws_col).build();
    our_size()?.map(build).transpose().map_err(|error| Error::new("cannot size the terminal").because(error))
}

/// Stays with the program until it ends; returns its exit status, or 128 and the number of the signal that ended it.
pub(crate) fn accompany(created: &Created, signals: OwnedFd) -> Result<u8> {
    let raw = match &created.console {
        Some(_) if isatty(stdin()) => Some(Raw::enter(stdin()).doing(|| "cannot set the terminal to raw mode".into())?),
        _ => None,
    };
    let mut companion = Companion { created, signals, stdin_open: created.console.is_some(), master_open: true };
    while !companion.step()? {}
    companion.drain()?;
    drop(raw);
    let status = process::await_status(&created.pidfd)?;
    Ok(u8::try_from(status).unwrap_or(255))
}

/// Where our stdin is no terminal, the program's keeps the size it was made with.
fn copy_size(master: &OwnedFd) -> Result<()> {
    our_size()?.map_or(Ok(()), |size| tcsetwinsize(master, size).doing(|| "cannot set the size of the terminal".into()))
}

fn our_size() -> Result<Option<Winsize>> {
    match tcgetwinsize(stdin()) {
        Ok(size) => Ok(Some(size)),
        Err(Errno::NOTTY | Errno::INVAL | Errno::BADF) => Ok(None),
        Err(errno) => Err(errno).doing(|| "cannot read the size of the terminal".into()),
    }
}

struct Companion<'a> {
    created: &'a Created,
    signals: OwnedFd,
    stdin_open: bool,
    master_open: bool,
}

impl Companion<'_> {
    /// Waits for something to happen and sees to it. True when the program has ended.
    fn step(&mut self) -> Result<bool> {
        let master = self.created.console.as_ref().filter(|_| self.master_open);
        // What is not to be waited for stands in the list with no events asked.
        let idle = self.signals.as_fd();
        let (input_fd, input_flags) =
            if self.stdin_open { (stdin(), PollFlags::IN) } else { (idle, PollFlags::empty()) };
        let (output_fd, output_flags) =
            master.map_or((idle, PollFlags::empty()), |master| (master.as_fd(), PollFlags::IN));
        let mut fds = [
            PollFd::new(&self.created.pidfd, PollFlags::IN),
            PollFd::new(&self.signals, PollFlags::IN),
            PollFd::from_borrowed_fd(input_fd, input_flags),
            PollFd::from_borrowed_fd(output_fd, output_flags),
        ];
        match poll(&mut fds, None) {
            Err(Errno::INTR) => return Ok(false),
            other => other.doing(|| "cannot wait for the program".into())?,
        };
        let [ended, signal, input, output] = fds.map(|fd| !fd.revents().is_empty());
        if signal {
            self.pass_signals()?;
        }
        if input && self.stdin_open {
            self.pass_input()?;
        }
        if output && self.master_open {
            self.pass_output()?;
        }
        Ok(ended)
    }

    fn pass_signals(&self) -> Result<()> {
        while let Some((number, _)) =
            kelp_sys::signal::next(self.signals.as_fd()).doing(|| "cannot read a signal".into())?
        {
            match (number, &self.created.console) {
                (SIGCHLD, _) => {}
                (SIGWINCH, Some(master)) => copy_size(master)?,
                (number, _) => drop(process::signal(self.created.pidfd.as_fd(), number)?),
            }
        }
        Ok(())
    }

    fn pass_input(&mut self) -> Result<()> {
        let Some(master) = &self.created.console else { return Ok(()) };
        let mut buffer = [0; 4096];
        match retry_on_intr(|| read(stdin(), &mut buffer)) {
            // The end of our input is ^D for the program.
            Ok(0) => {
                self.stdin_open = false;
                write_all(master.as_fd(), &[4])
            }
            Ok(count) => write_all(master.as_fd(), &buffer[..count]),
            Err(errno) => Err(errno).doing(|| "cannot read stdin".into()),
        }
    }

    /// A terminal whose last slave is closed reads as an error: the end.
    fn pass_output(&mut self) -> Result<()> {
        let Some(master) = &self.created.console else { return Ok(()) };
        let mut buffer = [0; 65536];
        match retry_on_intr(|| read(master, &mut buffer)) {
            Ok(0) | Err(Errno::IO) => {
                self.master_open = false;
                Ok(())
            }
            Ok(count) => write_all(stdout(), &buffer[..count]),
            Err(errno) => Err(errno).doing(|| "cannot read the terminal".into()),
        }
    }

    /// What the program wrote before it ended is still in the terminal.
    fn drain(&mut self) -> Result<()> {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        while self.master_open {
            let Some(master) = &self.created.console else { return Ok(()) };
            let mut fds = [PollFd::new(master, PollFlags::IN)];
            if retry_on_intr(|| poll(&mut fds, Some(&now))).doing(|| "cannot read the terminal".into())? == 0 {
                return Ok(());
            }
            self.pass_output()?;
        }
        Ok(())
    }
}

/// Writes all of it. Somebody who does not read us any more is no error of the program.
fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        match retry_on_intr(|| write(to, bytes)) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::PIPE | Errno::IO) => return Ok(()),
            Err(Errno::AGAIN) => {
                let mut fds = [PollFd::from_borrowed_fd(to, PollFlags::OUT)];
                retry_on_intr(|| poll(&mut fds, None)).doing(|| "cannot wait for the terminal".into())?;
            }
            Err(errno) => return Err(errno).doing(|| "cannot pass on the terminal".into()),
        }
    }
    Ok(())
}
