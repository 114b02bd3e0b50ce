// SPDX-License-Identifier: Apache-2.0
//! The holder's loop, and the stages of a container's life as it sees them.
//!
//! Created → Running → Draining → (Pausing → Running …) → Cleaning → Over. `exit.json` is written when draining is
//! over, before anyone is told; then the runtime's state goes, then socket and lock, then clients hear of it.

mod end;
mod output;

use super::backend::{Backend, Created};
use super::birth::Birth;
use super::clients::{Client, Flushed, Spool};
use super::confinement;
use super::hand::Hand;
use super::oom::OomWatch;
use super::place::Place;
use super::requests::REQUEST_MAX;
use super::restart::{By, Restarts};
use super::stdio::Stdio;
use super::{SIGCHLD, SIGTERM, exit_of};
use crate::complain;
use kelp_runtime::OnBirth;
use kelp_shim::protocol::Stream;
use kelp_shim::{Doing, Error, Exit, Kind, Launch, Phase, Restart, Status, Stdin, log};
use kelp_sys::process::signal_process;
use kelp_sys::rustix::event::{PollFd, PollFlags, poll};
use kelp_sys::rustix::fs::Timespec;
use kelp_sys::rustix::io::Errno;
use kelp_sys::rustix::process::{WaitOptions, WaitStatus, wait};
use kelp_sys::sigaction::Caught;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// After the end of the program: how long a pipe that others hold open may be silent, and how long it may go on.
const QUIET_MAX: Duration = Duration::from_millis(100);
const DRAIN_MAX: Duration = Duration::from_secs(2);
/// A container that has been silent for so long may be so for days.
const REST_AFTER: Duration = Duration::from_secs(1);
const SIGKILL: i32 = 9;

/// The container's init.
#[derive(Debug)]
pub(super) struct Init {
    pub(super) pid: i32,
    pub(super) pidfd: OwnedFd,
}

/// How far the container has come.
#[derive(Debug)]
pub(super) enum Stage {
    Created,
    Running,
    /// The program has ended; what it wrote is still read.
    Draining {
        status: Status,
        quiet: Instant,
        end: Instant,
    },
    /// It will be created again.
    Pausing {
        status: Status,
        until: Instant,
    },
    /// `on_exit` runs as process `pid`; who waits is told when it is done.
    Cleaning {
        status: Status,
        pid: i32,
        until: Instant,
    },
    /// All is done but telling.
    Over {
        status: Status,
    },
}

/// All that the holder has.
#[derive(Debug)]
pub(crate) struct Holder {
    pub(super) launch: Launch,
    place: Option<Place>,
    backend: Backend,
    /// Does what we gave up the rights to do.
    hand: Option<Hand>,
    /// The runtime knows the container.
    exists: bool,
    caught: Caught,
    pub(super) clients: Vec<Client>,
    next_client: u64,
    pub(super) spool: Spool,
    log: log::Writer,
    log_failed: bool,
    pub(super) stdio: Stdio,
    pub(super) stage: Stage,
    pub(super) init: Option<Init>,
    oom: OomWatch,
    /// Why the program did not run, if it did not.
    verdict: Option<Error>,
    pub(super) restarts: Restarts,
    started: Instant,
    /// When a stop loses patience.
    pub(super) kill_at: Option<Instant>,
    /// The client that started the container has cleaned up, or `on_exit` has.
    pub(super) settled: bool,
    /// For one read at a time, of output or of a request.
    pub(super) buffer: Vec<u8>,
    /// What others wait for to be closed: it is, when the container is over or made anew.
    kept: Vec<OwnedFd>,
}

/// Which creation this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Time {
    /// Its client hears of the birth.
    First,
    /// By the restart policy: `on_restart` makes the network, when all else is there.
    Again,
}

/// What poll found ready.
#[derive(Clone, Copy, Debug)]
enum Ready {
    Signals,
    Listener,
    /// The container's memory counters have moved.
    Memory,
    Output(Stream),
    /// The program takes input.
    Input,
    /// The program has closed its input.
    InputClosed,
    Client(u64),
}

