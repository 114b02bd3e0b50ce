// SPDX-License-Identifier: Apache-2.0
//! The least rate: a registry that sends, or takes, next to nothing is given up on.
//!
//! A limit for each read does not see one byte a second; a limit for a whole blob would forbid slow lines. So what passes
//! is counted while we wait for it, below HTTP: headers, bodies, uploads and token servers alike. Time in which we do not
//! read (the disk is busy), and the wait for the beginning of an answer, which has its own limit, do not count.

use std::env;
use std::fmt;
use std::io;
use std::str::FromStr;
use std::time::{Duration, Instant};

use ureq::Timeout;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

use crate::error::{Error, Kind, Result};

/// The variable that sets it.
const VARIABLE: &str = "KELP_LEAST_RATE";

/// How much must pass in how much time of waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Bytes a second; with 0 nobody is given up on.
    pub bytes: u64,
    /// Over so long.
    pub over: Duration,
}

impl Rate {
    /// A modem of 1990 is ten times as fast.
    const DEFAULT: Self = Self { bytes: 256, over: Duration::from_secs(30) };

    /// How long a registry may take nothing of what is sent. It may be busy with what it has.
    pub(super) fn patience(&self) -> Option<Duration> {
        (self.bytes > 0).then(|| self.over.saturating_mul(2))
    }

    /// What `KELP_LEAST_RATE` says: bytes a second, and perhaps over how many seconds, as in `1000/10`.
    pub(super) fn of_environment() -> Result<Self> {
        match env::var(VARIABLE) {
            Ok(text) if !text.is_empty() => text.parse(),
            _ => Ok(Self::DEFAULT),
        }
    }
}

impl FromStr for Rate {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (bytes, seconds) = text.split_once('/').unwrap_or((text, "30"));
        match (bytes.parse(), seconds.parse()) {
            (Ok(bytes), Ok(seconds @ 1..=3600)) => Ok(Self { bytes, over: Duration::from_secs(seconds) }),
            _ => {
                let error = Error::new(Kind::BadInput, format!("reading {VARIABLE}={text}"), "it is no least rate");
                Err(error.hint("give bytes a second, and over how many seconds if not 30: 1000/10; 0 is no least rate"))
            }
        }
    }
}

/// Why a connection was given up on.
#[derive(Debug)]
struct TooSlow(Rate);

impl fmt::Display for TooSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rate { bytes, over } = self.0;
        write!(f, "fewer than {bytes} bytes a second passed for {} seconds", over.as_secs())
    }
}

impl std::error::Error for TooSlow {}

/// Whether this ended a connection that was too slow.
pub(super) fn is_too_slow(e: &io::Error) -> bool {
    e.get_ref().is_some_and(|inner| inner.is::<TooSlow>())
}

/// What to try then.
pub(super) fn hint() -> String {
    format!("try again later, a pull goes on where it stopped; {VARIABLE}=BYTES sets the least rate a second, 0 none")
}

/// What passed in one direction, in how much time of waiting.
#[derive(Debug)]
struct Meter {
    rate: Rate,
    bytes: u64,
    waited: Duration,
}

impl Meter {
    fn new(rate: Rate) -> Self {
        Self { rate, bytes: 0, waited: Duration::ZERO }
    }

    fn account(&mut self, bytes: usize, waited: Duration) -> io::Result<()> {
        self.bytes += bytes as u64;
        self.waited += waited;
        if self.waited < self.rate.over {
            return Ok(());
        }
        let least = self.rate.bytes as f64 * self.waited.as_secs_f64();
        let slow = (self.bytes as f64) < least;
        *self = Self::new(self.rate);
        if slow { Err(self.too_slow()) } else { Ok(()) }
    }

    fn too_slow(&self) -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, TooSlow(self.rate))
    }
}

/// Measures the connections that another connector makes.
#[derive(Debug)]
pub(super) struct Paced(pub(super) Rate);

impl<In: Transport> Connector<In> for Paced {
    type Out = Measured<In>;

    fn connect(
        &self,
        _details: &ConnectionDetails<'_>,
        made: Option<In>,
    ) -> std::result::Result<Option<Self::Out>, ureq::Error> {
        let meter = || Meter::new(self.0);
        Ok(made.map(|inner| Measured { inner, begun: false, received: meter(), sent: meter(), ended: false }))
    }
}

/// A connection whose bytes are counted.
#[derive(Debug)]
pub(super) struct Measured<T> {
    inner: T,
    /// The answer has begun: from here on its bytes have to come.
    begun: bool,
    received: Meter,
    sent: Meter,
    /// Too little was taken: no answer is waited for, which ureq does after a request that broke off.
    ended: bool,
}

impl<T: Transport> Transport for Measured<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> std::result::Result<(), ureq::Error> {
        if self.begun {
            // The next request of this connection.
            self.begun = false;
            self.received = Meter::new(self.received.rate);
            self.sent = Meter::new(self.sent.rate);
        }
        let start = Instant::now();
        let sent = match self.inner.transmit_output(amount, timeout) {
            Ok(()) => self.sent.account(amount, start.elapsed()),
            Err(ureq::Error::Timeout(Timeout::PerWrite)) => Err(self.sent.too_slow()),
            Err(error) => return Err(error),
        };
        self.ended = sent.is_err();
        Ok(sent?)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> std::result::Result<bool, ureq::Error> {
        if self.ended {
            return Err(self.sent.too_slow().into());
        }
        let before = self.inner.buffers().input().len();
        let start = Instant::now();
        let more = self.inner.await_input(timeout)?;
        let came = self.inner.buffers().input().len().saturating_sub(before);
        if std::mem::replace(&mut self.begun, true) {
            self.received.account(came, start.elapsed())?;
        }
        Ok(more)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trickle_is_too_slow_and_a_pause_is_not() {
        let rate: Rate = "100/10".parse().unwrap();
        let second = Duration::from_secs(1);
        let mut trickle = Meter::new(rate);
        let ends = (0..20).position(|_| trickle.account(1, second).is_err());
        assert_eq!(ends, Some(9));
        let mut pausing = Meter::new(rate);
        for _ in 0..100 {
            pausing.account(5000, second).unwrap();
            pausing.account(0, second * 9).unwrap();
        }
        let mut free = Meter::new("0".parse().unwrap());
        assert!((0..100).all(|_| free.account(0, second).is_ok()));
        assert!(is_too_slow(&io::Error::new(io::ErrorKind::TimedOut, TooSlow(rate))));
    }

    #[test]
    fn what_is_no_rate_is_refused() {
        assert_eq!("5".parse::<Rate>().unwrap(), Rate { bytes: 5, over: Duration::from_secs(30) });
        for text in ["", "x", "-1", "5/", "5/0", "1k", "5/x"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
