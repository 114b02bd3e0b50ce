// SPDX-License-Identifier: Apache-2.0
//! `kelp run --init`: the first process of a container whose program does not know how to be one.
//!
//! Runs in the container, as /sbin/docker-init: reaps what is orphaned, passes signals on to the program, and ends as it ends.
//! Kernel: pid_namespaces(7), "The namespace init process".

use crate::say;
use kelp_sys::process::signal_process;
use kelp_sys::rustix::event::{PollFd, PollFlags, poll};
use kelp_sys::rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, kill_process_group, pidfd_open, wait,
};
use kelp_sys::rustix::stdio::stdin;
use kelp_sys::rustix::termios::{tcgetpgrp, tcsetpgrp};
use kelp_sys::sigaction::{Caught, Ignored};
use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

/// The name by which the program is executed inside, which is Docker's.
const NAME: &str = "docker-init";
const SIGCHLD: i32 = 17;
const SIGTTIN: i32 = 21;
const SIGTTOU: i32 = 22;
/// What stays as it is: what cannot be caught (KILL, STOP), what the kernel sends us for a fault of our own (ILL, TRAP, ABRT,
/// BUS, FPE, SEGV, PIPE, SYS), and what a terminal says to who is in the background (TTIN, TTOU).
const OWN: [i32; 12] = [9, 19, 4, 5, 6, 7, 8, 11, 13, 31, 21, 22];

/// Whether this is what we were executed for.
pub(crate) fn is_asked() -> bool {
    let name = std::env::args_os().next();
    name.is_some_and(|name| Path::new(&name).file_name().is_some_and(|name| name == NAME))
}

/// Runs the program that the command line names after `--`.
pub(crate) fn run() -> ExitCode {
    let mut words = std::env::args_os().skip(1).skip_while(|word| word == "--");
    let Some(program) = words.next() else {
        say(&format_args!("error: {NAME} -- PROGRAM [ARG...]"));
        return ExitCode::FAILURE;
    };
    // 32 and 33 belong to libc's threads.
    let passed: Vec<i32> = (1..=31).chain(34..=64).filter(|signal| !OWN.contains(signal)).collect();
    let caught = match Caught::new(&passed, Ignored::Catch) {
        Ok(caught) => caught,
        Err(errno) => {
            say(&format_args!("error: cannot catch signals: {errno}"));
            return ExitCode::FAILURE;
        }
    };
    match begin(&program, words.collect()) {
        Ok(child) => serve(&caught, child),
        Err((why, status)) => {
            say(&format_args!("error: cannot run {}: {why}", program.display()));
            ExitCode::from(status)
        }
    }
}

/// Starts the program in a process group of its own, in the foreground of our terminal: what is typed there is for it alone.
fn begin(program: &OsString, args: Vec<OsString>) -> Result<Pid, (std::io::Error, u8)> {
    let child = Command::new(program).args(args).process_group(0).spawn().map_err(|error| {
        let status = if error.kind() == ErrorKind::NotFound { 127 } else { 126 };
        (error, status)
    })?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).unwrap_or(Pid::INIT);
    if tcsetpgrp(stdin(), pid).is_ok() {
        // It may have read before, and been stopped for it.
        kill_process_group(pid, Signal::CONT).ok();
    }
    Ok(pid)
}

/// Until the program ends. What else is there then, the kernel ends with us.
fn serve(caught: &Caught, child: Pid) -> ExitCode {
    // Without one (an old kernel's filter): signals are not passed on, and all the rest works.
    let pidfd = pidfd_open(child, PidfdFlags::empty()).ok();
    loop {
        let mut ready = [PollFd::from_borrowed_fd(caught.as_fd(), PollFlags::IN)];
        // EINTR: a signal, whose number is in the pipe now.
        poll(&mut ready, None).ok();
        while let Some(signal) = caught.take() {
            if let (Some(pidfd), false) = (&pidfd, signal == SIGCHLD) {
                // It may have just ended: that is heard next.
                signal_process(pidfd.as_fd(), signal).ok();
            }
        }
        if let Some(status) = reap(child) {
            return status;
        }
    }
}

/// All that have ended; the program's status if it is among them.
fn reap(child: Pid) -> Option<ExitCode> {
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
        match status.stopping_signal() {
            Some(signal) if pid == child => go_on(child, signal),
            Some(_) => {}
            None if pid == child => return Some(exit_code(status)),
            None => {}
        }
    }
    None
}

/// A shell that saw itself in the background before we gave it the terminal may stop after we have: nobody else would wake it.
fn go_on(child: Pid, signal: i32) {
    if matches!(signal, SIGTTIN | SIGTTOU) && tcgetpgrp(stdin()) == Ok(child) {
        kill_process_group(child, Signal::CONT).ok();
    }
}

fn exit_code(status: WaitStatus) -> ExitCode {
    let code = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal)).unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}
