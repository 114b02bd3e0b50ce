// SPDX-License-Identifier: Apache-2.0
//! Whether a container that has ended starts again, and after what pause: Docker's rules.

use kelp_shim::{Restart, Status};
use std::time::Duration;

/// A program that ran for so long was well: the pauses begin anew.
const WELL: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How often it was started again, and how soon it may be next.
#[derive(Debug)]
pub(crate) struct Restarts {
    pub(crate) policy: Restart,
    count: u32,
    pause: Duration,
    /// It was told to stop: nothing starts it again.
    pub(crate) stopped: Option<By>,
}

/// Who told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// A client: what was asked for holds after a reboot too.
    Client,
    /// The system, by SIGTERM to the holder, since it goes down.
    System,
}

impl Restarts {
    pub(crate) fn new(policy: Restart) -> Restarts {
        Restarts { policy, count: 0, pause: FIRST_PAUSE, stopped: None }
    }

    /// The pause before the next start, if there is to be one.
    pub(crate) fn next(&mut self, status: Status, ran_for: Duration) -> Option<Duration> {
        if self.stopped.is_some() || !self.wanted(status) {
            return None;
        }
        self.count += 1;
        if ran_for >= WELL {
            self.pause = FIRST_PAUSE;
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        Some(pause)
    }

    fn wanted(&self, status: Status) -> bool {
        match self.policy {
            Restart::No => false,
            Restart::OnFailure { max } => status.code != 0 && (max == 0 || self.count < max),
            Restart::Always | Restart::UnlessStopped => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: Status = Status { code: 1, signal: None, oom: false };
    const WELL_DONE: Status = Status { code: 0, signal: None, oom: false };

    fn pauses(policy: Restart, status: Status, ran_for: Duration) -> Vec<u128> {
        let mut restarts = Restarts::new(policy);
        (0..5).map_while(|_| restarts.next(status, ran_for)).map(|pause| pause.as_millis()).collect()
    }

    #[test]
    fn each_policy_restarts_what_it_should() {
        let short = Duration::ZERO;
        assert_eq!(pauses(Restart::No, FAILED, short), []);
        assert_eq!(pauses(Restart::OnFailure { max: 2 }, FAILED, short), [100, 200]);
        assert_eq!(pauses(Restart::OnFailure { max: 0 }, FAILED, short), [100, 200, 400, 800, 1600]);
        assert_eq!(pauses(Restart::OnFailure { max: 0 }, WELL_DONE, short), []);
        assert_eq!(pauses(Restart::Always, WELL_DONE, WELL), [100; 5]);
        for by in [By::Client, By::System] {
            let mut stopped = Restarts::new(Restart::UnlessStopped);
            stopped.stopped = Some(by);
            assert_eq!(stopped.next(FAILED, short), None);
        }
    }
}
