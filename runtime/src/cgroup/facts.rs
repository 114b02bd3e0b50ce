// SPDX-License-Identifier: Apache-2.0
//! Looks at the host's cgroups, once per create, and touches nothing.
//!
//! For root two files are read (mountinfo, the top's controllers); an unprivileged user pays for a walk upwards from its
//! own cgroup to find what was delegated to it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use kelp_sys::rustix::fs::{self, Access, CWD, Mode, OFlags};
use kelp_sys::rustix::io::{self, Errno};

use super::mountinfo::{self, Mount};
use super::{Controllers, Error, kernel};

/// The kernel's CGROUP2_SUPER_MAGIC.
const CGROUP2_MAGIC: u64 = 0x6367_7270;

/// Where systemd and everybody after it mounts cgroup v2 on machines without v1. See file-hierarchy(7).
const UNIFIED: &str = "/sys/fs/cgroup";

/// What the plan needs to know of the host's cgroups.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The cgroup2 mount that we use; none on a machine without.
    pub mount: Option<Mount>,
    /// The mount's own directory, if we may make cgroups right there: we are root, or own the cgroup namespace.
    pub top: Option<Level>,
    /// Otherwise: the cgroups above our own in which we may, nearest first, and at last our own itself.
    pub delegated: Vec<Level>,
    /// Controllers that cgroup v1 holds on this machine.
    pub v1: Controllers,
}

/// A cgroup in which we may make others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// Its directory.
    pub dir: PathBuf,
    /// What it could give to its children.
    pub available: Controllers,
    /// What it gives to its children already.
    pub enabled: Controllers,
    /// Whether processes live right in it, so that it can enable no more (cgroup-v2.rst "No Internal Process
    /// Constraint"; the root of the whole hierarchy is exempt, and not asked).
    pub populated: bool,
}

impl Level {
    /// The controllers that a new child can get.
    #[must_use]
    pub fn can_give(&self) -> Controllers {
        if self.populated { self.enabled } else { self.available | self.enabled }
    }

    fn read(dir: &Path) -> Result<Self, Errno> {
        let at = open_directory(dir)?;
        Ok(Self {
            dir: dir.to_owned(),
            available: Controllers::parse(&read_file(&at, "cgroup.controllers")?),
            enabled: Controllers::parse(&read_file(&at, "cgroup.subtree_control")?),
            populated: has_processes(&at)?,
        })
    }
}

impl Facts {
    /// Looks.
    pub fn read() -> Result<Self, Error> {
        if let Some(facts) = Self::of_unified(Mount { at: UNIFIED.into(), root: "/".into() })? {
            return Ok(facts);
        }
        let mounts = mountinfo::parse_mountinfo(&read_proc("/proc/self/mountinfo")?);
        // Who is root in the one whole hierarchy does not care where its own cgroup is.
        if let [mount] = mounts.v2.as_slice()
            && let Some(top) = writable_top(mount)?
        {
            return Ok(Self { mount: Some(mount.clone()), top: Some(top), delegated: Vec::new(), v1: mounts.v1 });
        }
        let own = mountinfo::parse_own(&read_proc("/proc/self/cgroup")?);
        let candidates = mountinfo::by_preference(mounts.v2, own.as_deref());
        let Some(mount) = candidates.into_iter().find(is_on_top) else {
            return Ok(Self { v1: mounts.v1, ..Self::default() });
        };
        let top = writable_top(&mount)?;
        let own = own.and_then(|own| mount.directory_of(&own));
        let delegated = match (&top, own) {
            (None, Some(own)) => delegated(&mount.at, &own)?,
            _ => Vec::new(),
        };
        Ok(Self { mount: Some(mount), top, delegated, v1: mounts.v1 })
    }

    /// Where cgroup v2 is by convention, the list of mounts, which may be long, need not be searched.
    fn of_unified(mount: Mount) -> Result<Option<Self>, Error> {
        if !is_on_top(&mount) {
            return Ok(None);
        }
        if let Some(top) = writable_top(&mount)? {
            return Ok(Some(Self { mount: Some(mount), top: Some(top), ..Self::default() }));
        }
        let own = mountinfo::parse_own(&read_proc("/proc/self/cgroup")?).and_then(|own| mount.directory_of(&own));
        // A mount that shows another part of the hierarchy does not have it.
        let Some(own) = own.filter(|own| fs::access(own, Access::EXISTS).is_ok()) else { return Ok(None) };
        let delegated = delegated(&mount.at, &own)?;
        Ok(Some(Self { mount: Some(mount), delegated, ..Self::default() }))
    }
}

