// SPDX-License-Identifier: Apache-2.0
//! Keeps our own program out of the reach of containers (CVE-2019-5736).
//!
//! A container can make us execute `/proc/self/exe`, that is: ourselves, inside; then open what we are, wait until nothing
//! executes it, and write it. So what clones init is not the installed file but a copy that nobody can write: a sealed
//! file in memory, which `create`, `run` and `exec` execute first. Not needed where the installed file's owner has no id inside.
//! Kernel: memfd_create(2), fcntl(2) "File Sealing", execveat(2).

use crate::error::{Doing, Error, Result};
use crate::script::vector;
use kelp_sys::clone::execve_file;
use kelp_sys::rustix::fd::{AsFd, OwnedFd};
use kelp_sys::rustix::fs::{
    CWD, MemfdFlags, Mode, OFlags, SealFlags, Stat, fcntl_add_seals, fcntl_get_seals, fstat, memfd_create, openat,
    sendfile,
};
use kelp_sys::rustix::process::geteuid;
use oci_spec::runtime::{LinuxIdMapping, LinuxNamespaceType, Spec};
use std::ffi::CString;
use std::os::unix::ffi::OsStringExt;

/// What no one may do to the copy, we included.
fn seals() -> SealFlags {
    SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE
}

/// Goes on as a sealed copy of this program, if this is not one already and a container of this spec could write it.
///
/// # Errors
/// The copy cannot be made or executed.
pub fn protect(spec: &Spec) -> Result<()> {
    let own = open_own()?;
    let stat = fstat(&own).doing(|| "cannot look at our own program".into())?;
    if could_write(&stat, spec) { go_on_sealed(&own, &stat) } else { Ok(()) }
}

/// The same for joining a container, whose ids are those of its creator.
///
/// # Errors
/// The copy cannot be made or executed.
pub fn protect_exec() -> Result<()> {
    let own = open_own()?;
    let stat = fstat(&own).doing(|| "cannot look at our own program".into())?;
    // An ordinary user never has root inside his containers, so root's program is safe from them.
    if geteuid().is_root() || stat.st_uid != 0 || others_write(&stat) { go_on_sealed(&own, &stat) } else { Ok(()) }
}

fn open_own() -> Result<OwnedFd> {
    openat(CWD, c"/proc/self/exe", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .doing(|| "cannot open our own program".into())
}

fn others_write(stat: &Stat) -> bool {
    stat.st_mode & 0o022 != 0
}

fn could_write(stat: &Stat, spec: &Spec) -> bool {
    let linux = spec.linux().as_ref();
    let namespaces = linux.and_then(|linux| linux.namespaces().as_deref()).unwrap_or_default();
    let new_user = namespaces.iter().any(|ns| ns.typ() == LinuxNamespaceType::User && ns.path().is_none());
    if !new_user || others_write(stat) {
        return true;
    }
    let has = |maps: Option<&[LinuxIdMapping]>, id: u32| {
        maps.unwrap_or_default()
            .iter()
            .any(|map| id.checked_sub(map.host_id()).is_some_and(|offset| offset < map.size()))
    };
    linux.is_none_or(|linux| has(linux.uid_mappings().as_deref(), stat.st_uid))
}

/// A memfd that carries our seals is such a copy: we are it.
fn is_sealed(own: &OwnedFd) -> bool {
    fcntl_get_seals(own).is_ok_and(|have| have.contains(seals()))
}

fn go_on_sealed(own: &OwnedFd, stat: &Stat) -> Result<()> {
    if is_sealed(own) {
        return Ok(());
    }
    let copy = sealed_copy(own, stat).doing(|| "cannot copy our own program to memory".into())?;
    let text = |word: std::ffi::OsString| {
        CString::new(word.into_vec()).map_err(|error| Error::new("cannot go on").because(error))
    };
    let args = std::env::args_os().map(text).collect::<Result<Vec<_>>>()?;
    let env = std::env::vars_os()
        .map(|(name, value)| {
            let mut entry = name;
            entry.push("=");
            entry.push(value);
            text(entry)
        })
        .collect::<Result<Vec<_>>>()?;
    let errno = execve_file(copy.as_fd(), &vector(&args), &vector(&env));
    Err(errno).doing(|| "cannot execute the copy of our own program".into())
}

fn sealed_copy(own: &OwnedFd, stat: &Stat) -> std::result::Result<OwnedFd, kelp_sys::rustix::io::Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let copy = match memfd_create(c"kelp-runtime", flags | MemfdFlags::EXEC) {
        // Before Linux 6.3 there is no MFD_EXEC, and every memfd is executable.
        Err(kelp_sys::rustix::io::Errno::INVAL) => memfd_create(c"kelp-runtime", flags)?,
        other => other?,
    };
    let mut left = usize::try_from(stat.st_size).unwrap_or(0);
    while left > 0 {
        match sendfile(&copy, own, None, left)? {
            0 => return Err(kelp_sys::rustix::io::Errno::IO),
            count => left -= count,
        }
    }
    fcntl_add_seals(&copy, seals())?;
    Ok(copy)
}
