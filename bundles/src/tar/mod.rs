// SPDX-License-Identifier: Apache-2.0
//! Reads tar streams that nobody vouches for: ustar, GNU, star and PAX headers, sparse files of every form.
//!
//! Ours and not the crate `tar`: that one reads long names and sparse maps of any size into memory, does not know the
//! sparse forms of PAX, and copies all data once more (docs/decisions/0201-own-tar-reader.md). Nothing here touches the disk.
//! Format: tar(5), pcs(1) of POSIX pax, “GNU tar internals: Sparse Formats”.

mod field;
mod header;
mod pax;
mod sparse;
pub(crate) mod write;

use std::io::{self, BufRead};

use header::Header;
use pax::Pax;
pub(crate) use sparse::Segment;

/// The unit of everything in a tar.
pub(crate) const BLOCK: usize = 512;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryKind {
    /// A file with content.
    File,
    /// Another name of an entry before.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A folder.
    Folder,
    /// A named pipe.
    Fifo,
}

/// An entry's head. Its content, if any, is read from the [`Reader`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The name as it is written.
    pub(crate) path: Vec<u8>,
    /// The target of a link.
    pub(crate) link: Vec<u8>,
    /// What it is.
    pub(crate) kind: EntryKind,
    /// Permissions with setuid, setgid and sticky bit.
    pub(crate) mode: u32,
    /// The owner.
    pub(crate) uid: u64,
    /// The owner's group.
    pub(crate) gid: u64,
    /// Seconds and nanoseconds since 1970.
    pub(crate) mtime: (i64, u32),
    /// Major and minor number of a device.
    pub(crate) device: (u32, u32),
    /// The size of the file once it is written.
    pub(crate) size: u64,
    /// Where the content belongs, in order; everything else is a hole.
    pub(crate) segments: Vec<Segment>,
    /// Extended attributes.
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A tar stream, entry after entry.
pub(crate) struct Reader<R> {
    input: R,
    /// Content of the current entry that was not read yet.
    left: u64,
    /// Zeros after it.
    padding: u64,
    /// How long names and attributes of one entry may be.
    header_limit: u64,
}

/// What was said about the entry to come.
#[derive(Default)]
struct Pending {
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    pax: Option<Pax>,
}

impl<R: BufRead> Reader<R> {
    pub(crate) fn new(input: R, header_limit: u64) -> Self {
        Self { input, left: 0, padding: 0, header_limit }
    }

    /// The next entry, past what was not read of the last.
    pub(crate) fn next(&mut self) -> io::Result<Option<Entry>> {
        let mut pending = Pending::default();
        loop {
            self.skip_content()?;
            let Some(header) = self.header()? else {
                return match pending.is_empty() {
                    true => Ok(None),
                    false => Err(malformed("it ends where an entry was announced")),
                };
            };
            match header.type_flag() {
                b'x' => pending.pax = Some(Pax::parse(&self.extension(&header)?)?),
                // What holds for all entries (git puts its commit there) is nothing a layer needs.
                b'g' => self.expect_content(header.size()?)?,
                b'L' => pending.long_name = Some(field::until_nul(&self.extension(&header)?).to_vec()),
                b'K' => pending.long_link = Some(field::until_nul(&self.extension(&header)?).to_vec()),
                _ => return self.entry(&header, pending).map(Some),
            }
        }
    }

