// SPDX-License-Identifier: Apache-2.0
//! Finds, or makes, the place of a mount or device below the container's root, without ever leaving it.
//!
//! Runs in init, before the pivot: the image decides what links there are, and a process in a shared volume may be
//! changing them while we look. Every step is therefore taken by the kernel with `RESOLVE_IN_ROOT`, and what is used is the
//! descriptor that came out of it. See openat2(2).

use core::ffi::CStr;
use core::mem::MaybeUninit;
use kelp_sys::rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use kelp_sys::rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, openat2, readlinkat_raw};
use kelp_sys::rustix::io::Errno;

/// What to make where nothing is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A file.
    File,
}

const PATH_MAX: usize = 4096;
const MOST_LINKS: u32 = 40;

/// The place `path` below `root`, made as `kind` where it is missing, missing parents as directories.
pub fn find_or_make(root: BorrowedFd<'_>, path: &CStr, kind: Kind) -> Result<OwnedFd, Errno> {
    match open(root, path, OFlags::PATH) {
        Err(Errno::NOENT) => match make_last(root, path, kind) {
            Ok(()) => open(root, path, OFlags::PATH),
            Err(_) => make(root, path.to_bytes(), kind),
        },
        found => found,
    }
}

/// The common case, without buffers of PATH_MAX on the stack, whose pages cost more than the calls: only the last component
/// is missing. Whatever else is the case is for [`make`] to find out.
fn make_last(root: BorrowedFd<'_>, path: &CStr, kind: Kind) -> Result<(), Errno> {
    let (parent, _) = split(path.to_bytes());
    let mut space = [0; 128];
    let begin = parent.len().checked_add(1).and_then(|end| space.get_mut(..end)).ok_or(Errno::NAMETOOLONG)?;
    begin.split_last_mut().ok_or(Errno::INVAL)?.1.copy_from_slice(parent);
    let parent = CStr::from_bytes_with_nul(begin).map_err(|_| Errno::INVAL)?;
    let parent = open(root, parent, OFlags::PATH | OFlags::DIRECTORY)?;
    let whole = path.to_bytes_with_nul();
    let name = whole.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash.saturating_add(1));
    let name = CStr::from_bytes_with_nul(whole.get(name..).unwrap_or_default()).map_err(|_| Errno::INVAL)?;
    match kind {
        Kind::Directory => mkdirat(&parent, name, Mode::from_raw_mode(0o755)),
        Kind::File => make_file(parent.as_fd(), name),
    }
}

/// The same for a path that is not a C string.
pub(crate) fn find_or_make_bytes(root: BorrowedFd<'_>, path: &[u8], kind: Kind) -> Result<OwnedFd, Errno> {
    with_c_str(path, |path| find_or_make(root, path, kind))
}

/// The same for a directory that must not be reached through any link: `ELOOP` where one is in the way.
pub(crate) fn find_or_make_plain(root: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd, Errno> {
    let plain = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
    match resolve(root, path, OFlags::PATH, plain) {
        Err(Errno::NOENT) => {
            make(root, path.to_bytes(), Kind::Directory).and_then(|_| resolve(root, path, OFlags::PATH, plain))
        }
        found => found,
    }
}

/// Opens `path` with the container's root as `/`, magic links refused.
pub(crate) fn open(root: BorrowedFd<'_>, path: &CStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    resolve(root, path, flags, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
}

fn resolve(root: BorrowedFd<'_>, path: &CStr, flags: OFlags, how: ResolveFlags) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { c"." } else { path };
    // The kernel answers EAGAIN when something below the root was renamed while it looked.
    for _ in 0..128 {
        match openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), how) {
            Err(Errno::AGAIN) => {}
            result => return result,
        }
    }
    Err(Errno::AGAIN)
}

/// A path that can be cut and joined without an allocator.
struct PathBuffer {
    bytes: [u8; PATH_MAX],
    length: usize,
}

impl PathBuffer {
    const fn new() -> Self {
        Self { bytes: [0; PATH_MAX], length: 0 }
    }

