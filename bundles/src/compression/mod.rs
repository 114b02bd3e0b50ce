// SPDX-License-Identifier: Apache-2.0
//! What layers and archives are packed by: told apart by the first bytes, never by a name.

mod archive;
mod gzip;

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read, Write};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

pub(crate) use archive::archive;

/// What a stream is wrapped in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    /// As it is.
    Plain,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// The .xz file format. An archive may be packed so, a layer may not.
    Xz,
    /// Likewise.
    Bzip2,
}

/// How much is read at once.
const BUFFER: usize = 256 << 10;
/// How many bytes it takes to tell.
pub(crate) const START: usize = 10;
/// The most memory that unpacking xz may take, in KiB: that of `xz -9`.
const XZ_MEMORY: u32 = 66 << 10;

impl Compression {
    /// What begins with `start` is wrapped in this.
    pub(crate) fn of(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // A skippable zstd frame (zstd:chunked puts one first).
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            // Behind the words a block begins, or nothing follows: a tar's first name might begin with the words.
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59] => Self::Bzip2,
            [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, 0x45, 0x38, 0x50, 0x90] => Self::Bzip2,
            _ => Self::Plain,
        }
    }

    /// What this file is wrapped in.
    pub(crate) fn of_file(path: &Path) -> io::Result<Self> {
        peek(File::open(path)?).map(|(compression, _)| compression)
    }

    /// Whether images and registries know layers that are packed so.
    pub(crate) fn is_for_layers(self) -> bool {
        !matches!(self, Self::Xz | Self::Bzip2)
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "tar",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
        })
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

/// A reader of the plain bytes of a layer, and what it was wrapped in.
///
/// # Errors
/// What `input` says, a zstd context that cannot be had, a layer that is packed as no layer may be.
pub(crate) fn decoder<'r>(
    input: impl Read + Send + 'r,
    sums: Sums,
) -> io::Result<(Box<dyn Read + Send + 'r>, Compression)> {
    let (compression, input) = peek(input)?;
    match compression.is_for_layers() {
        true => Ok((plain(compression, input, sums)?, compression)),
        false => Err(io::Error::new(io::ErrorKind::InvalidData, not_for_layers(compression))),
    }
}

/// Why a layer that is packed so is refused.
pub(crate) fn not_for_layers(compression: Compression) -> String {
    format!("a layer is packed by {compression}, and may be a plain tar, gzip or zstd")
}

/// The plain bytes of what is wrapped so.
fn plain<'r>(
    compression: Compression,
    input: impl Read + Send + 'r,
    sums: Sums,
) -> io::Result<Box<dyn Read + Send + 'r>> {
    let input = BufReader::with_capacity(BUFFER, input);
    Ok(match compression {
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
        Compression::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(input, true, XZ_MEMORY)),
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(input)),
    })
}

/// Packs all of `input` by gzip, at the level that Docker takes. The same bytes come out whenever and wherever it is done.
pub(crate) fn gzip(input: impl Read, out: impl Write) -> io::Result<()> {
    let mut input = BufReader::with_capacity(BUFFER, input);
    let mut packed = GzEncoder::new(out, flate2::Compression::default());
    loop {
        let piece = input.fill_buf()?;
        let length = piece.len();
        if length == 0 {
            return packed.finish()?.flush();
        }
        packed.write_all(piece)?;
        input.consume(length);
    }
}

/// What the input is wrapped in, and the whole of it.
pub(crate) fn peek<R: Read>(mut input: R) -> io::Result<(Compression, impl Read)> {
    let mut start = Vec::with_capacity(START);
    input.by_ref().take(START as u64).read_to_end(&mut start)?;
    Ok((Compression::of(&start), Cursor::new(start).chain(input)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use std::io::Write;

    /// The bytes, packed in each way.
    pub(super) fn packed(bytes: &[u8]) -> [(Compression, Vec<u8>); 5] {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(bytes).unwrap();
        let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        bzip2.write_all(bytes).unwrap();
        let options = lzma_rust2::XzOptions::with_preset(1);
        let mut xz = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
        xz.write_all(bytes).unwrap();
        [
            (Compression::Plain, bytes.to_vec()),
            (Compression::Gzip, gzip.finish().unwrap()),
            (Compression::Zstd, zstd::encode_all(bytes, 1).unwrap()),
            (Compression::Xz, xz.finish().unwrap()),
            (Compression::Bzip2, bzip2.finish().unwrap()),
        ]
    }

    #[test]
    fn the_first_bytes_tell() {
        for text in ["", "hello"] {
            for (is, bytes) in packed(text.as_bytes()) {
                let (mut plain, compression) = archive(&bytes[..], &Limits::DEFAULT).unwrap();
                let mut read = String::new();
                plain.read_to_string(&mut read).unwrap();
                assert_eq!((read.as_str(), compression), (text, is));
            }
        }
        assert_eq!(Compression::of(b"BZh9.tar\0\0"), Compression::Plain);
    }

    #[test]
    fn a_layer_is_packed_as_registries_know_it() {
        for (is, bytes) in packed(b"hello") {
            for sums in [Sums::Checked, Sums::Ignored] {
                assert_eq!(decoder(&bytes[..], sums).is_ok(), is.is_for_layers(), "{is}");
            }
        }
    }
}
