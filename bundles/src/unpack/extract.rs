// SPDX-License-Identifier: Apache-2.0
//! Entries of a tar become files below one folder, whatever the tar says.
//!
//! Every name is resolved by the kernel with the folder as root; the last component is never followed. What the tar takes
//! for granted, because a layer below has it, is copied up: the folders a path leads through, the target of a hard link.

use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use kelp_sys::rustix::fs::{self as rfs, AtFlags, FileType, Gid, Mode, OFlags, Timestamps, Uid, XattrFlags};
use kelp_sys::rustix::io::{self as rio, Errno};
use kelp_sys::rustix::process as rprocess;

use super::crew::Below;
use super::{Done, Owners};
use crate::at;
use crate::error::{Doing, Error, Kind, Result};
use crate::tar::{Entry, EntryKind, Reader};
use crate::tree;

/// A name that begins so says that something below is gone.
const WHITEOUT: &[u8] = b".wh.";
/// Nothing that lies below this folder shows.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Other names that begin so are aufs' own.
const AUFS: &[u8] = b".wh..wh.";
/// Where an owner is written that a file could not get.
const OWNER_RECORD: &str = "user.kelp.owner";
/// How many symbolic links a path may lead through.
const LINKS: usize = 40;

/// The unpacking of one layer.
pub(super) struct Extract<'b> {
    root: OwnedFd,
    below: &'b Below<'b>,
    owners: Owners,
    /// The folder of the last entry: most entries follow one of the same folder.
    last_folder: Option<(Vec<u8>, Folder)>,
    /// Whether the tar says what its root is like.
    has_root: bool,
    /// Who we are here: files are ours when they are made.
    ourselves: (u32, u32),
    /// Folders whose times are set when nothing more changes them.
    folder_times: Vec<(Vec<u8>, Timestamps)>,
    /// Folders that hide what lies below, so that nothing is copied up into them.
    opaque: HashSet<Vec<u8>>,
    /// Devices that were left out.
    skipped: HashSet<Vec<u8>>,
    done: Done,
}

/// A folder that entries go into.
#[derive(Clone)]
struct Folder {
    fd: Rc<OwnedFd>,
    /// The group of what is made in it is ours: no set-group-id bit or mount option says otherwise.
    gives_our_group: bool,
}

/// A failed operation, and on which name.
type Step<T> = std::result::Result<T, Trouble>;

