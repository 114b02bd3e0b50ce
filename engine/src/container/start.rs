// SPDX-License-Identifier: Apache-2.0
//! Starting a container that was made: a shim, the network, the program; and staying with it, or not.

use super::claim::{Claim, Tried};
use super::find::Container;
use super::interpreter;
use super::network::{self, Uplink};
use super::record::{self, Record, Start};
use super::remove::{self, Shim};
use super::status;
use crate::caller::Caller;
use crate::error::{Doing, Error, Kind, Result};
use crate::events;
use crate::time;
use kelp_network::Published;
use kelp_shim::client::{Connection, DetachKeys, Ended, Relay, Waiting};
use kelp_shim::{Cgroups, Launch, Runtime, Stdin, Streams};
use std::fs;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Whether the caller stays.
#[derive(Debug, Clone)]
pub enum Stay {
    /// `-d`, `start`: the program runs on its own.
    Detached,
    /// The program's streams are ours until it ends or we detach.
    Attached {
        /// Input too.
        stdin: bool,
        /// Its output.
        stdout: bool,
        /// Its errors.
        stderr: bool,
        /// Both go to one place.
        joined: bool,
        /// Leaves it running.
        detach_keys: DetachKeys,
        /// Signals go to the program.
        proxy_signals: bool,
    },
}

impl Stay {
    /// What passes between us and the program, if we stay.
    fn relay(&self) -> Option<Relay> {
        let Stay::Attached { stdin, stdout, stderr, detach_keys, proxy_signals, .. } = self else { return None };
        let streams = Streams { stdin: *stdin, stdout: *stdout, stderr: *stderr };
        Some(Relay { streams, detach_keys: detach_keys.clone(), proxy_signals: *proxy_signals })
    }
}

/// How staying ended.
#[derive(Debug, Clone)]
pub enum Left {
    /// It runs, we do not stay.
    Running,
    /// It ended, with this status.
    Exited(i32),
    /// It ran, and then we lost sight of it.
    Lost(Error),
}

/// Starts it. On an error before the program ran, the caller decides what becomes of the container.
pub fn start(caller: &Caller, container: &Container, stay: &Stay) -> Result<Left> {
    start_with(caller, container, stay, None)
}

/// The same, with a shim that may have been called before.
pub fn start_with(caller: &Caller, container: &Container, stay: &Stay, shim: Option<Waiting>) -> Result<Left> {
    attempt(caller, container, stay, shim)
}

/// Starts the shim of a container that is still to be made: the one's start and the other's making go on at once.
pub fn call_shim(caller: &Caller, id: &str) -> Result<Waiting> {
    Ok(Waiting::start(&shim_program(caller)?, id)?)
}

fn attempt(caller: &Caller, container: &Container, stay: &Stay, shim: Option<Waiting>) -> Result<Left> {
    let Some(claim) = claim(caller, container)? else { return join(caller, container, stay) };
    let before = Start::read(&container.folder).unwrap_or(None);
    begin(caller, container, stay, shim, claim).inspect_err(|error| note_failure(caller, container, before, error))
}

/// It runs already: that is what was asked for. Who wants to stay with it attaches.
fn join(caller: &Caller, container: &Container, stay: &Stay) -> Result<Left> {
    let Some(relay) = stay.relay() else { return Ok(Left::Running) };
    let mut shim = kelp_shim::client::connect(&caller.places.run, &container.record.id)?;
    Ok(match shim.attach(&relay)? {
        Ended::Exited(status) => Left::Exited(status.code),
        Ended::Detached => Left::Running,
        Ended::Signalled(signal) => Left::Exited(128 + signal),
    })
}

/// Keeps why the program could not be started, as `inspect` shows it. The container is as it was before.
fn note_failure(caller: &Caller, container: &Container, before: Option<Start>, error: &Error) {
    let folder = &container.folder;
    // What goes at its end needs no record. The shim writes there too, until it has left.
    if container.record.auto_remove
        || !matches!(remove::await_shim(caller, container), Ok(Shim::Gone))
        || !folder.exists()
    {
        return;
    }
    let ran = kelp_shim::Exit::read(folder).is_ok_and(|exit| exit.is_some_and(|exit| exit.error.is_none()));
    if ran {
        return;
    }
    let code = match error.kind() {
        Kind::ProgramNotFound => 127,
        Kind::ProgramNotExecutable => 126,
        _ => 128,
    };
    let status = kelp_shim::Status { code, signal: None, oom: false };
    let exit = kelp_shim::Exit::now(status, Some(format!("{}: {}", error.doing(), error.because())));
    let noted = exit.write(folder, false).map_err(Error::from).and_then(|()| match before {
        Some(before) => before.write(folder),
        None => record::forget_start(folder),
    });
    if let Err(error) = noted {
        caller.note(format!("why {} did not start could not be recorded: {}", container.record.name, error.because()));
    }
}

