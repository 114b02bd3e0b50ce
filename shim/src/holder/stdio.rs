// SPDX-License-Identifier: Apache-2.0
//! The program's standard streams, as the holder has them: pipes, or the master of a pty.
//!
//! Runs in kelp-shim. Our ends never block; the program's ends are other open files and block as it expects.

use super::backend::Streams;
use kelp_shim::protocol::Stream;
use kelp_shim::{Doing, Error, Launch, Size, Stdin};
use kelp_sys::pty;
use kelp_sys::rustix::fs::{Mode, OFlags, fcntl_setfl, open};
use kelp_sys::rustix::io::{Errno, dup, read, write};
use kelp_sys::rustix::pipe::{PipeFlags, pipe_with};
use kelp_sys::term::{self, Winsize};
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The number of no client.
const NOBODY: u64 = u64::MAX;
/// What a terminal takes as the end of input (ctrl-d).
const END_OF_TRANSMISSION: u8 = 4;

/// Our ends.
#[derive(Debug, Default)]
pub(crate) struct Stdio {
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    pub(crate) input: Input,
    /// The pty's other end, held open while the container lives: a program that closes its terminal for a moment
    /// (systemd reopens /dev/console) is not a terminal's end.
    peer: Option<OwnedFd>,
    terminal: bool,
}

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    Bytes(usize),
    Nothing,
    /// Every writer has closed it.
    End,
}

impl Stdio {
    /// New streams for a container, and our ends of them.
    pub(crate) fn prepare(launch: &Launch) -> Result<(Streams, Stdio), Error> {
        let doing = || format!("cannot make standard streams for container {}", launch.id);
        if launch.terminal {
            return Ok((Streams::Terminal, Stdio { terminal: true, ..Stdio::default() }));
        }
        let pipe = || pipe_with(PipeFlags::CLOEXEC);
        let (stdout, their_stdout) = pipe().doing(doing)?;
        let (stderr, their_stderr) = match launch.joined {
            true => (None, dup_cloexec(their_stdout.as_fd()).doing(doing)?),
            false => pipe().map(|(ours, theirs)| (Some(ours), theirs)).doing(doing)?,
        };
        let (their_stdin, stdin) = match launch.stdin {
            Stdin::Null => (open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).doing(doing)?, None),
            Stdin::Once | Stdin::Keep => pipe().map(|(theirs, ours)| (theirs, Some(ours))).doing(doing)?,
        };
        for ours in [Some(&stdout), stderr.as_ref(), stdin.as_ref()].into_iter().flatten() {
            fcntl_setfl(ours, OFlags::NONBLOCK).doing(doing)?;
        }
        let input = Input { fd: stdin, ..Input::default() };
        let ours = Stdio { stdout: Some(stdout), stderr, input, ..Stdio::default() };
        Ok((Streams::Three([their_stdin, their_stdout, their_stderr]), ours))
    }

    /// Takes the master of the pty that the runtime has made.
    pub(crate) fn take_console(&mut self, master: OwnedFd, launch: &Launch) -> Result<(), Error> {
        let doing = || format!("cannot use the terminal of container {}", launch.id);
        fcntl_setfl(&master, OFlags::NONBLOCK | OFlags::RDWR).doing(doing)?;
        // Without it we only mistake a terminal closed by all for one that has ended.
        self.peer = pty::peer(master.as_fd()).ok();
        if launch.stdin != Stdin::Null {
            self.input.fd = Some(dup_cloexec(master.as_fd()).doing(doing)?);
            self.input.terminal = true;
        }
        self.stdout = Some(master);
        Ok(())
    }

    pub(crate) fn output(&self, stream: Stream) -> Option<BorrowedFd<'_>> {
        match stream {
            Stream::Stdout => self.stdout.as_ref(),
            Stream::Stderr => self.stderr.as_ref(),
        }
        .map(AsFd::as_fd)
    }

    /// Closes our end: the program's next write to it fails with EPIPE.
    pub(crate) fn close_output(&mut self, stream: Stream) {
        match stream {
            Stream::Stdout => self.stdout = None,
            Stream::Stderr => self.stderr = None,
        }
    }

    pub(crate) fn read(&self, stream: Stream, buffer: &mut [u8]) -> Output {
        let Some(fd) = self.output(stream) else { return Output::End };
        match read(fd, buffer) {
            Ok(0) => Output::End,
            Ok(length) => Output::Bytes(length),
            Err(Errno::AGAIN | Errno::INTR) => Output::Nothing,
            // EIO is how a pty says that nobody has its other end open.
            Err(_) => Output::End,
        }
    }

    /// The program has ended: from now on a terminal ends too.
    pub(crate) fn let_terminal_end(&mut self) {
        self.peer = None;
    }

    pub(crate) fn has_output(&self) -> bool {
        self.stdout.is_some() || self.stderr.is_some()
    }

    pub(crate) fn resize(&self, size: Size) -> Result<(), Errno> {
        match &self.stdout {
            Some(master) if self.terminal => {
                let size = Winsize { ws_row: size.rows, ws_col: size.cols, ws_xpixel: 0, ws_ypixel: 0 };
                term::set_size(master, size)
            }
            _ => Ok(()),
        }
    }
}

