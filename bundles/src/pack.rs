// SPDX-License-Identifier: Apache-2.0
//! Files into a tar: all that a stack of layers shows (`kelp export`), or what a container changed (`kelp commit`).
//!
//! Runs where owners can be seen: as root, or in a child inside the caller's id map ([`crate::job`]).

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use kelp_sys::rustix::fs::{self as rfs, FileType, OFlags, Stat};
use kelp_sys::rustix::io::Errno;

use crate::at;
use crate::changes::{self, Change, Files, Kind, Own};
use crate::error::{Doing, Result};
use crate::stack::LayerStack;
use crate::tar::write::{Head, Writer};

/// Where a single-id map writes down whose a file should be.
const OWNER_RECORD: &[u8] = b"user.kelp.owner";
/// How much is copied at once.
const BUFFER: usize = 256 << 10;

/// Writes all that a container of these layers shows, lowest first, but what the engine made in it.
pub(crate) fn tree(lower: &[PathBuf], files: &Files, out: impl Write) -> Result<()> {
    let doing = || "packing files";
    let stack = LayerStack::open(&changes::shown(lower, &files.top))?;
    let own = Own::find(lower, files)?;
    let mut pack = Pack::new(out);
    let mut to_go = vec![Vec::new()];
    while let Some(path) = to_go.pop() {
        let versions = stack.versions(&path).doing(doing)?;
        let mut seen = BTreeSet::new();
        for folder in versions.iter().rev() {
            for name in at::names(folder).doing(doing)? {
                // What a higher layer has of this name, a whiteout too, is what counts.
                if !seen.insert(name.clone()) {
                    continue;
                }
                let place = at::join(&path, &name);
                if own.has(&place) {
                    continue;
                }
                if pack.file(folder, &name, &place).doing(doing)? == Some(FileType::Directory) {
                    to_go.push(place);
                }
            }
        }
    }
    pack.finish().doing(doing)
}

/// Writes the layer that makes the image what the container has become.
pub(crate) fn layer(lower: &[PathBuf], files: &Files, out: impl Write) -> Result<()> {
    let doing = || "packing the container's changes";
    let changes = changes::all(lower, files)?;
    let root = at::open_root(files.top.folder())?;
    let mut pack = Pack::new(out);
    for Change { path, kind } in &changes {
        let at = path.iter().rposition(|b| *b == b'/');
        let (folder, name) = at.map_or((&[][..], &path[..]), |at| (&path[..at], &path[at + 1..]));
        match kind {
            Kind::Deleted => {
                let path = at::join(folder, &[b".wh.", name].concat());
                pack.tar.begin(&Head { path, flag: b'0', ..Head::default() }).doing(doing)?;
            }
            Kind::Changed | Kind::Added => {
                let folder = at::open_plain(&root, folder, at::HANDLE).doing(doing)?;
                pack.file(&folder, name, path).doing(doing)?;
            }
        }
    }
    pack.finish().doing(doing)
}

/// A tar that is being written, of files that are open or below an open folder.
pub(crate) struct Pack<W> {
    tar: Writer<W>,
    /// Files with several names, and the first one.
    links: HashMap<(u64, u64), Vec<u8>>,
}

impl<W: Write> Pack<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { tar: Writer::new(out), links: HashMap::new() }
    }

    pub(crate) fn finish(self) -> io::Result<()> {
        self.tar.finish().map(drop)
    }

    /// One file; nothing where it is no file that a tar can hold.
    pub(crate) fn file(&mut self, folder: &OwnedFd, name: &[u8], path: &[u8]) -> io::Result<Option<FileType>> {
        match at::open_plain(folder, name, OFlags::PATH | OFlags::NOFOLLOW) {
            Ok(file) => self.opened(&file, path),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The same for one that is open.
    pub(crate) fn opened(&mut self, file: &OwnedFd, path: &[u8]) -> io::Result<Option<FileType>> {
        let stat = rfs::fstat(file)?;
        let kind = at::kind(&stat);
        if at::is_whiteout(&stat) || kind == FileType::Socket {
            return Ok(None);
        }
        let mut head = head(file, path, &stat)?;
        if kind != FileType::Directory && stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)) {
                (head.flag, head.link, head.size) = (b'1', first.clone(), 0);
                return self.tar.begin(&head).map(|()| Some(kind));
            }
            self.links.insert((stat.st_dev, stat.st_ino), path.to_vec());
        }
        self.tar.begin(&head)?;
        if kind == FileType::RegularFile {
            self.content(file, head.size)?;
        }
        Ok(Some(kind))
    }

    /// As many bytes as were announced, whoever writes to the file meanwhile.
    fn content(&mut self, file: &OwnedFd, size: u64) -> io::Result<()> {
        let mut file = File::from(at::reopen(file, OFlags::RDONLY)?).take(size);
        let (mut buffer, mut left) = (vec![0; BUFFER], size);
        while left > 0 {
            let n = match file.read(&mut buffer)? {
                0 => {
                    buffer.fill(0);
                    usize::try_from(left).map_or(BUFFER, |left| left.min(BUFFER))
                }
                n => n,
            };
            self.tar.content(&buffer[..n])?;
            left -= n as u64;
        }
        self.tar.pad(size)
    }
}

/// What a tar says of a file before its content.
pub(crate) fn head(file: &OwnedFd, path: &[u8], stat: &Stat) -> Result<Head, Errno> {
    let kind = at::kind(stat);
    let mut head = Head {
        path: path.to_vec(),
        flag: flag(kind),
        mode: at::permissions(stat).as_raw_mode(),
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: (stat.st_mtime, stat.st_mtime_nsec as u32),
        ..Head::default()
    };
    match kind {
        FileType::Directory => head.path.push(b'/'),
        FileType::RegularFile => head.size = u64::try_from(stat.st_size).unwrap_or_default(),
        FileType::Symlink => {
            head.link = rfs::readlinkat(file, c"", Vec::new())?.into_bytes();
            return Ok(head);
        }
        _ => head.device = (rfs::major(stat.st_rdev), rfs::minor(stat.st_rdev)),
    }
    for name in at::attribute_names(file.as_fd())? {
        let Some(value) = at::attribute(file.as_fd(), &name)? else { continue };
        if name == OWNER_RECORD {
            (head.uid, head.gid) = recorded(&value).unwrap_or((head.uid, head.gid));
        } else if !is_hosts(&name) {
            head.xattrs.push((name, value));
        }
    }
    Ok(head)
}

fn flag(kind: FileType) -> u8 {
    match kind {
        FileType::Symlink => b'2',
        FileType::CharacterDevice => b'3',
        FileType::BlockDevice => b'4',
        FileType::Directory => b'5',
        FileType::Fifo => b'6',
        _ => b'0',
    }
}

/// Attributes that are the host's matter, or overlayfs'.
fn is_hosts(name: &[u8]) -> bool {
    let prefixes = [&b"user.overlay."[..], b"trusted.", b"user.kelp.", b"security.selinux", b"system."];
    prefixes.iter().any(|prefix| name.starts_with(prefix))
}

fn recorded(value: &[u8]) -> Option<(u32, u32)> {
    let (uid, gid) = std::str::from_utf8(value).ok()?.split_once(':')?;
    Some((uid.parse().ok()?, gid.parse().ok()?))
}