fn begin(caller: &Caller, container: &Container, stay: &Stay, shim: Option<Waiting>, claim: Claim) -> Result<Left> {
    let record = &container.record;
    let _span = tracing::info_span!("start", container = %record.id).entered();
    caller.places.make_run()?;
    let (mut uplink, kept) = network::prepare(record)?;
    let launch = launch(caller, container, stay)?;
    let shim = shim.map_or_else(|| call_shim(caller, &record.id), Ok)?;
    let mut shim = shim.launch(&launch, &kept, &mut |pid| uplink.begin(caller, record, pid))?;
    drop(kept);
    tracing::debug!(pid = shim.pid(), "the shim has created it");
    connect(caller, container, &shim, uplink)?;
    tracing::debug!("its network is connected");
    let left = match stay.relay() {
        None => shim.start().map(|()| Left::Running).map_err(Error::from),
        Some(relay) => {
            drop(claim);
            events::container(caller, record, "attach");
            follow(caller, container, &mut shim, &relay)
        }
    };
    // With the shim still there: when we leave it, it removes what `--rm` started, and with it what is read here.
    left.map_err(|error| interpreter::explain(error, container))
}

/// How long another one may take who starts or removes the container.
const PATIENCE: Duration = Duration::from_secs(10);

/// Nobody else may start or remove it while we start it. `None`: it is running already.
fn claim(caller: &Caller, container: &Container) -> Result<Option<Claim>> {
    let record = &container.record;
    let doing = || format!("cannot start container {}", record.name);
    let claim = match Claim::take(&container.folder, PATIENCE)? {
        Tried::Taken(claim) => claim,
        Tried::NoFolder => return Err(Error::new(Kind::NotFound, doing(), "it was removed")),
        Tried::Busy => return Err(Error::new(Kind::WrongState, doing(), "another kelp is starting or removing it")),
    };
    // In this order: a container that just ended is not running, once its shim has left.
    if remove::await_shim(caller, container)? == Shim::Holds || status::of(caller, container)?.state.is_alive() {
        return Ok(None);
    }
    // The kernel left its mark of a volatile mount there. It would refuse to mount, and be less clear.
    let has_mark = |error: std::io::Error| error.kind() == ErrorKind::DirectoryNotEmpty;
    if record.auto_remove && fs::remove_dir(container.folder.join("work/work")).is_err_and(has_mark) {
        return Err(Error::new(
            Kind::WrongState,
            doing(),
            "its files were to go with it (--rm), so they are not all on disk",
        )
        .hint(format!("kelp rm {}", record.name)));
    }
    // What an earlier run left: its result, and, if its shim was killed, its state.
    remove::forget(caller, record)?;
    match fs::remove_file(container.folder.join("exit.json")) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error).doing(doing)?,
        _ => {}
    }
    Ok(Some(claim))
}

fn connect(caller: &Caller, container: &Container, shim: &Connection, uplink: Uplink) -> Result<()> {
    let published = network::connect(caller, &container.record, shim.pid(), uplink)?;
    note_start(container, published, 0)
}

/// The same for a container that was made anew: `pid` is its new init.
pub fn reconnect(caller: &Caller, container: &Container, pid: i32, uplink: OwnedFd) -> Result<()> {
    let published = network::reconnect(caller, &container.record, pid, uplink)?;
    // A record that is damaged counts nothing; it must not keep the program from running.
    let restarts = Start::read(&container.folder).ok().flatten().map_or(0, |start| start.restarts) + 1;
    note_start(container, published, restarts)
}

fn note_start(container: &Container, published: Vec<Published>, restarts: u32) -> Result<()> {
    // Written before the program runs: from then on it counts as started.
    Start { started: time::now(), published, restarts }.write(&container.folder)
}