/// Why an entry could not be made.
enum Trouble {
    /// The kernel refused.
    Kernel(&'static str, Errno),
    /// The archive did.
    Input(std::io::Error),
    /// The entry asks for something it must not have.
    Refused(&'static str),
    /// An owner outside of the id map.
    Owner(u64, u64),
}

/// Names the call that failed.
trait Call<T> {
    fn call(self, name: &'static str) -> Step<T>;
}

impl<T> Call<T> for rio::Result<T> {
    fn call(self, name: &'static str) -> Step<T> {
        self.map_err(|errno| Trouble::Kernel(name, errno))
    }
}

impl<'b> Extract<'b> {
    pub(super) fn new(root: &Path, below: &'b Below<'b>, owners: Owners) -> Result<Self> {
        let root = at::open_root(root)?;
        rfs::fchmod(&root, Mode::from_raw_mode(0o755)).doing(|| "unpacking a layer")?;
        let (opaque, done) = (HashSet::new(), Done::default());
        let ourselves = (rprocess::geteuid().as_raw(), rprocess::getegid().as_raw());
        Ok(Self {
            root,
            below,
            owners,
            last_folder: None,
            has_root: false,
            ourselves,
            folder_times: Vec::new(),
            opaque,
            skipped: HashSet::new(),
            done,
        })
    }

    /// The root of a layer without an entry for it is that of the layers below.
    fn end_like_below(&mut self) -> rio::Result<()> {
        if self.has_root {
            return Ok(());
        }
        if let Some(found) = self.below.find(b"")? {
            tree::copy_attributes(&at::reopen(&found.fd, OFlags::RDONLY)?, &self.root, &found.stat)?;
            self.folder_times.push((Vec::new(), at::times_of(&found.stat)));
        }
        Ok(())
    }

    /// Unpacks all entries.
    pub(super) fn all<R: std::io::BufRead>(&mut self, tar: &mut Reader<R>, limit: u64) -> Result<Done> {
        while let Some(entry) = tar.next().doing(|| "reading the archive")? {
            self.done.entries += 1;
            if self.done.entries > limit {
                return Err(Error::new(
                    Kind::TooBig,
                    "reading the archive",
                    format!("it has more than {limit} entries"),
                ));
            }
            if entry.kind == EntryKind::File {
                self.done.bytes = self.done.bytes.saturating_add(entry.size);
            }
            self.entry(&entry, tar).map_err(|trouble| trouble.about(&entry))?;
        }
        self.end_like_below().doing(|| "unpacking a layer")?;
        self.set_folder_times().doing(|| "setting the times of folders")?;
        Ok(self.done)
    }

    fn entry<R: std::io::BufRead>(&mut self, entry: &Entry, tar: &mut Reader<R>) -> Step<()> {
        let mut names = clean(&entry.path)?;
        let Some(name) = names.pop() else { return self.root_itself(entry) };
        let into = self.folder(&names)?;
        let folder = into.fd.clone();
        if name.starts_with(WHITEOUT) {
            return self.whiteout(&folder, &names, name);
        }
        match entry.kind {
            EntryKind::File => self.file(&into, name, entry, tar),
            EntryKind::Folder => self.make_folder(&folder, &names, name, entry),
            EntryKind::HardLink => self.hard_link(&folder, name, entry),
            EntryKind::Symlink => {
                self.make(&folder, name, || rfs::symlinkat(entry.link.as_slice(), &*folder, name)).call("symlinkat")?;
                // A folder that was reached before may be reached another way now.
                self.last_folder = None;
                self.attributes_by_name(&folder, name, entry)
            }
            EntryKind::Fifo | EntryKind::CharDevice | EntryKind::BlockDevice => self.node(&folder, &names, name, entry),
        }
    }

    fn root_itself(&mut self, entry: &Entry) -> Step<()> {
        if entry.kind != EntryKind::Folder {
            return Err(Trouble::Refused("the root of a layer must be a folder"));
        }
        let root = at::open_plain(&self.root, b"", at::LIST).call("openat2")?;
        self.has_root = true;
        self.last_folder = None;
        self.attributes(&root, entry)?;
        self.folder_times.push((Vec::new(), at::times(entry.mtime.0, entry.mtime.1)));
        Ok(())
    }

    fn file<R: std::io::BufRead>(
        &mut self,
        folder: &Folder,
        name: &[u8],
        entry: &Entry,
        tar: &mut Reader<R>,
    ) -> Step<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = self.make(&folder.fd, name, || rfs::openat(&folder.fd, name, flags, mode)).call("openat")?;
        write_content(&file, entry, tar)?;
        // Most files are the caller's: he need not be told so again for each of them.
        let ours =
            folder.gives_our_group && (entry.uid, entry.gid) == (self.ourselves.0.into(), self.ourselves.1.into());
        if !ours {
            self.own(&file, entry)?;
        }
        self.permit(&file, entry)?;
        rfs::futimens(&file, &at::times(entry.mtime.0, entry.mtime.1)).call("futimens")?;
        begin_writeback(&file, entry.size);
        Ok(())
    }

    fn make_folder(&mut self, parent: &OwnedFd, path: &[&[u8]], name: &[u8], entry: &Entry) -> Step<()> {
        let path = at::join(&path.join(&b'/'), name);
        let hides = self.fresh_folder(parent, name).call("mkdirat")?;
        let folder = rfs::openat(parent, name, at::LIST, Mode::empty()).call("openat")?;
        if hides {
            self.hide_below(&folder, &path)?;
        }
        self.attributes(&folder, entry)?;
        // What is made in it may have another group from now on.
        self.last_folder = None;
        self.folder_times.push((path, at::times(entry.mtime.0, entry.mtime.1)));
        Ok(())
    }

    /// Makes a folder, or keeps the one that is there. Says whether it takes the place of a whiteout: then it must hide
    /// what that hid.
    fn fresh_folder(&mut self, parent: &OwnedFd, name: &[u8]) -> rio::Result<bool> {
        match rfs::mkdirat(parent, name, Mode::RWXU) {
            Err(Errno::EXIST) => {}
            other => return other.map(|()| false),
        }
        let there = at::look(parent, name)?;
        if there.as_ref().is_some_and(|stat| at::kind(stat) == FileType::Directory) {
            return Ok(false);
        }
        self.clear(parent, name)?;
        rfs::mkdirat(parent, name, Mode::RWXU)?;
        Ok(there.as_ref().is_some_and(at::is_whiteout))
    }

    fn hide_below(&mut self, folder: &OwnedFd, path: &[u8]) -> Step<()> {
        self.opaque.insert(path.to_vec());
        at::make_opaque(folder.as_fd()).call("fsetxattr of overlay.opaque")
    }

    /// A whiteout counts against the layers below alone, wherever it stands in the tar.
    fn whiteout(&mut self, folder: &OwnedFd, path: &[&[u8]], name: &[u8]) -> Step<()> {
        let path = path.join(&b'/');
        if name == OPAQUE {
            let folder = at::open_plain(folder, b"", at::LIST).call("openat2")?;
            return self.hide_below(&folder, &path);
        }
        if name.starts_with(AUFS) {
            return Ok(());
        }
        let name = &name[WHITEOUT.len()..];
        if name.is_empty() || name == b"." || name == b".." {
            return Err(Trouble::Refused("a whiteout must name something"));
        }
        match at::look(folder, name).call("fstatat")? {
            None => {
                rfs::mknodat(folder, name, FileType::CharacterDevice, Mode::empty(), 0).call("mknodat of a whiteout")
            }
            Some(stat) if at::kind(&stat) == FileType::Directory => {
                let hiding = at::open_plain(folder, name, at::LIST).call("openat2")?;
                self.hide_below(&hiding, &at::join(&path, name))
            }
            // A file of this layer hides what lies below by itself.
            Some(_) => Ok(()),
        }
    }

    fn node(&mut self, folder: &OwnedFd, path: &[&[u8]], name: &[u8], entry: &Entry) -> Step<()> {
        let kind = match entry.kind {
            EntryKind::CharDevice => FileType::CharacterDevice,
            EntryKind::BlockDevice => FileType::BlockDevice,
            _ => FileType::Fifo,
        };
        let device = rfs::makedev(entry.device.0, entry.device.1);
        if kind == FileType::CharacterDevice && device == 0 {
            // It would be a whiteout, which a tar has another word for.
            return Err(Trouble::Refused("there is no character device 0:0"));
        }
        match self.make(folder, name, || rfs::mknodat(folder, name, kind, Mode::RUSR | Mode::WUSR, device)) {
            Err(Errno::PERM) if kind != FileType::Fifo => self.skip_device(folder, path, name),
            made => {
                made.call("mknodat")?;
                self.attributes_by_name(folder, name, entry)
            }
        }
    }

    /// A device a user may not make is left out, and so is what it would have taken the place of.
    fn skip_device(&mut self, folder: &OwnedFd, path: &[&[u8]], name: &[u8]) -> Step<()> {
        self.done.skipped_devices += 1;
        let real = self.walk(path)?;
        let place = at::join(&real.join(&b'/'), name);
        if !self.is_hidden(&real) && self.below.find(&place).call("openat2")?.is_some() {
            rfs::mknodat(folder, name, FileType::CharacterDevice, Mode::empty(), 0).call("mknodat of a whiteout")?;
        }
        self.skipped.insert(at::join(&path.join(&b'/'), name));
        Ok(())
    }

    fn hard_link(&mut self, folder: &OwnedFd, name: &[u8], entry: &Entry) -> Step<()> {
        let mut target = clean(&entry.link)?;
        let is_skipped = self.skipped.contains(&target.join(&b'/'));
        let Some(target_name) = target.pop() else { return Err(Trouble::Refused("a hard link to a folder")) };
        let target_folder = self.folder(&target)?.fd;
        match at::look(&*target_folder, target_name).call("fstatat")? {
            // Another name of a device that was left out, unless a later entry took its place.
            there if is_skipped && there.as_ref().is_none_or(at::is_whiteout) => return Ok(()),
            None => self.copy_up(&target, target_name)?,
            Some(_) => {}
        }
        let link = || rfs::linkat(&*target_folder, target_name, folder, name, AtFlags::empty());
        match link() {
            Err(Errno::EXIST) => {
                let same = |a: &rfs::Stat, b: &rfs::Stat| (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino);
                let both = (at::look(&*target_folder, target_name), at::look(folder, name));
                if matches!(both, (Ok(Some(a)), Ok(Some(b))) if same(&a, &b)) {
                    return Ok(());
                }
                self.clear(folder, name).call("unlinkat")?;
                link().call("linkat")
            }
            Err(Errno::PERM) => Err(Trouble::Refused("a hard link to a folder")),
            other => other.call("linkat"),
        }
    }

    /// Copies a file of the layers below, for a hard link to it.
    fn copy_up(&mut self, path: &[&[u8]], name: &[u8]) -> Step<()> {
        let real = self.walk(path)?;
        let found = match self.is_hidden(&real) {
            true => None,
            false => self.below.find(&at::join(&real.join(&b'/'), name)).call("openat2")?,
        };
        let Some(file) = found.filter(|f| at::kind(&f.stat) != FileType::Directory) else {
            return Err(Trouble::Refused("the target of the link is neither in this layer nor below"));
        };
        let into = at::open_plain(&self.root, &real.join(&b'/'), at::HANDLE).call("openat2")?;
        tree::copy_file(&file.fd, &into, name, &file.stat).call("copying up")
    }

    /// The folder an entry belongs into, made where only layers below have it.
    fn folder(&mut self, path: &[&[u8]]) -> Step<Folder> {
        let key = path.join(&b'/');
        if let Some((last, folder)) = &self.last_folder
            && *last == key
        {
            return Ok(folder.clone());
        }
        let folder = match at::open_in(&self.root, &key, at::HANDLE) {
            Err(Errno::NOENT | Errno::NOTDIR) => {
                let real = self.walk(path)?.join(&b'/');
                at::open_plain(&self.root, &real, at::HANDLE).call("openat2")?
            }
            other => other.call("openat2")?,
        };
        let stat = rfs::fstat(&folder).call("fstat")?;
        let gives_our_group = stat.st_gid == self.ourselves.1;
        let folder = Folder { fd: Rc::new(folder), gives_our_group };
        self.last_folder = Some((key, folder.clone()));
        Ok(folder)
    }

    /// Follows a path through this layer and those below, as it would be followed in the merged view; folders that this
    /// layer lacks are made like those below. Gives the path without links.
    fn walk(&mut self, path: &[&[u8]]) -> Step<Vec<Vec<u8>>> {
        let mut to_go: Vec<Vec<u8>> = path.iter().rev().map(|name| name.to_vec()).collect();
        let mut real: Vec<Vec<u8>> = Vec::new();
        let mut links = 0;
        while let Some(name) = to_go.pop() {
            match name.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    real.pop();
                    continue;
                }
                _ => {}
            }
            let Some(target) = self.step(&real, &name)? else {
                real.push(name);
                continue;
            };
            links += 1;
            if links > LINKS {
                return Err(Trouble::Kernel("openat2", Errno::LOOP));
            }
            if target.starts_with(b"/") {
                real.clear();
            }
            to_go.extend(target.split(|b| *b == b'/').rev().map(<[u8]>::to_vec));
        }
        Ok(real)
    }

