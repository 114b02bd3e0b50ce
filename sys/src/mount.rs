// SPDX-License-Identifier: Apache-2.0
//! Mounts: what rustix has not, and the few forms that Kelp uses.

use core::ffi::CStr;
use rustix::fd::{AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

/// Attributes of one mount (not of its file system): `MOUNT_ATTR_*` of mount_setattr(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes(pub u64);

impl Attributes {
    /// `MOUNT_ATTR_RDONLY`
    pub const READ_ONLY: Self = Self(0x1);
    /// `MOUNT_ATTR_NOSUID`
    pub const NO_SUID: Self = Self(0x2);
    /// `MOUNT_ATTR_NODEV`
    pub const NO_DEV: Self = Self(0x4);
    /// `MOUNT_ATTR_NOEXEC`
    pub const NO_EXEC: Self = Self(0x8);
    /// `MOUNT_ATTR__ATIME`: the bits of the access time modes, which are one field, not flags.
    pub const ATIME_MASK: Self = Self(0x70);
    /// `MOUNT_ATTR_RELATIME`: the field at zero.
    pub const RELATIME: Self = Self(0);
    /// `MOUNT_ATTR_NOATIME`
    pub const NO_ATIME: Self = Self(0x10);
    /// `MOUNT_ATTR_STRICTATIME`
    pub const STRICT_ATIME: Self = Self(0x20);
    /// `MOUNT_ATTR_NODIRATIME`
    pub const NO_DIR_ATIME: Self = Self(0x80);
    /// `MOUNT_ATTR_IDMAP`, since Linux 5.12
    pub const IDMAP: Self = Self(0x10_0000);
    /// `MOUNT_ATTR_NOSYMFOLLOW`, since Linux 5.14
    pub const NO_SYMLINK_FOLLOW: Self = Self(0x20_0000);

    /// Both sets.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether any bit of `other` is set.
    #[must_use]
    pub const fn any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether no bit is set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// How mounts and unmounts travel between this mount and its peers: mount_namespaces(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// `MS_SHARED`
    Shared,
    /// `MS_SLAVE`
    Slave,
    /// `MS_PRIVATE`
    Private,
    /// `MS_UNBINDABLE`
    Unbindable,
}

/// Whether an operation covers the mount alone or all mounts below it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The one mount.
    Mount,
    /// The mount and all below it (`AT_RECURSIVE`, `MS_REC`).
    Tree,
}

#[repr(C)]
#[derive(Default)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns: u64,
}

/// What mount_setattr(2) shall change.
#[derive(Clone, Copy, Debug, Default)]
pub struct Change<'fd> {
    /// Attributes to set.
    pub set: Attributes,
    /// Attributes to clear.
    pub clear: Attributes,
    /// The new propagation, if any.
    pub propagation: Option<Propagation>,
    /// With [`Attributes::IDMAP`] in `set`: the user namespace whose maps the mount shall have.
    pub user_namespace: Option<BorrowedFd<'fd>>,
}