fn dup_cloexec(fd: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let copy = dup(fd)?;
    kelp_sys::rustix::io::fcntl_setfd(&copy, kelp_sys::rustix::io::FdFlags::CLOEXEC)?;
    Ok(copy)
}

/// Input on its way from clients to the program.
#[derive(Debug, Default)]
pub(crate) struct Input {
    /// `None`: the program takes no input (any more).
    fd: Option<OwnedFd>,
    terminal: bool,
    queue: VecDeque<Portion>,
    /// End of file follows the queue.
    ends: bool,
}

#[derive(Debug)]
struct Portion {
    client: u64,
    bytes: Vec<u8>,
    written: usize,
}

impl Input {
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(AsFd::as_fd)
    }

    pub(crate) fn has_bytes(&self) -> bool {
        !self.queue.is_empty()
    }

    pub(crate) fn push(&mut self, client: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        match self.queue.back_mut() {
            Some(last) if last.client == client => last.bytes.extend_from_slice(bytes),
            _ => self.queue.push_back(Portion { client, bytes: bytes.to_vec(), written: 0 }),
        }
    }

    /// Frees what a client that has left has typed and the program has not taken: a pipe or terminal full of it is before that.
    pub(crate) fn forget(&mut self, client: u64) {
        self.queue.retain(|portion| portion.client != client);
        self.queue.shrink_to_fit();
    }

    /// No input follows what is queued.
    pub(crate) fn end(&mut self) {
        if self.terminal {
            // One is enough, however many clients have said it.
            self.forget(NOBODY);
            self.push(NOBODY, &[END_OF_TRANSMISSION]);
        } else {
            self.ends = true;
        }
    }

    /// The program reads no more.
    pub(crate) fn close(&mut self) {
        self.fd = None;
    }

    /// Writes what the program takes now. Calls `taken` with each client and the bytes of its that are done with:
    /// written, or thrown away because nobody will read them.
    pub(crate) fn write_some(&mut self, mut taken: impl FnMut(u64, usize)) {
        while let Some(portion) = self.queue.front_mut() {
            let rest = &portion.bytes[portion.written..];
            let done = match self.fd.as_ref().map(|fd| write(fd, rest)) {
                None => rest.len(),
                Some(Ok(written)) => written,
                Some(Err(Errno::AGAIN | Errno::INTR)) => return,
                Some(Err(_)) => {
                    self.fd = None;
                    rest.len()
                }
            };
            taken(portion.client, done);
            portion.written += done;
            if portion.written == portion.bytes.len() {
                self.queue.pop_front();
            }
        }
        if self.ends {
            self.fd = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Input into a pipe that nobody reads.
    fn full() -> (Input, OwnedFd) {
        let (theirs, ours) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
        while write(&ours, &[0; 4096]).is_ok() {}
        (Input { fd: Some(ours), ..Input::default() }, theirs)
    }

    #[test]
    fn input_of_clients_that_left_is_not_kept() {
        let (mut input, _theirs) = full();
        for client in 1..=3000 {
            input.push(client, &[b'x'; 65536]);
            input.write_some(|_, _| {});
            input.forget(client);
        }
        assert!(!input.has_bytes() && input.queue.capacity() < 64, "{}", input.queue.capacity());
    }

    #[test]
    fn what_the_others_have_typed_stays_and_one_letter_is_no_portion() {
        let (mut input, _theirs) = full();
        for client in [1, 2] {
            (0..1000).for_each(|_| input.push(client, b"x"));
        }
        assert_eq!(input.queue.len(), 2);
        input.forget(1);
        assert_eq!((input.queue.len(), input.queue[0].bytes.len()), (1, 1000));
    }
}
