// SPDX-License-Identifier: Apache-2.0
//! Devices and links in /dev.
//!
//! Runs in init, after the mounts, before the pivot. The image's /dev may be a link: everything is made relative to the
//! descriptor of the real folder.
//! Spec: config-linux.md "Devices", "Default Devices".

use crate::root::Rootfs;
use crate::script::{Device, DeviceHow, Script};
use crate::step::{During, Step, Stop};
use crate::target::{self, Kind};
use core::ffi::CStr;
use kelp_sys::mount::{Reach, attach_mount, clone_mount, here};
use kelp_sys::rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use kelp_sys::rustix::fs::{AtFlags, FileType, Mode, OFlags, chownat, makedev, mknodat, openat, statat, symlinkat};
use kelp_sys::rustix::io::Errno;
use kelp_sys::rustix::process::{Gid, Uid, umask};

/// All devices, then all links.
pub(crate) fn populate(script: &Script<'_>, rootfs: &Rootfs) -> Result<(), Stop> {
    // Modes are made as they are written, without a chmod each.
    let before = umask(Mode::empty());
    for (index, device) in script.devices.iter().enumerate() {
        script.begin(Step::Device)?;
        place(rootfs, device).during_nth(Step::Device, index)?;
    }
    link(script, rootfs)?;
    umask(before);
    Ok(())
}

fn link(script: &Script<'_>, rootfs: &Rootfs) -> Result<(), Stop> {
    if script.device_links.is_empty() {
        return Ok(());
    }
    script.begin(Step::DeviceLink)?;
    let dev = target::find_or_make(rootfs.as_fd(), c"dev", Kind::Directory).during(Step::DeviceLink)?;
    for (index, (text, name)) in script.device_links.iter().enumerate() {
        match symlinkat(*text, &dev, *name) {
            // The image's own /dev has it: it is the image's to decide where it points.
            Err(Errno::EXIST) => {}
            result => result.during_nth(Step::DeviceLink, index)?,
        }
    }
    Ok(())
}

/// Parent folder, made if missing, and name of `path`.
fn parent<'p>(rootfs: &Rootfs, path: &'p CStr) -> Result<(OwnedFd, &'p CStr), Errno> {
    let bytes = path.to_bytes_with_nul();
    let slash = bytes.iter().rposition(|&byte| byte == b'/');
    let name = slash.map_or(bytes, |slash| bytes.get(slash.saturating_add(1)..).unwrap_or_default());
    let name = CStr::from_bytes_with_nul(name).map_err(|_| Errno::INVAL)?;
    let folder = bytes.get(..slash.unwrap_or(0)).unwrap_or_default();
    Ok((target::find_or_make_bytes(rootfs.as_fd(), folder, Kind::Directory)?, name))
}

fn place(rootfs: &Rootfs, device: &Device<'_>) -> Result<(), Errno> {
    let (folder, name) = parent(rootfs, device.path)?;
    match device.how {
        DeviceHow::Make { kind, mode, device, owner } => {
            make(folder.as_fd(), name, kind, mode, device)?;
            owner.map_or(Ok(()), |(uid, gid)| {
                let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
                chownat(&folder, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            })
        }
        DeviceHow::Bind { source } => bind(folder.as_fd(), name, source),
    }
}

fn make(folder: BorrowedFd<'_>, name: &CStr, kind: FileType, mode: u32, device: (u32, u32)) -> Result<(), Errno> {
    let number = makedev(device.0, device.1);
    match mknodat(folder, name, kind, Mode::from_raw_mode(mode), number) {
        // The image brought it along, and it is the same device: good. Anything else in its place is not.
        Err(Errno::EXIST) => {
            let there = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
            let same =
                FileType::from_raw_mode(there.st_mode) == kind && (kind == FileType::Fifo || there.st_rdev == number);
            if same { Ok(()) } else { Err(Errno::EXIST) }
        }
        result => result,
    }
}

fn bind(folder: BorrowedFd<'_>, name: &CStr, source: &CStr) -> Result<(), Errno> {
    let copy = clone_mount(here(), source, Reach::Mount)?;
    match mknodat(folder, name, FileType::RegularFile, Mode::from_raw_mode(0o666), 0) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    let place = openat(folder, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    attach_mount(copy.as_fd(), place.as_fd())
}
