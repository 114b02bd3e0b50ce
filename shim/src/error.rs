// SPDX-License-Identifier: Apache-2.0
//! What went wrong, for a person and for a caller: one struct for the holder and its clients.

use std::fmt;

/// What a caller may want to decide by. The numbers travel on the socket and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Nothing more special: exit status 125.
    Other = 0,
    /// The program named in the container's configuration does not exist in it: exit status 127.
    ProgramNotFound = 1,
    /// It exists and cannot be executed: exit status 126.
    ProgramNotExecutable = 2,
    /// The container is held already, or the runtime knows its name.
    AlreadyExists = 3,
    /// There is no such container, or nobody holds it.
    NoSuchContainer = 4,
    /// The container has not been started, or is over.
    NotRunning = 5,
    /// The other side sent, or was given, what it cannot use.
    BadInput = 6,
    /// The kernel, the runtime or this version cannot do it.
    Unsupported = 7,
    /// The kernel refused.
    Permission = 8,
    /// The connection ended before the answer came.
    Lost = 9,
    /// This client read too slowly for too long, and was let go so that the container could go on.
    TooSlow = 10,
}

impl Kind {
    /// The kind with this number; [`Kind::Other`] for numbers of a later version.
    pub fn from_number(number: u8) -> Kind {
        use Kind::*;
        let known = [
            ProgramNotFound,
            ProgramNotExecutable,
            AlreadyExists,
            NoSuchContainer,
            NotRunning,
            BadInput,
            Unsupported,
            Permission,
            Lost,
            TooSlow,
        ];
        known.into_iter().find(|kind| *kind as u8 == number).unwrap_or(Other)
    }

    /// The exit status that `kelp run` ends with, as Docker's: 127, 126, else 125.
    pub fn exit_status(self) -> u8 {
        match self {
            Kind::ProgramNotFound => 127,
            Kind::ProgramNotExecutable => 126,
            _ => 125,
        }
    }
}

/// What we were doing, why it stopped, what to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What we were doing: “cannot start container web”.
    pub doing: String,
    /// Why it stopped: “openat(…): no such file or directory (ENOENT)”.
    pub because: String,
    /// What to try, where we know.
    pub hint: Option<String>,
    /// What callers decide by.
    pub kind: Kind,
}

impl Error {
    /// An error of kind [`Kind::Other`] without a hint.
    pub fn new(doing: impl Into<String>, because: impl fmt::Display) -> Error {
        Error { doing: doing.into(), because: because.to_string(), hint: None, kind: Kind::Other }
    }

    /// The same error with something to try.
    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.hint = Some(hint.into());
        self
    }

    /// The same error, of this kind.
    pub fn kind(mut self, kind: Kind) -> Error {
        self.kind = kind;
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}\n  because: {}", self.doing, self.because)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// `result.doing(|| …)`: says what we were doing when a call failed.
pub trait Doing<T> {
    /// The same result; an error becomes ours, with the words that `doing` gives.
    fn doing<S: Into<String>>(self, doing: impl FnOnce() -> S) -> Result<T, Error>;
}

impl<T, E: fmt::Display> Doing<T> for Result<T, E> {
    fn doing<S: Into<String>>(self, doing: impl FnOnce() -> S) -> Result<T, Error> {
        self.map_err(|because| Error::new(doing(), because))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_survives_the_wire() {
        for number in 0..=10 {
            assert_eq!(Kind::from_number(number) as u8, number);
        }
        assert_eq!(Kind::from_number(200), Kind::Other);
    }
}