impl Holder {
    pub(crate) fn new(birth: Birth, place: Place, caught: Caught) -> Result<Holder, Error> {
        let Birth { launch, socket, kept } = birth;
        let log = log::Writer::open(&launch.container, launch.log)
            .doing(|| format!("cannot open the log of container {}", launch.id));
        let log = match log {
            Ok(log) => log,
            Err(error) => {
                super::birth::refuse(&socket, error.clone());
                return Err(error);
            }
        };
        if let Err(error) = Exit::reserve(&launch.container) {
            complain(&error);
        }
        let mut starter = Client::new(0, socket, true);
        starter.greeted = true;
        Ok(Holder {
            backend: Backend::new(&launch, &place.folder),
            hand: None,
            exists: false,
            restarts: Restarts::new(launch.restart),
            settled: launch.on_exit.is_empty(),
            launch,
            place: Some(place),
            caught,
            clients: vec![starter],
            next_client: 1,
            spool: Spool::default(),
            log,
            log_failed: false,
            stdio: Stdio::default(),
            stage: Stage::Created,
            init: None,
            oom: OomWatch::default(),
            verdict: None,
            started: Instant::now(),
            kill_at: None,
            buffer: vec![0; REQUEST_MAX],
            kept,
        })
    }

    /// Creates the container and serves it until all is over and everybody has been told.
    pub(crate) fn live(mut self) {
        match self.create(Time::First) {
            Ok(pid) => self.clients.iter_mut().for_each(|client| client.owed.created = Some(pid)),
            Err(error) => self.fail(error),
        }
        self.flush_clients();
        self.give_up_rights();
        while !self.is_done() {
            self.turn();
        }
        if let Some(hand) = self.hand.take() {
            hand.dismiss();
        }
    }

    /// Nothing of the program has run yet. A policy that may create the container again needs every right for that, as long as
    /// the container lives: then none is given up (docs/decisions/0501-a-confined-holder.md).
    fn give_up_rights(&mut self) {
        if !self.exists || self.launch.restart != Restart::No {
            return;
        }
        match Hand::fork(&self.launch, &self.backend, &self.caught) {
            Ok(hand) => self.hand = Some(hand),
            Err(errno) => return complain(&format_args!("not confined: cannot fork: {errno}")),
        }
        if let Err(error) = confinement::confine() {
            complain(&format_args!("not confined: {error}"));
        }
    }

    fn is_done(&self) -> bool {
        matches!(self.stage, Stage::Over { .. }) && self.clients.is_empty()
    }

    /// Waits for something, does all that can be done now.
    fn turn(&mut self) {
        let ready = self.wait();
        ready.into_iter().for_each(|ready| self.serve(ready));
        self.look_at_the_clock();
        self.flush_clients();
    }