    /// One step of the walk: makes sure that `name` is a folder of this layer, or gives the target of the link it is.
    fn step(&mut self, real: &[Vec<u8>], name: &[u8]) -> Step<Option<Vec<u8>>> {
        let path = real.join(&b'/');
        let folder = at::open_plain(&self.root, &path, at::HANDLE).call("openat2")?;
        let here = at::look(&folder, name).call("fstatat")?;
        match here.as_ref().map(at::kind) {
            Some(FileType::Directory) => return Ok(None),
            Some(FileType::Symlink) => return read_link(&folder, name).map(Some),
            Some(_) if here.as_ref().is_some_and(at::is_whiteout) => {
                self.clear(&folder, name).call("unlinkat")?;
                let made = self.implied_folder(&folder, &path, name, None)?;
                return self.hide_below(&made, &at::join(&path, name)).map(|()| None);
            }
            Some(_) => return Err(Trouble::Kernel("openat2", Errno::NOTDIR)),
            None => {}
        }
        let below = match self.is_hidden(real) {
            true => None,
            false => self.below.find(&at::join(&path, name)).call("openat2")?,
        };
        match below {
            Some(found) if at::kind(&found.stat) == FileType::Symlink => read_link(&found.fd, b"").map(Some),
            Some(found) if at::kind(&found.stat) == FileType::Directory => {
                self.implied_folder(&folder, &path, name, Some(&found)).map(|_| None)
            }
            _ => self.implied_folder(&folder, &path, name, None).map(|_| None),
        }
    }