    /// The next piece of the entry's content; empty at its end. To be followed by [`Reader::consume`].
    pub(crate) fn chunk(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            return Ok(&[]);
        }
        let available = self.input.fill_buf()?;
        if available.is_empty() {
            return Err(truncated());
        }
        let n = usize::try_from(self.left).map_or(available.len(), |left| left.min(available.len()));
        Ok(&available[..n])
    }

    /// Takes `n` bytes of the last [`Reader::chunk`].
    pub(crate) fn consume(&mut self, n: usize) {
        self.input.consume(n);
        self.left -= n as u64;
    }

    /// The stream itself: its position is that of the entry's content, or of what is left of it.
    pub(crate) fn get_mut(&mut self) -> &mut R {
        &mut self.input
    }

    /// Leaves the entry's content to `skip`, which is told how long it is: where the input can be read anywhere, nothing
    /// of it need be read.
    pub(crate) fn pass_over(&mut self, skip: impl FnOnce(&mut R, u64) -> io::Result<()>) -> io::Result<()> {
        let left = self.left + self.padding;
        (self.left, self.padding) = (0, 0);
        skip(&mut self.input, left)
    }

    /// The stream itself, once the entries are read: whatever follows them.
    pub(crate) fn into_inner(self) -> R {
        self.input
    }

    fn entry(&mut self, header: &Header, pending: Pending) -> io::Result<Entry> {
        let pax = pending.pax.unwrap_or_default();
        let mut kind = header.kind()?;
        let path = pax.path.clone().or(pending.long_name).unwrap_or_else(|| header.path());
        // Before ustar a folder was a file whose name ends in a slash.
        if kind == EntryKind::File && header.is_old() && path.ends_with(b"/") {
            kind = EntryKind::Folder;
        }
        let stored = if kind == EntryKind::File { pax.size.map_or_else(|| header.size(), Ok)? } else { 0 };
        self.expect_content(stored)?;
        let (size, segments) = self.layout(header, &pax, kind, stored)?;
        Ok(Entry {
            path: pax.sparse.name.clone().unwrap_or(path),
            link: pax.link.or(pending.long_link).unwrap_or_else(|| header.link()),
            kind,
            mode: header.mode()? & 0o7777,
            uid: pax.uid.map_or_else(|| header.uid(), Ok)?,
            gid: pax.gid.map_or_else(|| header.gid(), Ok)?,
            mtime: pax.mtime.map_or_else(|| header.mtime(), Ok)?,
            device: header.device(kind)?,
            size,
            segments,
            xattrs: pax.xattrs,
        })
    }

    /// The size of a file and where its content belongs.
    fn layout(&mut self, header: &Header, pax: &Pax, kind: EntryKind, stored: u64) -> io::Result<(u64, Vec<Segment>)> {
        if kind != EntryKind::File {
            return Ok((0, Vec::new()));
        }
        let (size, segments) = if header.type_flag() == b'S' {
            let first = header.sparse()?;
            (first.size, self.gnu_map(first.segments, first.more)?)
        } else if pax.sparse.is_in_data() {
            (pax.sparse.size.unwrap_or(0), self.map_in_data()?)
        } else if let Some(map) = &pax.sparse.map {
            (pax.sparse.size.unwrap_or(0), map.clone())
        } else {
            return Ok((stored, vec![Segment { offset: 0, length: stored }]));
        };
        sparse::check(&segments, size, self.left)?;
        Ok((size, segments))
    }

    /// The rest of an old GNU sparse map: blocks between header and content, not counted in its size.
    fn gnu_map(&mut self, mut segments: Vec<Segment>, mut more: bool) -> io::Result<Vec<Segment>> {
        while more {
            let mut block = [0; BLOCK];
            self.input.read_exact(&mut block).map_err(short_read)?;
            more = sparse::gnu_extension(&block, &mut segments)?;
            sparse::check_count(&segments)?;
        }
        Ok(segments)
    }

    /// The map of sparse format 1.0: decimal numbers, a line each, filled up to a block, at the start of the content.
    fn map_in_data(&mut self) -> io::Result<Vec<Segment>> {
        let mut map = sparse::MapLines::default();
        while !map.is_complete() {
            let mut block = [0; BLOCK];
            if self.left < BLOCK as u64 {
                return Err(malformed("a sparse file's map is longer than the file"));
            }
            self.input.read_exact(&mut block).map_err(short_read)?;
            self.left -= BLOCK as u64;
            map.feed(&block)?;
        }
        Ok(map.segments())
    }

    /// Reads the content of an extension header, which must be small.
    fn extension(&mut self, header: &Header) -> io::Result<Vec<u8>> {
        let size = header.size()?;
        if size > self.header_limit {
            return Err(malformed(&format!(
                "a header of {size} bytes is longer than the {} allowed",
                self.header_limit
            )));
        }
        self.expect_content(size)?;
        let mut bytes = vec![0; size as usize];
        self.input.read_exact(&mut bytes).map_err(short_read)?;
        self.left = 0;
        Ok(bytes)
    }

    fn expect_content(&mut self, size: u64) -> io::Result<()> {
        let over = size % BLOCK as u64;
        self.left = size;
        self.padding = if over == 0 { 0 } else { BLOCK as u64 - over };
        match size.checked_add(self.padding) {
            Some(sum) if i64::try_from(sum).is_ok() => Ok(()),
            _ => Err(malformed("an entry is larger than any file can be")),
        }
    }

    fn skip_content(&mut self) -> io::Result<()> {
        let mut left = self.left + self.padding;
        (self.left, self.padding) = (0, 0);
        while left > 0 {
            let available = self.input.fill_buf()?.len();
            if available == 0 {
                return Err(truncated());
            }
            let n = usize::try_from(left).map_or(available, |left| left.min(available));
            self.input.consume(n);
            left -= n as u64;
        }
        Ok(())
    }

    /// The next header; `None` at the two blocks of zeros, or where the stream ends between entries.
    fn header(&mut self) -> io::Result<Option<Header>> {
        let Some(block) = self.block()? else { return Ok(None) };
        if block != [0; BLOCK] {
            return Header::parse(block).map(Some);
        }
        match self.block()? {
            None => Ok(None),
            Some(second) if second == [0; BLOCK] => Ok(None),
            Some(_) => Err(malformed("a block of zeros stands between entries")),
        }
    }

    /// One block, or `None` at the end of the stream.
    fn block(&mut self) -> io::Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        if self.input.fill_buf()?.is_empty() {
            return Ok(None);
        }
        self.input.read_exact(&mut block).map_err(short_read)?;
        Ok(Some(block))
    }
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.long_name.is_none() && self.long_link.is_none() && self.pax.is_none()
    }
}

/// The content of the current entry as a stream.
impl<R: BufRead> io::Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let chunk = self.chunk()?;
        let n = chunk.len().min(buffer.len());
        buffer[..n].copy_from_slice(&chunk[..n]);
        self.consume(n);
        Ok(n)
    }
}

/// The archive says something that cannot be.
pub(crate) fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the tar archive is malformed: {what}"))
}

fn truncated() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the tar archive ends in the middle of an entry")
}

/// A short read is a truncated archive; every other error stays what it is.
fn short_read(e: io::Error) -> io::Error {
    if e.kind() == io::ErrorKind::UnexpectedEof { truncated() } else { e }
}

#[cfg(test)]
mod tests;
