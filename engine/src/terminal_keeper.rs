// SPDX-License-Identifier: Apache-2.0
//! Keeps the terminal of a program of `exec` that goes on when `kelp exec` has left it.
//!
//! A child of ours, which reads the master of the terminal and throws away what it reads, as Docker's daemon does, until nobody
//! has the terminal any more. Without it the program would get SIGHUP.

use crate::error::{Doing, Result};
use kelp_sys::process::close_range;
use kelp_sys::rustix::io::{Errno, read};
use kelp_sys::rustix::stdio::stdin;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// The hidden first argument.
const ARGUMENT: &str = "kelp-keep-terminal";

/// Starts the child with the master as its stdin.
pub fn keep(master: OwnedFd) -> Result<()> {
    let mut command = Command::new("/proc/self/exe");
    // A process group of its own: what the person's terminal tells his programs when he closes it is not meant for it.
    command.arg(ARGUMENT).stdin(master).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    command.spawn().map(drop).doing(|| "cannot start a helper to keep the program's terminal")
}

/// Keeps a terminal if this process was started to. For `main`, while there is one thread.
pub fn run_if_asked() -> Option<Result<()>> {
    let asked = std::env::args_os().nth(1).is_some_and(|word| word == ARGUMENT);
    asked.then(drain)
}

fn drain() -> Result<()> {
    // Whoever waits for the end of a pipe that the caller had open shall not wait for this program.
    close_range(3, u32::MAX).doing(|| "cannot close what the caller had open")?;
    kelp_sys::rustix::process::chdir(c"/").doing(|| "cannot leave the caller's folder")?;
    let mut buffer = [0; 4096];
    loop {
        match read(stdin(), &mut buffer) {
            Ok(0) | Err(Errno::IO) => return Ok(()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait()?,
            Err(errno) => return Err(errno).doing(|| "cannot read the program's terminal"),
        }
    }
}

/// Our stdin does not block: the master was relayed before.
fn wait() -> Result<()> {
    use kelp_sys::rustix::event::{PollFd, PollFlags, poll};
    match poll(&mut [PollFd::from_borrowed_fd(stdin(), PollFlags::IN)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno).doing(|| "cannot wait for the program's terminal"),
    }
}
