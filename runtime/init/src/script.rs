// SPDX-License-Identifier: Apache-2.0
//! What init shall do, in full: borrowed data that the runtime prepares before the clone.
//!
//! Made in the runtime from a plan; read in init. All paths below the root are without a leading slash.

use crate::Step;
use core::ffi::CStr;
use kelp_sys::clone::{Argument, LateText, Namespaces};
use kelp_sys::mount::{Attributes, Propagation, Reach};
use kelp_sys::rustix::fd::BorrowedFd;

/// A container's life until its program runs.
#[derive(Debug)]
pub struct Script<'a> {
    /// The socket to the runtime.
    pub channel: BorrowedFd<'a>,
    /// Descriptors that the clone gave us and that are not ours, as ranges: see `born::let_go`.
    pub strays: &'a [(u32, u32)],
    /// Who we are before anything is mounted.
    pub birth: Birth<'a>,
    /// The root file system.
    pub root: Root<'a>,
    /// The spec's mounts, in order.
    pub mounts: &'a [Mount<'a>],
    /// Devices, in order.
    pub devices: &'a [Device<'a>],
    /// Symbolic links in /dev: what they say, and their name in /dev.
    pub device_links: &'a [(&'a CStr, &'a CStr)],
    /// Whether the runtime has something to do (hooks) between the mounts and the pivot.
    pub pause_when_furnished: bool,
    /// createContainer hooks: run before the pivot, so that their paths are the host's.
    pub container_hooks: &'a [Hook<'a>],
    /// A new terminal for the program.
    pub console: Option<Console>,
    /// Paths that become read-only.
    pub readonly_paths: &'a [&'a CStr],
    /// Paths that become empty.
    pub masked_paths: &'a [&'a CStr],
    /// Sysctls: the path below /proc/sys, and the value.
    pub sysctls: &'a [(&'a CStr, &'a CStr)],
    /// The program and its rights.
    pub process: Process<'a>,
    /// The listening socket on which `start` will knock; without it the program starts at once.
    pub gate: Option<BorrowedFd<'a>>,
    /// startContainer hooks: run in the container, right before the program.
    pub start_hooks: &'a [Hook<'a>],
    /// Tests: the step that shall fail.
    pub fail_at: Option<Step>,
}

/// Namespaces, ids, names: all that is set before the first mount.
#[derive(Debug)]
pub struct Birth<'a> {
    /// Namespaces given by path and what kind each must be, to be entered by a helper before the clone: in this order.
    pub joins: &'a [(BorrowedFd<'a>, Namespaces)],
    /// Namespaces that the new process has of its own.
    pub namespaces: Namespaces,
    /// How the ids of a new user namespace are mapped.
    pub maps: IdMaps<'a>,
    /// The text for `/proc/self/timens_offsets` of a new time namespace, which is then not among `namespaces`.
    pub time_offsets: Option<&'a CStr>,
    /// Whether to become uid and gid 0 of the user namespace, new or joined.
    pub become_root: bool,
    /// The text for `/proc/self/oom_score_adj`.
    pub oom_score_adj: Option<&'a CStr>,
    /// What becomes descriptors 0, 1, 2; `None` leaves the caller's.
    pub stdio: Option<[BorrowedFd<'a>; 3]>,
    /// The name of a new session keyring.
    pub keyring: Option<&'a CStr>,
    /// sethostname(2)
    pub hostname: Option<&'a CStr>,
    /// setdomainname(2)
    pub domainname: Option<&'a CStr>,
    /// Whether to bring `lo` up.
    pub loopback: bool,
}

/// Who writes `uid_map` and `gid_map`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdMaps<'a> {
    /// There is no new user namespace.
    None,
    /// Init itself: one line each, mapping the caller's own ids (user_namespaces(7)). Saves waiting for the parent.
    Own {
        /// The line of uid_map.
        uid: &'a CStr,
        /// The line of gid_map.
        gid: &'a CStr,
    },
    /// The runtime or newuidmap; init waits for the order.
    Runtime,
}

