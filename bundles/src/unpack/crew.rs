// SPDX-License-Identifier: Apache-2.0
//! Several layers at the same time. A layer waits for those below it only when its tar takes for granted what they have.

use std::cell::OnceCell;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use kelp_sys::rustix::io::Errno;

use super::feed::{Feed, Listener, News};
use crate::error::{Error, Kind, Result};
use crate::stack::{Found, LayerStack};

/// Layers that are unpacked at the same time: each has three threads, and what its decompressor needs of memory.
const AT_ONCE: usize = 2;

/// What was done so far.
struct Progressed {
    /// The next layer nobody took yet.
    next: usize,
    done: Vec<bool>,
    /// The first error: it is told, those it causes are not.
    error: Option<Error>,
}

/// Those who unpack the layers of one image.
pub(super) struct Crew<'f> {
    /// The folders of the layers, lowest first.
    folders: Vec<PathBuf>,
    state: Mutex<Progressed>,
    changed: Condvar,
    feed: &'f Feed,
}

/// The layers below one, once they are all there.
pub(super) struct Below<'c> {
    crew: &'c Crew<'c>,
    layer: usize,
    stack: OnceCell<LayerStack>,
}

impl<'f> Crew<'f> {
    /// `folders` with whether they are done already.
    pub(super) fn new(folders: Vec<(PathBuf, bool)>, feed: &'f Feed) -> Self {
        let (folders, done) = folders.into_iter().unzip();
        let state = Mutex::new(Progressed { next: 0, done, error: None });
        Self { folders, state, changed: Condvar::new(), feed }
    }

    /// Has `unpack` done to each layer that is not done, the lowest first.
    pub(super) fn work(self, unpack: impl Fn(usize, &Below<'_>) -> Result<()> + Sync) -> Result<()> {
        let work = || {
            while let Some(layer) = self.take() {
                let below = Below { crew: &self, layer, stack: OnceCell::new() };
                self.ended(layer, unpack(layer, &below));
            }
        };
        thread::scope(|scope| {
            let others: Vec<_> = (1..AT_ONCE).map(|_| scope.spawn(work)).collect();
            work();
            for other in others {
                if other.join().is_err() {
                    self.ended(0, Err(Error::new(Kind::Other, "unpacking a layer", "a thread stopped")));
                }
            }
        });
        self.state.into_inner().unwrap_or_else(PoisonError::into_inner).error.map_or(Ok(()), Err)
    }

    fn lock(&self) -> MutexGuard<'_, Progressed> {
        // Every change is one assignment: a thread that panicked left nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<usize> {
        let mut state = self.lock();
        if state.error.is_some() {
            return None;
        }
        let layer = (state.next..state.done.len()).find(|layer| !state.done[*layer])?;
        state.next = layer + 1;
        Some(layer)
    }

    fn ended(&self, layer: usize, result: Result<()>) {
        let mut state = self.lock();
        match result {
            Ok(()) => state.done[layer] = true,
            Err(error) => {
                state.error.get_or_insert(error);
                // Nobody need bring the rest, and nobody wait for it.
                self.feed.tell(News::Failed);
            }
        }
        self.changed.notify_all();
    }

    /// Waits until all layers below this one are there; `false` if they will never be.
    fn wait_below(&self, layer: usize) -> bool {
        let mut state = self.lock();
        loop {
            if state.error.is_some() || self.feed.failed() {
                return false;
            }
            if state.done[..layer].iter().all(|done| *done) {
                return true;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Below<'_> {
    /// What the layers below show at this path (without links).
    pub(super) fn find(&self, path: &[u8]) -> std::result::Result<Option<Found>, Errno> {
        if self.layer == 0 {
            return Ok(None);
        }
        match self.stack.get() {
            Some(stack) => stack.find(path),
            None => self.open()?.find(path),
        }
    }

    fn open(&self) -> std::result::Result<&LayerStack, Errno> {
        if !self.crew.wait_below(self.layer) {
            // The error that stopped the others is the one that is told.
            return Err(Errno::CANCELED);
        }
        let stack = LayerStack::open(&self.crew.folders[..self.layer]).map_err(|_| Errno::NOENT)?;
        Ok(self.stack.get_or_init(|| stack))
    }
}
