// SPDX-License-Identifier: Apache-2.0
//! What a tmpfs takes over from the folder that it covers: its permissions, and with `tmpcopyup` all that is in it.
//!
//! Runs in init before the pivot. The image decides what lies there: every entry is reached by descriptor and name, no link is
//! followed, and a tree that is deeper than [`DEEPEST`] is refused.
//! Spec: config.md "Linux mount options", `tmpcopyup`; that a tmpfs without `mode=` takes the folder's is runc's behaviour.

use crate::script::Inherits;
use core::ffi::CStr;
use core::mem::MaybeUninit;
use kelp_sys::rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use kelp_sys::rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RawDir, Stat, Timespec, Timestamps, XattrFlags, chmodat, chownat, copy_file_range,
    fgetxattr, fsetxattr, fstat, mkdirat, mknodat, openat, readlinkat_raw, statat, symlinkat, utimensat,
};
use kelp_sys::rustix::io::Errno;
use kelp_sys::rustix::process::{Gid, Uid};

/// Two descriptors are open for each level.
const DEEPEST: u32 = 100;

/// From the folder `below` to the root of the file system that covers it.
pub(crate) fn take_over(below: BorrowedFd<'_>, top: BorrowedFd<'_>, what: Inherits) -> Result<(), Errno> {
    if what == Inherits::All {
        let (from, to) = (folder(below, c".")?, folder(top, c".")?);
        copy_all(&from, &to, DEEPEST)?;
        return own(to.as_fd(), c".", &fstat(&from)?);
    }
    chmodat(top, c".", mode_of(&fstat(below)?), AtFlags::empty())
}

fn folder(at: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    openat(at, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

fn mode_of(stat: &Stat) -> Mode {
    Mode::from_raw_mode(stat.st_mode & 0o7777)
}

fn copy_all(from: &OwnedFd, to: &OwnedFd, depth: u32) -> Result<(), Errno> {
    let deeper = depth.checked_sub(1).ok_or(Errno::NAMETOOLONG)?;
    let mut space = [MaybeUninit::<u8>::uninit(); 2048];
    let mut entries = RawDir::new(from, &mut space);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            copy_one(from, to, name, deeper)?;
        }
    }
    Ok(())
}

fn copy_one(from: &OwnedFd, to: &OwnedFd, name: &CStr, depth: u32) -> Result<(), Errno> {
    let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            mkdirat(to, name, Mode::RWXU)?;
            copy_all(&folder(from.as_fd(), name)?, &folder(to.as_fd(), name)?, depth)?;
            own(to.as_fd(), name, &stat)?;
        }
        FileType::RegularFile => copy_file(from, to, name, &stat)?,
        FileType::Symlink => {
            let mut space = [MaybeUninit::uninit(); 4096];
            let (text, _) = readlinkat_raw(from, name, &mut space)?;
            // With a NUL at its end; a longer text was cut short, and has no place for it.
            let mut copy = [0_u8; 4096];
            let room = copy.get_mut(..text.len()).filter(|room| room.len() < 4096).ok_or(Errno::NAMETOOLONG)?;
            room.copy_from_slice(text);
            symlinkat(CStr::from_bytes_until_nul(&copy).map_err(|_| Errno::INVAL)?, to, name)?;
            change_owner(to.as_fd(), name, &stat)?;
        }
        kind => {
            mknodat(to, name, kind, mode_of(&stat), stat.st_rdev)?;
            own(to.as_fd(), name, &stat)?;
        }
    }
    let times = Timestamps {
        last_access: Timespec { tv_sec: stat.st_atime, tv_nsec: i64::try_from(stat.st_atime_nsec).unwrap_or(0) },
        last_modification: Timespec { tv_sec: stat.st_mtime, tv_nsec: i64::try_from(stat.st_mtime_nsec).unwrap_or(0) },
    };
    utimensat(to, name, &times, AtFlags::SYMLINK_NOFOLLOW)
}

fn copy_file(from: &OwnedFd, to: &OwnedFd, name: &CStr, stat: &Stat) -> Result<(), Errno> {
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let source = openat(from, name, OFlags::RDONLY | OFlags::NONBLOCK | flags, Mode::empty())?;
    let copy = openat(to, name, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | flags, Mode::RWXU)?;
    copy_bytes(&source, &copy)?;
    own(to.as_fd(), name, stat)?;
    copy_capabilities(&source, &copy)
}

/// In the kernel where it can: between file systems copy_file_range(2) is refused with `EXDEV`.
fn copy_bytes(source: &OwnedFd, copy: &OwnedFd) -> Result<(), Errno> {
    const PIECE: usize = 1 << 30;
    loop {
        let copied = match copy_file_range(source, None, copy, None, PIECE) {
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                kelp_sys::rustix::fs::sendfile(copy, source, None, PIECE)?
            }
            result => result?,
        };
        if copied == 0 {
            return Ok(());
        }
    }
}

/// Owner, then permissions: a change of owner takes set-user-id away.
fn own(at: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<(), Errno> {
    change_owner(at, name, stat)?;
    chmodat(at, name, mode_of(stat), AtFlags::empty())
}

/// An owner that is not mapped into our user namespace (`EINVAL`), or whom we may not give files to (`EPERM`), stays root.
fn change_owner(at: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    match chownat(at, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::INVAL | Errno::PERM) => Ok(()),
        result => result,
    }
}

/// The capabilities of a program, capabilities(7). A file that has none (`ENODATA`), or a file system that knows none, has
/// nothing to copy; in a user namespace we may not be allowed to give them on.
fn copy_capabilities(source: &OwnedFd, copy: &OwnedFd) -> Result<(), Errno> {
    const NAME: &CStr = c"security.capability";
    let mut value = [0_u8; 64];
    let length = match fgetxattr(source, NAME, &mut value) {
        Err(Errno::NODATA | Errno::OPNOTSUPP) => return Ok(()),
        result => result?,
    };
    match fsetxattr(copy, NAME, value.get(..length).unwrap_or_default(), XattrFlags::empty()) {
        Err(Errno::PERM | Errno::OPNOTSUPP) => Ok(()),
        result => result,
    }
}
