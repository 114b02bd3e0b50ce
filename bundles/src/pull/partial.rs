// SPDX-License-Identifier: Apache-2.0
//! A blob that is not whole yet: `images/partial/HEX`, where the next pull goes on.
//!
//! What one stream brings is a beginning of the blob. What comes in parts may have holes: then the file is as long as the
//! blob and has a map behind it, of how much of each part is there. Either survives a `kill -9`; what a crash of the machine
//! makes of it, the digest tells.
//!
//! ```text
//! [blob, with holes][magic: 8 bytes][bytes per part: u64][bytes of each part that are there: u32 …]
//! ```

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::BUFFER;
use crate::digest::{Digest, Hashing};
use crate::error::{Doing, Result};
use crate::store::Writeback;

const MAGIC: &[u8; 8] = b"kelpmap1";
/// Before the parts.
const HEAD: u64 = 16;
/// Of each part.
const ENTRY: u64 = 4;

/// A blob that is not whole yet, and the hash of its beginning.
pub(super) struct Partial {
    out: Hashing<File>,
    pub(super) size: u64,
    written: Writeback,
    map: Option<Map>,
}

/// How much of each part is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Map {
    /// Bytes of a part; the last one may have fewer.
    pub(super) part: u64,
    /// Bytes of each that are there, from its start.
    pub(super) there: Vec<u64>,
    size: u64,
}

impl Map {
    /// Of a blob with this beginning.
    fn new(size: u64, part: u64, beginning: u64) -> Self {
        let mut map = Self { part, there: Vec::new(), size };
        map.there =
            (0..size.div_ceil(part)).map(|n| beginning.saturating_sub(n * part).min(map.length_at(n))).collect();
        map
    }

    fn length_at(&self, n: u64) -> u64 {
        self.part.min(self.size.saturating_sub(n * self.part))
    }

    /// Bytes of this part.
    pub(super) fn length(&self, n: usize) -> u64 {
        self.length_at(n as u64)
    }

    /// Where a part begins.
    pub(super) fn start(&self, n: usize) -> u64 {
        n as u64 * self.part
    }

    /// How long the beginning without a hole is, where all parts below `first` are whole.
    pub(super) fn beginning(&self, first: usize) -> u64 {
        let mut n = first;
        while n < self.there.len() && self.there[n] == self.length(n) {
            n += 1;
        }
        self.there.get(n).map_or(self.size, |some| self.start(n) + some)
    }

    /// All that is there.
    pub(super) fn total(&self) -> u64 {
        self.there.iter().sum()
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = [MAGIC.as_slice(), &self.part.to_le_bytes()].concat();
        let entries = self.there.iter().map(|some| u32::try_from(*some).unwrap_or(0));
        bytes.extend(entries.flat_map(u32::to_le_bytes));
        bytes
    }

    /// The map behind a blob of this size, if that is what is there.
    fn read(file: &File, size: u64) -> std::io::Result<Option<Self>> {
        let Some(length) = file.metadata()?.len().checked_sub(size).filter(|length| *length >= HEAD) else {
            return Ok(None);
        };
        let mut head = [0; HEAD as usize];
        file.read_exact_at(&mut head, size)?;
        let part = u64::from_le_bytes(head[8..].try_into().unwrap_or_default());
        if head[..8] != *MAGIC || part == 0 || length != HEAD + ENTRY * size.div_ceil(part) {
            return Ok(None);
        }
        let mut bytes = vec![0; usize::try_from(length - HEAD).unwrap_or(0)];
        file.read_exact_at(&mut bytes, size + HEAD)?;
        let entries = bytes.chunks_exact(ENTRY as usize);
        let there: Vec<u64> =
            entries.map(|entry| u32::from_le_bytes(entry.try_into().unwrap_or_default()).into()).collect();
        let map = Self { part, there, size };
        Ok((0..map.there.len()).all(|n| map.there[n] <= map.length(n)).then_some(map))
    }
}

/// Notes in the file how much of a part is there.
pub(super) fn note(file: &File, size: u64, part: usize, some: u64) -> std::io::Result<()> {
    let entry = u32::try_from(some).unwrap_or(0).to_le_bytes();
    file.write_all_at(&entry, size + HEAD + ENTRY * part as u64)
}

impl Partial {
    /// The file, and the beginning of the blob that it already holds, hashed.
    pub(super) fn open(path: &Path, size: u64) -> Result<Self> {
        let doing = || format!("opening {}", path.display());
        let file = OpenOptions::new().read(true).write(true).open(path).doing(doing)?;
        let length = file.metadata().doing(doing)?.len();
        let map = Map::read(&file, size).doing(doing)?;
        let beginning = match &map {
            Some(map) => map.beginning(0),
            // Nothing of ours.
            None if length > size => {
                file.set_len(0).doing(doing)?;
                0
            }
            None => length,
        };
        let mut partial = Self { out: Hashing::new(file), size, written: Writeback::default(), map };
        partial.follow(beginning, &mut |_| Ok(()))?;
        partial.out.get_ref().seek(SeekFrom::Start(beginning)).doing(doing)?;
        Ok(partial)
    }

