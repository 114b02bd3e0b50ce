// SPDX-License-Identifier: Apache-2.0
//! Starts programs and takes the time until they end.
//!
//! `Command::spawn` without a pre-exec closure is glibc's posix_spawn (a vfork): its cost does not depend on the size
//! of this program. A pidfd bounds the wait, so that a runtime that hangs costs ten seconds and a `fail`, not the run.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::error::{Doing, Error, Result};

/// How long anything may take before it counts as hung.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A command line to be timed, and the folder to start it in.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) argv: Vec<OsString>,
    pub(crate) dir: PathBuf,
    /// Added to the environment.
    pub(crate) env: Vec<(OsString, OsString)>,
    /// How long it may take before it counts as hung.
    pub(crate) patience: Duration,
}

impl Line {
    pub(crate) fn new<S: AsRef<OsStr>>(dir: &Path, argv: impl IntoIterator<Item = S>) -> Self {
        let argv = argv.into_iter().map(|a| a.as_ref().to_owned()).collect();
        Self { argv, dir: dir.to_owned(), env: Vec::new(), patience: PATIENCE }
    }

    /// The same command with `before` in front of it (`setpriv … --`, `meter`).
    pub(crate) fn under<S: AsRef<OsStr>>(mut self, before: impl IntoIterator<Item = S>) -> Self {
        self.argv.splice(0..0, before.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    pub(crate) fn shown(&self) -> String {
        self.argv.iter().map(|a| a.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    fn command(&self, errors: &Path) -> Result<Command> {
        let program = self.argv.first().ok_or_else(|| Error::new("cannot start a command", "it is empty"))?;
        let errors = File::create(errors).doing(|| format!("cannot open {}", errors.display()))?;
        let mut command = Command::new(program);
        command.args(&self.argv[1..]).current_dir(&self.dir).envs(self.env.iter().map(|(k, v)| (k, v)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        Ok(command)
    }
}

/// A program that was started, and when.
struct Started {
    child: Child,
    pidfd: OwnedFd,
    at: Instant,
}

fn start(line: &Line, errors: &Path) -> Result<Started> {
    let mut command = line.command(errors)?;
    let at = Instant::now();
    let child = command.spawn().doing(|| format!("cannot start {}", line.shown()))?;
    let pidfd = pidfd_of(&child)?;
    Ok(Started { child, pidfd, at })
}

fn pidfd_of(child: &Child) -> Result<OwnedFd> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| Error::new("cannot watch a child", "its pid is no pid"))?;
    pidfd_open(pid, PidfdFlags::empty()).doing(|| "cannot watch a child".into())
}

/// Waits until one of `fds` is readable; `false`: patience ran out first.
fn wait_for(fds: &mut [PollFd<'_>], until: Instant) -> Result<bool> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        match poll(fds, Some(&left)) {
            Ok(n) => return Ok(n > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(Error::new("cannot wait for a child", e)),
        }
    }
}

/// Milliseconds from before the spawn until the program had ended with status 0; else why not.
pub(crate) fn time(line: &Line, errors: &Path) -> Result<std::result::Result<f64, String>> {
    let mut started = start(line, errors)?;
    let ended = wait_for(&mut [PollFd::new(&started.pidfd, PollFlags::IN)], started.at + line.patience)?;
    if !ended {
        started.child.kill().doing(|| format!("cannot end {}", line.shown()))?;
    }
    let status = started.child.wait().doing(|| format!("cannot wait for {}", line.shown()))?;
    let ms = started.at.elapsed().as_secs_f64() * 1e3;
    Ok(match ended {
        true => verdict(ms, status, errors),
        false => Err(format!("hung for {} s", line.patience.as_secs())),
    })
}

fn verdict(ms: f64, status: ExitStatus, errors: &Path) -> std::result::Result<f64, String> {
    match status.success() {
        true => Ok(ms),
        false => Err(format!("{status}: {}", last_words(errors))),
    }
}

/// The last line a program wrote to stderr: usually the one that says why.
fn last_words(errors: &Path) -> String {
    let said = fs::read_to_string(errors).unwrap_or_default();
    said.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("(it said nothing)").to_owned()
}

/// Starts all at once; the time of each, from the first start of all until its own end.
pub(crate) fn time_crowd(lines: &[Line], errors: &Path) -> Result<Vec<std::result::Result<f64, String>>> {
    let mut crowd = Vec::with_capacity(lines.len());
    for (n, line) in lines.iter().enumerate() {
        let errors = errors.with_extension(n.to_string());
        crowd.push((start(line, &errors)?, errors, None));
    }
    let until = Instant::now() + PATIENCE * 3;
    while crowd.iter().any(|c| c.2.is_none()) {
        let mut fds: Vec<_> = crowd.iter().map(|c| PollFd::new(&c.0.pidfd, PollFlags::IN)).collect();
        // An ended one stays readable for ever: ask only for those still running.
        for (fd, one) in fds.iter_mut().zip(&crowd) {
            if one.2.is_some() {
                *fd = PollFd::new(&one.0.pidfd, PollFlags::empty());
            }
        }
        let in_time = wait_for(&mut fds, until)?;
        let ended: Vec<_> = fds.iter().map(|f| f.revents().contains(PollFlags::IN)).collect();
        for (one, ended) in crowd.iter_mut().zip(ended) {
            if one.2.is_none() && (ended || !in_time) {
                one.2 = Some(reap(&mut one.0, &one.1, ended)?);
            }
        }
    }
    for (_, errors, _) in &crowd {
        fs::remove_file(errors).doing(|| format!("cannot remove {}", errors.display()))?;
    }
    Ok(crowd.into_iter().filter_map(|c| c.2).collect())
}

fn reap(started: &mut Started, errors: &Path, ended: bool) -> Result<std::result::Result<f64, String>> {
    let ms = started.at.elapsed().as_secs_f64() * 1e3;
    if !ended {
        started.child.kill().doing(|| "cannot end a child that hangs".into())?;
    }
    let status = started.child.wait().doing(|| "cannot wait for a child".into())?;
    Ok(match ended {
        true => verdict(ms, status, errors),
        false => Err("hung".into()),
    })
}

/// Runs a command that is not timed and gives its stdout; a non-zero status is an error.
pub(crate) fn output(line: &Line, errors: &Path) -> Result<String> {
    let out = line.command(errors)?.stdout(Stdio::piped()).output();
    let out = out.doing(|| format!("cannot start {}", line.shown()))?;
    match out.status.success() {
        true => Ok(String::from_utf8_lossy(&out.stdout).into_owned()),
        false => {
            Err(Error::new(format!("cannot run {}", line.shown()), format!("{}: {}", out.status, last_words(errors))))
        }
    }
}

/// Runs a command that is not timed and may leave children behind; a non-zero status is an error.
pub(crate) fn succeed(line: &Line, errors: &Path) -> Result<()> {
    match attempt(line, errors)? {
        status if status.success() => Ok(()),
        status => Err(Error::new(format!("cannot run {}", line.shown()), format!("{status}: {}", last_words(errors)))),
    }
}

/// Runs a command that may fail because there is nothing left to do (`delete` after a good run).
pub(crate) fn attempt(line: &Line, errors: &Path) -> Result<ExitStatus> {
    line.command(errors)?.status().doing(|| format!("cannot start {}", line.shown()))
}
