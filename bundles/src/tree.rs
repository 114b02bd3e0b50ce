// SPDX-License-Identifier: Apache-2.0
//! Whole trees: deleting them, and copying what a stack of layers shows.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use kelp_sys::rustix::fs::{self as rfs, AtFlags, FileType, Mode, OFlags, Stat, XattrFlags};
use kelp_sys::rustix::io::Errno;

use crate::at;
use crate::error::{Doing, Result};
use crate::stack::LayerStack;

/// How often a folder is looked through: what somebody else who deletes it moves up meanwhile may escape a look.
const SCANS: usize = 1000;

/// Deletes `path` and all below it, however deep: a container's program decides that, not we. One that is gone is no error:
/// two may delete the same tree at once.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let doing = || format!("deleting {}", path.display());
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Ok(m) if !m.is_dir() => return gone_is_fine(fs::remove_file(path)).doing(doing),
        _ => {}
    }
    let folder = match rfs::open(path, at::LIST, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        folder => folder.doing(doing)?,
    };
    for _ in 0..SCANS {
        empty(&folder).doing(doing)?;
        match fs::remove_dir(path) {
            Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            removed => return gone_is_fine(removed).doing(doing),
        }
    }
    Err(Errno::NOTEMPTY).doing(doing)
}

fn gone_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Deletes `name` in `folder`, a tree or not.
pub(crate) fn remove_at(folder: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
    match rfs::unlinkat(folder, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => {}
        other => return other,
    }
    empty(&at::open_plain(folder, name, at::LIST)?)?;
    rfs::unlinkat(folder, name, AtFlags::REMOVEDIR)
}

/// Empties a folder with two descriptors and no recursion: a folder within a folder is moved up before its own is removed.
fn empty(top: &OwnedFd) -> Result<(), Errno> {
    let mut moved = 0u64;
    loop {
        let names = names_left(top)?;
        if names.is_empty() {
            return Ok(());
        }
        for name in names {
            match rfs::unlinkat(top, &name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => continue,
                Err(Errno::ISDIR) => flatten(top, &name, &mut moved)?,
                Err(e) => return Err(e),
            }
        }
    }
}

/// Removes the folder `name` of `top`; its own folders become folders of `top`.
fn flatten(top: &OwnedFd, name: &[u8], moved: &mut u64) -> Result<(), Errno> {
    let folder = match at::open_plain(top, name, at::LIST) {
        Err(Errno::NOENT) => return Ok(()),
        folder => folder?,
    };
    for child in names_left(&folder)? {
        match rfs::unlinkat(&folder, &child, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => continue,
            Err(Errno::ISDIR) => {}
            Err(e) => return Err(e),
        }
        match rfs::unlinkat(&folder, &child, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => move_up(&folder, &child, top, moved)?,
            Ok(()) | Err(Errno::NOENT) => {}
            Err(e) => return Err(e),
        }
    }
    match rfs::unlinkat(top, name, AtFlags::REMOVEDIR) {
        // Somebody else deleted it, and perhaps gave its name to a folder that is looked through next.
        Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
        other => other,
    }
}

fn move_up(folder: &OwnedFd, child: &[u8], top: &OwnedFd, moved: &mut u64) -> Result<(), Errno> {
    loop {
        *moved += 1;
        let name = format!(".moved-{moved}");
        match rfs::renameat_with(folder, child, top, &name, rfs::RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            Err(Errno::NOENT) => return Ok(()),
            other => return other,
        }
    }
}

/// What is left in a folder: nothing in one that somebody else deleted meanwhile (getdents64 says ENOENT then).
fn names_left(folder: &OwnedFd) -> Result<Vec<Vec<u8>>, Errno> {
    match at::names(folder) {
        Err(Errno::NOENT) => Ok(Vec::new()),
        names => names,
    }
}

/// Copies what a stack of layers (lowest first) shows at `inside` into the empty folder `to`. Where that is no folder,
/// nothing is copied.
pub(crate) fn copy_stack(lower: &[PathBuf], inside: &Path, to: &Path) -> Result<()> {
    let doing = || format!("copying {} of an image to {}", inside.display(), to.display());
    let target = at::open_root(to)?;
    let stack = LayerStack::open(lower)?;
    let Some(inside) = stack.real_path(inside.as_os_str().as_bytes()).doing(doing)? else { return Ok(()) };
    for source in stack.versions(&inside).doing(doing)? {
        let mut copy = Copy { source: &source, target: &target, links: HashMap::new(), folders: Vec::new() };
        copy.layer().doing(doing)?;
    }
    Ok(())
}

