// SPDX-License-Identifier: Apache-2.0
//! A large blob in parts: several requests at the same time, each for a range of it.
//!
//! Whoever fetches writes to the part's place in the file; whoever checks reads the file from its start, as far as there
//! is no hole, and hashes. So it is verified and unpacked while it arrives, and memory holds a buffer for each request. The
//! first part is asked for alone: a registry that does not answer it with exactly that range gets no other such request, and
//! the blob comes as one stream.
//!
//! RFC 9110 "Range Requests"; distribution-spec "Pulling blobs".

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::partial::{Map, Partial, note};
use super::{BUFFER, Pull};
use crate::digest::Digest;
use crate::error::{Doing, Error, Kind, Result};
use crate::progress::Event;
use crate::registry;
use crate::store::Writeback;
use crate::unpack::feed::News;

/// Requests for parts at the same time, of all blobs.
const AT_ONCE: usize = 6;

/// What the registry makes of ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ranges {
    /// It was not asked yet.
    Unknown,
    /// One request asks.
    Asked,
    /// It gives them.
    Given,
    /// It does not.
    Refused,
}

/// What all requests of a blob know.
struct State {
    map: Map,
    /// The first part that nobody took.
    next: usize,
    /// The first part that is not whole.
    first: usize,
    ranges: Ranges,
    error: Option<Error>,
}

/// A blob whose parts are fetched.
struct Parts<'p> {
    pull: &'p Pull<'p>,
    digest: &'p Digest,
    file: File,
    size: u64,
    state: Mutex<State>,
    changed: Condvar,
}

/// Fetches what is missing of a blob, in parts of at least this size. Where the registry does not give them, the beginning
/// that is there is all that is left, for a stream to go on with.
pub(super) fn fetch(pull: &Pull<'_>, partial: &mut Partial, digest: &Digest, part: u64) -> Result<()> {
    let map = partial.part(part)?;
    let file = partial.file().try_clone().doing(|| "writing a blob")?;
    let state = State { map, next: 0, first: 0, ranges: Ranges::Unknown, error: None };
    let parts = Parts { pull, digest, file, size: partial.size, state: Mutex::new(state), changed: Condvar::new() };
    thread::scope(|scope| {
        let lanes: Vec<_> = (0..pull.lanes(AT_ONCE)).map(|_| scope.spawn(|| parts.lane())).collect();
        let checked = parts.check(partial);
        if let Err(error) = checked {
            parts.end(error);
        }
        for lane in lanes {
            if lane.join().is_err() {
                parts.end(Error::new(Kind::Other, "fetching a blob", "a thread stopped"));
            }
        }
    });
    match parts.state.into_inner().unwrap_or_else(PoisonError::into_inner).error {
        // What is there is mapped, for the next pull.
        Some(error) => Err(error),
        None => partial.join(),
    }
}