    /// A folder no entry made: like the one below, or root's with the usual permissions.
    fn implied_folder(
        &mut self,
        parent: &OwnedFd,
        path: &[u8],
        name: &[u8],
        like: Option<&crate::stack::Found>,
    ) -> Step<OwnedFd> {
        rfs::mkdirat(parent, name, Mode::RWXU).call("mkdirat")?;
        let made = rfs::openat(parent, name, at::LIST, Mode::empty()).call("openat")?;
        match like {
            None => rfs::fchmod(&made, Mode::from_raw_mode(0o755)).call("fchmod")?,
            Some(found) => {
                let source = at::reopen(&found.fd, OFlags::RDONLY).call("openat")?;
                tree::copy_attributes(&source, &made, &found.stat).call("copying attributes")?;
                self.folder_times.push((at::join(path, name), at::times_of(&found.stat)));
            }
        }
        Ok(made)
    }

    /// Whether this layer hides what lies below this path.
    fn is_hidden(&self, real: &[Vec<u8>]) -> bool {
        !self.opaque.is_empty() && (0..=real.len()).any(|n| self.opaque.contains(&real[..n].join(&b'/')))
    }

    /// Makes something new in the place of whatever is there.
    fn make<T>(&mut self, folder: &OwnedFd, name: &[u8], make: impl Fn() -> rio::Result<T>) -> rio::Result<T> {
        match make() {
            Err(Errno::EXIST) => {
                self.clear(folder, name)?;
                make()
            }
            other => other,
        }
    }

