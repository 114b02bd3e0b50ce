// SPDX-License-Identifier: Apache-2.0
//! The one error of this crate: what we were doing, why it stopped, what to try.

use std::fmt;

/// What a caller may want to choose by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// None of the others.
    #[default]
    Other,
    /// The input (a spec, an option, a name) is wrong.
    BadInput,
    /// The input asks for something that is not honoured.
    Unsupported,
    /// The kernel or the system does not let us.
    Permission,
    /// There is no container of this id.
    NoSuchContainer,
    /// The id is taken.
    AlreadyExists,
    /// The container's program does not run.
    NotRunning,
    /// The program is not in the container: exit status 127.
    ProgramNotFound,
    /// The program cannot be executed: exit status 126.
    ProgramNotExecutable,
}

/// An error. `{}` is one line; `{:#}` is the long form with cause and hint on lines of their own.
#[derive(Clone, Debug)]
pub struct Error {
    doing: String,
    because: Option<String>,
    hint: Option<String>,
    kind: Kind,
}

/// A result with this crate's error.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error in doing this: “cannot read the state of container web”.
    #[must_use]
    pub fn new(doing: impl Into<String>) -> Self {
        Self { doing: doing.into(), because: None, hint: None, kind: Kind::Other }
    }

    /// Why it stopped.
    #[must_use]
    pub fn because(mut self, cause: impl fmt::Display) -> Self {
        self.because = Some(kernels_words(cause.to_string()));
        self
    }

    /// What to try.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What a caller may choose by.
    #[must_use]
    pub fn of_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// Shorthand for input that is wrong.
    #[must_use]
    pub fn bad_input(doing: impl Into<String>) -> Self {
        Self::new(doing).of_kind(Kind::BadInput)
    }

    /// Shorthand for a field that is known but not honoured: refused, never ignored.
    #[must_use]
    pub fn unsupported(field: &str, why: &str) -> Self {
        Self::new(format!("cannot honour {field}")).because(why).of_kind(Kind::Unsupported)
    }

    /// What a caller may choose by.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What was being done.
    #[must_use]
    pub fn doing(&self) -> &str {
        &self.doing
    }

    /// Why it stopped.
    #[must_use]
    pub fn cause(&self) -> Option<&str> {
        self.because.as_deref()
    }

    /// What to try.
    #[must_use]
    pub fn advice(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Adds something that went wrong while undoing, so that it is not lost.
    #[must_use]
    pub fn and_also(mut self, more: &Self) -> Self {
        let before = self.because.take().map_or_else(String::new, |cause| format!("{cause}; "));
        self.because = Some(format!("{before}and while undoing: {more}"));
        self
    }
}

/// The standard library writes “No such file or directory (os error 2)”. People and programs search for the words alone, in
/// lower case, as Go and a kernel programmer write them.
fn kernels_words(mut text: String) -> String {
    const MARK: &str = " (os error ";
    while let Some(at) = text.find(MARK) {
        let rest = text.get(at + MARK.len()..).unwrap_or_default();
        let Some((number, _)) = rest.split_once(')') else { return text };
        let Ok(number) = number.parse() else { return text };
        let whole = std::io::Error::from_raw_os_error(number).to_string();
        let words = whole.split(MARK).next().unwrap_or_default();
        let lower = words.chars().take(1).flat_map(char::to_lowercase).chain(words.chars().skip(1)).collect::<String>();
        if !text.contains(&whole) {
            return text;
        }
        text = text.replace(&whole, &lower);
    }
    text
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.doing)?;
        let separator = if f.alternate() { "\n  because: " } else { ": " };
        if let Some(because) = &self.because {
            match f.alternate() {
                true => write!(f, "{separator}{}", crate::visible::quoted(because))?,
                false => write!(f, "{separator}{because}")?,
            }
        }
        if let (true, Some(hint)) = (f.alternate(), &self.hint) {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// Says what was being done when something else failed.
pub trait Doing<T> {
    /// The error, if any, happened while doing this.
    ///
    /// # Errors
    /// The one there was, with this context.
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Doing<T> for std::io::Result<T> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error::new(doing()).because(&error).of_kind(kind_of(&error)))
    }
}

impl<T> Doing<T> for std::result::Result<T, kelp_sys::rustix::io::Errno> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T> {
        self.map_err(std::io::Error::from).doing(doing)
    }
}

fn kind_of(error: &std::io::Error) -> Kind {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => Kind::Permission,
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_as_people_search_for_them() {
        let missing = std::io::Error::from_raw_os_error(2);
        for (cause, told) in [
            (missing.to_string(), "no such file or directory"),
            (format!("stat /x: {missing}"), "stat /x: no such file or directory"),
            (
                format!("{missing}, {}", std::io::Error::from_raw_os_error(5)),
                "no such file or directory, input/output error",
            ),
            ("a file called x (os error 2)".into(), "a file called x (os error 2)"),
            ("a file called x (os error".into(), "a file called x (os error"),
        ] {
            assert_eq!(Error::new("a").because(cause).cause(), Some(told));
        }
    }
}
