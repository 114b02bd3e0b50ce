// SPDX-License-Identifier: Apache-2.0
//! The person's terminal in raw mode, given back on every way out: return, error, signal (they are caught), panic.

use crate::protocol::Size;
use kelp_sys::rustix::termios::Termios;
use kelp_sys::term;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, Once, PoisonError};

/// What a panic gives back: release builds abort, so that no destructor runs.
static SAVED: Mutex<Option<(OwnedFd, Termios)>> = Mutex::new(None);
static HOOK: Once = Once::new();

/// Raw mode until dropped.
#[derive(Debug)]
pub(super) struct RawTerminal<'fd>(term::Raw<'fd>);

impl<'fd> RawTerminal<'fd> {
    /// Raw mode on `terminal`; `None` where it is no terminal.
    pub(super) fn enter(terminal: BorrowedFd<'fd>) -> Option<RawTerminal<'fd>> {
        let raw = term::Raw::enter(terminal).ok()?;
        let copy = terminal.try_clone_to_owned().ok()?;
        *SAVED.lock().unwrap_or_else(PoisonError::into_inner) = Some((copy, raw.before().clone()));
        HOOK.call_once(|| {
            let next = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                give_back();
                next(panic);
            }));
        });
        Some(RawTerminal(raw))
    }

    /// After SIGCONT.
    pub(super) fn again(&self) {
        // Refused while we are in the background: the next SIGCONT in the foreground does it.
        self.0.again().unwrap_or_default();
    }
}

impl Drop for RawTerminal<'_> {
    fn drop(&mut self) {
        *SAVED.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn give_back() {
    // try_lock: the panic may have come while it was held.
    if let Ok(mut saved) = SAVED.try_lock()
        && let Some((terminal, mode)) = saved.take()
    {
        term::restore(terminal, &mode).unwrap_or_default();
    }
}

/// The size of the first of our standard streams that is a terminal.
pub fn size() -> Option<Size> {
    let (input, output, errors) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    [input.as_fd(), output.as_fd(), errors.as_fd()].into_iter().find_map(|fd| {
        let size = term::size(fd).ok()?;
        Some(Size { rows: size.ws_row, cols: size.ws_col })
    })
}