/// The copying of one layer upon those before.
struct Copy<'t> {
    source: &'t OwnedFd,
    target: &'t OwnedFd,
    /// Files with several names: where the first one went.
    links: HashMap<(u64, u64), Vec<u8>>,
    /// Folders whose times are set when nothing more changes them.
    folders: Vec<(Vec<u8>, Stat)>,
}

impl Copy<'_> {
    fn layer(&mut self) -> Result<(), Errno> {
        let mut to_do = vec![Vec::new()];
        while let Some(folder) = to_do.pop() {
            let from = at::open_plain(self.source, &folder, at::LIST)?;
            self.folder_itself(&from, &folder)?;
            let into = at::open_plain(self.target, &folder, at::HANDLE)?;
            for name in at::names(&from)? {
                let Some(stat) = at::look(&from, &name)? else { continue };
                let path = at::join(&folder, &name);
                match at::kind(&stat) {
                    FileType::Directory => {
                        self.make_folder(&into, &name)?;
                        to_do.push(path);
                    }
                    _ => self.file(&from, &into, &name, &path, &stat)?,
                }
            }
        }
        let mut folders = std::mem::take(&mut self.folders);
        folders.drain(..).rev().try_for_each(|(path, stat)| {
            let folder = at::open_plain(self.target, &path, at::LIST)?;
            rfs::futimens(&folder, &at::times_of(&stat))
        })
    }

    fn folder_itself(&mut self, from: &OwnedFd, path: &[u8]) -> Result<(), Errno> {
        let into = at::open_plain(self.target, path, at::LIST)?;
        if at::is_opaque(from.as_fd()) {
            empty(&into)?;
        }
        let stat = rfs::fstat(from)?;
        copy_attributes(from, &into, &stat)?;
        self.folders.push((path.to_vec(), stat));
        Ok(())
    }

    fn make_folder(&self, into: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
        match rfs::mkdirat(into, name, Mode::RWXU) {
            Err(Errno::EXIST) => {}
            other => return other,
        }
        match at::look(into, name)? {
            Some(stat) if at::kind(&stat) == FileType::Directory => Ok(()),
            _ => {
                rfs::unlinkat(into, name, AtFlags::empty())?;
                rfs::mkdirat(into, name, Mode::RWXU)
            }
        }
    }

    fn file(&mut self, from: &OwnedFd, into: &OwnedFd, name: &[u8], path: &[u8], stat: &Stat) -> Result<(), Errno> {
        match remove_at(into, name) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(e) => return Err(e),
        }
        if at::is_whiteout(stat) {
            return Ok(());
        }
        if stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)) {
                return rfs::linkat(self.target, first, into, name, AtFlags::empty());
            }
            self.links.insert((stat.st_dev, stat.st_ino), path.to_vec());
        }
        let file = at::open_plain(from, name, OFlags::PATH | OFlags::NOFOLLOW)?;
        copy_file(&file, into, name, stat)
    }
}