/// Stays with it. A container of `--rm` is gone when its status is known.
fn follow(caller: &Caller, container: &Container, shim: &mut Connection, relay: &Relay) -> Result<Left> {
    let left = match shim.foreground(relay) {
        Ok(Ended::Exited(status)) => Left::Exited(status.code),
        Ok(Ended::Detached) => {
            events::container(caller, &container.record, "detach");
            return Ok(Left::Running);
        }
        Ok(Ended::Signalled(signal)) => return Ok(Left::Exited(128 + signal)),
        // Its shim was killed: nobody else will remove the container of `--rm`.
        Err(error) if error.kind == kelp_shim::Kind::Lost => Left::Lost(error.into()),
        Err(error) if error.kind == kelp_shim::Kind::TooSlow => return Ok(Left::Lost(error.into())),
        Err(error) => return Err(error.into()),
    };
    if container.record.auto_remove {
        remove::container(caller, container, remove::Force::Yes, true)?;
        // A shim that is gone already has nothing left to run.
        shim.settled().ok();
    }
    Ok(left)
}

fn launch(caller: &Caller, container: &Container, stay: &Stay) -> Result<Launch> {
    let record = &container.record;
    let mut launch = Launch::new(&record.id, &container.folder, &caller.places.run);
    launch.terminal = record.tty;
    // A log that stays tells output from errors; that of --rm goes with the container.
    launch.joined =
        record.auto_remove && matches!(stay, Stay::Attached { stdout: true, stderr: true, joined: true, .. });
    launch.stdin = match (record.interactive, stay) {
        (false, _) => Stdin::Null,
        (true, Stay::Detached) => Stdin::Keep,
        (true, Stay::Attached { .. }) => Stdin::Once,
    };
    launch.log = record.log;
    launch.events = Some(kelp_shim::events::folder(&caller.places.store));
    launch.restart = record.restart;
    launch.on_restart = begin_again(caller, record)?;
    launch.stop_signal = record.stop_signal;
    launch.stop_timeout = record.stop_timeout;
    launch.runtime = Runtime::Library { cgroups: cgroups(caller, record) };
    if let Some(runtime) = &record.runtime {
        launch.runtime = Runtime::Program { path: runtime.clone(), args: Vec::new() };
    }
    if record.auto_remove {
        launch.on_exit = clean_up(caller, record)?;
        // The record of the exit goes with the container: it need not survive a power cut.
        launch.durable = false;
    }
    Ok(launch)
}

/// Who makes the cgroup. An ordinary user may not in his login session; the user's systemd makes one for him, which takes
/// longer: it is asked where limits need it.
fn cgroups(caller: &Caller, record: &Record) -> Cgroups {
    let has_user_systemd = || {
        let run = caller.environment.path("XDG_RUNTIME_DIR");
        run.is_some_and(|run| run.join("bus").exists() && run.join("systemd").is_dir())
    };
    let is_root = kelp_sys::rustix::process::geteuid().is_root();
    if record.limited && !is_root && has_user_systemd() { Cgroups::Systemd } else { Cgroups::Cgroupfs }
}

/// What the shim runs when its restart policy has made the container anew, see `command/reconnect.rs`.
fn begin_again(caller: &Caller, record: &Record) -> Result<Vec<String>> {
    let words =
        [&caller.program, Path::new("--root"), &caller.places.store, Path::new("reconnect"), Path::new(&record.id)];
    Ok(words.iter().map(|word| word.to_string_lossy().into_owned()).collect())
}

/// What the shim of a `--rm` container runs at its end, unless we were there.
fn clean_up(caller: &Caller, record: &Record) -> Result<Vec<String>> {
    let words = [&caller.program, Path::new("--root"), &caller.places.store, Path::new("rm"), Path::new("--force")];
    let mut words: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    words.extend(["--volumes".to_owned(), record.id.clone()]);
    Ok(words)
}

/// kelp-shim: KELP_SHIM, beside kelp, or in PATH.
pub fn shim_program(caller: &Caller) -> Result<PathBuf> {
    find_program(caller, "kelp-shim", "KELP_SHIM")
}

/// One of our other programs.
pub fn find_program(caller: &Caller, name: &str, variable: &str) -> Result<PathBuf> {
    if let Some(path) = caller.environment.path(variable) {
        return Ok(path);
    }
    let beside = caller.program.parent().map(|folder| folder.join(name));
    let mut places = beside.into_iter().chain(caller.environment.in_path(Path::new(name)));
    places.find(|file| file.is_file()).ok_or_else(|| {
        Error::new(Kind::NotFound, format!("cannot find {name}"), "it is neither beside kelp nor in PATH")
            .hint(format!("install it beside kelp, or name it: {variable}=PATH"))
    })
}
