// SPDX-License-Identifier: Apache-2.0
//! Files between the host and a container (`kelp cp`): one side packs them into a tar, the other makes them of it.
//!
//! Both sides work below a root, the host's or the container's, and resolve names in it as who lives there would; the root of a
//! container may change while they do.

mod from;
mod into;

pub use from::{contents_of, pack};
pub use into::{Into, LeftOut, Origin, Owner, unpack};

use std::os::fd::OwnedFd;
use std::path::Path;

use kelp_sys::rustix::fs::OFlags;
use kelp_sys::rustix::io::Errno;

use crate::at;
use crate::error::Result;

/// Opens a folder to be `/` for one side.
pub fn root(path: &Path) -> Result<OwnedFd> {
    at::open_root(path)
}

/// How many symbolic links the last name of a path may lead through.
const LINKS: usize = 40;

/// A file by its folder and its name there, which is not looked at.
struct Place {
    folder: OwnedFd,
    name: Vec<u8>,
}

/// Where `path` is. Without a name (`/`, `..`): nothing, and it is a folder by itself.
fn place(root: &OwnedFd, path: &[u8]) -> Result<Option<Place>, Errno> {
    let path = trimmed(path);
    let slash = path.iter().rposition(|byte| *byte == b'/');
    let (folder, name) = slash.map_or((&b"."[..], path), |slash| (&path[..=slash], &path[slash + 1..]));
    if matches!(name, b"" | b"." | b"..") {
        return Ok(None);
    }
    Ok(Some(Place { folder: at::open_in(root, folder, at::HANDLE)?, name: name.to_vec() }))
}

/// The last name of a path, if it has one.
fn name(path: &[u8]) -> Option<&[u8]> {
    let name = trimmed(path).rsplit(|byte| *byte == b'/').next()?;
    (!matches!(name, b"" | b"." | b"..")).then_some(name)
}

fn trimmed(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    &path[..end]
}

/// The path to which the last name leads, if it is a symbolic link; else the path itself. It need not be there.
fn behind_links(root: &OwnedFd, path: &[u8]) -> Result<Vec<u8>, Errno> {
    let mut path = path.to_vec();
    for _ in 0..LINKS {
        let Some(Place { folder, name }) = place(root, &path)? else { return Ok(path) };
        let link = match at::open_plain(&folder, &name, OFlags::PATH | OFlags::NOFOLLOW) {
            Ok(file) => kelp_sys::rustix::fs::readlinkat(&file, c"", Vec::new()),
            Err(errno) => Err(errno),
        };
        match link {
            Ok(text) if text.as_bytes().starts_with(b"/") => path = text.into_bytes(),
            Ok(text) => {
                let trimmed = trimmed(&path).len() - name.len();
                path.truncate(trimmed);
                path.extend(text.as_bytes());
            }
            // No link (EINVAL, or ENOENT of the empty name), or nothing at all.
            Err(_) => return Ok(path),
        }
    }
    Err(Errno::LOOP)
}