/// Copies the file behind a handle, which is no folder, with all that belongs to it.
pub(crate) fn copy_file(from: &OwnedFd, into: &OwnedFd, name: &[u8], stat: &Stat) -> Result<(), Errno> {
    let (uid, gid) = at::owners_of(stat);
    match at::kind(stat) {
        FileType::RegularFile => {
            let source = at::reopen(from, OFlags::RDONLY)?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let target = rfs::openat(into, name, flags, Mode::RUSR | Mode::WUSR)?;
            copy_content(&source, &target, stat.st_size as u64)?;
            copy_attributes(&source, &target, stat)?;
            return rfs::futimens(&target, &at::times_of(stat));
        }
        FileType::Symlink => {
            let link = rfs::readlinkat(from, c"", Vec::new())?;
            rfs::symlinkat(link, into, name)?;
        }
        kind => match rfs::mknodat(into, name, kind, at::permissions(stat), stat.st_rdev) {
            // A user cannot make devices: as in unpacking, they are left out.
            Err(Errno::PERM) => return Ok(()),
            other => other?,
        },
    }
    rfs::chownat(into, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    if at::kind(stat) != FileType::Symlink {
        // The umask took from what mknod was told, and the new owner its setuid bits.
        rfs::chmodat(into, name, at::permissions(stat), AtFlags::empty())?;
    }
    rfs::utimensat(into, name, &at::times_of(stat), AtFlags::SYMLINK_NOFOLLOW)
}

/// A shared copy where the file system has that, else through the kernel. What is hollow stays so.
fn copy_content(source: &OwnedFd, target: &OwnedFd, size: u64) -> Result<(), Errno> {
    if rfs::ioctl_ficlone(target, source).is_ok() {
        return Ok(());
    }
    let mut at = 0;
    while at < size {
        let data = match rfs::seek(source, rfs::SeekFrom::Data(at)) {
            Err(Errno::NXIO) => break,
            data => data?,
        };
        at = rfs::seek(source, rfs::SeekFrom::Hole(data))?;
        copy_range(source, target, data, at)?;
    }
    rfs::ftruncate(target, size)
}

fn copy_range(source: &OwnedFd, target: &OwnedFd, from: u64, to: u64) -> Result<(), Errno> {
    let (mut read, mut written) = (from, from);
    while read < to {
        let left = usize::try_from(to - read).unwrap_or(usize::MAX);
        if rfs::copy_file_range(source, Some(&mut read), target, Some(&mut written), left)? == 0 {
            // It became shorter meanwhile.
            break;
        }
    }
    Ok(())
}

/// Owner, permissions and extended attributes, without overlayfs' marks.
pub(crate) fn copy_attributes(from: &OwnedFd, to: &OwnedFd, stat: &Stat) -> Result<(), Errno> {
    let (uid, gid) = at::owners_of(stat);
    rfs::fchown(to, uid, gid)?;
    rfs::fchmod(to, at::permissions(stat))?;
    for name in at::attribute_names(from.as_fd())? {
        if name.starts_with(b"user.overlay.") || name.starts_with(b"trusted.overlay.") {
            continue;
        }
        let Some(value) = at::attribute(from.as_fd(), &name)? else { continue };
        match rfs::fsetxattr(to, &name, &value, XattrFlags::empty()) {
            // What a user may not set (security.selinux, trusted.*) is the host's matter.
            Ok(()) | Err(Errno::PERM | Errno::OPNOTSUPP | Errno::ACCESS) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, symlink};

    #[test]
    fn several_may_delete_a_tree_at_once() {
        let dir = tempfile::tempdir().unwrap();
        for round in 0..10 {
            let top = dir.path().join(round.to_string());
            for n in 0..30 {
                fs::create_dir_all(top.join(format!("{}/{n}/deep/deeper", n % 3))).unwrap();
            }
            std::thread::scope(|scope| {
                let all: Vec<_> = (0..4).map(|_| scope.spawn(|| remove(&top))).collect();
                all.into_iter().for_each(|one| one.join().unwrap().unwrap());
            });
            assert!(!top.exists());
        }
    }

    #[test]
    fn a_tree_goes_however_deep_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        fs::create_dir(&top).unwrap();
        let mut folder = at::open_root(&top).unwrap();
        for i in 0..3000 {
            rfs::mkdirat(&folder, "deeper", Mode::RWXU).unwrap();
            if i % 100 == 0 {
                rfs::mkdirat(&folder, ".moved-1", Mode::RWXU).unwrap();
                rfs::symlinkat("/etc", &folder, "link").unwrap();
            }
            folder = at::open_plain(&folder, b"deeper", at::LIST).unwrap();
        }
        drop(folder);
        remove(&top).unwrap();
        assert!(!top.exists() && Path::new("/etc/passwd").exists());
        remove(&top).unwrap();
    }

    #[test]
    fn a_copied_stack_is_what_overlayfs_would_show() {
        let dir = tempfile::tempdir().unwrap();
        let [low, high, to] = ["low", "high", "to"].map(|name| dir.path().join(name));
        fs::create_dir_all(low.join("a/b")).unwrap();
        fs::create_dir_all(low.join("gone")).unwrap();
        fs::write(low.join("a/b/kept"), "1").unwrap();
        fs::write(low.join("gone/file"), "1").unwrap();
        fs::write(low.join("was-file"), "1").unwrap();
        fs::create_dir_all(high.join("a/new")).unwrap();
        fs::create_dir_all(high.join("was-file")).unwrap();
        fs::create_dir(high.join("gone")).unwrap();
        at::make_opaque(at::open_root(&high.join("gone")).unwrap().as_fd()).unwrap();
        fs::write(high.join("a/new/one"), "1").unwrap();
        fs::hard_link(high.join("a/new/one"), high.join("two")).unwrap();
        symlink("a", high.join("link")).unwrap();
        fs::create_dir(&to).unwrap();
        copy_stack(&[low.clone(), high.clone()], Path::new("/"), &to).unwrap();
        assert!(to.join("a/b/kept").exists() && to.join("link").is_symlink() && to.join("was-file").is_dir());
        assert!(!to.join("gone/file").exists() && to.join("gone").exists());
        assert_eq!(fs::metadata(to.join("two")).unwrap().ino(), fs::metadata(to.join("a/new/one")).unwrap().ino());
        assert!(!at::is_opaque(at::open_root(&to.join("gone")).unwrap().as_fd()));
        let part = dir.path().join("part");
        fs::create_dir(&part).unwrap();
        copy_stack(&[low, high], Path::new("/link"), &part).unwrap();
        assert!(part.join("b/kept").exists() && part.join("new/one").exists() && !part.join("two").exists());
    }
}
