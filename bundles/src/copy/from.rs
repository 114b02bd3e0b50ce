// SPDX-License-Identifier: Apache-2.0
//! The side that files are copied from.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use kelp_sys::rustix::fs::{FileType, OFlags};
use kelp_sys::rustix::io::Errno;

use super::{Place, behind_links, place};
use crate::at;
use crate::error::{Doing, Result};
use crate::pack::Pack;

/// Whether the path means what is in the folder, and not the folder: `FOLDER/.`, as for cp(1).
#[must_use]
pub fn contents_of(path: &Path) -> bool {
    let path = path.as_os_str().as_bytes();
    path == b"." || path.ends_with(b"/.")
}

/// Writes what `path` names below `root` as a tar. Its first entry is the file or folder itself, under its own name; one
/// without a name is called `.`.
///
/// # Errors
/// There is none; it cannot be read; `out` takes no more.
pub fn pack(root: &OwnedFd, path: &Path, follow: bool, out: impl Write) -> Result<()> {
    let doing = || format!("reading {}", path.display());
    let bytes = path.as_os_str().as_bytes();
    let (top, name) = match follow && !bytes.ends_with(b"/") {
        // The link's name, and what it leads to.
        true => {
            let (file, name) = find(root, &behind_links(root, bytes).doing(doing)?).doing(doing)?;
            (file, super::name(bytes).map_or(name, <[u8]>::to_vec))
        }
        false => find(root, bytes).doing(doing)?,
    };
    let mut pack = Pack::new(out);
    let kind = pack.opened(&top, &name).doing(doing)?;
    let mut to_go = if kind == Some(FileType::Directory) { vec![Vec::new()] } else { Vec::new() };
    while let Some(below) = to_go.pop() {
        let folder = match at::open_plain(&top, &below, at::LIST) {
            // It went while we were elsewhere.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) if !below.is_empty() => continue,
            folder => folder.doing(doing)?,
        };
        for entry in at::names(&folder).doing(doing)? {
            let path = at::join(&below, &entry);
            if pack.file(&folder, &entry, &at::join(&name, &path)).doing(doing)? == Some(FileType::Directory) {
                to_go.push(path);
            }
        }
    }
    pack.finish().doing(doing)
}

/// The file, and the name under which it is packed. What ends with a slash is a folder, or a link to one.
fn find(root: &OwnedFd, path: &[u8]) -> Result<(OwnedFd, Vec<u8>), Errno> {
    let place = place(root, path)?;
    if path.ends_with(b"/") || place.is_none() {
        let name = place.map_or_else(|| b".".to_vec(), |place| place.name);
        return at::open_in(root, path, at::HANDLE).map(|folder| (folder, name));
    }
    let Some(Place { folder, name }) = place else { return Err(Errno::NOENT) };
    at::open_plain(&folder, &name, OFlags::PATH | OFlags::NOFOLLOW).map(|file| (file, name))
}