    fn wait(&self) -> Vec<Ready> {
        let mut fds = vec![PollFd::new(&self.caught, PollFlags::IN)];
        let mut what = vec![Ready::Signals];
        if let Some(place) = &self.place {
            fds.push(PollFd::new(&place.listener, PollFlags::IN));
            what.push(Ready::Listener);
        }
        if let Some(fd) = self.oom.fd() {
            fds.push(PollFd::from_borrowed_fd(fd, PollFlags::PRI));
            what.push(Ready::Memory);
        }
        if self.has_room() {
            for stream in [Stream::Stdout, Stream::Stderr] {
                if let Some(fd) = self.stdio.output(stream) {
                    fds.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
                    what.push(Ready::Output(stream));
                }
            }
        }
        if let Some(fd) = self.stdio.input.fd() {
            if self.stdio.input.has_bytes() {
                fds.push(PollFd::from_borrowed_fd(fd, PollFlags::OUT));
                what.push(Ready::Input);
            } else if !self.launch.terminal {
                // No event is asked for: only POLLERR comes, once there is no reader.
                fds.push(PollFd::from_borrowed_fd(fd, PollFlags::empty()));
                what.push(Ready::InputClosed);
            }
        }
        for client in &self.clients {
            let out = if client.is_owed(&self.spool) { PollFlags::OUT } else { PollFlags::empty() };
            fds.push(PollFd::new(&client.socket, PollFlags::IN | out));
            what.push(Ready::Client(client.id));
        }
        if let Err(errno) = sleep(&mut fds, self.next_deadline()) {
            complain(&format_args!("cannot wait: {errno}"));
            std::thread::sleep(QUIET_MAX); // not to burn the machine, should it go on
        }
        let ready = |(fd, what): (&PollFd<'_>, &Ready)| (!fd.revents().is_empty()).then_some(*what);
        fds.iter().zip(&what).filter_map(ready).collect()
    }

    fn serve(&mut self, ready: Ready) {
        match ready {
            Ready::Signals => {
                while let Some(signal) = self.caught.take() {
                    match signal {
                        SIGCHLD => self.reap(),
                        SIGTERM => self.go_down(),
                        _ => {}
                    }
                }
            }
            Ready::Listener => self.accept(),
            Ready::Memory => self.oom.look(),
            Ready::Output(stream) => {
                self.pump(stream);
            }
            Ready::Input => self.write_input(),
            Ready::InputClosed => self.stdio.input.close(),
            Ready::Client(id) => self.hear(id),
        }
    }

    // ---- time ----

    fn next_deadline(&self) -> Option<Instant> {
        let stage = match &self.stage {
            Stage::Draining { quiet, end, .. } => Some(*quiet.min(end)),
            Stage::Pausing { until, .. } | Stage::Cleaning { until, .. } => Some(*until),
            _ => None,
        };
        let stalls = self.clients.iter().filter_map(Client::stall_deadline);
        stalls.chain(stage).chain(self.kill_at).min()
    }

    fn look_at_the_clock(&mut self) {
        let now = Instant::now();
        for client in &mut self.clients {
            if client.stall_deadline().is_some_and(|at| at <= now) {
                client.give_up_on();
            }
        }
        if self.kill_at.is_some_and(|at| at <= now) {
            self.kill_at = None;
            self.record_kill(SIGKILL);
            self.kill(SIGKILL);
        }
        match self.stage {
            Stage::Draining { status, quiet, end } if quiet <= now || end <= now => self.finish(status),
            Stage::Pausing { until, .. } if until <= now => self.restart(),
            Stage::Cleaning { status, until, .. } if until <= now => {
                complain(&"on_exit takes too long: clients are told before it is done");
                self.announce(status);
            }
            _ => {}
        }
    }

    // ---- the container ----

    fn create(&mut self, time: Time) -> Result<i32, Error> {
        let created = match self.try_create(time) {
            // The lock is ours: what the runtime knows is left from a holder that was killed.
            Err(error) if error.kind == Kind::AlreadyExists => {
                complain(&format_args!("removing what a killed holder has left: {}", error.because));
                self.backend.delete()?;
                self.try_create(time)?
            }
            created => created?,
        };
        self.exists = true;
        self.oom = OomWatch::new(created.pid);
        self.init = Some(Init { pid: created.pid, pidfd: created.pidfd });
        self.stage = Stage::Created;
        if let Some(master) = created.console {
            self.stdio.take_console(master, &self.launch)?;
        }
        Ok(created.pid)
    }

    fn try_create(&mut self, time: Time) -> Result<Created, Error> {
        let (theirs, ours) = Stdio::prepare(&self.launch)?;
        self.stdio = ours;
        let starter = self.clients.iter().find(|client| client.starter);
        let tell = |pid| {
            if let Some(client) = starter {
                super::birth::announce(&client.socket, pid);
            }
        };
        let on_birth = if time == Time::First { Some(OnBirth(&tell)) } else { None };
        self.backend.create(theirs, on_birth)
    }

    pub(super) fn start(&mut self) -> Result<(), Error> {
        self.hand.as_ref().map_or_else(|| self.backend.start(), Hand::start)?;
        self.started = Instant::now();
        self.stage = Stage::Running;
        self.record_start();
        Ok(())
    }

    /// The program cannot run: whatever there is of the container goes, and this is the reason on record.
    pub(super) fn fail(&mut self, error: Error) {
        let status = exit_of(&error).status();
        self.verdict = Some(error);
        match self.init {
            Some(_) => self.kill(SIGKILL),
            None => self.finish(status),
        }
    }

    /// Sends init a signal. ESRCH: it has ended, and SIGCHLD is on its way to us.
    pub(super) fn kill(&self, signal: i32) {
        if let Some(init) = &self.init
            && let Err(errno) = signal_process(init.pidfd.as_fd(), signal)
            && errno != Errno::SRCH
        {
            complain(&format_args!("cannot send signal {signal} to process {}: {errno}", init.pid));
        }
    }

    /// The system goes down, or the service that we belong to: so does the container, in good order.
    fn go_down(&mut self) {
        let timeout = u64::try_from(self.launch.stop_timeout).ok().map(Duration::from_secs);
        self.end(By::System, self.launch.stop_signal, timeout);
    }

    /// Asks the program to end, and after the timeout, if there is one, makes it. It is not started again.
    pub(super) fn end(&mut self, by: By, signal: i32, timeout: Option<Duration>) {
        // What a client asked for stays so, whoever asks after him.
        if self.restarts.stopped != Some(By::Client) {
            self.restarts.stopped = Some(by);
        }
        if let Stage::Pausing { status, .. } = self.stage {
            self.record_stop();
            return self.leave(status);
        }
        // There is nothing stronger than SIGKILL to follow it.
        if let Some(timeout) = timeout.filter(|_| signal != SIGKILL) {
            let at = Instant::now() + timeout;
            self.kill_at = Some(self.kill_at.map_or(at, |before| before.min(at)));
        }
        self.record_kill(signal);
        self.kill(signal);
    }

    /// It had ended when it was told to stop: its record says so now.
    fn record_stop(&self) {
        let folder = &self.launch.container;
        let written = Exit::read(folder).and_then(|exit| match exit {
            Some(exit) => Exit { stopped: self.was_stopped(), ..exit }.write(folder, self.launch.durable),
            None => Ok(()),
        });
        if let Err(error) = written {
            complain(&error);
        }
    }

    fn was_stopped(&self) -> bool {
        self.restarts.stopped == Some(By::Client)
    }

    /// Takes in all children that have ended: init, orphans of the container, `on_exit`.
    fn reap(&mut self) {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => self.child_ended(pid.as_raw_nonzero().get(), status),
                Err(Errno::INTR) => {}
                Ok(None) | Err(_) => return,
            }
        }
    }

    fn child_ended(&mut self, pid: i32, status: WaitStatus) {
        if self.init.as_ref().is_some_and(|init| init.pid == pid) {
            self.oom.look(); // before all else: its cgroup may be gone in a moment
            self.init = None;
            self.kill_at = None;
            let now = Instant::now();
            self.stage = Stage::Draining { status: status_of(status), quiet: now + QUIET_MAX, end: now + DRAIN_MAX };
            self.stdio.let_terminal_end();
            self.drain();
        }
        if let Stage::Cleaning { status: last, pid: cleaner, .. } = self.stage
            && cleaner == pid
        {
            if status.exit_status() != Some(0) {
                complain(&format_args!("on_exit {:?} ended with {status:?}", self.launch.on_exit));
            }
            self.announce(last);
        }
    }

    // ---- clients ----

    fn accept(&mut self) {
        let Some(place) = &self.place else { return };
        match super::requests::accept(&place.listener, self.next_client, self.clients.len()) {
            Ok(Some(client)) => {
                self.next_client += 1;
                self.clients.push(client);
            }
            Ok(None) => {}
            Err(error) => {
                complain(&error);
                std::thread::sleep(QUIET_MAX); // it may be so again at once, as when the machine has no descriptors left
            }
        }
    }

    /// Sends everybody what they are owed, then forgets who is done and what all have.
    pub(super) fn flush_clients(&mut self) {
        let over = matches!(self.stage, Stage::Over { .. });
        let mut gone = Vec::new();
        for client in &mut self.clients {
            match client.flush(&self.spool) {
                Flushed::All | Flushed::Blocked => {}
                // The client that started the container has heard of its end: now it cleans up, or leaves.
                Flushed::Finished if over && client.starter && !self.settled => client.owed.last = None,
                Flushed::Finished | Flushed::Gone => gone.push(client.id),
            }
        }
        gone.into_iter().for_each(|id| self.forget(id));
        let needed = self.clients.iter().map(Client::needs_from).min().unwrap_or(u64::MAX);
        self.spool.forget_before(needed.min(self.spool.end()));
    }

    /// A client is gone, whatever the reason.
    pub(super) fn forget(&mut self, id: u64) {
        let Some(index) = self.clients.iter().position(|client| client.id == id) else { return };
        let client = self.clients.swap_remove(index);
        self.stdio.input.forget(client.id);
        if client.streams.stdin {
            self.input_left();
        }
        if client.starter {
            self.starter_left();
        }
    }

    /// A client that gave input has left. A terminal stays: another may come.
    pub(super) fn input_left(&mut self) {
        if self.launch.stdin == Stdin::Once && !self.launch.terminal {
            self.stdio.input.end();
            self.write_input();
        }
    }

    fn starter_left(&mut self) {
        match self.stage {
            Stage::Created if self.verdict.is_none() => {
                let doing = format!("cannot start container {}", self.launch.id);
                self.fail(Error::new(doing, "the client that created it has left before it said start"));
            }
            Stage::Over { status } => self.clean_up(status),
            _ => {}
        }
    }

    pub(super) fn phase(&self) -> Phase {
        match self.stage {
            Stage::Created => Phase::Created,
            Stage::Running | Stage::Draining { .. } => Phase::Running,
            Stage::Pausing { .. } => Phase::Restarting,
            Stage::Cleaning { .. } | Stage::Over { .. } => Phase::Exited,
        }
    }
}

