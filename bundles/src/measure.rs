// SPDX-License-Identifier: Apache-2.0
//! How much trees take on disk, as du(1) counts: blocks, and a file with several names once.
//!
//! Runs where the trees can be read: as root, or in a child inside the caller's id map ([`crate::job`]).

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use kelp_sys::rustix::fs::{self as rfs, AtFlags, FileType, Mode, Stat};
use kelp_sys::rustix::io::Errno;

use crate::at;
use crate::error::{Doing, Result};

/// The unit of `st_blocks`, whatever the file system's.
const BLOCK: u64 = 512;
/// How long a path below an open folder gets before a deeper folder is opened: the kernel takes 4096 bytes.
const PATH: usize = 2048;

/// The bytes of each of these trees. One that is not there has none.
pub(crate) fn trees(paths: &[PathBuf]) -> Result<Vec<u64>> {
    let mut counted = HashSet::new();
    paths.iter().map(|path| tree(path, &mut counted).doing(|| format!("measuring {}", path.display()))).collect()
}

/// The blocks of one file.
pub(crate) fn blocks(stat: &Stat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or_default() * BLOCK
}

/// A folder still to be looked at: a path below an open one, so that few are open however deep the tree is.
struct Place {
    base: Rc<OwnedFd>,
    path: Vec<u8>,
}

fn tree(path: &Path, counted: &mut HashSet<(u64, u64)>) -> Result<u64, Errno> {
    let top = match rfs::statat(rfs::CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if at::kind(&stat) != FileType::Directory => return Ok(blocks(&stat)),
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(0),
        Err(e) => return Err(e),
    };
    let mut bytes = blocks(&top);
    let base = Rc::new(rfs::open(path, at::LIST, Mode::empty())?);
    let mut to_go = vec![Place { base, path: Vec::new() }];
    while let Some(place) = to_go.pop() {
        let folder = match at::open_plain(&place.base, &place.path, at::LIST) {
            Ok(folder) => Rc::new(folder),
            // Removed since it was listed: others work here too.
            Err(Errno::NOENT) => continue,
            Err(e) => return Err(e),
        };
        bytes += one(&folder, &place, &mut to_go, counted)?;
    }
    Ok(bytes)
}

/// The files of one folder; its folders are left for later.
fn one(
    folder: &Rc<OwnedFd>,
    place: &Place,
    to_go: &mut Vec<Place>,
    counted: &mut HashSet<(u64, u64)>,
) -> Result<u64, Errno> {
    let mut bytes = 0;
    for name in at::names(&**folder)? {
        let Some(stat) = at::look(&**folder, &name)? else { continue };
        if at::kind(&stat) == FileType::Directory {
            to_go.push(match place.path.len() > PATH {
                true => Place { base: folder.clone(), path: name },
                false => Place { base: place.base.clone(), path: at::join(&place.path, &name) },
            });
        } else if stat.st_nlink > 1 && !counted.insert((stat.st_dev, stat.st_ino)) {
            continue;
        }
        bytes += blocks(&stat);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::process::Command;

    #[test]
    fn a_tree_measures_what_du_says_however_deep() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        fs::create_dir_all(top.join("a/b")).unwrap();
        fs::write(top.join("a/data"), vec![7; 100_000]).unwrap();
        fs::hard_link(top.join("a/data"), top.join("a/b/again")).unwrap();
        fs::File::create(top.join("hollow")).unwrap().set_len(1 << 30).unwrap();
        std::os::unix::fs::symlink("/etc", top.join("link")).unwrap();
        let mut folder = at::open_root(&top).unwrap();
        for _ in 0..2000 {
            rfs::mkdirat(&folder, "deeper", Mode::RWXU).unwrap();
            folder = at::open_plain(&folder, b"deeper", at::LIST).unwrap();
        }
        drop(folder);
        let du = Command::new("du").args(["-s", "--block-size=1"]).arg(&top).output().unwrap();
        let said: u64 = String::from_utf8(du.stdout).unwrap().split('\t').next().unwrap().parse().unwrap();
        let absent = dir.path().join("absent");
        assert_eq!(trees(&[top.clone(), absent]).unwrap(), [said, 0]);
        crate::tree::remove(&top).unwrap();
    }
}
