// SPDX-License-Identifier: Apache-2.0
//! A terminal of the test's own, with a person in front of it who types and reads.

use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::command::{Command, Running};

/// The master side of a pseudo terminal.
#[derive(Debug)]
pub struct Terminal {
    master: OwnedFd,
    seen: Vec<u8>,
}

impl Terminal {
    /// Starts `command` on a new terminal of this size, as its controlling terminal.
    pub fn start(command: Command<'_>, rows: u16, columns: u16) -> (Terminal, Running<'_>) {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("openpt");
        grantpt(&master).expect("grantpt");
        unlockpt(&master).expect("unlockpt");
        let terminal = Terminal { master, seen: Vec::new() };
        terminal.resize(rows, columns);
        let running = command.on_terminal([terminal.slave(), terminal.slave(), terminal.slave()]).spawn();
        (terminal, running)
    }

    /// A terminal whose master was handed over, by `--console-socket` say.
    pub fn of_master(master: OwnedFd) -> Terminal {
        Terminal { master, seen: Vec::new() }
    }

    fn slave(&self) -> OwnedFd {
        let name = ptsname(&self.master, Vec::new()).expect("ptsname");
        let fd = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty());
        let fd = fd.expect("the slave can be opened");
        // The user who will run on it owns it, as login would have it.
        rustix::fs::fchmod(&fd, Mode::from_raw_mode(0o666)).expect("our own slave");
        fd
    }

    /// The person resizes the window.
    pub fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.master, size).expect("TIOCSWINSZ");
    }

    /// Whether what is typed is shown.
    pub fn echoes(&self) -> bool {
        let modes = rustix::termios::tcgetattr(&self.master).expect("tcgetattr");
        modes.local_modes.contains(rustix::termios::LocalModes::ECHO | rustix::termios::LocalModes::ISIG)
    }

    /// The person types.
    pub fn types(&self, keys: &[u8]) {
        let written = rustix::io::write(&self.master, keys).expect("the terminal takes input");
        assert_eq!(written, keys.len(), "the terminal took only a part");
    }

    /// Waits until the screen has shown `text` after what was shown before the last call.
    #[track_caller]
    pub fn shows(&mut self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(at) = find(&self.seen, text.as_bytes()) {
                self.seen.drain(..at + text.len());
                return;
            }
            let more = Instant::now() < deadline && self.read_more();
            assert!(more, "waited in vain for {text:?} on a terminal that shows\n{}", self.screen());
        }
    }

    /// Reads until the other side is closed, for half a minute at most.
    pub fn ends(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline && self.read_more() {}
    }

    /// What has been shown since the last match.
    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    /// Reads what comes within a second; false when the other side is closed.
    fn read_more(&mut self) -> bool {
        let mut fds = [PollFd::from_borrowed_fd(self.master.as_fd(), PollFlags::IN)];
        let second = Timespec { tv_sec: 1, tv_nsec: 0 };
        match poll(&mut fds, Some(&second)) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(errno) => panic!("poll: {errno}"),
        }
        let mut buffer = [0; 4096];
        match rustix::io::read(&self.master, &mut buffer) {
            Ok(0) | Err(rustix::io::Errno::IO) => false,
            Ok(count) => {
                self.seen.extend_from_slice(&buffer[..count]);
                true
            }
            Err(errno) => panic!("read from the terminal: {errno}"),
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
