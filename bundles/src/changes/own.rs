// SPDX-License-Identifier: Apache-2.0
//! The engine's own files among a container's: /.dockerenv, the places that mounts were put on, the folders on the way there.
//!
//! They are no work of the container's program, and as in Docker neither `diff` nor `commit` nor `export` shows them. A file
//! counts as the engine's only while it is as the engine makes it: an empty file, a folder with nothing else in it.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use kelp_sys::rustix::fs::{FileType, OFlags, Stat};
use kelp_sys::rustix::io::Errno;

use super::{Change, Files, Kind, Top};
use crate::at;
use crate::error::{Doing, Result};
use crate::pack;
use crate::stack::LayerStack;
use crate::tar::write::Head;

/// Docker's sign that a program is in a container.
const MARK: &[u8] = b".dockerenv";
/// The mode of the folders that runtimes make for mounts.
const FOLDER_MODE: u32 = 0o755;

/// What is the engine's in a container.
pub(crate) struct Own {
    image: LayerStack,
    /// The container's own folder.
    root: OwnedFd,
    paths: BTreeSet<Vec<u8>>,
}

impl Own {
    /// Looks for the engine's files in a container that was made of these layers.
    pub(crate) fn find(lower: &[PathBuf], files: &Files) -> Result<Self> {
        let doing = || format!("looking for Kelp's own files in {}", files.top.folder().display());
        let root = at::open_root(files.top.folder())?;
        let shown = LayerStack::open(&shown(lower, &files.top))?;
        let mut own = Self { image: LayerStack::open(lower)?, root, paths: BTreeSet::new() };
        let mut places = BTreeSet::from([MARK.to_vec()]);
        for place in &files.mount_points {
            places.extend(shown.real_path(place.as_os_str().as_encoded_bytes()).doing(doing)?);
        }
        let all: BTreeSet<Vec<u8>> = places.iter().flat_map(|path| up_to(path)).map(<[u8]>::to_vec).collect();
        // A folder comes before what is in it: backwards, so that its content is judged first.
        for path in all.into_iter().rev() {
            if own.is_made(&path, places.contains(&path)).doing(doing)? {
                own.paths.insert(path);
            }
        }
        Ok(own)
    }

    /// Whether the engine made this file.
    pub(crate) fn has(&self, path: &[u8]) -> bool {
        self.paths.contains(path)
    }

    /// Takes the engine's files out of the changes, and the folders in which only those are new.
    pub(super) fn leave_out(&self, changes: &mut Vec<Change>) -> Result<(), Errno> {
        let above: BTreeSet<&[u8]> = self.paths.iter().flat_map(|path| up_to(path)).collect();
        let mut needed = BTreeSet::new();
        let mut kept = Vec::new();
        for change in changes.drain(..).rev() {
            let path = &change.path;
            let is_way = change.kind == Kind::Changed && above.contains(path.as_slice()) && !needed.contains(path);
            if self.has(path) || is_way && self.is_unchanged(path)? {
                continue;
            }
            needed.extend(up_to(path).map(<[u8]>::to_vec));
            kept.push(change);
        }
        kept.reverse();
        *changes = kept;
        Ok(())
    }

    fn is_made(&self, path: &[u8], is_place: bool) -> Result<bool, Errno> {
        if self.image.find(path)?.is_some() {
            return Ok(false);
        }
        let Some((file, stat)) = self.open(path)? else { return Ok(false) };
        Ok(match at::kind(&stat) {
            FileType::RegularFile => is_place && stat.st_size == 0,
            FileType::Directory => {
                let names = at::names(at::reopen(&file, OFlags::RDONLY | OFlags::DIRECTORY)?)?;
                let is_plain = at::permissions(&stat).as_raw_mode() == FOLDER_MODE;
                is_plain && names.iter().all(|name| self.has(&at::join(path, name)))
            }
            _ => false,
        })
    }

    /// Whether a folder that overlayfs copied up is as it was in the image, but for its content and its time.
    fn is_unchanged(&self, path: &[u8]) -> Result<bool, Errno> {
        let (Some((now, stat)), Some(before)) = (self.open(path)?, self.image.find(path)?) else { return Ok(false) };
        Ok(at::kind(&stat) == FileType::Directory
            && !at::is_opaque(now.as_fd())
            && timeless(&now, &stat)? == timeless(&before.fd, &before.stat)?)
    }

    fn open(&self, path: &[u8]) -> Result<Option<(OwnedFd, Stat)>, Errno> {
        match at::open_plain(&self.root, path, OFlags::PATH | OFlags::NOFOLLOW) {
            Ok(file) => kelp_sys::rustix::fs::fstat(&file).map(|stat| Some((file, stat))),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(errno) => Err(errno),
        }
    }
}

/// What a tar would say of the file, but for its time.
fn timeless(file: &OwnedFd, stat: &Stat) -> Result<Head, Errno> {
    let mut head = Head { mtime: (0, 0), ..pack::head(file, b"", stat)? };
    head.xattrs.sort();
    Ok(head)
}

/// The layers, lowest first, that the container sees.
pub(crate) fn shown(lower: &[PathBuf], top: &Top) -> Vec<PathBuf> {
    match top {
        Top::Copy(folder) => vec![folder.clone()],
        Top::Upper(folder) => {
            lower.iter().map(PathBuf::as_path).chain([folder.as_path()]).map(Path::to_owned).collect()
        }
    }
}

/// The path and the folders that it leads through.
fn up_to(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    ends.chain([path.len()]).map(|end| &path[..end]).filter(|path| !path.is_empty())
}