impl Parts<'_> {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is one assignment: a thread that panicked left nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first error is the one that is told.
    fn end(&self, error: Error) {
        self.lock().error.get_or_insert(error);
        self.changed.notify_all();
    }

    /// Hashes the beginning as it grows, until the blob is whole, or nothing more comes.
    fn check(&self, partial: &mut Partial) -> Result<()> {
        while let Some(until) = self.wait(partial.have()) {
            partial.follow(until, &mut |have| self.pull.tell(News::Grown(self.digest.clone(), have)))?;
        }
        Ok(())
    }

    /// Waits until the beginning is longer than this; nothing when it will not be.
    fn wait(&self, have: u64) -> Option<u64> {
        let mut state = self.lock();
        loop {
            let beginning = state.map.beginning(state.first);
            if state.error.is_some() || have == self.size {
                return None;
            }
            if beginning > have {
                return Some(beginning);
            }
            if state.ranges == Ranges::Refused {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Fetches one part after the other.
    fn lane(&self) {
        while let Some(part) = self.take() {
            if let Err(error) = self.part(part) {
                return self.end(error);
            }
        }
    }

    /// The next part that is not whole. As long as nobody knows whether there are ranges, one asks, and the others wait.
    fn take(&self) -> Option<usize> {
        let mut state = self.lock();
        loop {
            if self.pull.stop.load(Ordering::Relaxed) {
                state.error.get_or_insert(Error::stop("fetching a blob"));
                self.changed.notify_all();
            }
            if state.error.is_some() || state.ranges == Ranges::Refused {
                return None;
            }
            if state.ranges != Ranges::Asked {
                break;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.ranges == Ranges::Unknown {
            state.ranges = Ranges::Asked;
        }
        let part = (state.next..state.map.there.len()).find(|n| state.map.there[*n] < state.map.length(*n));
        state.next = part.map_or(state.map.there.len(), |part| part + 1);
        if part.is_none() && state.ranges == Ranges::Asked {
            state.ranges = Ranges::Given;
        }
        self.changed.notify_all();
        part
    }

    /// Fetches a part; a connection that breaks is made again.
    fn part(&self, part: usize) -> Result<()> {
        let mut tries = 0;
        loop {
            let before = self.missing(part).0;
            let error = match self.stream(part) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            tries = if self.missing(part).0 > before { 1 } else { tries + 1 };
            if error.kind() != Kind::Network || tries >= self.pull.retry.tries {
                return Err(error);
            }
            registry::note_retry(self.pull.progress, self.digest.short(), &error);
            self.pull.retry.wait(tries, None);
        }
    }

    /// What is missing of a part: from, to.
    fn missing(&self, part: usize) -> (u64, u64) {
        let map = &self.lock().map;
        (map.start(part) + map.there[part], map.start(part) + map.length(part))
    }

    /// One answer of the registry; nothing is read of one that is not this range.
    fn stream(&self, part: usize) -> Result<()> {
        let doing = || format!("fetching the blob {}", self.digest.short());
        let (from, to) = self.missing(part);
        let body = self.pull.repository.range(self.digest, from, to)?;
        self.learn(if body.is_some() { Ranges::Given } else { Ranges::Refused });
        let Some(mut body) = body else { return Ok(()) };
        self.pull.relied.store(true, Ordering::Relaxed);
        let mut written = Writeback::default();
        let mut buffer = vec![0; BUFFER];
        let mut at = from;
        while at < to {
            if self.pull.stop.load(Ordering::Relaxed) || self.lock().error.is_some() {
                return Err(Error::stop(doing()));
            }
            let may = usize::try_from(to - at).map_or(BUFFER, |left| left.min(BUFFER));
            let n = body.read(&mut buffer[..may]).map_err(|e| registry::broken(doing(), &e))?;
            if n == 0 {
                return Err(Error::new(Kind::Network, doing(), "the connection ended before the blob did"));
            }
            self.file.write_all_at(&buffer[..n], at).doing(|| "writing a blob")?;
            written.account(n, &self.file);
            at += n as u64;
            self.arrived(part, n as u64)?;
        }
        // The end must be read for the connection to serve the next part.
        if body.read(&mut [0]).is_err() {
            // All that was asked for is here.
        }
        Ok(())
    }

    /// A refusal holds, whatever another request was answered at the same time: its part is missing.
    fn learn(&self, ranges: Ranges) {
        let mut state = self.lock();
        if state.ranges != Ranges::Refused {
            state.ranges = ranges;
        }
        drop(state);
        self.changed.notify_all();
    }

    /// So many more bytes of a part are in the file: this is what a next pull relies upon, so it is noted behind them.
    fn arrived(&self, part: usize, more: u64) -> Result<()> {
        let mut state = self.lock();
        state.map.there[part] += more;
        note(&self.file, self.size, part, state.map.there[part]).doing(|| "writing a blob")?;
        while state.first < state.map.there.len() && state.map.there[state.first] == state.map.length(state.first) {
            state.first += 1;
        }
        drop(state);
        self.changed.notify_all();
        self.pull.progress.event(Event::Fetched(self.digest, more));
        Ok(())
    }
}
