// SPDX-License-Identifier: Apache-2.0
//! What is written goes to the disk while more is unpacked, so that the syncfs that makes layers durable finds little to do.
//!
//! Large files are begun one by one (`extract`); the many small ones of a layer have no such call that pays. syncfs(2) writes
//! them all, and waits: here, where nobody waits for it.

use std::fs::File;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use kelp_sys::rustix::fs::syncfs;

/// What is done before is not worth it.
const PAUSE: Duration = Duration::from_millis(800);

/// Whether the work is done.
#[derive(Default)]
struct Work {
    is_done: Mutex<bool>,
    changed: Condvar,
}

/// Says so when it goes, also by a panic.
struct Done<'w>(&'w Work);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        *self.0.is_done.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.changed.notify_all();
    }
}

impl Work {
    /// Waits for the end, or for long enough; `true` at the end.
    fn wait(&self) -> bool {
        let is_done = self.is_done.lock().unwrap_or_else(PoisonError::into_inner);
        *self.changed.wait_timeout_while(is_done, PAUSE, |done| !*done).unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Does `act`; has the file system of `folder` write what there is from time to time.
pub(super) fn meanwhile<T>(folder: &File, act: impl FnOnce() -> T) -> T {
    let work = Work::default();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !work.wait() {
                // Whatever is wrong, the last one will say.
                if syncfs(folder).is_err() {}
            }
        });
        let _done = Done(&work);
        act()
    })
}
