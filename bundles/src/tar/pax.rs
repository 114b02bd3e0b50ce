// SPDX-License-Identifier: Apache-2.0
//! PAX records: `LENGTH KEY=VALUE\n`, which override the header that follows.

use std::io;

use super::sparse::{self, Segment};
use super::{field, malformed};

/// What we honour of the records. Character sets, comments and access times are nothing a layer needs.
#[derive(Default)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<(i64, u32)>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: PaxSparse,
}

/// The records of GNU tar's sparse formats 0.0, 0.1 and 1.0.
#[derive(Default)]
pub(super) struct PaxSparse {
    pub(super) name: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) map: Option<Vec<Segment>>,
    major: Option<u32>,
}

impl PaxSparse {
    /// Format 1.0: the map stands before the content.
    pub(super) fn is_in_data(&self) -> bool {
        self.major == Some(1)
    }
}

impl Pax {
    pub(super) fn parse(mut bytes: &[u8]) -> io::Result<Self> {
        let mut pax = Self::default();
        while !bytes.is_empty() {
            let (key, value, rest) = record(bytes)?;
            pax.set(key, value)?;
            bytes = rest;
        }
        Ok(pax)
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        match key {
            b"path" => self.path = text(value)?,
            b"linkpath" => self.link = text(value)?,
            b"size" => self.size = number(value)?,
            b"uid" => self.uid = number(value)?,
            b"gid" => self.gid = number(value)?,
            b"mtime" if value.is_empty() => self.mtime = None,
            b"mtime" => self.mtime = Some(field::time(value)?),
            _ => match (key.strip_prefix(b"SCHILY.xattr."), key.strip_prefix(b"GNU.sparse.")) {
                (Some(name), _) if !name.is_empty() && !name.contains(&0) => {
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                }
                (_, Some(key)) => self.sparse.set(key, value)?,
                _ => {}
            },
        }
        Ok(())
    }
}

impl PaxSparse {
    fn set(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        match key {
            b"name" => self.name = text(value)?,
            b"size" | b"realsize" => self.size = number(value)?,
            b"major" => self.major = Some(field::decimal(value)?),
            b"map" => self.map = Some(sparse::parse_map(value)?),
            // Format 0.0 repeats these two, an offset before each length.
            b"offset" => self.map.get_or_insert_default().push(Segment { offset: field::decimal(value)?, length: 0 }),
            b"numbytes" => match self.map.as_mut().and_then(|map| map.last_mut()) {
                Some(last) => last.length = field::decimal(value)?,
                None => return Err(malformed("a sparse map has a length before its offset")),
            },
            _ => {}
        }
        self.map.as_ref().map_or(Ok(()), |map| sparse::check_count(map))
    }
}

/// The first record: key, value, and what follows.
fn record(bytes: &[u8]) -> io::Result<(&[u8], &[u8], &[u8])> {
    let bad = || malformed("a PAX record cannot be read");
    let space = bytes.iter().take(20).position(|b| *b == b' ').ok_or_else(bad)?;
    let length: usize = field::decimal(&bytes[..space])?;
    if length <= space + 1 || length > bytes.len() {
        return Err(bad());
    }
    let (record, rest) = bytes.split_at(length);
    let record = record[space + 1..].strip_suffix(b"\n").ok_or_else(bad)?;
    let equals = record.iter().position(|b| *b == b'=').ok_or_else(bad)?;
    Ok((&record[..equals], &record[equals + 1..], rest))
}

/// An empty value takes a record back.
fn text(value: &[u8]) -> io::Result<Option<Vec<u8>>> {
    match value.contains(&0) {
        true => Err(malformed("a name has a NUL in it")),
        false => Ok(Some(value.to_vec()).filter(|v| !v.is_empty())),
    }
}

fn number(value: &[u8]) -> io::Result<Option<u64>> {
    if value.is_empty() { Ok(None) } else { field::decimal(value).map(Some) }
}
