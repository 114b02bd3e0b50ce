// SPDX-License-Identifier: Apache-2.0
//! One container in its own folder, held by the built kelp-shim, created by the fake runtime.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use kelp_shim::client::{self, Connection};
use kelp_shim::{Exit, Launch, Runtime, log};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Container {
    pub launch: Launch,
    folder: tempfile::TempDir,
}

/// The built holder, beside the folder this test lies in. (CARGO_BIN_EXE_kelp-shim is no name that survives the
/// shell in `.cargo/rustc-static`.)
pub fn shim() -> PathBuf {
    std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("kelp-shim")
}

fn example(name: &str) -> PathBuf {
    shim().parent().unwrap().join("examples").join(name)
}

impl Container {
    /// A container whose program is this shell script.
    pub fn new(program: &str) -> Container {
        let container = Container::without_program();
        fs::write(container.file("program"), program).unwrap();
        container
    }

    pub fn without_program() -> Container {
        let folder = tempfile::Builder::new().prefix("kelp-shim-").tempdir().unwrap();
        let id = folder.path().file_name().unwrap().to_str().unwrap().trim_start_matches("kelp-").to_owned();
        let home = folder.path().join("container");
        fs::create_dir(&home).unwrap();
        let mut launch = Launch::new(id, home, folder.path().join("run"));
        launch.runtime = Runtime::Program { path: example("fake-runtime"), args: vec![] };
        Container { launch, folder }
    }

    /// A file in the container's folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.launch.container.join(name)
    }

    /// The test client, ready for `verb` and the launch.
    pub fn hold(&self, verb: &str) -> Command {
        let launch = self.folder.path().join("launch.json");
        fs::write(&launch, serde_json::to_vec(&self.launch).unwrap()).unwrap();
        let mut command = client_command();
        command.arg(verb).arg(launch);
        command
    }

    /// The test client, ready for a verb on the running container.
    pub fn later(&self, verb: &str) -> Command {
        let mut command = client_command();
        command.arg(verb).arg(&self.launch.run).arg(&self.launch.id);
        command
    }

    /// Started, with nobody attached.
    pub fn start_detached(&self) {
        let mut held = client::launch(&shim(), &self.launch, &[]).unwrap();
        held.start().unwrap();
    }

    pub fn connect(&self) -> Connection {
        client::connect(&self.launch.run, &self.launch.id).unwrap()
    }

    /// Waits until the holder has seen to what this client asked when it came: the client sleeps only when it has asked,
    /// and what came before the first ping is seen to before the second.
    pub fn until_heard(&self, client: &Child) {
        let stat = format!("/proc/{}/stat", client.id());
        until("a client that waits", || {
            let stat = fs::read_to_string(&stat).unwrap_or_default();
            stat.contains("(hold) S")
        });
        self.connect().ping().unwrap();
        self.connect().ping().unwrap();
    }

    /// What the log holds of one stream.
    pub fn logged(&self, stream: &str) -> String {
        let text = fs::read_to_string(self.file("log")).unwrap_or_default();
        let lines = text.lines().map(|line| serde_json::from_str::<log::Line<'_>>(line).unwrap());
        lines.filter(|line| line.stream == stream).map(|line| line.log.into_owned()).collect()
    }

    pub fn record(&self) -> Option<Exit> {
        Exit::read(&self.launch.container).unwrap()
    }

    pub fn wait_for_record(&self) -> Exit {
        until("exit.json", || self.record().is_some());
        self.record().unwrap()
    }

    pub fn wait_for_file(&self, name: &str) {
        until(name, || self.file(name).exists());
    }

    /// The holder's pid: the process whose name and argument are right and that still runs.
    pub fn holder(&self) -> Option<i32> {
        processes_with(&[shim().to_str().unwrap(), &self.launch.id]).first().copied()
    }

    /// Nothing of the container is left but its own folder.
    pub fn assert_nothing_left(&self) {
        until("the holder to end", || self.holder().is_none());
        assert!(!self.launch.run.join(&self.launch.id).exists(), "the holder's run folder is left");
        assert!(!self.launch.runtime_root().join(&self.launch.id).exists(), "the runtime's state is left");
        assert!(!client::is_held(&self.launch.container).unwrap(), "the lock is held");
        let program = self.file("program");
        assert_eq!(processes_with(&["sh", program.to_str().unwrap()]), [0; 0], "the program runs still");
    }
}

impl Drop for Container {
    /// A failed test leaves a holder: it would wait for ever.
    fn drop(&mut self) {
        if let Some(pid) = self.holder() {
            signal(pid, 9);
        }
    }
}

fn client_command() -> Command {
    let mut command = Command::new(example("hold"));
    command.env("KELP_SHIM", shim()).stdin(Stdio::null());
    command
}

/// Waits until something is so; says what, if it never is.
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn signal(pid: i32, signal: i32) {
    let pid = kelp_sys::rustix::process::Pid::from_raw(pid).unwrap();
    let pidfd = kelp_sys::rustix::process::pidfd_open(pid, kelp_sys::rustix::process::PidfdFlags::empty());
    if let Ok(pidfd) = pidfd {
        use std::os::fd::AsFd;
        kelp_sys::process::signal_process(pidfd.as_fd(), signal).unwrap_or_default();
    }
}

/// The processes with exactly these arguments; zombies have none.
pub fn processes_with(args: &[&str]) -> Vec<i32> {
    let wanted: Vec<u8> = args.iter().flat_map(|arg| arg.bytes().chain([0])).collect();
    let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    pids.filter(|pid: &i32| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == wanted)).collect()
}

pub fn open_descriptors(pid: i32) -> usize {
    fs::read_dir(Path::new("/proc").join(pid.to_string()).join("fd")).unwrap().count()
}
