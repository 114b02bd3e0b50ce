// SPDX-License-Identifier: Apache-2.0
//! Digests, and streams that compute them on the way.
//!
//! Spec: image-spec descriptor.md "Digests". Only sha256: nobody serves anything else, and a name we cannot check is
//! a name we cannot trust.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind};

/// `sha256:` and 64 lower-case hex digits. Safe as a file name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    const PREFIX: &'static str = "sha256:";

    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(bytes);
        hash.finish()
    }

    /// The 64 hex digits alone.
    pub fn hex(&self) -> &str {
        &self.0[Self::PREFIX.len()..]
    }

    /// `sha256:` and the hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The twelve digits people read.
    pub fn short(&self) -> &str {
        &self.hex()[..12]
    }

    /// A hash that is computed.
    fn from_hash(hash: &[u8]) -> Self {
        use fmt::Write as _;
        let mut text = String::with_capacity(71);
        text.push_str(Self::PREFIX);
        for byte in hash {
            // Writing to a String cannot stop.
            write!(text, "{byte:02x}").unwrap_or_default();
        }
        Self(text)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let hex = text.strip_prefix(Self::PREFIX);
        let good = hex.is_some_and(|h| h.len() == 64 && h.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')));
        match good {
            true => Ok(Self(text.to_owned())),
            false => Err(Error::new(
                Kind::BadInput,
                format!("reading the digest {text:?}"),
                "it is not sha256: and 64 lower-case hex digits",
            )),
        }
    }
}

impl TryFrom<String> for Digest {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

/// A digest that is computed. Of ring, which TLS brings along: twice as fast as the crate `sha2`, whose inner loop is not
/// inlined (docs/decisions/0602-ring-for-digests.md).
pub(crate) struct Sha256(Context);

impl Sha256 {
    pub(crate) fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> Digest {
        Digest::from_hash(self.0.finish().as_ref())
    }
}

/// Counts and hashes what passes through, in either direction.
pub(crate) struct Hashing<T> {
    inner: T,
    hash: Sha256,
    count: u64,
}

impl<T> Hashing<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self { inner, hash: Sha256::new(), count: 0 }
    }

    /// What passed: its digest, its length, and the stream it passed through.
    pub(crate) fn finish(self) -> (Digest, u64, T) {
        (self.hash.finish(), self.count, self.inner)
    }

    /// How many bytes passed so far.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Where the bytes go or come from.
    pub(crate) fn get_ref(&self) -> &T {
        &self.inner
    }

    /// Hashes bytes that are already where they belong: the start of a resumed download.
    pub(crate) fn account(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.count += bytes.len() as u64;
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.account(&buffer[..n]);
        Ok(n)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(buffer)?;
        self.account(&buffer[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_of_the_bytes_and_reads_back() {
        let empty = Digest::of(b"");
        assert_eq!(empty.as_str(), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(empty.as_str().parse::<Digest>().unwrap(), empty);
    }

    #[test]
    fn a_digest_can_never_be_a_path() {
        for text in ["sha256:../x", "sha256:", "sha512:00", "sha256:E3B0", "../../etc/passwd"] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }
}