/// The root file system.
#[derive(Debug)]
pub struct Root<'a> {
    /// The folder, as the host names it.
    pub path: &'a CStr,
    /// A file system to mount there first (an overlay), else the folder itself is bound.
    pub overlay: Option<Overlay<'a>>,
    /// Whether the folder is made a mount. Not where the mounts are the host's: chroot(2) needs none.
    pub bound: bool,
    /// Propagation of the host's mounts into our namespace, and of the root mount.
    pub propagation: (Propagation, Reach),
    /// `root.readonly`
    pub readonly: bool,
    /// Use a move and chroot(2) instead of pivot_root(2).
    pub no_pivot: bool,
    /// With a move the host's mounts stay: where procfs and sysfs are, the last first.
    pub kernel_mounts: &'a [&'a CStr],
}

/// An overlay to mount as root.
#[derive(Debug)]
pub struct Overlay<'a> {
    /// All options in one string, for mount(2).
    pub data: &'a CStr,
    /// `MS_*`
    pub flags: u64,
    /// The same, one by one: key and value. Used where `data` is too long.
    pub options: &'a [(&'a CStr, Option<&'a CStr>)],
}

/// One mount.
#[derive(Clone, Copy, Debug)]
pub struct Mount<'a> {
    /// Where, below the root.
    pub target: &'a CStr,
    /// What.
    pub what: What<'a>,
    /// Attributes to set on a bind mount (a file system has them in its flags) and, second, on any mount and all below it.
    pub attributes: [Setting; 2],
    /// Propagations to set, in order.
    pub propagation: &'a [(Propagation, Reach)],
    /// It becomes read-only when all that belongs into it is there.
    pub read_only_at_last: bool,
}

/// A change of mount attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setting {
    /// Bits to set.
    pub set: Attributes,
    /// Bits to clear.
    pub clear: Attributes,
}

impl Setting {
    pub(crate) const fn is_empty(self) -> bool {
        self.set.is_empty() && self.clear.is_empty()
    }
}

/// What is mounted.
#[derive(Clone, Copy, Debug)]
pub enum What<'a> {
    /// A new file system, mount(2).
    FileSystem {
        /// The type, as in /proc/filesystems.
        kind: &'a CStr,
        /// The source, which most types ignore.
        source: &'a CStr,
        /// `MS_*`
        flags: u64,
        /// The type's own options.
        data: Option<&'a CStr>,
        /// What to bind instead, with which attributes, where the kernel refuses with `EPERM` or `EBUSY` (sysfs without a
        /// network namespace of our own, cgroup2 without a cgroup namespace).
        otherwise: Option<(&'a CStr, Setting)>,
    },
    /// A tmpfs that takes something over from the folder that it covers.
    Tmpfs {
        /// Its options, for fsconfig(2).
        options: &'a [(&'a CStr, Option<&'a CStr>)],
        /// What it takes over.
        inherits: Inherits,
    },
    /// A detached mount that the runtime has made. `None` never comes.
    Prepared {
        /// Its root.
        tree: Option<BorrowedFd<'a>>,
    },
    /// New options for what is mounted there.
    Remount {
        /// Those of the file system: `MS_*`, and the type's own; without it only the mount's attributes change.
        file_system: Option<(u64, Option<&'a CStr>)>,
    },
    /// A bind mount of something on the host.
    Bind {
        /// Its path on the host.
        source: &'a CStr,
        /// With `rbind`, what is mounted below it comes along.
        reach: Reach,
        /// The copy that the runtime has taken, for a source that the container's root may not reach.
        spare: Option<BorrowedFd<'a>>,
    },
}

/// What a new file system takes over from the folder that it covers, if that was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inherits {
    /// Nothing.
    Nothing,
    /// Its permissions, where `mode=` does not say others.
    Mode,
    /// Permissions, owner and contents: `tmpcopyup`.
    All,
}

/// One device.
#[derive(Debug)]
pub struct Device<'a> {
    /// Where, below the root.
    pub path: &'a CStr,
    /// How it comes there.
    pub how: DeviceHow<'a>,
}