/// Whether what is seen at the mount point is this mount and not another one over it.
fn is_on_top(mount: &Mount) -> bool {
    fs::statfs(&mount.at).is_ok_and(|at| u64::try_from(at.f_type) == Ok(CGROUP2_MAGIC))
}

/// The mount's own directory, if it is really there and we may make cgroups in it.
fn writable_top(mount: &Mount) -> Result<Option<Level>, Error> {
    if !is_on_top(mount) || !may_delegate(&mount.at) {
        return Ok(None);
    }
    let doing = || format!("cannot look at the cgroup {}", mount.at.display());
    let at = open_directory(&mount.at).map_err(|errno| kernel(doing(), "open", errno))?;
    let list = |file| {
        let bytes = read_file(&at, file).map_err(|errno| kernel(doing(), format!("read {file}"), errno))?;
        Ok(Controllers::parse(&bytes))
    };
    let (available, enabled) = (list("cgroup.controllers")?, list("cgroup.subtree_control")?);
    Ok(Some(Level { dir: mount.at.clone(), available, enabled, populated: false }))
}

/// The cgroups that were delegated to us: those above `own`, up to the first that was not, then `own`.
///
/// `own` comes last because it holds at least us: its children can have no controllers, and what a terminal or a login
/// takes along when it ends lives there.
fn delegated(top: &Path, own: &Path) -> Result<Vec<Level>, Error> {
    let above = own.ancestors().skip(1).take_while(|dir| dir.starts_with(top)).take_while(|dir| may_delegate(dir));
    let own = std::iter::once(own).filter(|dir| may_delegate(dir));
    let mut levels = Vec::new();
    for dir in above.chain(own) {
        match Level::read(dir) {
            Ok(level) => levels.push(level),
            // A cgroup above ours cannot vanish, but one that we may write and not read is of no use to us.
            Err(Errno::ACCESS) => {}
            Err(errno) => {
                return Err(kernel(format!("cannot look at the cgroup {}", dir.display()), "read", errno));
            }
        }
    }
    Ok(levels)
}

/// Whether we may make a cgroup in `dir`, give it controllers, and clone into it.
///
/// CLONE_INTO_CGROUP needs `cgroup.procs` of the nearest common ancestor to be writable (cgroups(7), "Delegation
/// containment"): where the parent of the new cgroup is above our own or is our own, that is this one.
fn may_delegate(dir: &Path) -> bool {
    [dir, &dir.join("cgroup.procs"), &dir.join("cgroup.subtree_control")]
        .into_iter()
        .all(|path| fs::access(path, Access::WRITE_OK).is_ok())
}

/// Opens a directory of cgroupfs for naming files in it.
pub(super) fn open_directory(dir: &Path) -> Result<OwnedFd, Errno> {
    fs::openat(CWD, dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// The bytes of one of the small files of cgroupfs.
pub(super) fn read_file(dir: impl AsFd, file: &str) -> Result<Vec<u8>, Errno> {
    read_to_end(fs::openat(dir, file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?, 1024)
}

/// Whether processes live in the cgroup itself. A threaded one refuses to say, and is as unusable as a populated one.
fn has_processes(dir: impl AsFd) -> Result<bool, Errno> {
    let procs = fs::openat(dir, "cgroup.procs", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    match io::read(&procs, &mut [0; 16]) {
        Ok(length) => Ok(length > 0),
        Err(Errno::OPNOTSUPP) => Ok(true),
        Err(errno) => Err(errno),
    }
}

/// Reads a file of /proc whose size nobody knows: as few reads as possible.
fn read_proc(path: &str) -> Result<Vec<u8>, Error> {
    fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .and_then(|file| read_to_end(file, 16 * 1024))
        .map_err(|errno| kernel("cannot look at the host's cgroups", format!("read {path}"), errno))
}

/// Reads `file` to its end, `chunk` bytes at a time.
fn read_to_end(file: OwnedFd, chunk: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; chunk];
    let mut length = 0;
    loop {
        if bytes.len() == length {
            bytes.resize(length * 2, 0);
        }
        match io::read(&file, &mut bytes[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}
