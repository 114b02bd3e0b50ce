// SPDX-License-Identifier: Apache-2.0
//! What a container changed of its image: for `kelp diff`, and for the layer that `kelp commit` makes.

mod own;

pub(crate) use own::{Own, shown};

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use kelp_sys::rustix::fs::{self as rfs, FileType, OFlags, Stat};
use kelp_sys::rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::at;
use crate::error::{Doing, Result};
use crate::stack::{Found, LayerStack};

/// Where a container's own files are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Top {
    /// What was written is in this folder, the upper one of an overlay.
    Upper(PathBuf),
    /// This folder is a copy of the image, and was changed.
    Copy(PathBuf),
}

impl Top {
    /// The folder.
    pub fn folder(&self) -> &Path {
        match self {
            Self::Upper(folder) | Self::Copy(folder) => folder,
        }
    }
}

/// A container's own files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// Where they are.
    pub top: Top,
    /// Where the engine mounted something in the container: what was made for that is not shown.
    pub mount_points: Vec<PathBuf>,
}

/// What became of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// The image has it too, but not so.
    Changed,
    /// The image does not have it.
    Added,
    /// The image has it.
    Deleted,
}

/// A path that is not as in the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Below the root, without a slash before it.
    pub path: Vec<u8>,
    /// What became of it.
    pub kind: Kind,
}

/// All changes but those that the engine made, folders before what is in them.
pub(crate) fn all(lower: &[PathBuf], files: &Files) -> Result<Vec<Change>> {
    let top = &files.top;
    let doing = || format!("comparing {} with its image", top.folder().display());
    let stack = LayerStack::open(lower)?;
    let root = at::open_root(top.folder())?;
    let mut walk = Walk { stack: &stack, root: &root, is_upper: matches!(top, Top::Upper(_)), changes: Vec::new() };
    let mut to_go = vec![Vec::new()];
    while let Some(folder) = to_go.pop() {
        to_go.extend(walk.folder(&folder).doing(doing)?);
    }
    let mut changes = walk.changes;
    changes.sort_by(|a, b| a.path.cmp(&b.path));
    Own::find(lower, files)?.leave_out(&mut changes).doing(doing)?;
    Ok(changes)
}

struct Walk<'w> {
    stack: &'w LayerStack,
    root: &'w OwnedFd,
    is_upper: bool,
    changes: Vec<Change>,
}

impl Walk<'_> {
    /// One folder; what is to be looked at next.
    fn folder(&mut self, path: &[u8]) -> Result<Vec<Vec<u8>>, Errno> {
        let folder = at::open_plain(self.root, path, at::LIST)?;
        let names: BTreeSet<Vec<u8>> = at::names(&folder)?.into_iter().collect();
        let mut next = Vec::new();
        for name in &names {
            let Some(stat) = at::look(&folder, name)? else { continue };
            let place = at::join(path, name);
            let before = self.stack.find(&place)?;
            if self.is_upper && at::is_whiteout(&stat) {
                self.note(place, before.is_some().then_some(Kind::Deleted));
                continue;
            }
            let kind = match &before {
                None => Some(Kind::Added),
                Some(before) if self.is_upper || differs(&folder, name, &stat, before)? => Some(Kind::Changed),
                Some(_) => None,
            };
            self.note(place.clone(), kind);
            if at::kind(&stat) == FileType::Directory {
                next.push(place);
            }
        }
        // A copy lacks what was deleted; an overlay says so by whiteouts, unless a folder hides all that lies below.
        if !self.is_upper || at::is_opaque(folder.as_fd()) {
            for name in self.below(path)?.difference(&names) {
                self.note(at::join(path, name), Some(Kind::Deleted));
            }
        }
        Ok(next)
    }

    /// The names the image has in this folder.
    fn below(&self, path: &[u8]) -> Result<BTreeSet<Vec<u8>>, Errno> {
        let mut all = BTreeSet::new();
        for version in self.stack.versions(path)? {
            all.extend(at::names(&version)?);
        }
        all.into_iter()
            .filter_map(|name| match self.stack.find(&at::join(path, &name)) {
                Ok(found) => found.map(|_| Ok(name)),
                Err(e) => Some(Err(e)),
            })
            .collect()
    }

    fn note(&mut self, path: Vec<u8>, kind: Option<Kind>) {
        self.changes.extend(kind.map(|kind| Change { path, kind }));
    }
}

