// SPDX-License-Identifier: Apache-2.0
//! The engine's one error: what we were doing, why it stopped, what to try.
//!
//! Libraries below return their own errors; they become this one at the border, so that `main` prints a single form.

use kelp_runtime::visible::quoted;
use std::fmt;

/// What a caller may choose by. Everything else about an error is for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The named container, image, volume or file does not exist.
    NotFound,
    /// The name or object is taken.
    AlreadyExists,
    /// What the user wrote cannot be understood.
    BadInput,
    /// The container is not in a state in which this can be done.
    WrongState,
    /// The program to be started does not exist in the container (exit status 127).
    ProgramNotFound,
    /// The program exists and cannot be executed (exit status 126).
    ProgramNotExecutable,
    /// Asked for, known, and not done by Kelp.
    Unsupported,
    /// The kernel or the system refused.
    Permission,
    /// Who was to read what we write has gone, and knows why.
    CutOff,
    /// Anything else.
    Other,
}

/// What we were doing, why it stopped, what to try.
#[derive(Debug, Clone)]
pub struct Error {
    doing: String,
    because: String,
    hint: Option<String>,
    kind: Kind,
    status: Option<u8>,
}

/// Docker's status for what went wrong in any command but `run`.
const FAILED: u8 = 1;

/// The status of `run` that says: not the program, we.
const OUR_FAULT: u8 = 125;

/// The engine's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// `doing` completes “error: …”, for example `cannot remove volume data`.
    pub fn new(kind: Kind, doing: impl Into<String>, because: impl fmt::Display) -> Self {
        Self { doing: doing.into(), because: because.to_string(), hint: None, kind, status: None }
    }

    /// The same error with something to try.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same error with a hint, if there is one.
    pub fn maybe_hint(mut self, hint: Option<impl Into<String>>) -> Self {
        self.hint = hint.map(Into::into).or(self.hint);
        self
    }

    /// The same error, leaving the program with this status instead of 1.
    pub fn status(mut self, status: u8) -> Self {
        self.status = Some(status);
        self
    }

    /// The same error under another headline; the old headline joins the causes.
    pub fn while_doing(mut self, doing: impl Into<String>) -> Self {
        self.because = format!("{}: {}", self.doing, self.because);
        self.doing = doing.into();
        self
    }

    /// The same error, with what went wrong while undoing.
    pub fn and_also(mut self, undo: &Error) -> Self {
        self.because = format!("{}; then {}: {}", self.because, undo.doing, undo.because);
        self
    }

    /// What we were doing.
    pub fn doing(&self) -> &str {
        &self.doing
    }

    /// Why it stopped.
    pub fn because(&self) -> &str {
        &self.because
    }

    /// What callers choose by.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Docker's exit status for an error of `run`: 127 and 126 belong to the program, 125 to us.
    pub fn with_run_status(self) -> Self {
        let status = match self.kind {
            Kind::ProgramNotFound => 127,
            Kind::ProgramNotExecutable => 126,
            _ => OUR_FAULT,
        };
        self.status(status)
    }

    /// The status `main` leaves with.
    pub fn exit_status(&self) -> u8 {
        self.status.unwrap_or(FAILED)
    }

    /// An I/O error on a path of ours or of the user.
    pub fn io(doing: impl Into<String>, error: &std::io::Error) -> Self {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => Kind::NotFound,
            std::io::ErrorKind::AlreadyExists => Kind::AlreadyExists,
            std::io::ErrorKind::PermissionDenied => Kind::Permission,
            _ => Kind::Other,
        };
        Self::new(kind, doing, lowercase(&error.to_string()))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No word from outside stands where our hint stands.
        write!(f, "error: {}\n  because: {}", quoted(&self.doing), quoted(&self.because))?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {}", quoted(hint)),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

impl From<kelp_network::Error> for Error {
    fn from(error: kelp_network::Error) -> Self {
        let kind = match error.kind {
            kelp_network::Kind::BadInput => Kind::BadInput,
            kelp_network::Kind::InUse => Kind::AlreadyExists,
            kelp_network::Kind::Permission => Kind::Permission,
            kelp_network::Kind::ProgramNotFound | kelp_network::Kind::Unsupported => Kind::Unsupported,
            kelp_network::Kind::Other => Kind::Other,
        };
        Self::new(kind, error.doing, error.because).maybe_hint(error.hint)
    }
}

