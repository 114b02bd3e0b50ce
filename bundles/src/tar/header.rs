// SPDX-License-Identifier: Apache-2.0
//! One block that begins an entry.

use std::io;
use std::ops::Range;

use super::sparse::{self, Segment};
use super::{BLOCK, EntryKind, field, malformed};

const NAME: Range<usize> = 0..100;
const MODE: Range<usize> = 100..108;
const UID: Range<usize> = 108..116;
const GID: Range<usize> = 116..124;
const SIZE: Range<usize> = 124..136;
const MTIME: Range<usize> = 136..148;
const CHECKSUM: Range<usize> = 148..156;
const TYPE: usize = 156;
const LINK: Range<usize> = 157..257;
const MAGIC: Range<usize> = 257..265;
const MAJOR: Range<usize> = 329..337;
const MINOR: Range<usize> = 337..345;
const PREFIX: Range<usize> = 345..500;
/// star keeps times behind a shorter prefix, and signs the block's end.
const STAR_PREFIX: Range<usize> = 345..476;
const STAR_MAGIC: Range<usize> = 508..512;
const GNU_SPARSE: Range<usize> = 386..482;
const GNU_EXTENDED: usize = 482;
const GNU_REAL_SIZE: Range<usize> = 483..495;

/// A header whose checksum is right.
pub(super) struct Header {
    block: [u8; BLOCK],
}

/// What an old GNU header says about a sparse file.
pub(super) struct GnuSparse {
    pub(super) size: u64,
    pub(super) segments: Vec<Segment>,
    pub(super) more: bool,
}

impl Header {
    pub(super) fn parse(block: [u8; BLOCK]) -> io::Result<Self> {
        let said = field::signed(&block[CHECKSUM])?;
        let outside = |i: &usize| !CHECKSUM.contains(i);
        let unsigned: i64 = (0..BLOCK).filter(outside).map(|i| i64::from(block[i])).sum();
        let signed: i64 = (0..BLOCK).filter(outside).map(|i| i64::from(block[i] as i8)).sum();
        let spaces = 8 * i64::from(b' ');
        // Some old tars summed signed bytes.
        match said == unsigned + spaces || said == signed + spaces {
            true => Ok(Self { block }),
            false => Err(malformed("a header's checksum is wrong")),
        }
    }

    pub(super) fn type_flag(&self) -> u8 {
        self.block[TYPE]
    }

    /// Whether it was written before ustar.
    pub(super) fn is_old(&self) -> bool {
        !self.block[MAGIC].starts_with(b"ustar") || self.type_flag() == 0
    }

    pub(super) fn kind(&self) -> io::Result<EntryKind> {
        match self.type_flag() {
            // '7' is a contiguous file, 'S' a sparse one.
            0 | b'0' | b'7' | b'S' => Ok(EntryKind::File),
            b'1' => Ok(EntryKind::HardLink),
            b'2' => Ok(EntryKind::Symlink),
            b'3' => Ok(EntryKind::CharDevice),
            b'4' => Ok(EntryKind::BlockDevice),
            b'5' => Ok(EntryKind::Folder),
            b'6' => Ok(EntryKind::Fifo),
            other => Err(malformed(&format!("an entry has the unknown type {:?}", char::from(other)))),
        }
    }

    pub(super) fn path(&self) -> Vec<u8> {
        let name = field::until_nul(&self.block[NAME]);
        let prefix = match self.prefix() {
            Some(range) => field::until_nul(&self.block[range]),
            None => &[],
        };
        match prefix {
            [] => name.to_vec(),
            prefix => [prefix, b"/", name].concat(),
        }
    }

    /// GNU's header has other things where ustar has a prefix.
    fn prefix(&self) -> Option<Range<usize>> {
        match &self.block[MAGIC] {
            magic if !magic.starts_with(b"ustar\0") => None,
            _ if self.block[STAR_MAGIC] == *b"tar\0" => Some(STAR_PREFIX),
            _ => Some(PREFIX),
        }
    }

    pub(super) fn link(&self) -> Vec<u8> {
        field::until_nul(&self.block[LINK]).to_vec()
    }

    pub(super) fn mode(&self) -> io::Result<u32> {
        // Some writers put the file type into the upper bits.
        Ok((field::unsigned(&self.block[MODE])? & 0o7777) as u32)
    }

    pub(super) fn uid(&self) -> io::Result<u64> {
        field::unsigned(&self.block[UID])
    }

    pub(super) fn gid(&self) -> io::Result<u64> {
        field::unsigned(&self.block[GID])
    }

    pub(super) fn size(&self) -> io::Result<u64> {
        field::unsigned(&self.block[SIZE])
    }

    pub(super) fn mtime(&self) -> io::Result<(i64, u32)> {
        Ok((field::signed(&self.block[MTIME])?, 0))
    }

    pub(super) fn device(&self, kind: EntryKind) -> io::Result<(u32, u32)> {
        if !matches!(kind, EntryKind::CharDevice | EntryKind::BlockDevice) {
            return Ok((0, 0));
        }
        let number = |range: Range<usize>| {
            u32::try_from(field::unsigned(&self.block[range])?).map_err(|_| malformed("a device number is too large"))
        };
        Ok((number(MAJOR)?, number(MINOR)?))
    }

    pub(super) fn sparse(&self) -> io::Result<GnuSparse> {
        let mut segments = Vec::new();
        sparse::gnu_entries(&self.block[GNU_SPARSE], &mut segments)?;
        let size = field::unsigned(&self.block[GNU_REAL_SIZE])?;
        Ok(GnuSparse { size, segments, more: self.block[GNU_EXTENDED] != 0 })
    }
}