    fn push(&mut self, part: &[u8]) -> Result<(), Errno> {
        let begin = self.length;
        let end = begin.checked_add(part.len()).ok_or(Errno::NAMETOOLONG)?;
        // One byte stays for the NUL.
        let room = self.bytes.get_mut(begin..end).filter(|_| end < PATH_MAX).ok_or(Errno::NAMETOOLONG)?;
        room.copy_from_slice(part);
        self.length = end;
        Ok(())
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// Calls `use_path` with the bytes as a C string, copied to the stack.
fn with_c_str<T>(bytes: &[u8], use_path: impl FnOnce(&CStr) -> Result<T, Errno>) -> Result<T, Errno> {
    let mut buffer = PathBuffer::new();
    buffer.push(bytes)?;
    let end = buffer.length.saturating_add(1);
    let path = CStr::from_bytes_with_nul(buffer.bytes.get(..end).unwrap_or_default()).map_err(|_| Errno::INVAL)?;
    use_path(path)
}

/// Walks the path one component at a time and makes what is missing. A dangling link is followed as the container would:
/// what it names is made, below the root.
#[inline(never)]
fn make(root: BorrowedFd<'_>, path: &[u8], kind: Kind) -> Result<OwnedFd, Errno> {
    let mut whole = PathBuffer::new();
    whole.push(path)?;
    let mut links = 0;
    'again: loop {
        let mut end = 0;
        loop {
            let bytes = whole.as_bytes();
            end = component_end(bytes, end);
            let prefix = bytes.get(..end).unwrap_or_default();
            let last = end >= bytes.len();
            let wanted = if last { kind } else { Kind::Directory };
            match with_c_str(prefix, |prefix| open(root, prefix, OFlags::PATH)) {
                Ok(found) if last => return Ok(found),
                Ok(_) => {}
                Err(Errno::NOENT) => {
                    if let Some(link) = make_one(root, prefix, wanted)? {
                        links = next_link(links)?;
                        whole = joined(prefix, link.as_bytes(), bytes.get(end..).unwrap_or_default())?;
                        continue 'again;
                    }
                    if last {
                        return with_c_str(prefix, |prefix| open(root, prefix, OFlags::PATH));
                    }
                }
                Err(errno) => return Err(errno),
            }
        }
    }
}

fn next_link(links: u32) -> Result<u32, Errno> {
    if links >= MOST_LINKS { Err(Errno::LOOP) } else { Ok(links.saturating_add(1)) }
}

/// Where the component that begins at or after `from` ends.
fn component_end(path: &[u8], from: usize) -> usize {
    let rest = path.get(from..).unwrap_or_default();
    let slashes = rest.iter().take_while(|&&byte| byte == b'/').count();
    let name = rest.iter().skip(slashes).take_while(|&&byte| byte != b'/').count();
    from.saturating_add(slashes).saturating_add(name)
}

/// The parent and the last component.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (path.get(..slash).unwrap_or_default(), path.get(slash.saturating_add(1)..).unwrap_or_default()),
        None => (b"", path),
    }
}

/// Makes the last component of `path`. If a dangling link stands there, returns what it says.
fn make_one(root: BorrowedFd<'_>, path: &[u8], kind: Kind) -> Result<Option<PathBuffer>, Errno> {
    let (parent, name) = split(path);
    let parent = with_c_str(parent, |parent| open(root, parent, OFlags::PATH | OFlags::DIRECTORY))?;
    with_c_str(name, |name| {
        let made = match kind {
            Kind::Directory => mkdirat(&parent, name, Mode::from_raw_mode(0o755)),
            Kind::File => make_file(parent.as_fd(), name),
        };
        match made {
            Err(Errno::EXIST | Errno::LOOP) => read_link(parent.as_fd(), name),
            other => other.map(|()| None),
        }
    })
}

fn make_file(parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
    kelp_sys::rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o644)).map(drop)
}

/// What the link says, or `None` where it is none any more: somebody else was faster, and the walk looks again.
fn read_link(parent: BorrowedFd<'_>, name: &CStr) -> Result<Option<PathBuffer>, Errno> {
    let mut space = [MaybeUninit::uninit(); PATH_MAX];
    match readlinkat_raw(parent, name, &mut space) {
        Ok((text, _)) => {
            let mut link = PathBuffer::new();
            link.push(text)?;
            Ok(Some(link))
        }
        Err(Errno::INVAL) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// The path that goes on where the link at the end of `prefix` points.
fn joined(prefix: &[u8], link: &[u8], rest: &[u8]) -> Result<PathBuffer, Errno> {
    let mut path = PathBuffer::new();
    if link.first() != Some(&b'/') {
        path.push(split(prefix).0)?;
        path.push(b"/")?;
    }
    path.push(link)?;
    path.push(rest)?;
    Ok(path)
}

/// Whether the open file is a directory.
pub(crate) fn kind_of(file: BorrowedFd<'_>) -> Result<Kind, Errno> {
    let directory = FileType::from_raw_mode(fstat(file)?.st_mode) == FileType::Directory;
    Ok(if directory { Kind::Directory } else { Kind::File })
}
