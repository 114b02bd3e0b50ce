// SPDX-License-Identifier: Apache-2.0
//! One command with a deadline, and what came of it.
//!
//! Output goes to files, not to pipes: a container may keep its standard streams long after the command that made it
//! has ended, and a pipe would make the test wait for both.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use serde_json::Value;

use crate::cgroup::Cgroup;
use crate::world::World;

/// Moves itself into a cgroup, loses root, then becomes the command: one pid from beginning to end.
/// `$1` is a cgroup.procs file or empty, `$2` the arguments of setpriv or empty, `$3` yes to start a session
/// with the terminal on standard input.
const LAUNCHER: &str = r#"
procs=$1 privileges=$2 terminal=$3; shift 3
[ -z "$procs" ] || echo $$ >"$procs" || exit 99
if [ -n "$terminal" ]; then set -- /usr/bin/setsid -c "$@"; fi
if [ -n "$privileges" ]; then set -- /usr/bin/setpriv $privileges -- "$@"; fi
exec "$@"
"#;

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A command being prepared.
#[derive(Debug)]
pub struct Command<'w> {
    world: &'w World,
    line: Vec<String>,
    env: Vec<(String, String)>,
    stdin: Stdin,
    dir: PathBuf,
    limit: Duration,
    cgroup: String,
    streams: Option<[OwnedFd; 3]>,
    stdout: Option<OwnedFd>,
    inherit: Vec<(String, i32)>,
}

#[derive(Debug)]
enum Stdin {
    Null,
    Bytes(Vec<u8>),
    Pipe,
}

