// SPDX-License-Identifier: Apache-2.0
//! Sysctls, read-only paths, masked paths.
//!
//! Runs in init after the pivot: `/` is the container's. Nothing is written through a /proc that the image may have shadowed
//! (CVE-2025-52881), and what covers a path is verified (CVE-2025-31133).
//! Spec: config-linux.md "Sysctl", "Masked Paths", "Readonly Paths".

use crate::mount::cover_read_only;
use crate::script::Script;
use crate::step::{During, Step, Stop};
use crate::target::{self, Kind};
use core::ffi::CStr;
use kelp_sys::mount::{Reach, attach_mount, clone_mount, here};
use kelp_sys::rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use kelp_sys::rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, major, minor, openat2};
use kelp_sys::rustix::io::{Errno, write};
use kelp_sys::rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
};

/// Writes them through a procfs that nobody else can reach: a detached mount of our own.
pub(crate) fn write_sysctls(script: &Script<'_>) -> Result<(), Stop> {
    if script.sysctls.is_empty() {
        return Ok(());
    }
    script.begin(Step::Sysctl)?;
    let proc = private_proc().during(Step::Sysctl)?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    for (index, (path, value)) in script.sysctls.iter().enumerate() {
        let file = openat2(&proc, *path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty(), resolve);
        file.and_then(|file| write(&file, value.to_bytes()).map(drop)).during_nth(Step::Sysctl, index)?;
    }
    Ok(())
}

/// A procfs of our pid namespace, mounted nowhere: `fsopen("proc")`, `fsmount`.
pub(crate) fn private_proc() -> Result<OwnedFd, Errno> {
    let context = fsopen(c"proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(context.as_fd())?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}

/// Read-only, and nothing else: other flags of the mount stay. A path that does not exist needs no protection.
pub(crate) fn make_readonly(script: &Script<'_>) -> Result<(), Stop> {
    for (index, path) in script.readonly_paths.iter().enumerate() {
        script.begin(Step::ReadonlyPath)?;
        if let Some(place) = find(path).during_nth(Step::ReadonlyPath, index)? {
            cover_read_only(&place).during_nth(Step::ReadonlyPath, index)?;
        }
    }
    Ok(())
}

/// Files become /dev/null, directories an empty read-only one.
pub(crate) fn mask(script: &Script<'_>) -> Result<(), Stop> {
    let mut covers = Covers { null: None, empty: None };
    for (index, path) in script.masked_paths.iter().enumerate() {
        script.begin(Step::MaskPath)?;
        if let Some(place) = find(path).during_nth(Step::MaskPath, index)? {
            covers.put_over(&place).during_nth(Step::MaskPath, index)?;
        }
    }
    Ok(())
}

fn find(path: &CStr) -> Result<Option<OwnedFd>, Errno> {
    match target::open(here(), path, OFlags::PATH) {
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        found => found.map(Some),
    }
}

/// What covers masked paths, made once each.
struct Covers {
    null: Option<OwnedFd>,
    empty: Option<OwnedFd>,
}

impl Covers {
    fn put_over(&mut self, place: &OwnedFd) -> Result<(), Errno> {
        match target::kind_of(place.as_fd())? {
            Kind::File => {
                if self.null.is_none() {
                    self.null = Some(null_device()?);
                }
                copy_over(self.null.as_ref(), place.as_fd())
            }
            Kind::Directory => match &self.empty {
                // A mounted one can be copied; a detached one cannot before Linux 6.15.
                Some(_) => copy_over(self.empty.as_ref(), place.as_fd()),
                None => {
                    let empty = empty_directory()?;
                    attach_mount(empty.as_fd(), place.as_fd())?;
                    self.empty = Some(empty);
                    Ok(())
                }
            },
        }
    }
}

fn copy_over(cover: Option<&OwnedFd>, place: BorrowedFd<'_>) -> Result<(), Errno> {
    let cover = cover.ok_or(Errno::BADF)?;
    let copy = clone_mount(cover.as_fd(), c"", Reach::Mount)?;
    attach_mount(copy.as_fd(), place)
}

/// The container's /dev/null, if it is the null device: 1:3.
fn null_device() -> Result<OwnedFd, Errno> {
    let null = target::open(here(), c"dev/null", OFlags::PATH | OFlags::NOFOLLOW)?;
    let stat = fstat(&null)?;
    let is_null = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && (major(stat.st_rdev), minor(stat.st_rdev)) == (1, 3);
    if is_null { Ok(null) } else { Err(Errno::NXIO) }
}

fn empty_directory() -> Result<OwnedFd, Errno> {
    let context = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_flag(context.as_fd(), c"ro")?;
    fsconfig_set_string(context.as_fd(), c"nr_blocks", c"1")?;
    fsconfig_set_string(context.as_fd(), c"nr_inodes", c"1")?;
    fsconfig_set_string(context.as_fd(), c"mode", c"0755")?;
    fsconfig_create(context.as_fd())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}
