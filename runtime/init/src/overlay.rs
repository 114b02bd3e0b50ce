// SPDX-License-Identifier: Apache-2.0
//! The overlay that is a container's root, however long its options are.
//!
//! Runs in init, after its mounts are cut off from the host's, before the root is opened. Must not allocate.
//! Kernel: mount(2), fsconfig(2), Documentation/filesystems/overlayfs.rst.

use crate::script::Overlay;
use core::ffi::CStr;
use kelp_sys::mount::mount_here;
use kelp_sys::rustix::fd::{AsFd, AsRawFd, OwnedFd};
use kelp_sys::rustix::fs::{CWD, Mode, OFlags, openat};
use kelp_sys::rustix::io::Errno;
use kelp_sys::rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, mount, move_mount,
};
use kelp_sys::rustix::process::chdir;

/// What mount(2) takes of options, with the NUL.
const PAGE: usize = 4096;
/// The kernel stacks 500 folders, below an upper one with its work folder.
const FOLDERS: usize = 502;

/// Mounts the overlay over the folder `path`. One mount(2) where the options fit its page; else layer by layer, or, before
/// Linux 6.5, by names that are short.
pub(crate) fn mount_over(path: &CStr, overlay: &Overlay<'_>) -> Result<(), Errno> {
    chdir(path)?;
    if overlay.data.to_bytes_with_nul().len() <= PAGE {
        return mount_here(c"overlay", c"overlay", overlay.flags, Some(overlay.data));
    }
    match one_by_one(overlay) {
        // `lowerdir+` is unknown: the kernel says so at once, or when it sees all options.
        Err(Errno::INVAL) => by_number(path, overlay),
        other => other,
    }
}

/// The new mount API takes lower layers one at a time.
fn one_by_one(overlay: &Overlay<'_>) -> Result<(), Errno> {
    let context = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in overlay.options {
        match value {
            Some(value) => fsconfig_set_string(context.as_fd(), *key, *value)?,
            None => fsconfig_set_flag(context.as_fd(), *key)?,
        }
    }
    fsconfig_create(context.as_fd())?;
    let mount = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    move_mount(mount.as_fd(), c"", CWD, c".", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// Each folder is opened, and called by the number of its descriptor in /proc/self/fd, the working directory meanwhile.
/// The descriptors are closed before anything of the container runs.
fn by_number(path: &CStr, overlay: &Overlay<'_>) -> Result<(), Errno> {
    let open = |folder: &CStr| openat(CWD, folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let mut held: [Option<OwnedFd>; FOLDERS] = [const { None }; FOLDERS];
    let mut places = held.iter_mut();
    let mut data = Text::new();
    let mut is_lower = false;
    for (key, value) in overlay.options {
        let key = key.to_bytes();
        let begins = match (is_lower, key) {
            (true, b"lowerdir+") => b":".as_slice(),
            (false, b"lowerdir+") => b",lowerdir=",
            (_, b"upperdir") => b",upperdir=",
            (_, b"workdir") => b",workdir=",
            _ => b",",
        };
        // Nothing comes before the first option.
        data.push(if data.length == 0 { begins.get(1..).unwrap_or_default() } else { begins })?;
        is_lower = key == b"lowerdir+";
        match value {
            Some(folder) if is_lower || key == b"upperdir" || key == b"workdir" => {
                let folder = open(folder)?;
                data.push_number(folder.as_raw_fd())?;
                *places.next().ok_or(Errno::TOOBIG)? = Some(folder);
            }
            Some(value) => [key, b"=", value.to_bytes()].into_iter().try_for_each(|part| data.push(part))?,
            None => data.push(key)?,
        }
    }
    let target = open(c".")?;
    let mut name = Text::new();
    name.push_number(target.as_raw_fd())?;
    chdir(c"/proc/self/fd")?;
    let flags = MountFlags::from_bits_retain(u32::try_from(overlay.flags).map_err(|_| Errno::INVAL)?);
    mount(c"overlay", name.as_c_str()?, c"overlay", flags, data.as_c_str()?)?;
    chdir(path)
}

/// A C string that grows up to a page.
struct Text {
    bytes: [u8; PAGE],
    length: usize,
}

impl Text {
    fn new() -> Self {
        Self { bytes: [0; PAGE], length: 0 }
    }

    /// Appends; `E2BIG` if a NUL would not fit behind it.
    fn push(&mut self, more: &[u8]) -> Result<(), Errno> {
        let end = self.length.checked_add(more.len()).filter(|end| *end < PAGE).ok_or(Errno::TOOBIG)?;
        self.bytes.get_mut(self.length..end).ok_or(Errno::TOOBIG)?.copy_from_slice(more);
        self.length = end;
        Ok(())
    }

    fn push_number(&mut self, number: i32) -> Result<(), Errno> {
        let mut digits = [b'0'; 10];
        let mut left = number.unsigned_abs();
        let mut count = 0_usize;
        for digit in digits.iter_mut().rev() {
            // A digit is below ten.
            *digit = b'0'.wrapping_add(left.wrapping_rem(10) as u8);
            left = left.wrapping_div(10);
            count = count.wrapping_add(1);
            if left == 0 {
                break;
            }
        }
        self.push(digits.get(digits.len().wrapping_sub(count)..).unwrap_or_default())
    }

    fn as_c_str(&self) -> Result<&CStr, Errno> {
        CStr::from_bytes_until_nul(&self.bytes).map_err(|_| Errno::TOOBIG)
    }
}
