// SPDX-License-Identifier: Apache-2.0
//! An archive that is packed as a whole: unpacked with bounds on what it becomes, and with words for what is wrong with it.

use std::io::{self, ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Compression, Sums, XZ_MEMORY, peek, plain};
use crate::limits::Limits;

/// A reader of the plain bytes of an archive, and what it was wrapped in.
///
/// # Errors
/// What `input` says, or a zstd context that cannot be had.
pub(crate) fn archive<'r>(
    input: impl Read + Send + 'r,
    limits: &Limits,
) -> io::Result<(Box<dyn Read + Send + 'r>, Compression)> {
    let packed = Arc::new(AtomicU64::new(0));
    let (compression, input) = peek(Counted { input, bytes: packed.clone() })?;
    let plain = plain(compression, input, Sums::Checked)?;
    match compression {
        Compression::Plain => Ok((plain, compression)),
        _ => Ok((Box::new(Bounded { plain, compression, packed, bytes: 0, limits: *limits }), compression)),
    }
}

/// Counts what is read.
struct Counted<R> {
    input: R,
    bytes: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.input.read(buffer)?;
        self.bytes.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// Gives no more than what the packed bytes so far may become.
struct Bounded<'r> {
    plain: Box<dyn Read + Send + 'r>,
    compression: Compression,
    packed: Arc<AtomicU64>,
    bytes: u64,
    limits: Limits,
}

impl Read for Bounded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.plain.read(buffer).map_err(|error| explained(self.compression, error))?;
        self.bytes += n as u64;
        let limit = self.limits.unpacked(self.packed.load(Ordering::Relaxed));
        match self.bytes > limit {
            true => Err(io::Error::new(
                ErrorKind::QuotaExceeded,
                format!("it unpacks to more than the {limit} bytes an archive of its size may have"),
            )),
            false => Ok(n),
        }
    }
}

/// A decoder's error in words that say what is wrong with the archive. One of the system's says it already.
fn explained(compression: Compression, error: io::Error) -> io::Error {
    if error.raw_os_error().is_some() {
        return error;
    }
    match error.kind() {
        ErrorKind::Interrupted => error,
        ErrorKind::UnexpectedEof => {
            io::Error::new(ErrorKind::UnexpectedEof, format!("it is cut off: its {compression} stream has no end"))
        }
        ErrorKind::OutOfMemory => io::Error::new(
            ErrorKind::QuotaExceeded,
            format!("unpacking it takes more than {} MiB of memory; pack it by xz -9 or less", XZ_MEMORY >> 10),
        ),
        _ => io::Error::new(ErrorKind::InvalidData, format!("its {compression} stream is damaged: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::packed;
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8], limits: &Limits) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        archive(bytes, limits).and_then(|(mut plain, _)| plain.read_to_end(&mut all)).map(|_| all)
    }

    #[test]
    fn what_unpacks_to_more_than_its_size_may_is_refused() {
        let limits = Limits { unpacked_floor: 1 << 20, unpacked_ratio: 2, ..Limits::DEFAULT };
        for (is, bytes) in packed(&vec![0; 4 << 20]).into_iter().skip(1) {
            let error = read(&bytes, &limits).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::QuotaExceeded, "{is}: {error}");
            assert!(error.to_string().contains("unpacks to more than"), "{is}: {error}");
        }
    }

    #[test]
    fn what_is_cut_off_is_said_to_be() {
        let text: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        for (is, bytes) in packed(&text).into_iter().skip(1) {
            for end in [bytes.len() / 2, bytes.len() - 1] {
                let error = read(&bytes[..end], &Limits::DEFAULT).unwrap_err();
                assert!(error.to_string().contains("it is cut off"), "{is} at {end} of {}: {error}", bytes.len());
            }
        }
    }

    #[test]
    fn xz_takes_no_more_memory_than_its_usual_levels() {
        let mut options = lzma_rust2::XzOptions::with_preset(0);
        options.lzma_options.dict_size = 256 << 20;
        let mut xz = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
        io::Write::write_all(&mut xz, b"hello").unwrap();
        let error = read(&xz.finish().unwrap(), &Limits::DEFAULT).unwrap_err();
        assert!(error.to_string().contains("takes more than 66 MiB of memory"), "{error}");
    }

    proptest! {
        #[test]
        fn what_is_broken_ends_in_an_error_or_not_at_all(
            content in prop::collection::vec(any::<u8>(), 0..4000),
            (place, bit) in (any::<prop::sample::Index>(), 0..8),
        ) {
            for (_, mut bytes) in packed(&content).into_iter().skip(1) {
                let place = place.index(bytes.len());
                bytes[place] ^= 1_u8 << bit;
                // Checksums stand behind the content; what comes of it is the same, or an error.
                drop(read(&bytes, &Limits::DEFAULT));
            }
        }
    }
}
