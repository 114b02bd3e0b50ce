// SPDX-License-Identifier: Apache-2.0
//! Walks over a cgroup and those that were made in it, which may be many and deep: a container makes them as it likes.
//!
//! Holds one directory open at a time and never a path, so that neither PATH_MAX nor the limit of open files ends the
//! walk. `..` is safe here: cgroupfs has no symlinks and no renames from one directory to another.

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use kelp_sys::rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, openat, unlinkat};
use kelp_sys::rustix::io::Errno;

/// Calls `visit` with every cgroup below `top` and with `top` itself, parents first.
pub(super) fn for_each(
    top: BorrowedFd<'_>,
    mut visit: impl FnMut(BorrowedFd<'_>) -> Result<(), Errno>,
) -> Result<(), Errno> {
    walk(top, &mut visit, &mut |_, _| Ok(()))
}

/// Removes every cgroup below `top`, children first; not `top`.
pub(super) fn remove_below(top: BorrowedFd<'_>) -> Result<(), Errno> {
    walk(top, &mut |_| Ok(()), &mut |parent, name| match unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOENT) => Ok(()),
        removed => removed,
    })
}

/// One level of the walk: what has still to be entered there, and by what name it was entered itself.
struct Frame {
    name: CString,
    pending: Vec<CString>,
}

/// Enters every directory (`enter` gets it) and leaves it again (`leave` gets its parent and its name).
fn walk(
    top: BorrowedFd<'_>,
    enter: &mut dyn FnMut(BorrowedFd<'_>) -> Result<(), Errno>,
    leave: &mut dyn FnMut(BorrowedFd<'_>, &CStr) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let mut here = open(top, c".")?;
    enter(here.as_fd())?;
    let mut frames = vec![Frame { name: CString::default(), pending: children(here.as_fd())? }];
    while let Some(frame) = frames.last_mut() {
        if let Some(name) = frame.pending.pop() {
            let below = match open(here.as_fd(), &name) {
                // The container removed it meanwhile.
                Err(Errno::NOENT | Errno::NODEV) => continue,
                opened => opened?,
            };
            enter(below.as_fd())?;
            frames.push(Frame { name, pending: children(below.as_fd())? });
            here = below;
        } else if let Some(Frame { name, .. }) = frames.pop()
            && !frames.is_empty()
        {
            here = open(here.as_fd(), c"..")?;
            leave(here.as_fd(), &name)?;
        }
    }
    Ok(())
}

fn open(dir: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    openat(dir, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// The names of the directories in `dir`. None if it was removed meanwhile.
fn children(dir: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut entries = RawDir::new(dir, &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        match entry {
            Ok(entry) if entry.file_type() != FileType::Directory => {}
            Ok(entry) if entry.file_name() == c"." || entry.file_name() == c".." => {}
            Ok(entry) => names.push(entry.file_name().to_owned()),
            Err(Errno::NOENT | Errno::NODEV) => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(names)
}
