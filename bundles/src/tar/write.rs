// SPDX-License-Identifier: Apache-2.0
//! Writes tars: ustar headers, and PAX records for what does not fit into them.

use std::io::{self, Write};

use super::BLOCK;

/// What a header says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Head {
    /// The name; a folder's ends with a slash.
    pub(crate) path: Vec<u8>,
    /// The target of a link.
    pub(crate) link: Vec<u8>,
    /// ustar's type flag.
    pub(crate) flag: u8,
    /// Permissions.
    pub(crate) mode: u32,
    /// The owner.
    pub(crate) uid: u32,
    /// The owner's group.
    pub(crate) gid: u32,
    /// Seconds and nanoseconds since 1970.
    pub(crate) mtime: (i64, u32),
    /// Bytes that follow.
    pub(crate) size: u64,
    /// Major and minor number of a device.
    pub(crate) device: (u32, u32),
    /// Extended attributes.
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Head {
    /// A plain file of root.
    pub(crate) fn file(path: &str, size: u64) -> Self {
        Self { path: path.as_bytes().to_vec(), flag: b'0', mode: 0o644, size, ..Self::default() }
    }
}

/// Entries on their way to `out`.
pub(crate) struct Writer<W> {
    out: W,
    /// Whose the files and folders are that the writer makes up.
    owner: (u32, u32),
}

impl<W: Write> Writer<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, owner: (0, 0) }
    }

    /// The same, with files and folders of this owner.
    pub(crate) fn owned_by(self, uid: u32, gid: u32) -> Self {
        Self { owner: (uid, gid), ..self }
    }

    /// Begins an entry; `head.size` bytes must follow through [`Writer::content`].
    pub(crate) fn begin(&mut self, head: &Head) -> io::Result<()> {
        let records = records(head);
        if !records.is_empty() {
            let extension = Head { flag: b'x', mode: 0o644, size: records.len() as u64, ..Head::default() };
            let extension = Head { path: b"PaxHeaders/entry".to_vec(), ..extension };
            self.out.write_all(&block(&extension))?;
            self.out.write_all(&records)?;
            self.pad(records.len() as u64)?;
        }
        self.out.write_all(&block(head))
    }

    /// A piece of the entry's content.
    pub(crate) fn content(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)
    }

    /// Fills up the last block of an entry of `size` bytes.
    pub(crate) fn pad(&mut self, size: u64) -> io::Result<()> {
        let over = (size % BLOCK as u64) as usize;
        if over == 0 { Ok(()) } else { self.out.write_all(&[0; BLOCK][over..]) }
    }

    /// Begins a plain file.
    pub(crate) fn begin_file(&mut self, path: &str, size: u64) -> io::Result<()> {
        let (uid, gid) = self.owner;
        self.begin(&Head { uid, gid, ..Head::file(path, size) })
    }

    /// A folder; its name ends with a slash.
    pub(crate) fn folder(&mut self, path: &str) -> io::Result<()> {
        let (uid, gid) = self.owner;
        self.begin(&Head { path: path.as_bytes().to_vec(), flag: b'5', mode: 0o755, uid, gid, ..Head::default() })
    }

    /// A whole small file.
    pub(crate) fn file(&mut self, path: &str, content: &[u8]) -> io::Result<()> {
        self.begin_file(path, content.len() as u64)?;
        self.content(content)?;
        self.pad(content.len() as u64)
    }

    /// Ends the archive.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&[0; 2 * BLOCK])?;
        self.out.flush()?;
        Ok(self.out)
    }
}

