// SPDX-License-Identifier: Apache-2.0
//! A world per test: its own folder, image store, run folder and home, and nothing left of it afterwards.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::command::Command;
use crate::who::{Account, Who};
use crate::{cgroup, leaks};

/// Everything one test touches lies below [`World::dir`], and every process of it carries [`World::token`].
#[derive(Debug)]
pub struct World {
    who: Who,
    name: String,
    account: Account,
    dir: PathBuf,
    token: String,
    programs: PathBuf,
}

static COUNTER: AtomicU32 = AtomicU32::new(0);

impl World {
    /// Runs `claim` in a new world as `who` and panics if it leaves anything behind.
    pub fn judge(who: Who, name: &str, claim: fn(&World)) {
        match World::new(who, name) {
            Ok(world) => {
                claim(&world);
                world.close();
            }
            Err(reason) => report_skip(name, &reason),
        }
    }

    fn new(who: Who, name: &str) -> Result<World, String> {
        let account = who.account()?;
        // A short path: the shim's socket, 64 hex digits below the run folder, must stay below 108 bytes.
        let token = format!("kt.{}.{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        let dir = Path::new("/tmp").join(&token);
        let world = World { who, name: name.into(), account, dir, token, programs: programs(who).into() };
        for part in ["", "store", "run", "home", "tmp"] {
            world.make_dir(&world.dir.join(part));
        }
        set_mode(&world.dir.join("run"), 0o700);
        Ok(world)
    }

    /// As whom this world's programs run.
    pub fn who(&self) -> Who {
        self.who
    }

    /// The folder below which this test keeps everything.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A word found in the environment of every command of this test, and in the ids it chooses.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The numeric user id the programs run as.
    pub fn uid(&self) -> u32 {
        self.account.uid
    }

    /// The numeric group id the programs run as.
    pub fn gid(&self) -> u32 {
        self.account.gid
    }

    pub(crate) fn account(&self) -> &Account {
        &self.account
    }

    /// Kelp's store in this world (`KELP_ROOT`).
    pub fn store(&self) -> PathBuf {
        self.dir.join("store")
    }

    /// Kelp's run folder in this world (`KELP_RUN`).
    pub fn run_dir(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// The runtime's state folder in this world.
    pub fn runtime_root(&self) -> PathBuf {
        self.run_dir().join("runtime")
    }

    /// The path of one of the built programs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// The program that prints as JSON what it sees: static, so that it runs in any root filesystem.
    pub fn probe(&self) -> PathBuf {
        match self.program("kelp-probe") {
            beside if beside.exists() => beside,
            _ => profile_folder().join("kelp-probe"),
        }
    }

    /// A program of the tests' own, built beside this test: copied to where this world's user may execute it.
    pub fn own_program(&self, name: &str, to: impl AsRef<Path>) -> PathBuf {
        let copy = self.copy(&profile_folder().join(name), to);
        set_mode(&copy, 0o755);
        copy
    }

    /// `kelp ARGS…` in this world.
    pub fn kelp<I: IntoIterator<Item: AsRef<str>>>(&self, args: I) -> Command<'_> {
        Command::new(self, self.program("kelp")).args(args)
    }

    /// `kelp-runtime --root STATE ARGS…` in this world.
    pub fn runtime<I: IntoIterator<Item: AsRef<str>>>(&self, args: I) -> Command<'_> {
        let root = self.runtime_root();
        Command::new(self, self.program("kelp-runtime")).arg("--root").arg(&root.to_string_lossy()).args(args)
    }

