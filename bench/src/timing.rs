// SPDX-License-Identifier: Apache-2.0
//! Starts programs and takes the time until they end.
//!
//! `Command::spawn` without a pre-exec closure is glibc's posix_spawn (a vfork): its cost does not depend on the size
//! of this program. A pidfd bounds every wait, so that a runtime that hangs costs its patience and a `fail`, not the run.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

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

    /// The same command, which may take longer.
    pub(crate) fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    fn hung(&self) -> String {
        format!("hung for {} s", self.patience.as_secs())
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

fn start(line: &Line, stdout: Stdio, errors: &Path) -> Result<Started> {
    let mut command = line.command(errors)?;
    command.stdout(stdout);
    let at = Instant::now();
    let child = command.spawn().doing(|| format!("cannot start {}", line.shown()))?;
    let pidfd = pidfd_of(&child)?;
    Ok(Started { child, pidfd, at })
}

impl Started {
    /// Waits for as long as `line` may take; how it ended, `None` when it hung.
    fn wait(&mut self, line: &Line) -> Result<Option<ExitStatus>> {
        let ended = wait_for(&mut [PollFd::new(&self.pidfd, PollFlags::IN)], self.at + line.patience)?;
        self.reap(ended)
    }

    /// What has not ended is killed, with all that it has started: `setpriv` and `meter` are not what hangs.
    fn reap(&mut self, ended: bool) -> Result<Option<ExitStatus>> {
        if !ended {
            for pid in descendants(self.child.id()).into_iter().filter_map(Pid::from_raw) {
                match kill_process(pid, Signal::KILL) {
                    // It has ended meanwhile, or is a set-user-id helper, which no user may end.
                    Ok(()) | Err(Errno::SRCH | Errno::PERM) => {}
                    Err(e) => return Err(Error::new(format!("cannot end {pid}, which hangs"), e)),
                }
            }
            self.child.kill().doing(|| "cannot end a child that hangs".into())?;
        }
        let status = self.child.wait().doing(|| "cannot wait for a child".into())?;
        Ok(ended.then_some(status))
    }
}

/// The processes below `pid`, without itself.
fn descendants(pid: u32) -> Vec<i32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|word| word.parse().ok());
    children.flat_map(|child: u32| descendants(child).into_iter().chain(i32::try_from(child))).collect()
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
            Err(Errno::INTR) => {}
            Err(e) => return Err(Error::new("cannot wait for a child", e)),
        }
    }
}

