// SPDX-License-Identifier: Apache-2.0
//! Cuts our mounts off from the host's, mounts the root file system and makes it the root.
//!
//! Runs in init, around the id maps: cutting off takes none. Must not allocate.
//! Spec: config.md "Root", config-linux.md "Rootfs Mount Propagation". Kernel: mount_namespaces(7), pivot_root(2).

use crate::born::Mapped;
use crate::channel::fail_here;
use crate::script::Script;
use crate::step::{During, Step, Stop};
use core::ffi::CStr;
use kelp_sys::clone::Namespaces;
use kelp_sys::mount::{
    Attributes, Change, Propagation, Reach, attach_mount, clone_mount, here, set_attributes, set_propagation,
};
use kelp_sys::rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use kelp_sys::rustix::fs::{CWD, Mode, OFlags, openat};
use kelp_sys::rustix::io::Errno;
use kelp_sys::rustix::mount::{MountFlags, UnmountFlags, mount as fs_mount, unmount};
use kelp_sys::rustix::process::{chdir, fchdir};

/// What we mount stays with us.
pub(crate) struct Private(());
/// The container's root is our root.
pub(crate) struct Rooted(());

/// The root file system, mounted and open, before it is the root.
pub(crate) struct Rootfs(OwnedFd);

impl AsFd for Rootfs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// `mount(NULL, "/", NULL, MS_SLAVE or MS_PRIVATE | MS_REC, NULL)`: never anything that would let ours reach the host; a shared
/// root is made so after the pivot.
pub(crate) fn cut_off(script: &Script<'_>) -> Result<Private, Stop> {
    script.begin(Step::Private)?;
    if !has_own_mounts(script) {
        return Ok(Private(()));
    }
    let propagation = match script.root.propagation.0 {
        Propagation::Private | Propagation::Unbindable => Propagation::Private,
        Propagation::Slave | Propagation::Shared => Propagation::Slave,
    };
    set_propagation(c"/", propagation, Reach::Tree).during(Step::Private)?;
    Ok(Private(()))
}

fn has_own_mounts(script: &Script<'_>) -> bool {
    script.birth.namespaces.has(Namespaces::MOUNT)
}

/// Mounts the overlay, or binds the folder onto itself: pivot_root wants a mount.
pub(crate) fn mount(script: &Script<'_>, _: &Private, _: Mapped) -> Result<Rootfs, Stop> {
    script.begin(Step::MountRoot)?;
    let path = script.root.path;
    match &script.root.overlay {
        Some(overlay) => crate::overlay::mount_over(path, overlay).during(Step::MountRoot)?,
        None if script.root.bound => bind(path).during(Step::MountRoot)?,
        None => {}
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty()).map(Rootfs).during(Step::MountRoot)
}

fn bind(path: &CStr) -> Result<(), Errno> {
    let folder = openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let copy = clone_mount(folder.as_fd(), c"", Reach::Tree)?;
    attach_mount(copy.as_fd(), folder.as_fd())
}

/// pivot_root(2), or with `--no-pivot` a move and chroot(2).
pub(crate) fn pivot(script: &Script<'_>, _: Private, rootfs: Rootfs) -> Result<Rooted, Stop> {
    script.begin(Step::Pivot)?;
    if script.root.no_pivot && has_own_mounts(script) {
        script.root.kernel_mounts.iter().try_for_each(|path| take_away(path)).during(Step::Pivot)?;
    }
    fchdir(&rootfs).during(Step::Pivot)?;
    drop(rootfs);
    if script.root.no_pivot {
        kelp_sys::mount::move_here_to_root().during(Step::Pivot)?;
    } else if has_own_mounts(script) {
        kelp_sys::mount::pivot_here().during(Step::Pivot)?;
    } else {
        kelp_sys::rustix::process::chroot(c".").during(Step::Pivot)?;
    }
    chdir(c"/").during(Step::Pivot)?;
    script.begin(Step::RootPropagation)?;
    let (propagation, reach) = script.root.propagation;
    if has_own_mounts(script) && matches!(propagation, Propagation::Shared | Propagation::Unbindable) {
        set_propagation(c"/", propagation, reach).during(Step::RootPropagation)?;
    }
    Ok(Rooted(()))
}

/// Unmounts what a move would leave beside the container's root, or covers it where it is locked. As long as a whole /proc or
/// /sys is mounted anywhere in our namespace, the kernel lets a nested user namespace mount another one, without masks: see
/// `mount_too_revealing` in fs/namespace.c. pivot_root takes the old root away, and these with it.
fn take_away(path: &CStr) -> Result<(), Errno> {
    match unmount(path, UnmountFlags::DETACH) {
        Err(Errno::INVAL | Errno::PERM | Errno::BUSY) => {
            fs_mount(c"tmpfs", path, c"tmpfs", MountFlags::RDONLY, Some(c"nr_inodes=1"))
        }
        // It was below another one.
        Err(Errno::NOENT | Errno::ACCESS) => Ok(()),
        result => result,
    }
}

/// For a process that joins: the root of a container that got there by chroot(2), too. setns(2) leads to the root of a mount
/// namespace; without one it leaves us in the host's.
pub(crate) fn follow(fail_at: Option<Step>, root: Option<&CStr>) -> Result<(), Stop> {
    let Some(root) = root else { return Ok(()) };
    fail_here(fail_at, Step::Pivot)?;
    chdir(root).during(Step::Pivot)?;
    kelp_sys::rustix::process::chroot(c".").during(Step::Pivot)
}

/// `root.readonly`: the root mount alone, after everything that had to be made in it.
pub(crate) fn make_readonly(script: &Script<'_>) -> Result<(), Stop> {
    if !script.root.readonly {
        return Ok(());
    }
    script.begin(Step::ReadonlyRoot)?;
    let change = Change { set: Attributes::READ_ONLY, ..Change::default() };
    set_attributes(here(), c"/", Reach::Mount, &change).during(Step::ReadonlyRoot)
}
