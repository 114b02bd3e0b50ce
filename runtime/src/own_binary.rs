// SPDX-License-Identifier: Apache-2.0
//! Keeps our own program out of the reach of containers (CVE-2019-5736).
//!
//! A container can make us execute `/proc/self/exe`, that is: ourselves, inside; then open what we are, wait until nothing
//! executes it, and write it. So what clones init is not the installed file but something that nobody can write, which
//! `create`, `run` and `exec` execute first:
//!
//! - Who may mount executes the file through a read-only mount of its own, which is in no mount namespace and whose last
//!   descriptor the exec closes: nobody can make it writable again, or copy it (both want a mount that is somewhere).
//! - Who may not, gets such a mount from a process that may, in a user namespace of its own, and is gone at once.
//! - Where that is forbidden: a copy in memory, sealed.
//!
//! Not needed for an ordinary user whose program belongs to root: he never has root's id inside. For root all of it has
//! happened before libc started, where the program is linked so: see `kelp_sys::entry`.
//! Kernel: open_tree(2), mount_setattr(2), memfd_create(2), fcntl(2) "File Sealing", execveat(2).

use crate::error::{Doing, Error, Result};
use crate::script::vector;
use crate::trace::{self, Phase};
use kelp_sys::clone::{Clone, Cloned, Namespaces, Parent, clone3, execve_file, exit};
use kelp_sys::mount::{Attributes, Change, Reach, clone_mount, here, set_attributes};
use kelp_sys::rustix::fd::{AsFd, OwnedFd};
use kelp_sys::rustix::fs::{
    CWD, MemfdFlags, Mode, OFlags, SealFlags, Stat, StatVfsMountFlags, fcntl_add_seals, fcntl_get_seals, fstat,
    fstatvfs, memfd_create, openat, readlink, sendfile,
};
use kelp_sys::rustix::io::{Errno, retry_on_intr};
use kelp_sys::rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use kelp_sys::rustix::process::{WaitId, WaitIdOptions, geteuid, waitid};
use std::ffi::{CStr, CString, OsString};
use std::os::unix::ffi::OsStringExt;

const OWN: &CStr = c"/proc/self/exe";

/// What no one may do to the copy, we included.
fn seals() -> SealFlags {
    SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE
}

/// Goes on as a program that no container can write, if this is not one already.
///
/// # Errors
/// There is no way to become one.
pub fn protect() -> Result<()> {
    trace::begin(Phase::Protect);
    let own = open_own()?;
    let stat = fstat(&own).doing(|| "cannot look at our own program".into())?;
    let others_write = stat.st_mode & 0o022 != 0;
    if !geteuid().is_root() && stat.st_uid == 0 && !others_write {
        return Ok(());
    }
    if is_protected(&own)? {
        return Ok(());
    }
    match read_only_mount(OWN).or_else(|errno| if errno == Errno::PERM { lent_mount(&stat) } else { Err(errno) }) {
        Ok(mount) => go_on_as(&mount),
        Err(Errno::PERM | Errno::ACCESS | Errno::INVAL | Errno::NOSYS | Errno::NOENT | Errno::NOSPC | Errno::USERS) => {
            go_on_as(&sealed_copy(&own, &stat).doing(|| "cannot copy our own program to memory".into())?)
        }
        Err(errno) => Err(errno).doing(|| "cannot mount our own program read-only".into()),
    }
}

/// A detached read-only mount of the file.
fn read_only_mount(path: &CStr) -> std::result::Result<OwnedFd, Errno> {
    let mount = clone_mount(here(), path, Reach::Mount)?;
    set_attributes(mount.as_fd(), c"", Reach::Mount, &Change { set: Attributes::READ_ONLY, ..Change::default() })?;
    Ok(mount)
}

/// The same, made by a child in a user and a mount namespace of its own, where it is root. There the file must be found by
/// its name, since `/proc/self/exe` leads to a mount of ours; that it is the same file is verified.
fn lent_mount(own: &Stat) -> std::result::Result<OwnedFd, Errno> {
    let path = readlink(OWN, Vec::new())?;
    let (ours, lenders) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    let namespaces = Namespaces::USER.with(Namespaces::MOUNT);
    let child = match clone3(&Clone { namespaces, cgroup: None, parent: Parent::Caller })? {
        Cloned::Child => {
            // No allocation: the program may have had other threads.
            let lent = read_only_mount(&path)
                .and_then(|mount| kelp_sys::socket::send(lenders.as_fd(), b"m", &[mount.as_fd()]).map(drop));
            exit(i32::from(lent.is_err()))
        }
        Cloned::Parent { pidfd, .. } => pidfd,
    };
    drop(lenders);
    let received = kelp_sys::socket::receive(ours.as_fd(), &mut [0; 1]);
    retry_on_intr(|| waitid(WaitId::PidFd(child.as_fd()), WaitIdOptions::EXITED))?;
    let [mount, ..] = received?.fds;
    let mount = mount.ok_or(Errno::PERM)?;
    let stat = fstat(&mount)?;
    if (stat.st_dev, stat.st_ino) == (own.st_dev, own.st_ino) { Ok(mount) } else { Err(Errno::PERM) }
}

/// A memfd with our seals is such a copy; a file on a mount that is read-only cannot be written through it. (A mount that
/// an administrator made read-only counts too: making it writable takes more rights than writing a program.)
fn is_protected(own: &OwnedFd) -> Result<bool> {
    if fcntl_get_seals(own).is_ok_and(|have| have.contains(seals())) {
        return Ok(true);
    }
    let flags = fstatvfs(own).doing(|| "cannot look at our own program's mount".into())?.f_flag;
    Ok(flags.contains(StatVfsMountFlags::RDONLY))
}

fn open_own() -> Result<OwnedFd> {
    openat(CWD, OWN, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).doing(|| "cannot open our own program".into())
}

fn go_on_as(program: &OwnedFd) -> Result<()> {
    let text =
        |word: OsString| CString::new(word.into_vec()).map_err(|error| Error::new("cannot go on").because(error));
    let args = std::env::args_os().map(text).collect::<Result<Vec<_>>>()?;
    let env = std::env::vars_os().map(|(name, value)| text(entry(name, value))).collect::<Result<Vec<_>>>()?;
    let errno = execve_file(program.as_fd(), &vector(&args), &vector(&env));
    Err(errno).doing(|| "cannot execute our own program anew".into())
}

fn entry(mut name: OsString, value: OsString) -> OsString {
    name.push("=");
    name.push(value);
    name
}

fn sealed_copy(own: &OwnedFd, stat: &Stat) -> std::result::Result<OwnedFd, Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let copy = match memfd_create(c"kelp-runtime", flags | MemfdFlags::EXEC) {
        // Before Linux 6.3 there is no MFD_EXEC, and every memfd is executable.
        Err(Errno::INVAL) => memfd_create(c"kelp-runtime", flags)?,
        other => other?,
    };
    let mut left = usize::try_from(stat.st_size).unwrap_or(0);
    while left > 0 {
        match sendfile(&copy, own, None, left)? {
            0 => return Err(Errno::IO),
            count => left -= count,
        }
    }
    fcntl_add_seals(&copy, seals())?;
    Ok(copy)
}
