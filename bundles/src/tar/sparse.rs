// SPDX-License-Identifier: Apache-2.0
//! Where the content of a sparse file belongs.

use std::io;

use super::{BLOCK, field, malformed};

/// How many pieces a sparse file may have.
const SEGMENTS: usize = 1 << 16;
/// Bytes of one piece in GNU's binary maps: two numbers of twelve.
const GNU_ENTRY: usize = 24;
/// Pieces in a block that continues GNU's map, and the byte that says whether another follows.
const GNU_EXTENSION: usize = 21 * GNU_ENTRY;

/// A piece of content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Where it belongs.
    pub(crate) offset: u64,
    /// How long it is.
    pub(crate) length: u64,
}

/// Pieces must ascend, lie within the file, and be as long together as the content.
pub(super) fn check(segments: &[Segment], size: u64, content: u64) -> io::Result<()> {
    check_count(segments)?;
    let (mut end, mut sum) = (0u64, 0u64);
    for segment in segments {
        if segment.offset < end {
            return Err(malformed("the pieces of a sparse file overlap"));
        }
        end = segment
            .offset
            .checked_add(segment.length)
            .filter(|e| *e <= size)
            .ok_or_else(|| malformed("a piece of a sparse file lies beyond its end"))?;
        sum += segment.length;
    }
    match sum == content && i64::try_from(size).is_ok() {
        true => Ok(()),
        false => Err(malformed("a sparse file's map does not fit its content")),
    }
}

pub(super) fn check_count(segments: &[Segment]) -> io::Result<()> {
    match segments.len() <= SEGMENTS {
        true => Ok(()),
        false => Err(malformed("a sparse file has too many pieces")),
    }
}

/// Pieces in GNU's binary form; an empty one ends them.
pub(super) fn gnu_entries(bytes: &[u8], segments: &mut Vec<Segment>) -> io::Result<()> {
    for entry in bytes.chunks_exact(GNU_ENTRY) {
        if entry[0] == 0 {
            break;
        }
        let (offset, length) = entry.split_at(GNU_ENTRY / 2);
        segments.push(Segment { offset: field::unsigned(offset)?, length: field::unsigned(length)? });
    }
    Ok(())
}

/// A block that continues GNU's map. Says whether another follows.
pub(super) fn gnu_extension(block: &[u8; BLOCK], segments: &mut Vec<Segment>) -> io::Result<bool> {
    gnu_entries(&block[..GNU_EXTENSION], segments)?;
    Ok(block[GNU_EXTENSION] != 0)
}

/// `offset,length,offset,length,…`
pub(super) fn parse_map(text: &[u8]) -> io::Result<Vec<Segment>> {
    let numbers: Vec<u64> = text.split(|b| *b == b',').map(field::decimal).collect::<io::Result<_>>()?;
    pairs(&numbers)
}

fn pairs(numbers: &[u64]) -> io::Result<Vec<Segment>> {
    match numbers.len() % 2 {
        0 => Ok(numbers.chunks_exact(2).map(|pair| Segment { offset: pair[0], length: pair[1] }).collect()),
        _ => Err(malformed("a sparse map has an offset without a length")),
    }
}

/// The map of format 1.0: a count, then offset and length of each piece, one decimal number a line.
#[derive(Default)]
pub(super) struct MapLines {
    line: Vec<u8>,
    count: Option<usize>,
    numbers: Vec<u64>,
}

impl MapLines {
    pub(super) fn is_complete(&self) -> bool {
        self.count.is_some_and(|count| self.numbers.len() == count * 2)
    }

    /// Takes one more block; what follows the last number is filling.
    pub(super) fn feed(&mut self, block: &[u8]) -> io::Result<()> {
        for byte in block {
            if self.is_complete() {
                break;
            }
            match byte {
                b'\n' => self.end_line()?,
                _ if self.line.len() >= 20 => return Err(malformed("a sparse map has a line too long")),
                _ => self.line.push(*byte),
            }
        }
        Ok(())
    }

    fn end_line(&mut self) -> io::Result<()> {
        let number: u64 = field::decimal(&self.line)?;
        self.line.clear();
        match self.count {
            Some(_) => self.numbers.push(number),
            None if number <= SEGMENTS as u64 => self.count = Some(number as usize),
            None => return Err(malformed("a sparse file has too many pieces")),
        }
        Ok(())
    }

    pub(super) fn segments(self) -> Vec<Segment> {
        // Complete, so the numbers are even.
        pairs(&self.numbers).unwrap_or_default()
    }
}
