// SPDX-License-Identifier: Apache-2.0
//! Files below an open folder. No path of an image is ever resolved from `/`.
//!
//! See openat2(2): `RESOLVE_IN_ROOT` keeps `..`, absolute names and symbolic links inside.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use kelp_sys::rustix::fs::{
    self as rfs, AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use kelp_sys::rustix::io::Errno;

use crate::error::{Doing, Result};

/// How a folder is opened to work in it: a mere handle.
pub(crate) const HANDLE: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// How a folder is opened to be listed.
pub(crate) const LIST: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens a folder that we trust, by its path.
pub(crate) fn open_root(path: &Path) -> Result<OwnedFd> {
    rfs::open(path, LIST, Mode::empty()).doing(|| format!("opening {}", path.display()))
}

/// Opens what `path` names as if `root` were `/`: symbolic links are followed, and stay inside.
pub(crate) fn open_in(root: impl AsFd, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    open_resolving(root, path, flags, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
}

/// Opens what `path` names below `root`, through folders alone.
pub(crate) fn open_plain(root: impl AsFd, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    open_resolving(root, path, flags, ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)
}

fn open_resolving(root: impl AsFd, path: &[u8], flags: OFlags, resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { b"." } else { path };
    loop {
        match rfs::openat2(&root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            // Something was renamed somewhere while `..` was looked at: the kernel asks to try again.
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
}

/// What `name` in `folder` is, without following it; `None` where there is nothing.
pub(crate) fn look(folder: impl AsFd, name: &[u8]) -> Result<Option<Stat>, Errno> {
    match rfs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(e),
    }
}

/// The kind of file.
pub(crate) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Whether this is overlayfs' mark for “nothing is here, whatever lies below”.
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    kind(stat) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// The permissions, as `fchmod` takes them.
pub(crate) fn permissions(stat: &Stat) -> Mode {
    Mode::from_raw_mode(stat.st_mode & 0o7777)
}

/// The time of the last change of content, for both of a file's times.
pub(crate) fn times(seconds: i64, nanoseconds: u32) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}

/// The times of this file.
pub(crate) fn times_of(stat: &Stat) -> Timestamps {
    times(stat.st_mtime, stat.st_mtime_nsec as u32)
}

/// The owners of this file.
pub(crate) fn owners_of(stat: &Stat) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))
}

/// A path by which the kernel reaches this very file again, whatever it is.
pub(crate) fn path_of(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// Opens the file behind a mere handle.
pub(crate) fn reopen(fd: impl AsFd, flags: OFlags) -> Result<OwnedFd, Errno> {
    rfs::open(path_of(fd.as_fd()), flags | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())
}

/// Forms of overlayfs' mark “what lies below this folder is hidden”: for mounts by root, and in a user namespace.
const OPAQUE: [&str; 2] = ["user.overlay.opaque", "trusted.overlay.opaque"];

/// Whether a folder hides what lies below it.
pub(crate) fn is_opaque(folder: BorrowedFd<'_>) -> bool {
    let path = path_of(folder);
    OPAQUE.iter().any(|name| {
        let mut value = [0u8; 4];
        matches!(rfs::getxattr(&path, *name, &mut value), Ok(1) if value[0] == b'y')
    })
}

/// Marks a folder as hiding what lies below it. The `trusted` form is root's alone.
pub(crate) fn make_opaque(folder: BorrowedFd<'_>) -> Result<(), Errno> {
    rfs::fsetxattr(folder, OPAQUE[0], b"y", XattrFlags::empty())?;
    match rfs::fsetxattr(folder, OPAQUE[1], b"y", XattrFlags::empty()) {
        Ok(()) | Err(Errno::PERM) => Ok(()),
        Err(e) => Err(e),
    }
}

/// The names of a file's extended attributes.
pub(crate) fn attribute_names(fd: BorrowedFd<'_>) -> Result<Vec<Vec<u8>>, Errno> {
    let mut buffer = vec![0u8; 1 << 16];
    match rfs::listxattr(path_of(fd), &mut buffer) {
        Ok(n) => Ok(buffer[..n].split(|b| *b == 0).filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect()),
        Err(Errno::OPNOTSUPP) => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

/// The value of one of them; `None` where it is gone or not for us.
pub(crate) fn attribute(fd: BorrowedFd<'_>, name: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
    let mut buffer = vec![0u8; 1 << 16];
    match rfs::getxattr(path_of(fd), name, &mut buffer) {
        Ok(n) => {
            buffer.truncate(n);
            Ok(Some(buffer))
        }
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS) => Ok(None),
        Err(e) => Err(e),
    }
}

/// The names in a folder, without `.` and `..`.
pub(crate) fn names(folder: impl AsFd) -> Result<Vec<Vec<u8>>, Errno> {
    let mut names = Vec::new();
    for entry in rfs::Dir::read_from(folder)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    Ok(names)
}

/// `folder/name`, where the empty folder is the root.
pub(crate) fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    match folder.is_empty() {
        true => name.to_vec(),
        false => [folder, b"/", name].concat(),
    }
}
