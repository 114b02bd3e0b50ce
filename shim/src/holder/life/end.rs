// SPDX-License-Identifier: Apache-2.0
//! The end of a container: its record, its restart by policy or its removal, and telling those who wait.
//!
//! Runs in kelp-shim.

use super::{Holder, Stage, Time};
use crate::complain;
use crate::holder::clients::Last;
use crate::holder::exit_of;
use crate::holder::hand::Hand;
use crate::holder::stdio::Stdio;
use kelp_shim::{Doing, Error, Exit, Status};
use kelp_sys::rustix::pipe::{PipeFlags, pipe_with};
use std::process::{Command, Stdio as Redirect};
use std::time::{Duration, Instant};

/// How long `on_exit` may keep clients from hearing of the end.
const CLEANING_MAX: Duration = Duration::from_secs(10);

impl Holder {
    /// The container is over, or this round of it: records, releases, and tells or restarts.
    pub(super) fn finish(&mut self, status: Status) {
        // What serves the container ends while we tidy up: the next one may want its ports.
        self.kept.clear();
        let flushed = self.log.flush();
        self.note_log_failure(flushed);
        self.stdio = Stdio::default();
        let mut exit = Exit::now(status, None);
        exit.oom = std::mem::take(&mut self.oom).killed;
        if let Some(error) = &self.verdict {
            exit = exit_of(error);
        }
        exit.stopped = self.was_stopped();
        self.record(&exit);
        let ran_for = self.started.elapsed();
        self.record_end(exit.status(), ran_for.as_secs());
        if std::mem::take(&mut self.exists)
            && let Err(error) = self.hand.as_ref().map_or_else(|| self.backend.delete(), Hand::delete)
        {
            complain(&error);
        }
        let status = exit.status();
        match if self.verdict.is_none() { self.restarts.next(status, ran_for) } else { None } {
            Some(pause) => self.stage = Stage::Pausing { status, until: Instant::now() + pause },
            None => self.leave(status),
        }
    }

    /// A long reason may not fit a full disk; the status does, in what was reserved for it.
    fn record(&self, exit: &Exit) {
        let (folder, durable) = (&self.launch.container, self.launch.durable);
        if let Err(error) = exit.write(folder, durable) {
            complain(&error);
            if let Err(error) =
                (Exit { error: exit.error.as_ref().map(|_| String::new()), ..exit.clone() }).write(folder, false)
            {
                complain(&error);
            }
        }
    }

    pub(super) fn restart(&mut self) {
        if let Err(error) = Exit::withdraw(&self.launch.container) {
            complain(&error);
        }
        let restarted = self.create_again().and_then(|pid| self.prepare_restarted(pid)).and_then(|()| self.start());
        if let Err(error) = restarted {
            complain(&error);
            self.fail(error);
        }
    }

    fn create_again(&mut self) -> Result<i32, Error> {
        let pid = self.create(Time::Again)?;
        if !self.clients.iter().any(|client| client.streams.stdin) {
            self.input_left();
        }
        Ok(pid)
    }

    /// What the engine did between `Created` and `Start` the first time.
    fn prepare_restarted(&mut self, pid: i32) -> Result<(), Error> {
        let Some((program, args)) = self.launch.on_restart.split_first() else { return Ok(()) };
        let doing = || format!("cannot prepare container {} with {program}", self.launch.id);
        // What served the container that has ended, its network, ends with it; what will serve this one has a line of its own.
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).doing(doing)?;
        self.kept = vec![write];
        let status = Command::new(program).args(args).arg(pid.to_string()).stdin(read).status();
        match status.doing(doing)? {
            status if status.success() => Ok(()),
            status => Err(Error::new(doing(), status)),
        }
    }

    /// Nothing more will be: socket and lock go. Without a client that cleans up, `on_exit` does before others hear.
    pub(in super::super) fn leave(&mut self, status: Status) {
        if let Some(place) = self.place.take() {
            place.leave();
        }
        match self.clients.iter().any(|client| client.starter) {
            true => self.announce(status),
            false => self.clean_up(status),
        }
    }

    pub(super) fn clean_up(&mut self, status: Status) {
        if self.settled {
            return self.announce(status);
        }
        self.settled = true;
        match self.begin_clean_up() {
            Ok(pid) => self.stage = Stage::Cleaning { status, pid, until: Instant::now() + CLEANING_MAX },
            Err(error) => {
                complain(&error);
                self.announce(status);
            }
        }
    }

    fn begin_clean_up(&self) -> Result<i32, Error> {
        if let Some(hand) = &self.hand {
            return hand.clean_up();
        }
        let none = || Error::new("cannot clean up", "no on_exit was given");
        let (program, args) = self.launch.on_exit.split_first().ok_or_else(none)?;
        let child = Command::new(program).args(args).stdin(Redirect::null()).spawn();
        let child = child.doing(|| format!("cannot run on_exit {program}"))?;
        Ok(i32::try_from(child.id()).unwrap_or(0))
    }

    pub(super) fn announce(&mut self, status: Status) {
        self.stage = Stage::Over { status };
        for client in &mut self.clients {
            let last = match (&self.verdict, client.waits) {
                (Some(error), true) if client.starter => Last::Error(error.clone()),
                (_, true) => Last::Exit(status),
                (_, false) => Last::Silence,
            };
            client.owed.last.get_or_insert(last);
        }
    }
}