/// Whether a file of a copy is not what it was copied from. A folder's time says only that something in it changed, which
/// is told of that.
fn differs(folder: &OwnedFd, name: &[u8], now: &Stat, before: &Found) -> Result<bool, Errno> {
    let then = &before.stat;
    let same =
        (now.st_mode, now.st_uid, now.st_gid, now.st_rdev) == (then.st_mode, then.st_uid, then.st_gid, then.st_rdev);
    match at::kind(now) {
        _ if !same => Ok(true),
        FileType::Directory => Ok(false),
        FileType::Symlink => {
            let link = at::open_plain(folder, name, OFlags::PATH | OFlags::NOFOLLOW)?;
            Ok(rfs::readlinkat(&link, c"", Vec::new())? != rfs::readlinkat(&before.fd, c"", Vec::new())?)
        }
        _ => Ok((now.st_size, now.st_mtime, now.st_mtime_nsec) != (then.st_size, then.st_mtime, then.st_mtime_nsec)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn told(changes: &[Change]) -> Vec<String> {
        let letter = |kind| match kind {
            Kind::Changed => 'C',
            Kind::Added => 'A',
            Kind::Deleted => 'D',
        };
        changes.iter().map(|c| format!("{} {}", letter(c.kind), String::from_utf8_lossy(&c.path))).collect()
    }

    fn files(top: Top) -> Files {
        Files {
            top,
            mount_points: ["/etc/hosts", "/run/deep/socket", "/link/data", "/proc"].map(PathBuf::from).to_vec(),
        }
    }

    #[test]
    fn what_the_engine_made_is_no_change_until_somebody_writes_there() {
        let dir = tempfile::tempdir().unwrap();
        let [lower, upper] = ["lower", "upper"].map(|name| dir.path().join(name));
        for folder in [
            lower.join("etc"),
            lower.join("real"),
            upper.join("etc"),
            upper.join("real/data"),
            upper.join("run/deep"),
            upper.join("proc"),
        ] {
            fs::create_dir_all(folder).unwrap();
        }
        std::os::unix::fs::symlink("real", lower.join("link")).unwrap();
        for file in [".dockerenv", "etc/hosts", "run/deep/socket"] {
            fs::write(upper.join(file), "").unwrap();
        }
        let lower = [lower];
        let now = || told(&all(&lower, &files(Top::Upper(upper.clone()))).unwrap());
        assert_eq!(now(), [""; 0]);
        fs::write(upper.join("etc/mine"), "").unwrap();
        fs::write(upper.join("run/deep/mine"), "").unwrap();
        fs::write(upper.join(".dockerenv"), "written").unwrap();
        fs::write(upper.join("real/data/mine"), "").unwrap();
        let expected =
            "A .dockerenv|C etc|A etc/mine|C real|A real/data|A real/data/mine|A run|A run/deep|A run/deep/mine";
        assert_eq!(now().join("|"), expected);
        fs::remove_file(upper.join("etc/mine")).unwrap();
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(upper.join("etc"), fs::Permissions::from_mode(0o700)).unwrap();
        assert!(now().contains(&"C etc".to_owned()), "a folder that changed itself: {:?}", now());
    }

    #[test]
    fn an_upper_folder_and_a_changed_copy_tell_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let [lower, upper, copy] = ["lower", "upper", "copy"].map(|name| dir.path().join(name));
        for root in [&lower, &copy] {
            fs::create_dir_all(root.join("d")).unwrap();
            fs::create_dir_all(root.join("hidden")).unwrap();
            for name in ["d/kept", "d/changed", "hidden/old"] {
                fs::write(root.join(name), "1").unwrap();
                let file = fs::File::open(root.join(name)).unwrap();
                file.set_modified(std::time::UNIX_EPOCH).unwrap();
            }
        }
        fs::write(copy.join("d/changed"), "22").unwrap();
        fs::write(copy.join("d/new"), "1").unwrap();
        fs::remove_file(copy.join("hidden/old")).unwrap();
        fs::create_dir_all(upper.join("d")).unwrap();
        fs::create_dir_all(upper.join("hidden")).unwrap();
        fs::write(upper.join("d/changed"), "22").unwrap();
        fs::write(upper.join("d/new"), "1").unwrap();
        at::make_opaque(at::open_root(&upper.join("hidden")).unwrap().as_fd()).unwrap();
        let lower = [lower];
        let of_copy = told(&all(&lower, &files(Top::Copy(copy))).unwrap());
        assert_eq!(of_copy, ["C d/changed", "A d/new", "D hidden/old"]);
        let of_upper = told(&all(&lower, &files(Top::Upper(upper))).unwrap());
        assert_eq!(of_upper, ["C d", "C d/changed", "A d/new", "C hidden", "D hidden/old"]);
    }
}
