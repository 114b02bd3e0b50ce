// SPDX-License-Identifier: Apache-2.0
//! Bind mounts of which the runtime takes the copy: those whose ids are mapped, and those of its own descriptors.
//!
//! Runs in the runtime, before the clone: only who has CAP_SYS_ADMIN over a file system may map the ids of its mounts, and
//! init in a user namespace has not. Init puts the detached copies in place.
//! Spec: config.md "Mounts", `uidMappings`, `idmap`, `ridmap`. Kernel: mount_setattr(2), "ID-mapped mounts".

use crate::error::{Doing, Error, Kind, Result};
use crate::plan::path_text;
use crate::plan::{Ids, MapLine, MountPlan, Spare, WhatPlan, map_text};
use kelp_sys::clone::{Clone, Cloned, Namespaces, Parent, clone3};
use kelp_sys::mount::{Attributes, Change, Reach, clone_mount, here, set_attributes};
use kelp_sys::rustix::fd::{AsFd, OwnedFd};
use kelp_sys::rustix::fs::{CWD, Mode, OFlags, openat};
use kelp_sys::rustix::io::Errno;
use std::ffi::{CStr, CString};

/// For each mount the copy, if it is ours to take.
///
/// # Errors
/// The source is not there; the file system knows no mapped ids; we may not.
pub(crate) fn trees(mounts: &[MountPlan]) -> Result<Vec<Option<OwnedFd>>> {
    let mut namespaces = Vec::new();
    mounts
        .iter()
        .map(|mount| match &mount.what {
            WhatPlan::Prepared { source, reach, ids } => {
                let tree = clone_mount(here(), source, *reach).map_err(|errno| refused(mount, source, errno))?;
                if let Some((ids, reach)) = ids {
                    map(&tree, ids, *reach, &mut namespaces, mount, source)?;
                }
                Ok(Some(tree))
            }
            // If we may not either, init says why.
            WhatPlan::Bind { source, reach, spare: Spare::Taken } => Ok(clone_mount(here(), source, *reach).ok()),
            _ => Ok(None),
        })
        .collect()
}

fn map<'a>(
    tree: &OwnedFd,
    ids: &'a Ids,
    reach: Reach,
    namespaces: &mut Vec<(&'a Ids, OwnedFd)>,
    mount: &MountPlan,
    source: &CStr,
) -> Result<()> {
    let known = namespaces.iter().position(|(known, _)| *known == ids);
    let at = match known {
        Some(at) => at,
        None => {
            namespaces.push((ids, namespace(ids)?));
            namespaces.len() - 1
        }
    };
    let user_namespace = namespaces.get(at).map(|(_, namespace)| namespace.as_fd());
    let change = Change { set: Attributes::IDMAP, user_namespace, ..Change::default() };
    set_attributes(tree.as_fd(), c"", reach, &change).map_err(|errno| refused(mount, source, errno))
}

fn refused(mount: &MountPlan, source: &CStr, errno: Errno) -> Error {
    let (source, target) = (source.to_string_lossy(), mount.target.to_string_lossy());
    let mapped = matches!(&mount.what, WhatPlan::Prepared { ids: Some(_), .. });
    let doing = if mapped { "mount with mapped ids" } else { "bind" };
    let error = Error::new(format!("cannot {doing} {source} at /{target}")).because(std::io::Error::from(errno));
    match errno {
        Errno::NOENT => error.hint("the source does not exist on the host"),
        Errno::INVAL if mapped => {
            error.hint("the file system of the source knows no mapped ids, or its ids are mapped already")
        }
        Errno::PERM => {
            error.hint("only root of the host may map the ids of its file systems").of_kind(Kind::Permission)
        }
        _ => error,
    }
}

/// Where procfs and sysfs are mounted, the last first: what `--no-pivot` must take away.
///
/// # Errors
/// Where /proc cannot be read.
pub(crate) fn kernel_mounts() -> Result<Vec<CString>> {
    let doing = || "cannot find the host's mounts".to_owned();
    let text = std::fs::read("/proc/self/mountinfo").doing(doing)?;
    let shows_the_kernel = |line: &&[u8]| {
        [b" - proc ".as_slice(), b" - sysfs "].iter().any(|kind| line.windows(kind.len()).any(|part| part == *kind))
    };
    let lines = text.split(|&byte| byte == b'\n').rev().filter(shows_the_kernel);
    let places = lines.filter_map(|line| line.split(|&byte| byte == b' ').nth(4));
    places.map(|place| path_text(&crate::cgroup::unescape(place))).collect()
}

/// A user namespace with these ids. Nobody needs to be in it: a process that makes it ends at once.
fn namespace(ids: &Ids) -> Result<OwnedFd> {
    let doing = || "cannot make a user namespace for the ids of a mount".to_owned();
    let (uid, gid) = match ids {
        Ids::Namespace(path) => return open(path).doing(|| format!("cannot open {}", path.to_string_lossy())),
        Ids::Maps { uid, gid } => (uid, gid),
    };
    let request = Clone { namespaces: Namespaces::USER, cgroup: None, parent: Parent::Caller };
    match clone3(&request).doing(doing)? {
        Cloned::Child => wait_to_be_killed(),
        Cloned::Parent { pid, pidfd } => {
            let made = write_maps(pid, uid, gid).and_then(|()| {
                let path = std::ffi::CString::new(format!("/proc/{pid}/ns/user")).map_err(|_| Errno::INVAL);
                path.and_then(|path| open(&path)).doing(doing)
            });
            crate::process::signal(pidfd.as_fd(), 9)?;
            crate::process::reap(&pidfd)?;
            made
        }
    }
}

fn open(path: &CStr) -> std::result::Result<OwnedFd, Errno> {
    openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// Runs in the clone: no allocation, no lock, no return.
fn wait_to_be_killed() -> ! {
    let tied = kelp_sys::process::set_parent_death_signal(9);
    while tied.is_ok() && kelp_sys::rustix::event::poll(&mut [], None).is_err() {}
    kelp_sys::clone::exit(0)
}

fn write_maps(pid: i32, uid: &[MapLine], gid: &[MapLine]) -> Result<()> {
    for (file, lines) in [("uid_map", uid), ("gid_map", gid)] {
        let path = format!("/proc/{pid}/{file}");
        std::fs::write(&path, map_text(lines)).doing(|| format!("cannot write {path}"))?;
    }
    Ok(())
}
