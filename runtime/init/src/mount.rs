// SPDX-License-Identifier: Apache-2.0
//! Performs the mounts of the spec, in order, below the new root.
//!
//! Runs in init, after the root is mounted, before the pivot: sources are the host's paths, targets are only ever reached by
//! descriptors below the root (CVE-2021-30465, CVE-2019-19921).
//! Spec: config.md "Mounts". Kernel: mount(2), open_tree(2), mount_setattr(2).

use crate::copy_up;
use crate::root::Rootfs;
use crate::script::{Inherits, Mount, Script, Setting, What};
use crate::step::{During, Step, Stop};
use crate::target::{self, Kind};
use core::ffi::CStr;
use kelp_sys::mount::{
    Attributes, Change, Propagation, Reach, attach_mount, clone_mount, here, mount_here, set_attributes,
};
use kelp_sys::rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use kelp_sys::rustix::fs::{CWD, Mode, OFlags, openat};
use kelp_sys::rustix::io::Errno;
use kelp_sys::rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
};
use kelp_sys::rustix::process::fchdir;

/// All of them.
pub(crate) fn perform_all(script: &Script<'_>, rootfs: &Rootfs) -> Result<(), Stop> {
    for (index, mount) in script.mounts.iter().enumerate() {
        script.begin(Step::Mount)?;
        match mount.what {
            What::FileSystem { .. } => file_system(script, rootfs, index, mount)?,
            What::Tmpfs { options, inherits } => tmpfs(script, rootfs, index, mount, options, inherits)?,
            What::Bind { source, reach, spare } => bind(script, rootfs, index, mount, (source, reach, spare))?,
            What::Prepared { tree } => {
                let tree = tree.ok_or(Errno::BADF).during_nth(Step::Mount, index)?;
                put(script, rootfs, index, mount, tree)?;
            }
            What::Remount { file_system } => remount(script, rootfs, index, mount, file_system)?,
        }
    }
    Ok(())
}

/// A new file system: entered by descriptor, mounted onto the directory we then stand in.
fn file_system(script: &Script<'_>, rootfs: &Rootfs, index: usize, mount: &Mount<'_>) -> Result<(), Stop> {
    let What::FileSystem { kind, source, flags, data, otherwise } = mount.what else { return Ok(()) };
    script.begin(Step::MountTarget)?;
    let below = place(rootfs, mount, Kind::Directory).during_nth(Step::MountTarget, index)?;
    fchdir(&below).during_nth(Step::MountTarget, index)?;
    match (mount_here(source, kind, flags, data), otherwise) {
        (Err(Errno::PERM | Errno::BUSY), Some((other, setting))) => {
            let stand_in = Mount { attributes: [Setting::default(), setting], ..*mount };
            return bind(script, rootfs, index, &stand_in, (other, Reach::Tree, None));
        }
        (result, _) => result.during_nth(Step::Mount, index)?,
    }
    let [_, tree] = mount.attributes;
    if tree.is_empty() && mount.propagation.is_empty() {
        return Ok(());
    }
    // What we stand in is what lies below the new mount: look again to find its root.
    let top = target::open(rootfs.as_fd(), mount.target, OFlags::PATH).during_nth(Step::MountTarget, index)?;
    let rest = Mount { attributes: [Setting::default(), tree], ..*mount };
    adjust(script, index, &rest, top.as_fd())
}

/// Where it goes. What the kernel shows of itself goes to ordinary directories only: through a link of the image, masked and
/// read-only paths could come to protect another place than the one where its files are (CVE-2019-19921, CVE-2023-27561).
fn place(rootfs: &Rootfs, mount: &Mount<'_>, kind: Kind) -> Result<OwnedFd, Errno> {
    let shows_the_kernel = match mount.what {
        What::FileSystem { kind, .. } => kind == c"proc" || kind == c"sysfs",
        What::Tmpfs { .. } | What::Remount { .. } => false,
        What::Bind { .. } | What::Prepared { .. } => mount.target == c"proc" || mount.target == c"sys",
    };
    if shows_the_kernel && kind == Kind::Directory {
        return target::find_or_make_plain(rootfs.as_fd(), mount.target);
    }
    target::find_or_make(rootfs.as_fd(), mount.target, kind)
}

/// A tmpfs is filled while it is detached: whoever may change what is around its place cannot have us write anywhere else.
fn tmpfs(
    script: &Script<'_>,
    rootfs: &Rootfs,
    index: usize,
    mount: &Mount<'_>,
    options: &[(&CStr, Option<&CStr>)],
    inherits: Inherits,
) -> Result<(), Stop> {
    script.begin(Step::MountTarget)?;
    let found = target::open(rootfs.as_fd(), mount.target, OFlags::PATH);
    let below = place(rootfs, mount, Kind::Directory).during_nth(Step::MountTarget, index)?;
    let tree = new_tmpfs(options).during_nth(Step::Mount, index)?;
    // A folder that we have just made has nothing to take over.
    if found.is_ok() {
        script.begin(Step::CopyUp)?;
        copy_up::take_over(below.as_fd(), tree.as_fd(), inherits).during_nth(Step::CopyUp, index)?;
    }
    adjust(script, index, mount, tree.as_fd())?;
    attach_mount(tree.as_fd(), below.as_fd()).during_nth(Step::Mount, index)
}