impl<'w> Command<'w> {
    pub(crate) fn new(world: &'w World, program: impl AsRef<Path>) -> Command<'w> {
        let home = world.dir().join("home").display().to_string();
        let set = |name: &str, value: String| (name.to_owned(), value);
        let path = std::env::var("PATH").unwrap_or_default();
        Command {
            world,
            line: vec![program.as_ref().display().to_string()],
            env: vec![
                set("PATH", format!("{path}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")),
                set("HOME", home),
                set("TMPDIR", world.dir().join("tmp").display().to_string()),
                set("KELP_ROOT", world.store().display().to_string()),
                set("KELP_RUN", world.run_dir().display().to_string()),
                set("KELP_TEST", world.token().into()),
            ],
            stdin: Stdin::Null,
            dir: world.dir().into(),
            limit: Duration::from_secs(60),
            cgroup: String::new(),
            streams: None,
            stdout: None,
            inherit: Vec::new(),
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: &str) -> Self {
        self.line.push(arg.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<I: IntoIterator<Item: AsRef<str>>>(mut self, args: I) -> Self {
        self.line.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets a variable of the command's environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.into(), value.into()));
        self
    }

    /// Removes a variable that the harness would set.
    #[must_use]
    pub fn env_remove(mut self, name: &str) -> Self {
        self.env.retain(|(known, _)| known != name);
        self
    }

    /// What the command reads from standard input; without it: nothing.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Stdin::Bytes(bytes.into());
        self
    }

    /// Leaves standard input open, to be written with [`Running::send`].
    #[must_use]
    pub fn stdin_open(mut self) -> Self {
        self.stdin = Stdin::Pipe;
        self
    }

    /// Where the command runs; without it: the world's folder.
    #[must_use]
    pub fn dir(mut self, dir: &Path) -> Self {
        self.dir = dir.into();
        self
    }

    /// How long it may take; without it: a minute.
    #[must_use]
    pub fn limit(mut self, seconds: u64) -> Self {
        self.limit = Duration::from_secs(seconds);
        self
    }

    /// Starts the command inside a cgroup.
    #[must_use]
    pub fn cgroup(mut self, cgroup: &Cgroup) -> Self {
        self.cgroup = cgroup.path().join("cgroup.procs").display().to_string();
        self
    }

    /// Opens `path` for reading in the command as file descriptor `fd`.
    #[must_use]
    pub fn descriptor(mut self, fd: i32, path: &Path) -> Self {
        self.inherit.push((path.display().to_string(), fd));
        self
    }

    /// Has its stdout go there, and not into the output.
    #[must_use]
    pub fn stdout(mut self, to: impl Into<OwnedFd>) -> Self {
        self.stdout = Some(to.into());
        self
    }

    /// Gives it a terminal of its own as standard streams and controlling terminal.
    pub(crate) fn on_terminal(mut self, streams: [OwnedFd; 3]) -> Self {
        self.streams = Some(streams);
        self
    }

    /// Runs it to its end.
    pub fn output(self) -> Output {
        self.spawn().output()
    }

    /// Runs it to its end, which must be a success.
    pub fn ok(self) -> Output {
        self.output().ok()
    }

    /// Starts it.
    pub fn spawn(mut self) -> Running<'w> {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let log = |stream| self.world.write(format!("tmp/{number}.{stream}"), b"");
        let (out, err) = (log("out"), log("err"));
        let append = |path: &Path| OpenOptions::new().append(true).open(path).expect("the log was just made");
        let terminal = if self.streams.is_some() { "yes" } else { "" };
        let mut command = std::process::Command::new("/bin/sh");
        command.arg("-c").arg(self.launcher()).args(["sh", &self.cgroup, &self.privileges(), terminal]);
        command.args(&self.line).env_clear().envs(self.env.iter().cloned()).current_dir(&self.dir);
        match self.streams.take() {
            Some([a, b, c]) => command.stdin(Stdio::from(a)).stdout(Stdio::from(b)).stderr(Stdio::from(c)),
            None => {
                let stdout = self.stdout.take().map_or_else(|| append(&out), File::from);
                command.stdin(self.stdin_from()).stdout(stdout).stderr(append(&err))
            }
        };
        let child = command.spawn().expect("/bin/sh exists");
        let mut running = Running {
            line: self.line.join(" "),
            limit: self.limit,
            stdin: None,
            child,
            out,
            err,
            world: std::marker::PhantomData,
        };
        running.stdin = running.child.stdin.take();
        running
    }

    /// The launcher, opening the extra descriptors on its way.
    fn launcher(&self) -> String {
        let redirections: String = self.inherit.iter().map(|(path, fd)| format!(" {fd}<'{path}'")).collect();
        LAUNCHER.replace("exec \"$@\"", &format!("exec \"$@\"{redirections}"))
    }

    fn stdin_from(&self) -> Stdio {
        match &self.stdin {
            Stdin::Null => Stdio::null(),
            Stdin::Pipe => Stdio::piped(),
            Stdin::Bytes(bytes) => {
                let number = COUNTER.fetch_add(1, Ordering::Relaxed);
                let path = self.world.write(format!("tmp/{number}.in"), bytes);
                File::open(path).expect("the input was just written").into()
            }
        }
    }

    fn privileges(&self) -> String {
        let account = self.world.account();
        if account.uid == rustix::process::geteuid().as_raw() {
            return String::new();
        }
        let groups = if account.name.is_some() { "--init-groups" } else { "--clear-groups" };
        format!("--reuid={} --regid={} {groups}", account.uid, account.gid)
    }
}

/// A command that has been started.
#[derive(Debug)]
pub struct Running<'w> {
    line: String,
    limit: Duration,
    child: Child,
    stdin: Option<ChildStdin>,
    out: PathBuf,
    err: PathBuf,
    world: std::marker::PhantomData<&'w World>,
}

impl Running<'_> {
    /// Its process id, from the first instruction to the last.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid fits")
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid()).expect("a child has a pid");
        kill_process(pid, signal).expect("an unreaped child can be signalled");
    }

    /// Writes to the standard input left open by [`Command::stdin_open`].
    pub fn send(&mut self, bytes: &[u8]) {
        self.stdin.as_mut().expect("stdin_open was called").write_all(bytes).expect("the command reads");
    }

    /// Ends its standard input.
    pub fn end_of_input(&mut self) {
        self.stdin = None;
    }

    /// What it has printed until now.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.out).expect("the log exists")).into_owned()
    }

    /// What it has complained about until now.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.err).expect("the log exists")).into_owned()
    }

    /// Waits until it has printed `text`.
    pub fn prints(&self, text: &str) {
        let printed = crate::within(Duration::from_secs(30), || self.stdout().contains(text));
        assert!(printed, "{}: waited in vain for {text:?} in\n{}\n{}", self.line, self.stdout(), self.stderr());
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().expect("our own child").is_none()
    }

    /// Waits for its end; panics (and kills it) when it takes too long.
    pub fn output(mut self) -> Output {
        let status = self.wait();
        let (stdout, stderr) = (self.stdout(), self.stderr());
        Output { line: self.line.clone(), status, stdout, stderr }
    }

    fn wait(&mut self) -> ExitStatus {
        self.stdin = None;
        let pid = Pid::from_raw(self.pid()).expect("a child has a pid");
        let ended = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => wait_readable(&fd, self.limit),
            // It has ended and waits to be reaped.
            Err(rustix::io::Errno::SRCH) => true,
            Err(errno) => panic!("pidfd_open({pid:?}): {errno}"),
        };
        if !ended {
            self.child.kill().expect("an unreaped child can be killed");
            self.child.wait().expect("our own child");
            panic!("{}\n  did not end in {:?}\n{}\n{}", self.line, self.limit, self.stdout(), self.stderr());
        }
        self.child.wait().expect("our own child")
    }
}