/// The PAX records an entry needs.
fn records(head: &Head) -> Vec<u8> {
    let mut records = Vec::new();
    let mut add = |key: &[u8], value: &[u8]| {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length != rest + length.to_string().len() {
            length = rest + length.to_string().len();
        }
        records.extend_from_slice(length.to_string().as_bytes());
        records.extend_from_slice(&[b" ", key, b"=", value, b"\n"].concat());
    };
    if head.path.len() > 100 {
        add(b"path", &head.path);
    }
    if head.link.len() > 100 {
        add(b"linkpath", &head.link);
    }
    for (key, value, most) in [
        (&b"size"[..], head.size, 0o77_777_777_777),
        (b"uid", u64::from(head.uid), 0o7_777_777),
        (b"gid", u64::from(head.gid), 0o7_777_777),
    ] {
        if value > most {
            add(key, value.to_string().as_bytes());
        }
    }
    let (seconds, nanoseconds) = head.mtime;
    if nanoseconds != 0 && seconds >= 0 {
        add(b"mtime", format!("{seconds}.{nanoseconds:09}").as_bytes());
    } else if !(0..=0o77_777_777_777).contains(&seconds) {
        add(b"mtime", seconds.to_string().as_bytes());
    }
    for (name, value) in &head.xattrs {
        add(&[b"SCHILY.xattr.", name.as_slice()].concat(), value);
    }
    records
}

fn block(head: &Head) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    text(&mut block[0..100], &head.path);
    octal(&mut block[100..108], u64::from(head.mode));
    octal(&mut block[108..116], u64::from(head.uid));
    octal(&mut block[116..124], u64::from(head.gid));
    octal(&mut block[124..136], head.size);
    octal(&mut block[136..148], u64::try_from(head.mtime.0).unwrap_or(0));
    block[156] = head.flag;
    text(&mut block[157..257], &head.link);
    text(&mut block[257..265], b"ustar\x0000");
    octal(&mut block[329..337], u64::from(head.device.0));
    octal(&mut block[337..345], u64::from(head.device.1));
    block[148..156].fill(b' ');
    let sum: u64 = block.iter().map(|b| u64::from(*b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// A text that may lose its end: PAX has it whole then.
fn text(field: &mut [u8], value: &[u8]) {
    let n = value.len().min(field.len());
    field[..n].copy_from_slice(&value[..n]);
}

/// Digits and a NUL; what does not fit is in PAX.
fn octal(field: &mut [u8], value: u64) {
    let width = field.len() - 1;
    let digits = format!("{value:0width$o}");
    let digits = if digits.len() > width { "0".repeat(width) } else { digits };
    field[..width].copy_from_slice(digits.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::super::{EntryKind, Reader};
    use super::*;
    use std::io::Read;

    #[test]
    fn what_is_written_reads_back() {
        let head = Head {
            path: [b"d/".repeat(90), b"name".to_vec()].concat(),
            flag: b'0',
            mode: 0o4755,
            uid: 3_000_000_000,
            gid: 7,
            mtime: (1_700_000_000, 5),
            size: 3,
            xattrs: vec![(b"user.x".to_vec(), b"\x00=\n".to_vec())],
            ..Head::default()
        };
        let mut writer = Writer::new(Vec::new());
        writer.begin(&head).unwrap();
        writer.content(b"abc").unwrap();
        writer.pad(3).unwrap();
        writer.file("small", b"x").unwrap();
        let bytes = writer.finish().unwrap();
        let mut reader = Reader::new(&bytes[..], 1 << 20);
        let entry = reader.next().unwrap().unwrap();
        assert_eq!((&entry.path, entry.mode, entry.uid, entry.gid), (&head.path, 0o4755, 3_000_000_000, 7));
        assert_eq!((entry.mtime, &entry.xattrs, entry.kind), (head.mtime, &head.xattrs, EntryKind::File));
        let mut content = String::new();
        reader.read_to_string(&mut content).unwrap();
        assert_eq!(content, "abc");
        assert_eq!(reader.next().unwrap().unwrap().path, b"small");
        assert!(reader.next().unwrap().is_none());
    }

    #[test]
    fn gnu_tar_reads_it() {
        let mut writer = Writer::new(Vec::new());
        writer.file(&"long/".repeat(40), b"").unwrap();
        writer.file("a", b"b").unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), writer.finish().unwrap()).unwrap();
        let output = std::process::Command::new("tar").arg("-tf").arg(file.path()).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{}\na\n", "long/".repeat(40)));
    }
}
