// SPDX-License-Identifier: Apache-2.0
//! Waiting for something to become true, with a deadline instead of a guess.

use std::time::{Duration, Instant};

/// How long a thing that should be immediate may take on a loaded two-core machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `holds` is true; panics naming `what` when it does not become so in time.
pub fn until(what: &str, holds: impl FnMut() -> bool) {
    assert!(within(PATIENCE, holds), "waited {PATIENCE:?} in vain until {what}");
}

/// Whether `holds` becomes true within `limit`. Asks often at first, then less so.
pub fn within(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    loop {
        if holds() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}