    /// How long its beginning is, which is hashed.
    pub(super) fn have(&self) -> u64 {
        self.out.count()
    }

    /// All that is there, also behind holes.
    pub(super) fn total(&self) -> u64 {
        self.map.as_ref().map_or(self.have(), Map::total)
    }

    pub(super) fn file(&self) -> &File {
        self.out.get_ref()
    }

    /// Makes room for parts of this size, and their map; where there is one of other parts, it stays.
    pub(super) fn part(&mut self, part: u64) -> Result<Map> {
        if let Some(map) = &self.map {
            return Ok(map.clone());
        }
        let map = Map::new(self.size, part, self.have());
        // The map before the length: what is cut off in between has no magic.
        self.file().write_all_at(&map.bytes(), self.size).doing(|| "writing a blob")?;
        self.map = Some(map.clone());
        Ok(map)
    }

    /// Drops what is behind the beginning, and the map: one stream goes on from here.
    pub(super) fn join(&mut self) -> Result<()> {
        let have = self.have();
        if self.map.take().is_some() {
            self.file().set_len(have).doing(|| "writing a blob")?;
        }
        self.out.get_ref().seek(SeekFrom::Start(have)).doing(|| "writing a blob").map(drop)
    }

    /// Hashes what is in the file up to `until`, telling after each piece how far it came.
    pub(super) fn follow(&mut self, until: u64, tell: &mut dyn FnMut(u64) -> Result<()>) -> Result<()> {
        let mut buffer = vec![0; BUFFER];
        while self.have() < until {
            let may = usize::try_from(until - self.have()).map_or(BUFFER, |left| left.min(BUFFER));
            self.file().read_exact_at(&mut buffer[..may], self.have()).doing(|| "reading a blob")?;
            self.out.account(&buffer[..may]);
            tell(self.have())?;
        }
        Ok(())
    }

    /// Appends; `false` if that is more than the blob may have.
    pub(super) fn add(&mut self, bytes: &[u8]) -> Result<bool> {
        if self.have() + bytes.len() as u64 > self.size {
            return Ok(false);
        }
        self.out.write_all(bytes).doing(|| "writing a blob")?;
        self.written.account(bytes.len(), self.out.get_ref());
        Ok(true)
    }

    /// Begins anew.
    pub(super) fn restart(&mut self) -> Result<()> {
        let mut file = self.out.get_ref().try_clone().doing(|| "writing a blob")?;
        file.set_len(0).doing(|| "writing a blob")?;
        file.seek(SeekFrom::Start(0)).doing(|| "writing a blob")?;
        self.out = Hashing::new(file);
        self.map = None;
        Ok(())
    }

    pub(super) fn into_digest(self) -> Digest {
        self.out.finish().0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_in_parts_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("blob");
        std::fs::write(&path, b"0123456").unwrap();
        let mut partial = Partial::open(&path, 35).unwrap();
        assert_eq!((partial.have(), partial.total()), (7, 7));
        let map = partial.part(10).unwrap();
        assert_eq!(map.there, [7, 0, 0, 0]);
        assert_eq!((map.length(0), map.length(3), map.start(3)), (10, 5, 30));
        // The rest of the first part, and some of the third.
        partial.file().write_all_at(b"789", 7).unwrap();
        partial.file().write_all_at(b"abc", 20).unwrap();
        note(partial.file(), 35, 0, 10).unwrap();
        note(partial.file(), 35, 2, 3).unwrap();
        drop(partial);
        let mut again = Partial::open(&path, 35).unwrap();
        assert_eq!((again.have(), again.total()), (10, 13));
        assert_eq!(again.part(8).unwrap().there, [10, 0, 3, 0], "parts keep their size");
        again.join().unwrap();
        assert!(again.add(b"more").unwrap() && !again.add(&[0; 22]).unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), b"0123456789more");
        assert_eq!(again.into_digest(), Digest::of(b"0123456789more"));
    }

    #[test]
    fn what_is_no_map_is_nothing_to_go_on_with() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("blob");
        std::fs::write(&path, [0; 100]).unwrap();
        assert_eq!(Partial::open(&path, 50).unwrap().have(), 0);
        let map = Map::new(50, 20, 50);
        let lies = Map { there: vec![20, 20, 20], ..map };
        std::fs::write(&path, [vec![0; 50], lies.bytes()].concat()).unwrap();
        assert_eq!(Partial::open(&path, 50).unwrap().have(), 0, "a part has more than it can");
    }
}
