// SPDX-License-Identifier: Apache-2.0
//! What init and the runtime say to each other: reports up, orders down, over one SOCK_SEQPACKET pair.
//!
//! When init executes the program, its end closes by itself: that is the last report, and it means success.

use crate::script::Script;
use crate::step::{During, Step, Stop};
use kelp_sys::rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use kelp_sys::rustix::io::Errno;

/// Bytes of an encoded [`Report`].
pub const REPORT_SIZE: usize = 12;
/// The most bytes of an encoded [`Order`]: a header and the longest filter that the kernel takes.
pub const ORDER_SIZE: usize = 8 + 4096 * 8;

/// What init tells the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// From the helper: it has made init, with this pid as the helper sees it.
    Born(i32),
    /// All mounts are made, the old root is still visible.
    Furnished,
    /// The terminal; its master comes along as a descriptor.
    Console,
    /// All is done but the program, for which init waits at the gate.
    Ready,
    /// The filter is loaded; the descriptor on which its notifications are answered comes along.
    Listener,
    /// Init ends. If a hook is to blame, what it has said comes along as a file in memory.
    Stopped(Stop),
}

impl Report {
    /// As it travels: kind, step, two bytes of nothing, two little-endian words.
    #[must_use]
    pub fn encode(self) -> [u8; REPORT_SIZE] {
        let (kind, step, first, second) = match self {
            Self::Born(pid) => (1, 0, 0, pid),
            Self::Furnished => (2, 0, 0, 0),
            Self::Console => (3, 0, 0, 0),
            Self::Ready => (4, 0, 0, 0),
            Self::Listener => (6, 0, 0, 0),
            Self::Stopped(stop) => (5, stop.step as u8, stop.index, stop.errno.raw_os_error()),
        };
        let [a, b, c, d] = first.to_le_bytes();
        let [e, f, g, h] = second.to_le_bytes();
        [kind, step, 0, 0, a, b, c, d, e, f, g, h]
    }

    /// The report in these bytes, if they are one.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let &[kind, step, _, _, a, b, c, d, e, f, g, h] = bytes else { return None };
        let index = u32::from_le_bytes([a, b, c, d]);
        let word = i32::from_le_bytes([e, f, g, h]);
        Some(match kind {
            1 => Self::Born(word),
            2 => Self::Furnished,
            3 => Self::Console,
            4 => Self::Ready,
            5 => Self::Stopped(Stop { step: Step::from_number(step)?, index, errno: Errno::from_raw_os_error(word) }),
            6 => Self::Listener,
            _ => return None,
        })
    }
}

/// What the runtime tells init.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order<'a> {
    /// The id maps are written.
    Mapped,
    /// The runtime's hooks are done. With createContainer or startContainer hooks two descriptors come along: the state of
    /// the container as those hooks shall read it.
    Continue,
    /// The runtime's part is done. Carries the seccomp filter, as the kernel wants it, and the flags of seccomp(2).
    Finish {
        /// Instructions of eight bytes each; empty: no filter.
        filter: &'a [u8],
        /// `SECCOMP_FILTER_FLAG_*`
        flags: u32,
    },
}

impl<'a> Order<'a> {
    /// The header of the message; a filter follows it.
    #[must_use]
    pub fn header(self) -> [u8; 8] {
        let (kind, flags) = match self {
            Self::Mapped => (1, 0),
            Self::Continue => (2, 0),
            Self::Finish { flags, .. } => (3, flags),
        };
        let [a, b, c, d] = u32::to_le_bytes(flags);
        [kind, 0, 0, 0, a, b, c, d]
    }

    /// The order in these bytes, if they are one.
    #[must_use]
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (&[kind, _, _, _, a, b, c, d], filter) = bytes.split_first_chunk::<8>()?;
        Some(match kind {
            1 => Self::Mapped,
            2 => Self::Continue,
            3 => Self::Finish { filter, flags: u32::from_le_bytes([a, b, c, d]) },
            _ => return None,
        })
    }
}

/// Init's end of the pair.
#[derive(Clone, Copy)]
pub(crate) struct Channel<'a>(pub(crate) BorrowedFd<'a>);

impl Channel<'_> {
    pub(crate) fn report(self, report: Report, fd: Option<BorrowedFd<'_>>) -> Result<(), Errno> {
        kelp_sys::socket::send(self.0, &report.encode(), fd.as_slice()).map(drop)
    }

    /// Says why the life ends, and ends it: with status 1, or 2 where nobody listens any more. `said`: what a hook has said
    /// that is to blame.
    pub(crate) fn last_word(self, stop: Stop, said: Option<BorrowedFd<'_>>) -> ! {
        let told = self.report(Report::Stopped(stop), said);
        kelp_sys::clone::exit(if told.is_ok() { 1 } else { 2 })
    }

    /// Waits for an order without a payload. The runtime's death is `ECONNRESET`.
    pub(crate) fn await_order(self, wanted: Order<'_>) -> Result<[Option<OwnedFd>; 2], Errno> {
        let mut buffer = [0; 8];
        let received = kelp_sys::socket::receive(self.0, &mut buffer)?;
        let [first, second, ..] = received.fds;
        match Order::decode(&buffer) {
            _ if received.bytes == 0 => Err(Errno::CONNRESET),
            Some(order) if order == wanted => Ok([first, second]),
            _ => Err(Errno::PROTO),
        }
    }

    /// Waits for the last order; returns the part of `space` that holds the filter, and its flags.
    pub(crate) fn await_finish(self, space: &mut [u8]) -> Result<(&[u8], u32), Errno> {
        let received = kelp_sys::socket::receive(self.0, space)?;
        if received.truncated {
            return Err(Errno::MSGSIZE);
        }
        match Order::decode(space.get(..received.bytes).unwrap_or_default()) {
            Some(Order::Finish { filter, flags }) => Ok((filter, flags)),
            None if received.bytes == 0 => Err(Errno::CONNRESET),
            _ => Err(Errno::PROTO),
        }
    }
}

impl Script<'_> {
    pub(crate) fn channel(&self) -> Channel<'_> {
        Channel(self.channel.as_fd())
    }

    /// Begins a step: marks it in the trace, fails it where a test wants it to fail.
    pub(crate) fn begin(&self, step: Step) -> Result<(), Stop> {
        fail_here(self.fail_at, step)
    }
}

/// Begins the step: `ECANCELED` if it is the one that a test has chosen.
pub(crate) fn fail_here(fail_at: Option<Step>, step: Step) -> Result<(), Stop> {
    kelp_sys::trace::mark(u32::from(step as u8));
    if fail_at == Some(step) { Err(Errno::CANCELED).during(step) } else { Ok(()) }
}