impl From<kelp_shim::Error> for Error {
    fn from(error: kelp_shim::Error) -> Self {
        let kind = match error.kind {
            kelp_shim::Kind::ProgramNotFound => Kind::ProgramNotFound,
            kelp_shim::Kind::ProgramNotExecutable => Kind::ProgramNotExecutable,
            kelp_shim::Kind::AlreadyExists => Kind::AlreadyExists,
            kelp_shim::Kind::NoSuchContainer => Kind::NotFound,
            kelp_shim::Kind::NotRunning => Kind::WrongState,
            kelp_shim::Kind::BadInput => Kind::BadInput,
            kelp_shim::Kind::Unsupported => Kind::Unsupported,
            kelp_shim::Kind::Permission => Kind::Permission,
            _ => Kind::Other,
        };
        Self::new(kind, error.doing, error.because).maybe_hint(error.hint)
    }
}

impl From<kelp_bundles::Error> for Error {
    fn from(error: kelp_bundles::Error) -> Self {
        let kind = match error.kind() {
            kelp_bundles::Kind::NotFound => Kind::NotFound,
            kelp_bundles::Kind::BadInput => Kind::BadInput,
            kelp_bundles::Kind::InUse => Kind::WrongState,
            kelp_bundles::Kind::CutOff => Kind::CutOff,
            kelp_bundles::Kind::Unsupported | kelp_bundles::Kind::WrongPlatform => Kind::Unsupported,
            _ => Kind::Other,
        };
        Self::new(kind, error.doing(), error.because()).maybe_hint(error.advice())
    }
}

impl From<kelp_runtime::Error> for Error {
    fn from(error: kelp_runtime::Error) -> Self {
        let kind = match error.kind() {
            kelp_runtime::Kind::ProgramNotFound => Kind::ProgramNotFound,
            kelp_runtime::Kind::ProgramNotExecutable => Kind::ProgramNotExecutable,
            kelp_runtime::Kind::NoSuchContainer => Kind::NotFound,
            kelp_runtime::Kind::AlreadyExists => Kind::AlreadyExists,
            kelp_runtime::Kind::NotRunning => Kind::WrongState,
            kelp_runtime::Kind::BadInput => Kind::BadInput,
            kelp_runtime::Kind::Unsupported => Kind::Unsupported,
            kelp_runtime::Kind::Permission => Kind::Permission,
            _ => Kind::Other,
        };
        let because = error.cause().unwrap_or("the runtime says no more");
        Self::new(kind, error.doing(), because).maybe_hint(error.advice())
    }
}

/// The standard library writes “No such file or directory (os error 2)”; our causes start in lower case.
fn lowercase(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}

/// Adds the headline to an I/O result.
pub trait Doing<T> {
    /// `doing` is called only where the result is an error.
    fn doing<S: Into<String>>(self, doing: impl FnOnce() -> S) -> Result<T>;
}

impl<T> Doing<T> for std::io::Result<T> {
    fn doing<S: Into<String>>(self, doing: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| Error::io(doing(), &error))
    }
}

impl<T> Doing<T> for std::result::Result<T, kelp_sys::rustix::io::Errno> {
    fn doing<S: Into<String>>(self, doing: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|errno| Error::io(doing(), &std::io::Error::from_raw_os_error(errno.raw_os_error())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_as_what_why_hint() {
        let error = Error::new(Kind::NotFound, "cannot remove volume data", "no such volume").hint("kelp volume ls");
        assert_eq!(
            error.to_string(),
            "error: cannot remove volume data\n  because: no such volume\n  hint: kelp volume ls"
        );
    }

    #[test]
    fn run_reports_the_programs_faults_as_126_and_127() {
        let with = |kind| Error::new(kind, "a", "b").with_run_status().exit_status();
        assert_eq!(with(Kind::ProgramNotFound), 127);
        assert_eq!(with(Kind::ProgramNotExecutable), 126);
        assert_eq!(with(Kind::Other), 125);
    }
}
