// SPDX-License-Identifier: Apache-2.0
//! One attempt at one case: makes bundles, calls the runtime, asks the kernel, and cleans up whatever happened.
//! Lies are told here, at the four places where evidence comes in: config, runtime, probe, kernel.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::AsFd;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, kill_process, pidfd_open, wait};
use serde_json::Value;

use crate::case::{Judged, Mutation, Stop, ensure};
use crate::config;
use crate::facts::Facts;
use crate::place::Place;
use crate::probe::WAITS;

/// How long one call of the runtime, or the probe, may take when no lie is told.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The exit status of a call that took too long.
const HUNG: i32 = -1000;

/// How a call of the runtime ended.
#[derive(Clone, Debug)]
pub(crate) struct Ran {
    pub(crate) verb: String,
    /// The exit status; -n: signal n ended it; HUNG: it took too long and was killed.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn worked(&self) -> Judged<()> {
        ensure(self.code == 0, || format!("{} ended with {}: {}", self.verb, self.code, self.last_words()))
    }

    /// An error, as the spec asks for one: not a crash, and not a success.
    pub(crate) fn refused(&self) -> Judged<()> {
        ensure(self.code > 0, || match self.code {
            0 => format!("{} succeeded", self.verb),
            HUNG => format!("{} hung", self.verb),
            signal => format!("{} was ended by signal {}", self.verb, -signal),
        })
    }

    /// What the runtime said last: one line of it, or all of an error that has its cause on a line of its own.
    fn last_words(&self) -> String {
        let lines: Vec<&str> = self.stderr.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
        let from = lines.iter().rposition(|l| l.starts_with("error:")).unwrap_or(lines.len().saturating_sub(1));
        match lines.get(from..) {
            Some(said) if !said.is_empty() => said.join("; "),
            _ => "(it said nothing)".into(),
        }
    }

    /// stdout as JSON.
    pub(crate) fn json(&self) -> Judged<Value> {
        serde_json::from_str(&self.stdout).map_err(|e| Stop::Red(format!("{} printed no JSON: {e}", self.verb)))
    }

    /// For lies: alters the JSON that was printed.
    pub(crate) fn edit(&mut self, edit: impl FnOnce(&mut Value)) {
        if let Ok(mut value) = serde_json::from_str(&self.stdout) {
            edit(&mut value);
            self.stdout = value.to_string();
        }
    }
}

/// A container that a case has made.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) bundle: PathBuf,
    /// Where its stdout goes.
    pub(crate) out: PathBuf,
    /// Its first process, as `state` said after create.
    pub(crate) pid: i32,
}

/// The attempt.
pub(crate) struct Trial<'a> {
    pub(crate) place: &'a Place,
    /// How long one call of the runtime, or the probe, may take.
    pub(crate) patience: Duration,
    lie: Option<Mutation>,
    dir: PathBuf,
    ids: Vec<String>,
    /// Helper processes of ours, to be ended.
    helpers: Vec<std::process::Child>,
    bundles: usize,
    calls: usize,
}

impl<'a> Trial<'a> {
    pub(crate) fn new(place: &'a Place, number: usize, lie: Option<Mutation>, patience: Duration) -> Judged<Self> {
        let dir = place.work.join(format!("c{number}"));
        make_dir(&dir)?;
        Ok(Self { place, patience, lie, dir, ids: Vec::new(), helpers: Vec::new(), bundles: 0, calls: 0 })
    }

    /// A path in this attempt's own folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// What hooks have written about themselves, in order.
    pub(crate) fn diary(&self) -> Judged<Vec<Value>> {
        let lines = text(&self.path("d/diary"));
        let read = |l: &str| serde_json::from_str(l).map_err(|e| Stop::Red(format!("a hook wrote {l:?}: {e}")));
        let mut diary = lines.lines().map(read).collect::<Judged<Vec<Value>>>()?;
        if let Some(Mutation::Diary(lie)) = self.lie {
            lie(&mut diary);
        }
        Ok(diary)
    }

    /// Something else that was seen from outside: a lie may alter it.
    pub(crate) fn lied(&self, text: String) -> String {
        self.outside(text)
    }

    fn outside(&self, mut text: String) -> String {
        if let Some(Mutation::Outside(lie)) = self.lie {
            lie(&mut text);
        }
        text
    }

    /// A file of the kernel, seen from outside.
    pub(crate) fn read(&self, path: &str) -> Judged<String> {
        let text = fs::read_to_string(path).map_err(|e| Stop::Red(format!("{path}: {e}")))?;
        Ok(self.outside(text))
    }