/// `mount_setattr(dir, path, AT_EMPTY_PATH [| AT_RECURSIVE], attr, size)`. Since Linux 5.12. See mount_setattr(2).
///
/// An access time mode in `set` replaces the one before: the field is cleared as the kernel demands.
pub fn set_attributes(dir: BorrowedFd<'_>, path: &CStr, reach: Reach, change: &Change<'_>) -> Result<(), Errno> {
    const AT_RECURSIVE: usize = 0x8000;
    let mut attr = MountAttr { set: change.set.0, clear: change.clear.0, ..MountAttr::default() };
    if change.set.any(Attributes::ATIME_MASK) {
        attr.clear |= Attributes::ATIME_MASK.0;
    }
    attr.propagation = change.propagation.map_or(0, |p| flag_of(p) as u64);
    attr.userns = change.user_namespace.map_or(0, |fd| fd.as_raw_fd() as u64);
    let flags = libc::AT_EMPTY_PATH as usize | if reach == Reach::Tree { AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a C string, `attr` is a mount_attr of the size given; both outlive the call.
    unsafe {
        crate::raw::call(
            libc::SYS_mount_setattr,
            [
                dir.as_raw_fd() as usize,
                path.as_ptr() as usize,
                flags,
                core::ptr::from_ref(&attr) as usize,
                size_of::<MountAttr>(),
            ],
        )
    }
    .map(drop)
}

fn flag_of(propagation: Propagation) -> libc::c_ulong {
    match propagation {
        Propagation::Shared => libc::MS_SHARED,
        Propagation::Slave => libc::MS_SLAVE,
        Propagation::Private => libc::MS_PRIVATE,
        Propagation::Unbindable => libc::MS_UNBINDABLE,
    }
}

/// `mount(NULL, path, NULL, propagation [| MS_REC], NULL)`. See mount(2).
pub fn set_propagation(path: &CStr, propagation: Propagation, reach: Reach) -> Result<(), Errno> {
    let flags = flag_of(propagation) | if reach == Reach::Tree { libc::MS_REC } else { 0 };
    mount_raw(None, path, None, flags, None)
}

/// A detached copy of the mount at `path` below `dir` (empty: of `dir` itself):
/// `open_tree(dir, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH [| AT_RECURSIVE])`. It is in no mount
/// namespace until it is moved. Since Linux 5.2. See open_tree(2).
pub fn clone_mount(dir: BorrowedFd<'_>, path: &CStr, reach: Reach) -> Result<OwnedFd, Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if reach == Reach::Tree {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    open_tree(dir, path, flags)
}

/// Puts the detached mount `tree` onto the open file or directory `target`:
/// `move_mount(tree, "", target, "", F_EMPTY_PATH | T_EMPTY_PATH)`. Since Linux 5.2. See move_mount(2).
pub fn attach_mount(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(tree, c"", target, c"", flags)
}

/// `mount(source, ".", type, flags, data)`: a new mount of a file system onto the current directory, which the caller
/// has entered by a descriptor it trusts. `flags` are `MS_*`. See mount(2).
pub fn mount_here(source: &CStr, kind: &CStr, flags: u64, data: Option<&CStr>) -> Result<(), Errno> {
    mount_raw(Some(source), c".", Some(kind), flags as libc::c_ulong, data)
}

fn mount_raw(
    source: Option<&CStr>,
    target: &CStr,
    kind: Option<&CStr>,
    flags: libc::c_ulong,
    data: Option<&CStr>,
) -> Result<(), Errno> {
    let pointer = |text: Option<&CStr>| text.map_or(0, |text| text.as_ptr() as usize);
    // SAFETY: every pointer is null or a C string that outlives the call; file systems read `data` as a C string of at
    // most a page.
    unsafe {
        crate::raw::call(
            libc::SYS_mount,
            [pointer(source), target.as_ptr() as usize, pointer(kind), flags as usize, pointer(data)],
        )
    }
    .map(drop)
}

/// `pivot_root(".", ".")`, then `umount2(".", MNT_DETACH)`: the current directory becomes the root, and the old root, which
/// lies above it for an instant, goes. See pivot_root(2), section "pivot_root(".", ".")".
pub fn pivot_here() -> Result<(), Errno> {
    rustix::process::pivot_root(c".", c".")?;
    rustix::mount::unmount(c".", rustix::mount::UnmountFlags::DETACH)
}

/// `mount(".", "/", NULL, MS_MOVE, NULL)`, then `chroot(".")`: for roots that pivot_root refuses (an initial ramdisk).
pub fn move_here_to_root() -> Result<(), Errno> {
    mount_raw(Some(c"."), c"/", None, libc::MS_MOVE, None)?;
    rustix::process::chroot(c".")
}

/// The directory against which relative paths are resolved, for calls that take one.
#[must_use]
pub fn here() -> BorrowedFd<'static> {
    CWD
}