fn wait_readable(fd: &OwnedFd, limit: Duration) -> bool {
    let limit = Timespec { tv_sec: limit.as_secs().cast_signed(), tv_nsec: 0 };
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    loop {
        match poll(&mut fds, Some(&limit)) {
            Ok(ready) => return ready > 0,
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => panic!("poll: {errno}"),
        }
    }
}

/// How a command ended and what it said.
#[derive(Clone, Debug)]
pub struct Output {
    line: String,
    status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Output {
    /// Its exit status; 128 + n when a signal ended it.
    pub fn status(&self) -> i32 {
        self.status.code().or_else(|| Some(128 + self.status.signal()?)).expect("ended by exit or by a signal")
    }

    /// It must have succeeded.
    #[track_caller]
    pub fn ok(self) -> Output {
        self.code(0)
    }

    /// It must have ended with this status.
    #[track_caller]
    pub fn code(self, expected: i32) -> Output {
        assert!(self.status() == expected, "expected status {expected}\n{self}");
        self
    }

    /// It must have failed, and without a panic.
    #[track_caller]
    pub fn fails(self) -> Output {
        assert!(!self.status.success(), "expected a failure\n{self}");
        assert!(!self.stderr.contains("panicked at"), "a panic\n{self}");
        assert!(self.status.signal().is_none(), "ended by a signal\n{self}");
        self
    }

    /// It must have failed with an error in our form that contains all these texts.
    #[track_caller]
    pub fn explains(self, texts: &[&str]) -> Output {
        let failed = self.fails();
        assert!(failed.stderr.contains("error: "), "no error message\n{failed}");
        let said = failed.stderr.to_lowercase();
        for text in texts {
            assert!(said.contains(&text.to_lowercase()), "the error does not say {text:?}\n{failed}");
        }
        failed
    }

    /// It must have failed with an error and a hint that contains this text.
    #[track_caller]
    pub fn hints(self, text: &str) -> Output {
        let failed = self.explains(&[]);
        let hint = failed.stderr.lines().find_map(|line| line.trim().strip_prefix("hint: ")).map(str::to_lowercase);
        let helps = hint.is_some_and(|hint| hint.contains(&text.to_lowercase()));
        assert!(helps, "no hint about {text:?}\n{failed}");
        failed
    }

    /// Its standard output must contain `text`.
    #[track_caller]
    pub fn says(self, text: &str) -> Output {
        assert!(self.stdout.contains(text), "expected {text:?} on standard output\n{self}");
        self
    }

    /// Its standard output without the white space around it.
    pub fn text(&self) -> &str {
        self.stdout.trim()
    }

    /// Its standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("not JSON: {e}\n{self}"))
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Output { line, status, stdout, stderr } = self;
        write!(f, "$ {line}\n{status}\n--- stdout\n{stdout}--- stderr\n{stderr}---")
    }
}
