// SPDX-License-Identifier: Apache-2.0
//! What a stack of unpacked layers shows, without mounting it: for users and groups of an image, and for layers whose tar
//! relies on folders of those below.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use kelp_sys::rustix::fs::{self as rfs, FileType, Mode, OFlags, Stat};
use kelp_sys::rustix::io::Errno;

use crate::at;
use crate::error::{Doing, Error, Kind, Result};
use crate::idmap::IdMap;
use crate::job;

/// How many symbolic links a path may lead through, as in the kernel.
const LINKS: usize = 40;

/// Unpacked layers, the highest first.
#[derive(Debug)]
pub struct LayerStack {
    layers: Vec<OwnedFd>,
    /// How to read what belongs to ids that only the map has.
    inside: Option<Inside>,
}

/// The same layers, for a helper inside the id map.
#[derive(Debug)]
struct Inside {
    lower: Vec<PathBuf>,
    map: IdMap,
}

/// A file of the stack: a handle, and what it is.
pub(crate) struct Found {
    pub(crate) fd: OwnedFd,
    pub(crate) stat: Stat,
}

/// What one layer says of a path.
enum Says {
    Here(Found),
    /// Nothing, and nothing below counts.
    Hidden,
    /// Ask the next one.
    Nothing,
}

impl LayerStack {
    /// Opens layers, given lowest first, as [`crate::unpack::Unpacked`] and overlayfs' callers have them.
    ///
    /// # Errors
    /// One of them is not a folder we may read.
    pub fn open(lower: &[PathBuf]) -> Result<Self> {
        let layers = lower.iter().rev().map(|path| at::open_root(path)).collect::<Result<_>>()?;
        Ok(Self { layers, inside: None })
    }

    /// The same for layers that were unpacked inside `map`: their folders may be closed to all but an id that only the map
    /// has, from `/` on. What cannot be read from out here is read by a helper inside.
    ///
    /// # Errors
    /// One of them is not a folder.
    pub fn open_inside(lower: &[PathBuf], map: &IdMap) -> Result<Self> {
        let inside = (*map != IdMap::Host).then(|| Inside { lower: lower.to_vec(), map: map.clone() });
        let open =
            |path: &PathBuf| rfs::open(path, at::HANDLE, Mode::empty()).doing(|| format!("opening {}", path.display()));
        let layers = lower.iter().rev().map(open).collect::<Result<_>>()?;
        Ok(Self { layers, inside })
    }

    /// The content of the file at `path`, symbolic links followed; `None` where there is no such file.
    ///
    /// # Errors
    /// It cannot be read, or is longer than `limit`.
    pub fn read(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let doing = || format!("reading {path} of the image");
        let file = match (self.open_file(path), &self.inside) {
            (Err(Errno::ACCESS | Errno::PERM), Some(inside)) => {
                return job::read(&inside.lower, path, limit, &inside.map);
            }
            (file, _) => file.doing(doing)?,
        };
        let Some(file) = file else { return Ok(None) };
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes).doing(doing)?;
        match bytes.len() as u64 > limit {
            true => Err(Error::new(Kind::TooBig, doing(), format!("it is longer than {limit} bytes"))),
            false => Ok(Some(bytes)),
        }
    }

    fn open_file(&self, path: &str) -> Result<Option<File>, Errno> {
        match self.resolve(path.as_bytes())? {
            Some(found) if at::kind(&found.stat) == FileType::RegularFile => {
                at::reopen(&found.fd, OFlags::RDONLY).map(|file| Some(File::from(file)))
            }
            _ => Ok(None),
        }
    }

    /// What `path` names in the merged view, links followed, as if the stack were `/`.
    pub(crate) fn resolve(&self, path: &[u8]) -> Result<Option<Found>, Errno> {
        match self.real_path(path)? {
            Some(real) => self.find(&real),
            None => Ok(None),
        }
    }

    /// The same without links; `None` where a folder on the way is missing.
    pub(crate) fn real_path(&self, path: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
        let mut to_go: VecDeque<Vec<u8>> = path.split(|b| *b == b'/').map(<[u8]>::to_vec).collect();
        let mut so_far: Vec<Vec<u8>> = Vec::new();
        let mut links = 0;
        while let Some(name) = to_go.pop_front() {
            match name.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    so_far.pop();
                    continue;
                }
                _ => so_far.push(name),
            }
            let Some(found) = self.find(&so_far.join(&b'/'))? else { return Ok(None) };
            if at::kind(&found.stat) != FileType::Symlink {
                continue;
            }
            links += 1;
            if links > LINKS {
                return Err(Errno::LOOP);
            }
            so_far.pop();
            let target = rfs::readlinkat(&found.fd, c"", Vec::new())?.into_bytes();
            if target.starts_with(b"/") {
                so_far.clear();
            }
            target.split(|b| *b == b'/').rev().for_each(|part| to_go.push_front(part.to_vec()));
        }
        Ok(Some(so_far.join(&b'/')))
    }

    /// The versions of the folder at `path` (without links) that add up to what is shown, lowest first.
    pub(crate) fn versions(&self, path: &[u8]) -> Result<Vec<OwnedFd>, Errno> {
        let mut versions = Vec::new();
        for layer in &self.layers {
            match ask(layer, path)? {
                Says::Here(found) if at::kind(&found.stat) == FileType::Directory => {
                    let folder = at::reopen(&found.fd, OFlags::RDONLY | OFlags::DIRECTORY)?;
                    let hides = at::is_opaque(folder.as_fd());
                    versions.push(folder);
                    if hides {
                        break;
                    }
                }
                Says::Here(_) | Says::Hidden => break,
                Says::Nothing => {}
            }
        }
        versions.reverse();
        Ok(versions)
    }

    /// What is at `path` in the merged view; no link is followed, not even on the way.
    pub(crate) fn find(&self, path: &[u8]) -> Result<Option<Found>, Errno> {
        for layer in &self.layers {
            match ask(layer, path)? {
                Says::Here(found) => return Ok(Some(found)),
                Says::Hidden => return Ok(None),
                Says::Nothing => {}
            }
        }
        Ok(None)
    }
}

