// SPDX-License-Identifier: Apache-2.0
//! The side that files are copied into.

use std::collections::HashSet;
use std::io::BufRead;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use kelp_sys::rustix::fs::{self as rfs, AtFlags, FileType, Gid, Mode, OFlags, Timestamps, Uid};
use kelp_sys::rustix::io::Errno;

use super::{Place, behind_links, place};
use crate::at;
use crate::error::{Doing, Error, Kind, Result};
use crate::tar::{Entry, EntryKind, Reader};
use crate::unpack::write_content_of;

/// How long the names of one entry may be.
const HEADER_LIMIT: u64 = 1 << 20;

/// Whose files are, once they are copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Who copies them.
    Ours,
    /// Whose they were.
    Kept,
}

/// Who made the files that are copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Who copies them.
    Caller,
    /// A container: its set-user-ID programs would be somebody else's where they are copied to, and its cgroup's rules for
    /// devices do not hold there.
    Container,
}

/// What was not copied as it was, as it came from a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Files that have lost their set-user-ID or set-group-ID mode bit.
    pub set_ids: usize,
    /// Device nodes that were not made.
    pub devices: usize,
}

/// How files are taken in.
#[derive(Clone, Copy, Debug)]
pub struct Into {
    /// The tar's names are as they are, below an existing folder: not a copy of one file or folder.
    pub as_is: bool,
    /// What is in the first entry is copied, not itself.
    pub contents: bool,
    /// Whose files are.
    pub owner: Owner,
    /// Who made them.
    pub origin: Origin,
}

/// Makes the files of a tar at `path` below `root`, by the rules of `docker cp`: a file or folder goes into a folder that is
/// there, or gets the name that is not. Tells what a container's files have lost.
///
/// # Errors
/// The place does not fit; a folder would take the place of a file, or the other way round; a file cannot be made.
pub fn unpack(root: &OwnedFd, path: &Path, how: Into, input: impl BufRead) -> Result<LeftOut> {
    let mut tar = Reader::new(input, HEADER_LIMIT);
    let reading = || "reading the files to copy";
    let Some(first) = tar.next().doing(reading)? else {
        // A tar of nothing goes nowhere, but not to a place that is not there.
        return Target::find(root, path, how, &[], true).map(|_| LeftOut::default());
    };
    let top = names(&first.path)?.first().map_or_else(Vec::new, |name| name.to_vec());
    let target = Target::find(root, path, how, &top, first.kind == EntryKind::Folder)?;
    let mut making = Making {
        target,
        owner: how.owner,
        origin: how.origin,
        folders: Vec::new(),
        left_out: LeftOut::default(),
        devices: HashSet::new(),
    };
    let mut next = Some(first);
    while let Some(entry) = next {
        making.entry(&entry, &mut tar).map_err(|trouble| trouble.about(&entry))?;
        next = tar.next().doing(reading)?;
    }
    making.finish_folders().doing(|| "setting the modes and times of folders")?;
    Ok(making.left_out)
}

/// The names of an entry's path below the target; none may lead out.
fn names(path: &[u8]) -> Result<Vec<&[u8]>> {
    let names: Vec<&[u8]> = path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b".")).collect();
    if names.contains(&&b".."[..]) {
        let doing = format!("copying {}", String::from_utf8_lossy(path));
        return Err(Error::new(Kind::BadInput, doing, "the name leads out of the folder that is copied"));
    }
    Ok(names)
}

/// The folder into which all goes, and what becomes of the tar's first names.
struct Target {
    folder: OwnedFd,
    /// How many names are taken off.
    stripped: usize,
    /// The name that is put in their place.
    renamed: Option<Vec<u8>>,
}

impl Target {
    fn find(root: &OwnedFd, path: &Path, how: Into, top: &[u8], is_folder: bool) -> Result<Target> {
        let doing = || format!("copying to {}", path.display());
        let wrong = |because: &str| Error::new(Kind::BadInput, doing(), because);
        let bytes = behind_links(root, path.as_os_str().as_bytes()).doing(doing)?;
        let stripped = usize::from(!top.is_empty());
        let there = match at::open_in(root, &bytes, OFlags::PATH) {
            Ok(file) => Some((at::kind(&rfs::fstat(&file).doing(doing)?), file)),
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(errno).doing(doing),
        };
        match there {
            Some((FileType::Directory, folder)) if how.as_is => Ok(Target { folder, stripped: 0, renamed: None }),
            _ if how.as_is => Err(wrong("a tar is copied into a folder that is there")),
            Some((FileType::Directory, folder)) if how.contents => Ok(Target { folder, stripped, renamed: None }),
            Some((FileType::Directory, folder)) => {
                Ok(Target { folder, stripped, renamed: (!top.is_empty()).then(|| top.to_vec()) })
            }
            Some(_) if is_folder => Err(wrong("a folder cannot take the place of a file")),
            Some(_) if bytes.ends_with(b"/") => Err(wrong("it is no folder")),
            None if bytes.ends_with(b"/") && !is_folder => Err(wrong("there is no such folder")),
            _ => match place(root, &bytes).doing(doing)? {
                Some(Place { folder, name }) => Ok(Target { folder, stripped, renamed: Some(name) }),
                None => Err(wrong("there is no such folder")),
            },
        }
    }

