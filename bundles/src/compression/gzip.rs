// SPDX-License-Identifier: Apache-2.0
//! Gzip without its checksums, for layers: a digest of the content says more, and a twelfth of the time is theirs.
//!
//! Spec: RFC 1952. A stream may have several members, as those of estargz and pigz do.

use std::io::{self, BufRead, Read};

use flate2::{Decompress, FlushDecompress, Status};

const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
const HEADER_CRC: u8 = 1 << 1;
const RESERVED: u8 = 0xe0;

/// Where in a member we are.
enum At {
    Header,
    Content,
    Trailer,
}

/// The plain bytes of all members. Lengths are checked, checksums are not.
pub(super) struct Members<R> {
    input: R,
    inflate: Decompress,
    at: At,
}

impl<R: BufRead> Members<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, inflate: Decompress::new(false), at: At::Header }
    }

    /// Passes over a header; `false` at the end of the stream.
    fn header(&mut self) -> io::Result<bool> {
        if self.input.fill_buf()?.is_empty() {
            return Ok(false);
        }
        let [0x1f, 0x8b, 8, flags, ..] = self.bytes::<10>()? else {
            return Err(malformed("no member begins where one should"));
        };
        if flags & RESERVED != 0 {
            return Err(malformed("its header has flags of no meaning"));
        }
        if flags & EXTRA != 0 {
            let length = u16::from_le_bytes(self.bytes()?);
            let passed = io::copy(&mut self.input.by_ref().take(length.into()), &mut io::sink())?;
            if passed < u64::from(length) {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        for text in [NAME, COMMENT] {
            if flags & text != 0 {
                self.pass_text()?;
            }
        }
        if flags & HEADER_CRC != 0 {
            self.bytes::<2>()?;
        }
        self.inflate.reset(false);
        Ok(true)
    }

    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn pass_text(&mut self) -> io::Result<()> {
        while self.bytes::<1>()? != [0] {}
        Ok(())
    }

    /// Some of the content; nothing where none is left, or none could be made of what is here.
    fn content(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let input = self.input.fill_buf()?;
        let is_last = input.is_empty();
        let before = (self.inflate.total_in(), self.inflate.total_out());
        let status =
            self.inflate.decompress(input, buffer, FlushDecompress::None).map_err(|e| malformed(&e.to_string()))?;
        let taken = self.inflate.total_in() - before.0;
        let made = self.inflate.total_out() - before.1;
        // Both are lengths of parts of buffers.
        self.input.consume(taken as usize);
        match status {
            Status::StreamEnd => self.at = At::Trailer,
            _ if is_last && made == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ => {}
        }
        Ok(made as usize)
    }

    fn trailer(&mut self) -> io::Result<()> {
        let [_, _, _, _, length @ ..] = self.bytes::<8>()?;
        // The length counts modulo 2^32.
        match u32::from_le_bytes(length) == self.inflate.total_out() as u32 {
            true => Ok(()),
            false => Err(malformed("a member is not as long as it says")),
        }
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match self.at {
                At::Header => match self.header()? {
                    true => self.at = At::Content,
                    false => return Ok(0),
                },
                At::Content => match self.content(buffer)? {
                    0 => {}
                    made => return Ok(made),
                },
                At::Trailer => {
                    self.trailer()?;
                    self.at = At::Header;
                }
            }
        }
    }
}

fn malformed(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the gzip stream is malformed: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, GzBuilder, bufread::MultiGzDecoder};
    use proptest::prelude::*;
    use std::io::{BufReader, Write};

    fn member(content: &[u8], dressed: bool) -> Vec<u8> {
        let builder = match dressed {
            true => GzBuilder::new().extra(vec![7; 300]).filename("a name").comment("a word"),
            false => GzBuilder::new(),
        };
        let mut gzip = builder.write(Vec::new(), Compression::fast());
        gzip.write_all(content).unwrap();
        gzip.finish().unwrap()
    }

    fn plain(bytes: &[u8], piece: usize) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        Members::new(BufReader::with_capacity(piece, bytes)).read_to_end(&mut plain).map(|_| plain)
    }

    #[test]
    fn what_is_cut_off_or_of_another_length_is_refused() {
        let whole = [member(b"one", true), member(b"two", false)].concat();
        assert_eq!(plain(&whole, 5).unwrap(), b"onetwo");
        for end in 1..whole.len() {
            let is_between = end == member(b"one", true).len();
            assert_eq!(plain(&whole[..end], 64).is_ok(), is_between, "cut at {end}");
        }
        let mut other = whole.clone();
        *other.last_mut().unwrap() ^= 1;
        assert!(plain(&other, 64).is_err());
        assert!(plain(&[whole, b"more".to_vec()].concat(), 64).is_err());
    }

    proptest! {
        #[test]
        fn it_reads_what_others_read(
            contents in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..2000), any::<bool>()), 1..4),
            piece in 1_usize..300,
            (place, bit) in (any::<prop::sample::Index>(), 0..8),
        ) {
            let mut bytes: Vec<u8> = contents.iter().flat_map(|(content, dressed)| member(content, *dressed)).collect();
            let all: Vec<u8> = contents.into_iter().flat_map(|(content, _)| content).collect();
            prop_assert_eq!(plain(&bytes, piece).unwrap(), all);
            // Whatever is broken: what they take, we take alike. (We take more: checksums are not ours.)
            let place = place.index(bytes.len());
            bytes[place] ^= 1_u8 << bit;
            let mut theirs = Vec::new();
            if MultiGzDecoder::new(&bytes[..]).read_to_end(&mut theirs).is_ok() {
                prop_assert_eq!(plain(&bytes, piece).unwrap(), theirs);
            }
        }
    }
}
