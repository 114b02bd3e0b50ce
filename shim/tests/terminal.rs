// SPDX-License-Identifier: Apache-2.0
//! A person's terminal and a container's: raw mode, size, keys that detach. The person is the test, at a pty's master.
#![allow(clippy::unwrap_used, reason = "tests")]

mod harness;

use harness::{Container, signal, until};
use kelp_shim::protocol::Request;
use kelp_shim::{Phase, Size, Stdin};
use kelp_sys::rustix::fs::{OFlags, fcntl_setfl};
use kelp_sys::rustix::termios::{LocalModes, tcgetattr};
use kelp_sys::term::{Winsize, set_size};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

const SIGWINCH: i32 = 28;
const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

/// A terminal with a client at it.
struct Seat {
    master: File,
    slave: OwnedFd,
    seen: String,
}

impl Seat {
    fn new() -> Seat {
        let master = kelp_sys::pty::open().unwrap();
        let slave = kelp_sys::pty::peer(master.as_fd()).unwrap();
        fcntl_setfl(&master, OFlags::NONBLOCK | OFlags::RDWR).unwrap();
        let seat = Seat { master: File::from(master), slave, seen: String::new() };
        seat.resize(24, 80);
        seat
    }

    fn resize(&self, rows: u16, cols: u16) {
        set_size(&self.master, Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    }

    fn sit_down(&self, command: &mut Command) -> Child {
        let end = || self.slave.try_clone().unwrap();
        command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap()
    }

    fn type_in(&mut self, keys: &[u8]) {
        self.master.write_all(keys).unwrap();
    }

    /// Waits until the screen has shown this, and forgets it.
    fn see(&mut self, text: &str) {
        until(&format!("{text:?} on the screen"), || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = self.master.read(&mut bytes) {
                self.seen += &String::from_utf8_lossy(&bytes[..length]);
            }
            self.seen.contains(text)
        });
        self.seen.clear();
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(&self.slave).unwrap().local_modes.contains(LocalModes::ICANON)
    }
}

fn shell() -> Container {
    let mut container = Container::new("PS1='$ ' exec sh -i");
    container.launch.terminal = true;
    container.launch.stdin = Stdin::Keep;
    container
}

#[test]
fn a_shell_at_a_terminal_has_its_size_and_the_mode_comes_back() {
    let container = shell();
    let mut seat = Seat::new();
    seat.resize(33, 101);
    let mut client = seat.sit_down(&mut container.hold("run"));
    seat.see("$ ");
    assert!(seat.is_raw());
    seat.type_in(b"stty size; tty\r");
    seat.see("33 101\r\n/dev/pts/");
    seat.resize(44, 122);
    signal(i32::try_from(client.id()).unwrap(), SIGWINCH);
    // The size travels on its own way.
    seat.type_in(b"until stty size | grep '44 122'; do sleep 0.02; done\r");
    seat.see("\n44 122");
    seat.type_in(b"exit 8\r");
    assert_eq!(client.wait().unwrap().code(), Some(8));
    assert!(!seat.is_raw(), "the terminal is as it was");
    assert!(container.logged("stdout").contains("44 122"));
    container.assert_nothing_left();
}

#[test]
fn the_detach_keys_leave_the_container_running_and_one_can_come_back() {
    let container = shell();
    let mut seat = Seat::new();
    let mut client = seat.sit_down(&mut container.hold("run"));
    seat.see("$ ");
    seat.type_in(b"MARK=kept\r");
    seat.see("$ ");
    seat.type_in(b"\x10\x11");
    assert_eq!(client.wait().unwrap().code(), Some(0));
    assert!(!seat.is_raw());
    assert_eq!(container.connect().ping().unwrap().0, Phase::Running);

    let mut client = seat.sit_down(&mut container.later("attach"));
    until("raw mode", || seat.is_raw());
    seat.type_in(b"echo $MARK-$MARK\r");
    seat.see("kept-kept");
    // ctrl-c is a key here: it ends the command, not the client.
    seat.type_in(b"echo now-$MARK; sleep 60\r");
    seat.see("now-kept");
    seat.type_in(b"\x03");
    seat.see("$ ");
    seat.type_in(b"exit\r");
    client.wait().unwrap();
    assert!(!seat.is_raw());
    container.assert_nothing_left();
}

#[test]
fn a_signal_to_the_client_gives_the_terminal_back_when_the_program_ends() {
    let mut container = Container::new("trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done");
    container.launch.terminal = true;
    container.launch.stdin = Stdin::Once;
    let mut seat = Seat::new();
    let mut client = seat.sit_down(&mut container.hold("run"));
    seat.see("ready");
    signal(i32::try_from(client.id()).unwrap(), SIGTERM);
    assert_eq!(client.wait().unwrap().code(), Some(9));
    assert!(!seat.is_raw());
}

#[test]
fn a_terminal_closed_for_a_moment_has_not_ended() {
    let mut container = Container::new("exec </dev/null >/dev/null 2>&1; sleep 0.3; exec >/dev/tty; echo back; exit 5");
    container.launch.terminal = true;
    let output = container.hold("run").output().unwrap();
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(5), &b"back\r\n"[..]));
}

#[test]
fn a_terminal_that_goes_away_detaches() {
    let container = shell();
    let mut seat = Seat::new();
    let mut client = seat.sit_down(&mut container.hold("run"));
    seat.see("$ ");
    drop(seat);
    assert_eq!(client.wait().unwrap().code(), Some(0));
    assert_eq!(container.connect().ping().unwrap().0, Phase::Running);
    container.connect().stop(SIGKILL, None).unwrap();
    container.assert_nothing_left();
}

#[test]
fn a_flood_of_sizes_holds_up_nobody_and_the_last_one_counts() {
    let mut container = Container::new("until stty size | grep -q '77 99'; do sleep 0.02; done; sleep 0.5; exit 7");
    container.launch.terminal = true;
    container.start_detached();
    let mut flood = container.connect();
    let flooding = std::thread::spawn(move || {
        for number in 0..50_000 {
            flood.send(&Request::Resize(Size { rows: 24 + number % 20, cols: 80 })).unwrap();
        }
        flood.send(&Request::Resize(Size { rows: 77, cols: 99 })).unwrap();
    });
    let mut longest = Duration::ZERO;
    while !flooding.is_finished() {
        let begin = Instant::now();
        container.connect().ping().unwrap();
        longest = longest.max(begin.elapsed());
    }
    flooding.join().unwrap();
    assert!(longest < Duration::from_secs(2), "a ping took {longest:?}");
    assert_eq!(container.wait_for_record().code, 7);
    container.assert_nothing_left();
}