/// How a device comes into the container.
#[derive(Debug)]
pub enum DeviceHow<'a> {
    /// mknod(2)
    Make {
        /// `S_IFCHR`, `S_IFBLK` or `S_IFIFO`.
        kind: kelp_sys::rustix::fs::FileType,
        /// Permissions.
        mode: u32,
        /// Major and minor number.
        device: (u32, u32),
        /// Owner and group, where not 0:0.
        owner: Option<(u32, u32)>,
    },
    /// A bind mount of the host's: in a user namespace no device can be made.
    Bind {
        /// The host's path.
        source: &'a CStr,
    },
}

/// A hook that init runs.
#[derive(Debug)]
pub struct Hook<'a> {
    /// The program.
    pub path: &'a CStr,
    /// Its arguments.
    pub argv: &'a [Argument<'a>],
    /// Its environment.
    pub envp: &'a [Argument<'a>],
    /// Seconds after which it is killed and has failed.
    pub timeout: Option<u32>,
}

/// A terminal for the program.
#[derive(Clone, Copy, Debug)]
pub struct Console {
    /// Rows and columns.
    pub size: Option<(u16, u16)>,
    /// Whether a newline stays what it is, for a runtime that prints the output itself: `ONLCR` cleared.
    pub plain_newlines: bool,
}

/// The program, and what it may do.
#[derive(Debug)]
pub struct Process<'a> {
    /// `process.cwd`
    pub cwd: &'a CStr,
    /// Where the program may be, in order: one path, or one for each folder of PATH.
    pub candidates: &'a [&'a CStr],
    /// Arguments.
    pub argv: &'a [Argument<'a>],
    /// Environment.
    pub envp: &'a [Argument<'a>],
    /// HOME among the environment, to be found out and filled in.
    pub home: Option<&'a LateText>,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups; `None` where the user namespace does not let us set any (setgroups "deny").
    pub groups: Option<&'a [kelp_sys::rustix::process::Gid]>,
    /// umask(2)
    pub umask: u32,
    /// Capability sets.
    pub capabilities: Capabilities,
    /// `PR_SET_NO_NEW_PRIVS`
    pub no_new_privileges: bool,
    /// `/proc/thread-self/attr/…`: the file below it and the text.
    pub labels: &'a [(&'a CStr, &'a CStr)],
    /// personality(2)
    pub personality: Option<u32>,
    /// set_mempolicy(2): mode, and nodes as words of bits.
    pub memory_policy: Option<(u32, &'a [usize])>,
    /// Whether the runtime will send a seccomp filter.
    pub seccomp: bool,
    /// Descriptors from this one on do not reach the program.
    pub first_closed_fd: u32,
}

/// The five sets of capabilities(7), one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Bounding set.
    pub bounding: u64,
    /// Effective set.
    pub effective: u64,
    /// Inheritable set.
    pub inheritable: u64,
    /// Permitted set.
    pub permitted: u64,
    /// Ambient set.
    pub ambient: u64,
}

/// The life of a process that joins a container which lives already.
#[derive(Debug)]
pub struct Join<'a> {
    /// The socket to the runtime.
    pub channel: BorrowedFd<'a>,
    /// Descriptors that the clone gave us and that are not ours, as ranges.
    pub strays: &'a [(u32, u32)],
    /// The container's init.
    pub init: BorrowedFd<'a>,
    /// Namespaces to enter: those in which the container differs from us.
    pub namespaces: Namespaces,
    /// The container's root, where entering its namespaces does not lead there: it has no mount namespace of its own.
    pub root: Option<&'a CStr>,
    /// Whether to become uid and gid 0 of the user namespace first.
    pub become_root: bool,
    /// The text for `/proc/self/oom_score_adj`.
    pub oom_score_adj: Option<&'a CStr>,
    /// What becomes descriptors 0, 1, 2.
    pub stdio: Option<[BorrowedFd<'a>; 3]>,
    /// The name of a new session keyring.
    pub keyring: Option<&'a CStr>,
    /// A new terminal.
    pub console: Option<Console>,
    /// The program and its rights.
    pub process: Process<'a>,
    /// Tests: the step that shall fail.
    pub fail_at: Option<Step>,
}