/// Milliseconds from before the spawn until the program had ended with status 0; else why not.
pub(crate) fn time(line: &Line, errors: &Path) -> Result<std::result::Result<f64, String>> {
    let mut started = start(line, Stdio::null(), errors)?;
    let status = started.wait(line)?;
    let ms = started.at.elapsed().as_secs_f64() * 1e3;
    Ok(status.ok_or_else(|| line.hung()).and_then(|status| verdict(ms, status, errors)))
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
        crowd.push((start(line, Stdio::null(), &errors)?, errors, None));
    }
    // They are in each other's way.
    let until = Instant::now() + lines.iter().map(|line| line.patience).max().unwrap_or_default() * 3;
    while crowd.iter().any(|one| one.2.is_none()) {
        // Not those that have ended: a pidfd says so for ever, whatever it is asked for.
        let mut running: Vec<_> = crowd.iter_mut().filter(|one| one.2.is_none()).collect();
        let mut fds: Vec<_> = running.iter().map(|one| PollFd::new(&one.0.pidfd, PollFlags::IN)).collect();
        let in_time = wait_for(&mut fds, until)?;
        let ended: Vec<_> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        for (one, ended) in running.iter_mut().zip(ended) {
            if ended || !in_time {
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
    let status = started.reap(ended)?;
    Ok(status.ok_or_else(|| "hung".into()).and_then(|status| verdict(ms, status, errors)))
}

/// Runs a command that is not timed and gives its stdout; a non-zero status is an error.
pub(crate) fn output(line: &Line, errors: &Path) -> Result<String> {
    // Not a pipe: what a program leaves behind may keep it open for ever.
    let path = errors.with_extension("out");
    let file = File::create(&path).doing(|| format!("cannot open {}", path.display()))?;
    successful(line, file.into(), errors)?;
    let said = fs::read(&path).doing(|| format!("cannot read {}", path.display()))?;
    Ok(String::from_utf8_lossy(&said).into_owned())
}

/// Runs a command that is not timed and may leave children behind; a non-zero status is an error.
pub(crate) fn succeed(line: &Line, errors: &Path) -> Result<()> {
    successful(line, Stdio::null(), errors)
}

fn successful(line: &Line, stdout: Stdio, errors: &Path) -> Result<()> {
    match untimed(line, stdout, errors)? {
        status if status.success() => Ok(()),
        status => Err(Error::new(format!("cannot run {}", line.shown()), format!("{status}: {}", last_words(errors)))),
    }
}

/// Runs a command that may fail because there is nothing left to do (`delete` after a good run).
pub(crate) fn attempt(line: &Line, errors: &Path) -> Result<ExitStatus> {
    untimed(line, Stdio::null(), errors)
}

/// The cause names the command: a scenario that is left out for it shows nothing else.
fn untimed(line: &Line, stdout: Stdio, errors: &Path) -> Result<ExitStatus> {
    let status = start(line, stdout, errors)?.wait(line)?;
    status.ok_or_else(|| Error::new("cannot measure", format!("{} {}", line.shown(), line.hung())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hangs(script: &str) -> (Line, PathBuf) {
        let dir = std::env::temp_dir();
        let line = Line::new(&dir, ["sh", "-c", script]).patient(Duration::from_millis(300));
        let thread = format!("{:?}", std::thread::current().id());
        (line, dir.join(format!("kelp-bench-{}-{thread}", std::process::id())))
    }

    #[test]
    fn a_program_that_hangs_is_an_error_that_names_it_and_all_it_started_is_killed() {
        let (line, errors) = hangs("sleep 987 & echo $! >&2; echo begun; wait");
        let told = output(&line, &errors).map_err(|e| e.because().to_owned());
        let told = told.expect_err("it hangs");
        assert!(told.starts_with("sh -c sleep 987") && told.ends_with("hung for 0 s"), "{told}");
        let sleeper: u32 = fs::read_to_string(&errors).expect("stderr").trim().parse().expect("a pid");
        let until = Instant::now() + PATIENCE;
        // Killed, whether its new parent has reaped it or not.
        let runs = || fs::read_to_string(format!("/proc/{sleeper}/cmdline")).is_ok_and(|c| c.contains("987"));
        while runs() {
            assert!(Instant::now() < until, "{sleeper} still runs");
            std::thread::sleep(Duration::from_millis(10));
        }
        drop((fs::remove_file(errors.with_extension("out")), fs::remove_file(errors)));
    }

    #[test]
    fn a_timed_program_that_hangs_fails_and_one_that_leaves_a_child_with_its_stdout_does_not() {
        let (line, errors) = hangs("sleep 60");
        assert_eq!(time(&line, &errors).expect("it starts"), Err("hung for 0 s".to_owned()));
        let (line, errors) = hangs("sleep 2 & echo begun");
        assert_eq!(output(&line.patient(PATIENCE), &errors).expect("it ends"), "begun\n");
        drop((fs::remove_file(errors.with_extension("out")), fs::remove_file(errors)));
    }

    #[test]
    fn one_of_a_crowd_that_hangs_fails_after_the_others_have_ended_and_nobody_spins() {
        let (hanging, errors) = hangs("exec sleep 60");
        let (ending, _) = hangs("exit 0");
        let processor = || rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        let before = processor();
        let told = time_crowd(&[ending, hanging], &errors).expect("they start");
        assert!(told[0].is_ok(), "{told:?}");
        assert_eq!(told[1], Err("hung".to_owned()));
        let after = processor();
        let spent = (after.tv_sec - before.tv_sec) * 1_000_000_000 + after.tv_nsec - before.tv_nsec;
        assert!(spent < 300_000_000, "of 900 ms, {spent} ns were spent on the processor");
    }
}