/// Goes down one layer, name by name.
fn ask(layer: &OwnedFd, path: &[u8]) -> Result<Says, Errno> {
    let mut names = path.split(|b| *b == b'/').filter(|name| !name.is_empty()).peekable();
    let mut folder = at::open_plain(layer, b"", at::HANDLE)?;
    let mut hides = false;
    while let Some(name) = names.next() {
        hides |= at::is_opaque(folder.as_fd());
        let Some(stat) = at::look(&folder, name)? else {
            return Ok(if hides { Says::Hidden } else { Says::Nothing });
        };
        let last = names.peek().is_none();
        if at::is_whiteout(&stat) || (!last && at::kind(&stat) != FileType::Directory) {
            return Ok(Says::Hidden);
        }
        folder = at::open_plain(&folder, name, OFlags::PATH | OFlags::NOFOLLOW)?;
        if last {
            return Ok(Says::Here(Found { fd: folder, stat }));
        }
    }
    let stat = rfs::fstat(&folder)?;
    Ok(Says::Here(Found { fd: folder, stat }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_layer_is_a_handle_that_needs_no_right_to_list_it() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("f"), "x").unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o111)).unwrap();
        let stack = LayerStack::open_inside(&[dir.path().to_owned()], &IdMap::Host).unwrap();
        assert_eq!(stack.read("/f", 9).unwrap(), Some(b"x".to_vec()));
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    }

    #[test]
    fn the_highest_layer_wins_and_links_lead_across_layers() {
        let dir = tempfile::tempdir().unwrap();
        let layer = |name: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.join("etc")).unwrap();
            path
        };
        let (low, high) = (layer("low"), layer("high"));
        fs::write(low.join("etc/passwd"), "low").unwrap();
        fs::write(low.join("etc/group"), "low").unwrap();
        fs::create_dir_all(low.join("usr/lib")).unwrap();
        fs::write(low.join("usr/lib/os-release"), "name").unwrap();
        fs::write(high.join("etc/passwd"), "high").unwrap();
        symlink("/usr/../../../usr/lib/os-release", high.join("etc/os-release")).unwrap();
        symlink("/etc/loop", high.join("etc/loop")).unwrap();
        symlink("../../../../../../etc", high.join("out")).unwrap();
        let stack = LayerStack::open(&[low.clone(), high.clone()]).unwrap();
        let read = |path| stack.read(path, 100).unwrap().map(|b| String::from_utf8(b).unwrap());
        assert_eq!(read("/etc/passwd").as_deref(), Some("high"));
        assert_eq!(read("etc/group").as_deref(), Some("low"));
        assert_eq!(read("/etc/os-release").as_deref(), Some("name"));
        assert_eq!(read("/out/group").as_deref(), Some("low"), "links stay inside");
        assert_eq!(read("/etc/none"), None);
        assert!(stack.read("/etc/loop", 100).is_err());
        let marked = fs::File::open(high.join("etc")).unwrap();
        at::make_opaque(marked.as_fd()).unwrap();
        assert_eq!(read("/etc/group"), None, "an opaque folder hides");
    }
}
