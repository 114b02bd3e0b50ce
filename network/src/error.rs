// SPDX-License-Identifier: Apache-2.0
//! The crate's one error: what we were doing, why it stopped, what to try.

use std::fmt;

/// What a caller may want to choose by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What the user wrote cannot be understood.
    BadInput,
    /// A host port is taken by somebody else.
    InUse,
    /// The kernel does not let this user do it.
    Permission,
    /// slirp4netns or pasta is not installed.
    ProgramNotFound,
    /// This machine, or the program's version, cannot do it.
    Unsupported,
    /// Anything else.
    Other,
}

/// What we were doing, why it stopped, and what to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The headline: `cannot publish port 80/tcp on 0.0.0.0`.
    pub doing: String,
    /// The cause, as near to the kernel's or the program's words as is useful.
    pub because: String,
    /// What to try, where we know.
    pub hint: Option<String>,
    /// What a caller may want to choose by.
    pub kind: Kind,
}

impl Error {
    /// `doing` is the half sentence after “cannot”.
    pub(crate) fn new(kind: Kind, doing: impl fmt::Display, because: impl fmt::Display) -> Self {
        Error { doing: format!("cannot {doing}"), because: because.to_string(), hint: None, kind }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What a caller may want to choose by.
    pub fn kind(&self) -> Kind {
        self.kind
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_cause_and_hint_on_lines_of_their_own() {
        let error = Error::new(Kind::InUse, "publish port 80", "it is taken").hint("choose another");
        assert_eq!(error.to_string(), "error: cannot publish port 80\n  because: it is taken\n  hint: choose another");
    }
}
