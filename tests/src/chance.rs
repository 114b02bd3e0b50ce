// SPDX-License-Identifier: Apache-2.0
//! Chance that can be repeated.

use std::cell::Cell;
use std::io::Write as _;
use std::time::SystemTime;

/// xorshift64: enough to choose moments. A failing test names its seed.
#[derive(Debug)]
pub struct Chance {
    seed: u64,
    state: Cell<u64>,
}

impl Drop for Chance {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Standard error is where the panic went: if that is closed, so is this.
            writeln!(std::io::stderr(), "repeat with KELP_SEED={}", self.seed).ok();
        }
    }
}

impl Chance {
    /// A new seed, or that of `KELP_SEED`.
    #[allow(clippy::new_without_default, reason = "each one differs")]
    pub fn new() -> Chance {
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(1, |since| since.as_nanos());
        let seed = std::env::var("KELP_SEED").ok().and_then(|text| text.parse().ok());
        let seed = seed.unwrap_or(u64::try_from(time & u128::from(u64::MAX)).unwrap_or_default() | 1);
        Chance { seed, state: Cell::new(seed) }
    }

    /// A number below `limit`.
    pub fn below(&self, limit: u64) -> u64 {
        let mut x = self.state.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.state.set(x);
        x % limit
    }
}
