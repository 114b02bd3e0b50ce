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
    let mut folders = Folders { rootfs, last: None };
    for (index, device) in script.devices.iter().enumerate() {
        script.begin(Step::Device)?;
        place(&mut folders, device).during_nth(Step::Device, index)?;
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

/// Folders of devices: most are in one, which stays open from device to device.
struct Folders<'r, 'p> {
    rootfs: &'r Rootfs,
    last: Option<(&'p [u8], OwnedFd)>,
}

impl<'p> Folders<'_, 'p> {
    /// Parent folder, made if missing, and name of `path`.
    fn parent(&mut self, path: &'p CStr) -> Result<(BorrowedFd<'_>, &'p CStr), Errno> {
        let bytes = path.to_bytes_with_nul();
        let slash = bytes.iter().rposition(|&byte| byte == b'/');
        let name = slash.map_or(bytes, |slash| bytes.get(slash.saturating_add(1)..).unwrap_or_default());
        let name = CStr::from_bytes_with_nul(name).map_err(|_| Errno::INVAL)?;
        let folder = bytes.get(..slash.unwrap_or(0)).unwrap_or_default();
        let open = match self.last.take() {
            Some((last, open)) if last == folder => open,
            _ => target::find_or_make_bytes(self.rootfs.as_fd(), folder, Kind::Directory)?,
        };
        Ok((self.last.insert((folder, open)).1.as_fd(), name))
    }
}

fn place<'p>(folders: &mut Folders<'_, 'p>, device: &Device<'p>) -> Result<(), Errno> {
    let (folder, name) = folders.parent(device.path)?;
    match device.how {
        DeviceHow::Make { kind, mode, device, owner } => {
            make(folder, name, kind, mode, device)?;
            owner.map_or(Ok(()), |(uid, gid)| {
                let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
                chownat(folder, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            })
        }
        DeviceHow::Bind { source } => bind(folder, name, source),
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