/// `fsopen("tmpfs")`, `fsconfig` of each option, `fsmount`. Since Linux 5.2. See fsopen(2).
fn new_tmpfs(options: &[(&CStr, Option<&CStr>)]) -> Result<OwnedFd, Errno> {
    let context = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        match value {
            Some(value) => fsconfig_set_string(context.as_fd(), *key, *value)?,
            None => fsconfig_set_flag(context.as_fd(), *key)?,
        }
    }
    fsconfig_create(context.as_fd())?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}

/// A bind mount: a detached copy gets its attributes before anybody can see it, then it is put in place. Our own copy if we
/// may take one: its attributes are locked, as those of a mount from outside shall be (mount_namespaces(7)).
fn bind(
    script: &Script<'_>,
    rootfs: &Rootfs,
    index: usize,
    mount: &Mount<'_>,
    (source, reach, spare): (&CStr, Reach, Option<BorrowedFd<'_>>),
) -> Result<(), Stop> {
    match (clone_mount(here(), source, reach), spare) {
        (Err(Errno::ACCESS), Some(spare)) => put(script, rootfs, index, mount, spare),
        (copy, _) => put(script, rootfs, index, mount, copy.during_nth(Step::Mount, index)?.as_fd()),
    }
}

/// Puts a detached mount in place.
fn put(
    script: &Script<'_>,
    rootfs: &Rootfs,
    index: usize,
    mount: &Mount<'_>,
    tree: BorrowedFd<'_>,
) -> Result<(), Stop> {
    adjust(script, index, mount, tree)?;
    script.begin(Step::MountTarget)?;
    let kind = target::kind_of(tree).during_nth(Step::Mount, index)?;
    let place = place(rootfs, mount, kind).during_nth(Step::MountTarget, index)?;
    attach_mount(tree, place.as_fd()).during_nth(Step::Mount, index)
}

/// `mount(…, MS_REMOUNT, …)` of the file system, or new attributes for the mount alone.
fn remount(
    script: &Script<'_>,
    rootfs: &Rootfs,
    index: usize,
    mount: &Mount<'_>,
    file_system: Option<(u64, Option<&CStr>)>,
) -> Result<(), Stop> {
    const MS_REMOUNT: u64 = 0x20;
    let top = target::open(rootfs.as_fd(), mount.target, OFlags::PATH).during_nth(Step::MountTarget, index)?;
    if let Some((flags, data)) = file_system {
        fchdir(&top).during_nth(Step::MountTarget, index)?;
        mount_here(c"none", c"none", flags | MS_REMOUNT, data).during_nth(Step::Mount, index)?;
    }
    adjust(script, index, mount, top.as_fd())
}

/// What had to be writable until all was in it. Runs after the pivot: targets are the container's.
pub(crate) fn make_read_only(script: &Script<'_>) -> Result<(), Stop> {
    for (index, mount) in script.mounts.iter().enumerate().filter(|(_, mount)| mount.read_only_at_last) {
        script.begin(Step::MountAttributes)?;
        let root = openat(CWD, c"/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let top = root.and_then(|root| target::open(root.as_fd(), mount.target, OFlags::PATH));
        let setting = Setting { set: Attributes::READ_ONLY, clear: Attributes::default() };
        top.and_then(|top| change(top.as_fd(), setting, Reach::Mount)).during_nth(Step::MountAttributes, index)?;
    }
    Ok(())
}

/// Attributes and propagation of the mount at `root`: first those of the mount alone, then those of the tree.
fn adjust(script: &Script<'_>, index: usize, mount: &Mount<'_>, root: BorrowedFd<'_>) -> Result<(), Stop> {
    script.begin(Step::MountAttributes)?;
    let [alone, tree] = mount.attributes;
    change(root, alone, Reach::Mount).during_nth(Step::MountAttributes, index)?;
    change(root, tree, Reach::Tree).during_nth(Step::MountAttributes, index)?;
    for &(propagation, reach) in mount.propagation {
        propagate(root, propagation, reach).during_nth(Step::MountAttributes, index)?;
    }
    Ok(())
}

fn change(root: BorrowedFd<'_>, setting: Setting, reach: Reach) -> Result<(), Errno> {
    if setting.is_empty() {
        return Ok(());
    }
    let change = Change { set: setting.set, clear: setting.clear, ..Change::default() };
    match set_attributes(root, c"", reach, &change) {
        // Another user namespace has set what was to be cleared, and locked it: it stays, and the mount is stricter than was
        // asked for (mount_namespaces(7), "Restrictions on mount namespaces").
        Err(Errno::PERM) if !setting.clear.is_empty() => {
            let stricter = Change { set: setting.set, ..Change::default() };
            if setting.set.is_empty() { Ok(()) } else { set_attributes(root, c"", reach, &stricter) }
        }
        result => result,
    }
}

fn propagate(root: BorrowedFd<'_>, propagation: Propagation, reach: Reach) -> Result<(), Errno> {
    let change = Change { propagation: Some(propagation), ..Change::default() };
    set_attributes(root, c"", reach, &change)
}

/// A read-only copy of the mount at `path` below `root`, in place of what is there.
pub(crate) fn cover_read_only(place: &OwnedFd) -> Result<(), Errno> {
    let copy = clone_mount(place.as_fd(), c"", Reach::Tree)?;
    let change = Change { set: kelp_sys::mount::Attributes::READ_ONLY, ..Change::default() };
    set_attributes(copy.as_fd(), c"", Reach::Tree, &change)?;
    attach_mount(copy.as_fd(), place.as_fd())
}