    /// The target of a link, seen from outside.
    pub(crate) fn read_link(&self, path: &str) -> Judged<String> {
        let to = fs::read_link(path).map_err(|e| Stop::Red(format!("{path}: {e}")))?;
        Ok(self.outside(to.to_string_lossy().into_owned()))
    }

    /// Makes a bundle; `edit` alters the base config, and a lie alters it once more.
    pub(crate) fn bundle(&mut self, edit: impl FnOnce(&mut Value)) -> Judged<PathBuf> {
        self.bundles += 1;
        let dir = self.path(&format!("b{}", self.bundles));
        let root = dir.join("rootfs");
        for folder in ["proc", "dev", "sys", "tmp", "m", "work", "bin", "etc/hidden", "share/below"] {
            make_dir(&root.join(folder))?;
        }
        for name in ["probe", "bin/probe"] {
            broken(fs::hard_link(&self.place.probe, root.join(name)), "the probe")?;
        }
        for (name, text) in [("etc/secret", "secret"), ("etc/hidden/file", "hidden"), ("share/file", "shared")] {
            broken(fs::write(root.join(name), text), name)?;
        }
        let mut config = config::base(self.place);
        edit(&mut config);
        self.write_config(&dir, config)?;
        Ok(dir)
    }

    pub(crate) fn write_config(&self, bundle: &Path, mut config: Value) -> Judged<()> {
        if let Some(Mutation::Config(lie)) = self.lie {
            lie(&mut config);
        }
        broken(fs::write(bundle.join("config.json"), config.to_string()), "config.json")
    }

    /// An id that this run has not used yet; it is deleted in the end whatever happens.
    pub(crate) fn id(&mut self) -> String {
        let folder = self.dir.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let id = format!("kc-{}-{folder}-{}", std::process::id(), self.ids.len());
        self.ids.push(id.clone());
        id
    }

    /// `RUNTIME --root STATE WORDS…` in `bundle`.
    pub(crate) fn call(&mut self, bundle: &Path, words: &[&str]) -> Judged<Ran> {
        self.call_with(bundle, &[], words, None)
    }

    /// The same, with options before the verb, and with stdout (which create hands on to the container) going to `out`.
    pub(crate) fn call_with(
        &mut self,
        bundle: &Path,
        globals: &[&str],
        words: &[&str],
        out: Option<&Path>,
    ) -> Judged<Ran> {
        let verb = words.first().copied().unwrap_or("").to_owned();
        if matches!(self.lie, Some(Mutation::Skip(skipped)) if skipped == verb) {
            return Ok(Ran { verb, code: 0, stdout: String::new(), stderr: String::new() });
        }
        self.calls += 1;
        let own_out = self.path(&format!("out{}", self.calls));
        let errors = self.path(&format!("err{}", self.calls));
        let out = out.unwrap_or(&own_out);
        let mut command = Command::new(&self.place.runtime);
        command.arg("--root").arg(self.place.work.join("state")).args(globals).args(words).current_dir(bundle);
        command.env("XDG_RUNTIME_DIR", self.place.work.join("x"));
        // What a runtime in Rust says last shall be its error.
        command.env_remove("RUST_BACKTRACE");
        command.stdin(Stdio::null()).stdout(appending(out)?).stderr(appending(&errors)?);
        let code = self.ended(&mut command)?;
        let mut ran = Ran { verb, code, stdout: text(out), stderr: text(&errors) };
        if let Some(Mutation::Ran(lie)) = self.lie {
            lie(&mut ran);
        }
        Ok(ran)
    }

    fn ended(&self, command: &mut Command) -> Judged<i32> {
        let mut child = broken(command.spawn(), "the runtime")?;
        let in_time = watch(i32::try_from(child.id()).unwrap_or(-1), self.patience)?;
        if !in_time {
            broken(child.kill(), "the runtime")?;
        }
        let status = broken(child.wait(), "the runtime")?;
        Ok(if in_time { code(status) } else { HUNG })
    }

    /// `create`, which must work.
    pub(crate) fn create(&mut self, edit: impl FnOnce(&mut Value)) -> Judged<Container> {
        let bundle = self.bundle(edit)?;
        self.create_in(&bundle, &[])
    }

    /// `create` of a bundle that was made before, with more options, which must work.
    pub(crate) fn create_in(&mut self, bundle: &Path, options: &[&str]) -> Judged<Container> {
        let id = self.id();
        let out = self.path(&format!("{id}.out"));
        let words: Vec<&str> = ["create"].into_iter().chain(options.iter().copied()).chain([id.as_str()]).collect();
        self.call_with(bundle, &[], &words, Some(&out))?.worked()?;
        let mut container = Container { id, bundle: bundle.to_owned(), out, pid: 0 };
        let pid = self.state(&container)?["pid"].as_i64().and_then(|p| i32::try_from(p).ok());
        container.pid = pid.filter(|p| *p > 0).ok_or_else(|| Stop::Red("state has no pid after create".into()))?;
        Ok(container)
    }