/// Waits until something is ready, or the deadline has passed.
///
/// When nothing has happened for a while, the memory that a sleeper does not need is given back first: most of our code
/// served only to create the container. Nothing may stand between that and poll, or it would be fetched again.
fn sleep(fds: &mut [PollFd<'_>], deadline: Option<Instant>) -> Result<(), Errno> {
    let now = Instant::now();
    let nap_ends = now + REST_AFTER;
    let first = deadline.map_or(nap_ends, |deadline| deadline.min(nap_ends));
    let ready = poll(fds, Some(&timespec(first.saturating_duration_since(now))));
    if ready != Ok(0) || deadline.is_some_and(|deadline| deadline <= nap_ends) {
        return tolerate_interruption(ready);
    }
    let rest = deadline.map(|deadline| timespec(deadline.saturating_duration_since(nap_ends)));
    kelp_sys::memory::trim_heap();
    kelp_sys::memory::forget_text();
    tolerate_interruption(poll(fds, rest.as_ref()))
}

/// EINTR: a signal was caught; its byte is in the pipe that the next poll sees.
fn tolerate_interruption(ready: Result<usize, Errno>) -> Result<(), Errno> {
    match ready {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn status_of(status: WaitStatus) -> Status {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Status { code, signal: None, oom: false },
        (None, signal) => Status { code: 128 + signal.unwrap_or(0), signal, oom: false },
    }
}

fn timespec(duration: Duration) -> Timespec {
    // One millisecond more: to wake a little late and find the deadline passed, not a little early and twice.
    let duration = duration + Duration::from_millis(1);
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    Timespec { tv_sec: seconds, tv_nsec: i64::from(duration.subsec_nanos()) }
}