    /// Any other program, as this world's user.
    pub fn command(&self, program: &str) -> Command<'_> {
        Command::new(self, program)
    }

    /// Says that this claim cannot be judged here. The caller returns afterwards.
    pub fn skip(&self, reason: &str) {
        report_skip(&self.name, reason);
    }

    /// Makes a folder that belongs to this world's user, with those above it that are missing.
    pub fn make_dir(&self, path: &Path) {
        let missing: Vec<&Path> = path.ancestors().take_while(|dir| !dir.exists()).collect();
        fs::create_dir_all(path).unwrap_or_else(|e| panic!("mkdir {}: {e}", path.display()));
        for dir in missing {
            self.give(dir);
        }
    }

    /// Writes a file that belongs to this world's user, with the folders above it, and returns its path.
    pub fn write(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.join(name);
        self.make_dir(path.parent().expect("a file has a folder"));
        fs::write(&path, content).unwrap_or_else(|e| panic!("write {}: {e}", path.display()));
        self.give(&path);
        path
    }

    /// Copies a file for this world's user, mode included, and returns the path of the copy.
    pub fn copy(&self, from: &Path, name: impl AsRef<Path>) -> PathBuf {
        let path = self.dir.join(name);
        self.make_dir(path.parent().expect("a file has a folder"));
        fs::copy(from, &path).unwrap_or_else(|e| panic!("copy {} to {}: {e}", from.display(), path.display()));
        self.give(&path);
        path
    }

    /// Writes an executable shell script for this world's user and returns its path.
    pub fn script(&self, name: &str, body: &str) -> PathBuf {
        let path = self.write(name, format!("#!/bin/sh\n{body}\n"));
        set_mode(&path, 0o755);
        path
    }

    /// Hands a path to this world's user.
    pub fn give(&self, path: &Path) {
        chown(path, Some(self.uid()), Some(self.gid())).unwrap_or_else(|e| panic!("chown {}: {e}", path.display()));
    }

    /// What of this world is still there: processes, mounts, cgroups, state. Empty when all is well.
    pub fn leaks(&self) -> Vec<String> {
        leaks::of(self)
    }

    /// Ends the test: what a finished teardown may still be doing gets a moment, then nothing may be left.
    fn close(self) {
        let limit = std::time::Duration::from_secs(30);
        let mut leaks = Vec::new();
        let clean = crate::within(limit, || {
            leaks = self.leaks();
            leaks.is_empty()
        });
        assert!(clean, "{} left behind:\n  {}", self.name, leaks.join("\n  "));
    }
}

impl Drop for World {
    fn drop(&mut self) {
        leaks::kill_processes(self);
        cgroup::remove_all(&self.token);
        if std::thread::panicking() && std::env::var_os("KELP_TEST_KEEP").is_some() {
            return;
        }
        self.remove_dir();
    }
}

impl World {
    /// Removes the folder, also what subordinate ids own in it when the suite is not root.
    fn remove_dir(&self) {
        // A bind mount that escaped may show the host's own files below the folder: never delete through it.
        if !leaks::unmount_all(self) {
            return say(&format!("note: mounts are left below {}", self.dir.display()));
        }
        if fs::remove_dir_all(&self.dir).is_ok() {
            return;
        }
        let removed = std::process::Command::new("unshare")
            .args(["--map-root-user", "--map-auto", "chmod", "-R", "u+rwX"])
            .arg(&self.dir)
            .stderr(std::process::Stdio::null())
            .status()
            .and_then(|_| {
                std::process::Command::new("unshare")
                    .args(["--map-root-user", "--map-auto", "rm", "-rf"])
                    .arg(&self.dir)
                    .status()
            });
        if !removed.is_ok_and(|status| status.success()) {
            say(&format!("note: {} could not be removed", self.dir.display()));
        }
    }
}

/// Sets a file's permission bits.
fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .unwrap_or_else(|e| panic!("chmod {}: {e}", path.display()));
}

/// Prints past libtest's capture, which only takes what the print macros write.
pub fn say(line: &str) {
    writeln!(std::io::stderr(), "{line}").expect("standard error is writable");
}

fn report_skip(name: &str, reason: &str) {
    let line = format!("SKIP {name}: {reason}");
    say(&line);
    let Some(file) = std::env::var_os("KELP_SKIPS") else { return };
    let mut file = fs::OpenOptions::new().append(true).create(true).open(file).expect("KELP_SKIPS can be opened");
    writeln!(file, "{line}").expect("KELP_SKIPS can be written");
}

/// `…/target/PROFILE`, two levels above `…/target/PROFILE/deps/this_test-HASH`.
fn profile_folder() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    test.ancestors().nth(2).expect("a test lies in PROFILE/deps").into()
}

/// The folder of the built programs, checked once.
fn programs(who: Who) -> &'static Path {
    static PROGRAMS: OnceLock<PathBuf> = OnceLock::new();
    let dir = PROGRAMS.get_or_init(|| {
        let dir = match std::env::var_os("KELP_BIN") {
            Some(dir) => dir.into(),
            None => profile_folder().with_file_name("release"),
        };
        let built = dir.join("kelp-runtime").exists();
        assert!(built, "no programs in {}: run `cargo build --release`, or set KELP_BIN", dir.display());
        dir
    });
    let reachable = dir.ancestors().all(|d| fs::metadata(d).is_ok_and(|m| m.permissions().mode() & 0o001 != 0));
    assert!(
        reachable || who == Who::Root || !rustix::process::geteuid().is_root(),
        "other users cannot reach {}: copy the programs to a world-readable folder and set KELP_BIN",
        dir.display()
    );
    dir
}
