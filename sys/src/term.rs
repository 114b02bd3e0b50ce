// SPDX-License-Identifier: Apache-2.0
//! A person's terminal: raw mode and back, and its size. See termios(3), TIOCGWINSZ(2const).

use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;
use rustix::termios::{OptionalActions, OutputModes, Termios, tcgetattr, tcsetattr};
pub use rustix::termios::{Winsize, tcgetwinsize as size, tcsetwinsize as set_size};

/// A terminal in raw mode: every key reaches us, nothing is echoed. Dropping it gives back the mode it had.
///
/// It does not help against `panic = "abort"` or SIGKILL: for the former, keep [`Raw::before`] where a panic hook finds it.
#[derive(Debug)]
pub struct Raw<'fd> {
    terminal: BorrowedFd<'fd>,
    before: Termios,
}

impl<'fd> Raw<'fd> {
    /// `tcsetattr(terminal, TCSADRAIN, cfmakeraw(…))`.
    ///
    /// # Errors
    /// `ENOTTY`: it is no terminal.
    pub fn enter(terminal: BorrowedFd<'fd>) -> Result<Raw<'fd>, Errno> {
        let before = tcgetattr(terminal)?;
        let raw = Raw { terminal, before };
        raw.again()?;
        Ok(raw)
    }

    /// Raw once more, after a stop and SIGCONT during which the shell has set its own mode.
    pub fn again(&self) -> Result<(), Errno> {
        let mut raw = self.before.clone();
        raw.make_raw();
        // TCSADRAIN: what was printed before is printed in the old mode; typed-ahead keys are kept.
        tcsetattr(self.terminal, OptionalActions::Drain, &raw)
    }

    /// The mode to give back.
    pub fn before(&self) -> &Termios {
        &self.before
    }
}

impl Drop for Raw<'_> {
    fn drop(&mut self) {
        // There is nobody left to tell if the terminal is gone.
        restore(self.terminal, &self.before).unwrap_or_default();
    }
}

/// Clears `ONLCR`: a newline that is written is a newline when it is read. See termios(3).
pub fn keep_newlines<Fd: AsFd>(terminal: Fd) -> Result<(), Errno> {
    let mut mode = tcgetattr(&terminal)?;
    mode.output_modes.remove(OutputModes::ONLCR);
    tcsetattr(&terminal, OptionalActions::Now, &mode)
}

/// Gives the terminal this mode back.
pub fn restore<Fd: AsFd>(terminal: Fd, mode: &Termios) -> Result<(), Errno> {
    tcsetattr(terminal, OptionalActions::Drain, mode)
}