    fn clear(&mut self, folder: &OwnedFd, name: &[u8]) -> rio::Result<()> {
        // It may be the folder we remember, or a link to it.
        self.last_folder = None;
        tree::remove_at(folder, name)
    }

    /// Owner, permissions, extended attributes: in this order, since a new owner clears setuid bits and capabilities.
    fn attributes(&mut self, file: &OwnedFd, entry: &Entry) -> Step<()> {
        self.own(file, entry)?;
        self.permit(file, entry)
    }

    fn own(&self, file: &OwnedFd, entry: &Entry) -> Step<()> {
        let (uid, gid) = owner(entry)?;
        match rfs::fchown(file, Some(uid), Some(gid)) {
            Err(Errno::INVAL | Errno::PERM) if self.owners == Owners::Recorded => {
                let record = format!("{}:{}", entry.uid, entry.gid);
                rfs::fsetxattr(file, OWNER_RECORD, record.as_bytes(), XattrFlags::empty()).call("fsetxattr")?;
            }
            Err(Errno::INVAL) => return Err(Trouble::Owner(entry.uid, entry.gid)),
            other => other.call("fchown")?,
        }
        Ok(())
    }

    fn permit(&mut self, file: &OwnedFd, entry: &Entry) -> Step<()> {
        rfs::fchmod(file, Mode::from_raw_mode(entry.mode)).call("fchmod")?;
        for (name, value) in &entry.xattrs {
            self.attribute(name, || rfs::fsetxattr(file, name, value, XattrFlags::empty()))?;
        }
        Ok(())
    }

    /// The same for what cannot be opened.
    fn attributes_by_name(&mut self, folder: &OwnedFd, name: &[u8], entry: &Entry) -> Step<()> {
        let (uid, gid) = owner(entry)?;
        match rfs::chownat(folder, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW) {
            // Nowhere to write the owner down: such files take no user attributes.
            Err(Errno::INVAL | Errno::PERM) if self.owners == Owners::Recorded => {}
            Err(Errno::INVAL) => return Err(Trouble::Owner(entry.uid, entry.gid)),
            other => other.call("fchownat")?,
        }
        if entry.kind != EntryKind::Symlink {
            rfs::chmodat(folder, name, Mode::from_raw_mode(entry.mode), AtFlags::empty()).call("fchmodat")?;
        }
        let path = [at::path_of(folder.as_fd()).as_bytes(), b"/", name].concat();
        for (attribute, value) in &entry.xattrs {
            self.attribute(attribute, || rfs::lsetxattr(path.as_slice(), attribute, value, XattrFlags::empty()))?;
        }
        let times = at::times(entry.mtime.0, entry.mtime.1);
        rfs::utimensat(folder, name, &times, AtFlags::SYMLINK_NOFOLLOW).call("utimensat")
    }