    /// `create` must refuse, and there must be no container afterwards.
    pub(crate) fn refuses(&mut self, edit: impl FnOnce(&mut Value)) -> Judged<Ran> {
        let bundle = self.bundle(edit)?;
        let id = self.id();
        let ran = self.call(&bundle, &["create", &id])?;
        ran.refused()?;
        let state = self.call(&bundle, &["state", &id])?;
        ensure(state.code != 0, || format!("create refused, but there is a container now: {}", state.stdout.trim()))?;
        Ok(ran)
    }

    pub(crate) fn start(&mut self, container: &Container) -> Judged<()> {
        self.call(&container.bundle, &["start", &container.id])?.worked()
    }

    pub(crate) fn state(&mut self, container: &Container) -> Judged<Value> {
        let ran = self.call(&container.bundle, &["state", &container.id])?;
        ran.worked()?;
        ran.json()
    }

    pub(crate) fn status(&mut self, container: &Container) -> Judged<String> {
        Ok(self.state(container)?["status"].as_str().unwrap_or("(none)").to_owned())
    }

    pub(crate) fn kill(&mut self, container: &Container, signal: &str) -> Judged<()> {
        self.call(&container.bundle, &["kill", &container.id, signal])?.worked()
    }

    pub(crate) fn delete(&mut self, container: &Container) -> Judged<()> {
        self.call(&container.bundle, &["delete", &container.id])?.worked()
    }

    /// Waits for the container's program; how it ended, as a shell would say it; -1: its parent knows. Usually that
    /// is us: the runtime has exited, and we are a subreaper.
    pub(crate) fn wait(&mut self, container: &Container) -> Judged<i32> {
        let until = Instant::now() + self.patience;
        loop {
            let gone = watch(container.pid, Duration::from_millis(10))?;
            if let Some(status) = reap(container.pid) {
                let by_signal = status.terminating_signal().map(|s| 128 + s);
                return Ok(status.exit_status().or(by_signal).unwrap_or(-1));
            }
            if gone {
                return Ok(-1);
            }
            ensure(Instant::now() < until, || format!("the program still runs after {} s", self.patience.as_secs()))?;
        }
    }

    /// create, start, wait, delete: what the probe saw.
    pub(crate) fn look(&mut self, edit: impl FnOnce(&mut Value)) -> Judged<Facts> {
        let container = self.create(edit)?;
        self.finish(&container)
    }

    /// start, wait, delete: what the probe saw.
    pub(crate) fn finish(&mut self, container: &Container) -> Judged<Facts> {
        self.start(container)?;
        let code = self.wait(container)?;
        let facts = self.facts(container).map_err(|stop| match stop {
            Stop::Red(why) if code > 0 => Stop::Red(format!("{why} (it ended with {code})")),
            other => other,
        })?;
        self.delete(container)?;
        Ok(facts)
    }

    /// What the probe has reported so far.
    pub(crate) fn facts(&self, container: &Container) -> Judged<Facts> {
        self.facts_of(&text(&container.out))
    }

    pub(crate) fn facts_of(&self, said: &str) -> Judged<Facts> {
        let line = said.lines().rev().find(|l| l.starts_with('{'));
        let line = line.ok_or_else(|| Stop::Red("the program in the container reported nothing".into()))?;
        let mut facts: Facts = serde_json::from_str(line).map_err(|e| Stop::Red(format!("the probe said: {e}")))?;
        if let Some(Mutation::Facts(lie)) = self.lie {
            lie(&mut facts);
        }
        Ok(facts)
    }

    /// Waits until the probe waits, and has reported before; or until it has ended, which its status then says.
    pub(crate) fn reported(&self, container: &Container) -> Judged<Facts> {
        self.settled(container.pid, &container.out)?;
        self.facts(container)
    }

    /// Waits until a probe whose stdout is `out` says that it waits, or has ended. Nobody asks before what it does: a
    /// program that is about to end still runs.
    pub(crate) fn settled(&self, pid: i32, out: &Path) -> Judged<()> {
        let until = Instant::now() + self.patience;
        while !text(out).lines().any(|l| l == WAITS) && !watch(pid, Duration::from_millis(5))? {
            ensure(Instant::now() < until, || "the program neither waits nor ends".into())?;
        }
        Ok(())
    }