    /// Where an entry goes; nothing for the folder itself into which all goes.
    fn of<'e>(&'e self, path: &'e [u8]) -> Result<Vec<&'e [u8]>> {
        let renamed = self.renamed.as_deref().into_iter();
        Ok(renamed.chain(names(path)?.into_iter().skip(self.stripped)).collect())
    }
}

/// Why an entry could not be made.
pub(super) enum Trouble {
    Kernel(&'static str, Errno),
    Told(Error),
    Refused(&'static str),
}

impl Trouble {
    fn about(self, entry: &Entry) -> Error {
        let doing = format!("copying {}", String::from_utf8_lossy(&entry.path));
        match self {
            Self::Told(error) => error,
            Self::Refused(because) => Error::new(Kind::BadInput, doing, because),
            Self::Kernel(call, errno) => {
                let error = Error::io(doing, &errno.into());
                Error::new(error.kind(), error.doing(), format!("{call}: {}", error.because()))
            }
        }
    }
}

trait Call<T> {
    fn call(self, name: &'static str) -> Result<T, Trouble>;
}

impl<T> Call<T> for Result<T, Errno> {
    fn call(self, name: &'static str) -> Result<T, Trouble> {
        self.map_err(|errno| Trouble::Kernel(name, errno))
    }
}

struct Making {
    target: Target,
    owner: Owner,
    origin: Origin,
    left_out: LeftOut,
    /// The names of device nodes that were not made.
    devices: HashSet<Vec<u8>>,
    /// Set when nothing more is made in them.
    folders: Vec<(Vec<u8>, Mode, Timestamps)>,
}

impl Making {
    fn entry<R: BufRead>(&mut self, entry: &Entry, tar: &mut Reader<R>) -> Result<(), Trouble> {
        if self.leaves_out(entry) {
            return Ok(());
        }
        let mut names = self.target.of(&entry.path).map_err(Trouble::Told)?;
        let path = names.join(&b'/');
        let Some(name) = names.pop().map(<[u8]>::to_vec) else { return Ok(()) };
        let name = name.as_slice();
        // Through folders alone: a link in the way is the container's, and may lead anywhere in it.
        let folder = at::open_plain(&self.target.folder, &names.join(&b'/'), at::HANDLE).call("openat2")?;
        self.make_room(&folder, name, entry)?;
        match entry.kind {
            EntryKind::Folder => return self.folder(&folder, name, path, entry),
            EntryKind::File => return self.file(&folder, name, entry, tar),
            EntryKind::Symlink => rfs::symlinkat(entry.link.as_slice(), &folder, name).call("symlinkat")?,
            EntryKind::HardLink => return self.hard_link(&folder, name, entry),
            EntryKind::Fifo => rfs::mknodat(&folder, name, FileType::Fifo, Mode::RUSR, 0).call("mknodat")?,
            EntryKind::CharDevice | EntryKind::BlockDevice => self.device(&folder, name, entry)?,
        }
        self.own(entry, |uid, gid| rfs::chownat(&folder, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW))?;
        if entry.kind != EntryKind::Symlink {
            rfs::chmodat(&folder, name, self.mode(entry), AtFlags::empty()).call("fchmodat")?;
        }
        rfs::utimensat(&folder, name, &times(entry), AtFlags::SYMLINK_NOFOLLOW).call("utimensat")
    }

    /// Whether it is a device node of a container, or another name of one.
    fn leaves_out(&mut self, entry: &Entry) -> bool {
        let left_out = match entry.kind {
            EntryKind::CharDevice | EntryKind::BlockDevice => self.origin == Origin::Container,
            EntryKind::HardLink => self.devices.contains(&entry.link),
            _ => false,
        };
        if left_out {
            self.left_out.devices += 1;
            self.devices.insert(entry.path.clone());
        }
        left_out
    }

    /// The mode of a file that is no folder.
    fn mode(&mut self, entry: &Entry) -> Mode {
        let mode = Mode::from_raw_mode(entry.mode);
        let set_ids = Mode::SUID | Mode::SGID;
        if self.origin == Origin::Caller || !mode.intersects(set_ids) {
            return mode;
        }
        self.left_out.set_ids += 1;
        mode.difference(set_ids)
    }

    /// A file goes where another is; files and folders do not take each other's place.
    fn make_room(&self, folder: &OwnedFd, name: &[u8], entry: &Entry) -> Result<(), Trouble> {
        let Some(there) = at::look(folder, name).call("fstatat")? else { return Ok(()) };
        match (at::kind(&there) == FileType::Directory, entry.kind == EntryKind::Folder) {
            (true, true) => Ok(()),
            (true, false) => Err(Trouble::Refused("a file cannot take the place of a folder")),
            (false, true) => Err(Trouble::Refused("a folder cannot take the place of a file")),
            (false, false) => rfs::unlinkat(folder, name, AtFlags::empty()).call("unlinkat"),
        }
    }

    fn folder(&mut self, folder: &OwnedFd, name: &[u8], path: Vec<u8>, entry: &Entry) -> Result<(), Trouble> {
        let new = match rfs::mkdirat(folder, name, Mode::RWXU) {
            Err(Errno::EXIST) => false,
            made => made.call("mkdirat").map(|()| true)?,
        };
        let made = rfs::openat(folder, name, at::LIST, Mode::empty()).call("openat")?;
        // One that was there stays as it is.
        if new || self.owner == Owner::Kept {
            self.own(entry, |uid, gid| rfs::fchown(&made, Some(uid), Some(gid)))?;
            let mode = Mode::from_raw_mode(entry.mode);
            // Its owner may not be root: what is in it comes first.
            rfs::fchmod(&made, mode | Mode::RWXU).call("fchmod")?;
            self.folders.push((path, mode, times(entry)));
        }
        Ok(())
    }

    fn file<R: BufRead>(
        &mut self,
        folder: &OwnedFd,
        name: &[u8],
        entry: &Entry,
        tar: &mut Reader<R>,
    ) -> Result<(), Trouble> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rfs::openat(folder, name, flags, Mode::RUSR | Mode::WUSR).call("openat")?;
        write_content_of(&file, entry, tar).map_err(Trouble::Told)?;
        self.own(entry, |uid, gid| rfs::fchown(&file, Some(uid), Some(gid)))?;
        rfs::fchmod(&file, self.mode(entry)).call("fchmod")?;
        rfs::futimens(&file, &times(entry)).call("futimens")
    }

    fn hard_link(&self, folder: &OwnedFd, name: &[u8], entry: &Entry) -> Result<(), Trouble> {
        let mut other = self.target.of(&entry.link).map_err(Trouble::Told)?;
        let Some(first) = other.pop() else { return Err(Trouble::Refused("a hard link to a folder")) };
        let beside = at::open_plain(&self.target.folder, &other.join(&b'/'), at::HANDLE).call("openat2")?;
        rfs::linkat(&beside, first, folder, name, AtFlags::empty()).call("linkat")
    }

    fn device(&self, folder: &OwnedFd, name: &[u8], entry: &Entry) -> Result<(), Trouble> {
        let kind = if entry.kind == EntryKind::CharDevice { FileType::CharacterDevice } else { FileType::BlockDevice };
        let number = rfs::makedev(entry.device.0, entry.device.1);
        rfs::mknodat(folder, name, kind, Mode::RUSR, number).call("mknodat of a device")
    }

    fn own(&self, entry: &Entry, chown: impl Fn(Uid, Gid) -> Result<(), Errno>) -> Result<(), Trouble> {
        if self.owner == Owner::Ours {
            return Ok(());
        }
        let id = |id: u64| u32::try_from(id).ok().filter(|id| *id != u32::MAX);
        let (Some(uid), Some(gid)) = (id(entry.uid), id(entry.gid)) else {
            return Err(Trouble::Refused("its owner is no id"));
        };
        chown(Uid::from_raw(uid), Gid::from_raw(gid)).call("chown")
    }

    fn finish_folders(&self) -> Result<(), Errno> {
        self.folders.iter().rev().try_for_each(|(path, mode, times)| {
            match at::open_plain(&self.target.folder, path, at::LIST) {
                Ok(folder) => rfs::fchmod(&folder, *mode).and_then(|()| rfs::futimens(&folder, times)),
                // The container has taken it away meanwhile.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(()),
                Err(errno) => Err(errno),
            }
        })
    }
}

fn times(entry: &Entry) -> Timestamps {
    at::times(entry.mtime.0, entry.mtime.1)
}