    /// An image's attribute; overlayfs' own are ours alone to set, and some are not for users.
    fn attribute(&mut self, name: &[u8], set: impl Fn() -> rio::Result<()>) -> Step<()> {
        let ours = [&b"user.overlay."[..], b"trusted.overlay.", b"user.kelp."];
        if ours.iter().any(|prefix| name.starts_with(prefix)) {
            self.done.skipped_attributes += 1;
            return Ok(());
        }
        match set() {
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::INVAL) if !name.starts_with(b"user.") => {
                self.done.skipped_attributes += 1;
                Ok(())
            }
            // Symbolic links and devices take none of a user's.
            Err(Errno::PERM | Errno::OPNOTSUPP) => {
                self.done.skipped_attributes += 1;
                Ok(())
            }
            other => other.call("setxattr"),
        }
    }

    fn set_folder_times(&mut self) -> rio::Result<()> {
        for (path, times) in std::mem::take(&mut self.folder_times) {
            match at::open_in(&self.root, &path, at::LIST) {
                Ok(folder) => rfs::futimens(&folder, &times)?,
                // A later entry took its place.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

/// The names of a path, which may begin with `/` and hold `.`; `..` may not lead out.
fn clean(path: &[u8]) -> Step<Vec<&[u8]>> {
    let mut names = Vec::new();
    for name in path.split(|b| *b == b'/') {
        match name {
            b"" | b"." => {}
            b".." => {
                if names.pop().is_none() {
                    return Err(Trouble::Refused("the name leads out of the layer"));
                }
            }
            _ => names.push(name),
        }
    }
    Ok(names)
}

fn owner(entry: &Entry) -> Step<(Uid, Gid)> {
    // The highest number means “leave it”.
    let id = |n: u64| u32::try_from(n).ok().filter(|n| *n != u32::MAX).ok_or(Trouble::Owner(entry.uid, entry.gid));
    Ok((Uid::from_raw(id(entry.uid)?), Gid::from_raw(id(entry.gid)?)))
}

fn read_link(folder: &OwnedFd, name: &[u8]) -> Step<Vec<u8>> {
    Ok(rfs::readlinkat(folder, name, Vec::new()).call("readlinkat")?.into_bytes())
}

/// From this size on a file's content begins to go to disk at once, while others are made: the last syncfs finds less to do.
const LARGE: u64 = 256 << 10;

fn begin_writeback(file: &OwnedFd, size: u64) {
    // A mere hint: what the disk refuses, syncfs will say.
    if size >= LARGE && kelp_sys::writeback::begin(file.as_fd(), 0, 0).is_err() {}
}

/// The content of the entry that was read last, for a file that is no layer's.
pub(crate) fn write_content_of<R: std::io::BufRead>(file: &OwnedFd, entry: &Entry, tar: &mut Reader<R>) -> Result<()> {
    write_content(file, entry, tar).map_err(|trouble| trouble.about(entry))
}

/// Writes the pieces where they belong; between them the file stays hollow.
fn write_content<R: std::io::BufRead>(file: &OwnedFd, entry: &Entry, tar: &mut Reader<R>) -> Step<()> {
    for segment in &entry.segments {
        let (mut offset, mut left) = (segment.offset, segment.length);
        while left > 0 {
            let chunk = tar.chunk().map_err(Trouble::Input)?;
            let n = usize::try_from(left).map_or(chunk.len(), |left| left.min(chunk.len()));
            let written = rio::retry_on_intr(|| rio::pwrite(file, &chunk[..n], offset)).call("pwrite")?;
            tar.consume(written);
            offset += written as u64;
            left -= written as u64;
        }
    }
    // A map may end with an empty piece at the file's end: nothing was written there.
    let written = entry.segments.iter().rfind(|segment| segment.length > 0);
    match written.map_or(0, |last| last.offset + last.length) == entry.size {
        true => Ok(()),
        false => rfs::ftruncate(file, entry.size).call("ftruncate"),
    }
}

impl Trouble {
    fn about(self, entry: &Entry) -> Error {
        let doing = format!("making {}", String::from_utf8_lossy(&entry.path));
        match self {
            Self::Refused(why) => Error::new(Kind::BadInput, doing, why).hint("the image is broken or hostile"),
            Self::Input(e) => Error::io(doing, &e),
            Self::Owner(uid, gid) => {
                Error::new(Kind::Unsupported, doing, format!("the owner {uid}:{gid} has no place in the id map"))
                    .hint("grant this user a longer range in /etc/subuid and /etc/subgid")
            }
            Self::Kernel(call, errno) => {
                let error = Error::io(doing, &errno.into());
                Error::new(error.kind(), error.doing(), format!("{call}: {}", error.because()))
            }
        }
    }
}