    /// A process of ours with namespaces of its own, as `unshare OPTIONS` makes it: somebody to join.
    pub(crate) fn holder(&mut self, options: &[&str]) -> Judged<u32> {
        let ready = self.path("ready");
        let script = format!("touch {}; exec sleep 300", ready.display());
        let child = Command::new("unshare").args(options).args(["sh", "-c", &script]).stdin(Stdio::null()).spawn();
        let child = child.map_err(|e| Stop::Skip(format!("cannot run unshare: {e}")))?;
        let pid = child.id();
        self.helpers.push(child);
        let until = Instant::now() + self.patience;
        while !ready.exists() {
            ensure(Instant::now() < until, || "unshare made no namespaces".into())?;
            std::thread::sleep(Duration::from_millis(5));
        }
        broken(fs::remove_file(&ready), "ready")?;
        Ok(pid)
    }

    /// Runs a program of the host, which must succeed; its stdout.
    pub(crate) fn host(&self, program: &str, args: &[&str]) -> Judged<String> {
        let out = Command::new(program).args(args).stdin(Stdio::null()).output();
        let out = out.map_err(|e| Stop::Skip(format!("cannot run {program}: {e}")))?;
        ensure(out.status.success(), || {
            format!("the judge could not {program} {}: {}", args.join(" "), String::from_utf8_lossy(&out.stderr).trim())
        })?;
        Ok(self.outside(String::from_utf8_lossy(&out.stdout).into_owned()))
    }
}

impl Drop for Trial<'_> {
    /// Whatever the case did: no container, no process, no folder of it stays.
    fn drop(&mut self) {
        (self.lie, self.patience) = (None, PATIENCE);
        for mut helper in std::mem::take(&mut self.helpers) {
            drop(helper.kill().and_then(|()| helper.wait()));
        }
        let dir = self.dir.clone();
        for id in std::mem::take(&mut self.ids) {
            let state = self.call(&dir, &["state", &id]).ok().filter(|s| s.code == 0);
            if let Some(state) = state {
                let pid = state.json().ok().and_then(|s| i32::try_from(s["pid"].as_i64()?).ok());
                drop(self.call(&dir, &["resume", &id]));
                end(pid.unwrap_or(0));
                drop(self.call(&dir, &["delete", "--force", &id]));
            }
            for left in crate::place::cgroups_named(&id) {
                drop(fs::remove_dir(left));
            }
        }
        drop(fs::remove_dir_all(&dir));
    }
}

/// Kills a process and, when it is ours, reaps it. It may be gone already.
fn end(pid: i32) {
    let until = Instant::now() + PATIENCE;
    let gone = Pid::from_raw(pid).is_none_or(|p| kill_process(p, Signal::KILL).is_err());
    while !gone && reap(pid).is_none() && Instant::now() < until {
        if watch(pid, Duration::from_millis(10)).unwrap_or(true) {
            return;
        }
    }
}

/// Reaps every child that has ended; how `pid` ended, when it is among them. The first process of a pid namespace
/// does not end before all others in it are reaped, and those of exec are our children too.
fn reap(pid: i32) -> Option<WaitStatus> {
    let mut found = None;
    while let Ok(Some((child, status))) = wait(WaitOptions::NOHANG) {
        if child.as_raw_pid() == pid {
            found = Some(status);
        }
    }
    found
}

/// Trouble that is neither the runtime's nor the case's is still a red end: it must not look like a success.
pub(crate) fn broken<T, E: std::fmt::Display>(done: Result<T, E>, what: &str) -> Judged<T> {
    done.map_err(|e| Stop::Red(format!("the judge could not use {what}: {e}")))
}

pub(crate) fn make_dir(path: &Path) -> Judged<()> {
    broken(fs::create_dir_all(path), &path.display().to_string())
}

/// A file's text, empty when there is none.
pub(crate) fn text(path: &Path) -> String {
    fs::read(path).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
}

fn appending(path: &Path) -> Judged<File> {
    broken(OpenOptions::new().append(true).create(true).open(path), &path.display().to_string())
}

fn code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().or(status.signal().map(|s| -s)).unwrap_or(HUNG)
}

/// Waits until the process has ended; `false`: it has not, in time.
pub(crate) fn watch(pid: i32, patience: Duration) -> Judged<bool> {
    let Some(fd) = Pid::from_raw(pid).and_then(|p| pidfd_open(p, PidfdFlags::empty()).ok()) else { return Ok(true) };
    wait_readable(&fd, patience)
}

/// Waits until something can be read from it; `false`: it cannot, in time.
pub(crate) fn wait_readable<Fd: AsFd>(fd: &Fd, patience: Duration) -> Judged<bool> {
    let until = Instant::now() + patience;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&left)) {
            Ok(n) => return Ok(n > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(Stop::Red(format!("the judge could not wait: {e}"))),
        }
    }
}
