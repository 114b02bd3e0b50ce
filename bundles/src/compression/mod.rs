// SPDX-License-Identifier: Apache-2.0
//! Gzip and zstd, told apart by their first bytes, never by a name.

mod gzip;

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

/// What a stream is wrapped in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    /// As it is.
    Plain,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

/// How much is read at once.
const BUFFER: usize = 256 << 10;

impl Compression {
    /// What begins with `start` is wrapped in this.
    pub(crate) fn of(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // A skippable zstd frame (zstd:chunked puts one first).
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::Plain,
        }
    }

    /// What this file is wrapped in.
    pub(crate) fn of_file(path: &Path) -> io::Result<Self> {
        peek(File::open(path)?).map(|(start, _)| Self::of(start.get_ref()))
    }
}

/// Who finds out that a stream is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sums {
    /// The decoder, by the checksums in it.
    Checked,
    /// The caller, who has a digest of the plain bytes.
    Ignored,
}

/// A reader of the plain bytes of `input`, and what it was wrapped in.
///
/// # Errors
/// What `input` says, or a zstd context that cannot be had.
pub(crate) fn decoder<'r>(
    input: impl Read + Send + 'r,
    sums: Sums,
) -> io::Result<(Box<dyn Read + Send + 'r>, Compression)> {
    let (start, input) = peek(input)?;
    let compression = Compression::of(start.get_ref());
    let input = BufReader::with_capacity(BUFFER, start.chain(input));
    let plain: Box<dyn Read + Send + 'r> = match compression {
        Compression::Plain => Box::new(input),
        Compression::Gzip if sums == Sums::Ignored => Box::new(gzip::Members::new(input)),
        Compression::Gzip => Box::new(MultiGzDecoder::new(input)),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
            // 16 MiB of window at most, twice what any level makes but the ultra ones: whatever the image, two layers at
            // once must fit into the memory we promise to stay below.
            decoder.window_log_max(24)?;
            Box::new(decoder)
        }
    };
    Ok((plain, compression))
}

/// The first four bytes (fewer where there are no more), to be read again before the rest.
fn peek<R: Read>(mut input: R) -> io::Result<(Cursor<Vec<u8>>, R)> {
    let mut start = Vec::with_capacity(4);
    input.by_ref().take(4).read_to_end(&mut start)?;
    Ok((Cursor::new(start), input))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_first_bytes_tell() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(b"hello").unwrap();
        let zstd = zstd::encode_all(&b"hello"[..], 1).unwrap();
        for (bytes, is) in [
            (b"hello".to_vec(), Compression::Plain),
            (gzip.finish().unwrap(), Compression::Gzip),
            (zstd, Compression::Zstd),
        ] {
            let (mut plain, compression) = decoder(&bytes[..], Sums::Checked).unwrap();
            let mut text = String::new();
            plain.read_to_string(&mut text).unwrap();
            assert_eq!((text.as_str(), compression), ("hello", is));
        }
    }
}
