// SPDX-License-Identifier: Apache-2.0
//! What the judge was doing, why it stopped, what to try. A case that fails is not an error: it is a result.

use std::fmt;

#[derive(Debug)]
pub(crate) struct Error {
    doing: String,
    because: String,
    hint: Option<String>,
}

pub(crate) type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn new(doing: impl Into<String>, because: impl fmt::Display) -> Self {
        Self { doing: doing.into(), because: because.to_string(), hint: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
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

/// `doing` is only built when there is an error.
pub(crate) trait Doing<T> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: fmt::Display> Doing<T> for std::result::Result<T, E> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| Error::new(doing(), e))
    }
}
