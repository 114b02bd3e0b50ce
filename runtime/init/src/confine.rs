// SPDX-License-Identifier: Apache-2.0
//! Takes away every right that the program shall not have.
//!
//! Runs in init after the pivot and in a process that joins a container: the same steps for both.
//! Spec: config.md "process.user", "process.capabilities", "process.noNewPrivileges", config-linux.md "Seccomp".
//! Kernel: capabilities(7), seccomp(2).

use crate::channel::{Channel, Report, fail_here};
use crate::cover::private_proc;
use crate::root::Rooted;
use crate::script::{Capabilities, Process};
use crate::step::{During, Step, Stop};
use core::ffi::CStr;
use kelp_sys::rustix::fd::AsFd;
use kelp_sys::rustix::fs::{CWD, Mode, OFlags, ResolveFlags, mkdir, openat2};
use kelp_sys::rustix::io::{Errno, write};
use kelp_sys::rustix::process::{Gid, Uid, chdir, umask};
use kelp_sys::rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, configure_capability_in_ambient_set, set_capabilities,
    set_keep_capabilities, set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

/// The rights of this process are the program's.
pub(crate) struct Confined(());

const CAP_SYS_ADMIN: u64 = 1 << 21;

/// What becomes of a working directory that is not there. As in runc: a container's is made, a joining process's is not.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    Make,
    Refuse,
}

/// Whether we stand in the working directory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entered {
    /// Before the user changes: root may enter where the user may not.
    AsRoot,
    /// Not yet: only the user may (a FUSE or NFS mount of the user's, a folder of an id that is not mapped).
    LeftToUser,
}

/// Enters `process.cwd` before the user changes. Where root may not, [`drop_rights`] tries once more.
pub(crate) fn enter_working_directory(
    fail_at: Option<Step>,
    process: &Process<'_>,
    missing: Missing,
) -> Result<Entered, Stop> {
    fail_here(fail_at, Step::WorkingDirectory)?;
    let entered = match chdir(process.cwd) {
        Err(Errno::NOENT) if missing == Missing::Make => make_all(process.cwd).and_then(|()| chdir(process.cwd)),
        result => result,
    };
    match entered {
        Ok(()) => Ok(Entered::AsRoot),
        Err(Errno::ACCESS) => Ok(Entered::LeftToUser),
        Err(errno) => Err(errno).during(Step::WorkingDirectory),
    }
}

fn make_all(path: &CStr) -> Result<(), Errno> {
    crate::target::find_or_make(CWD, path, crate::target::Kind::Directory)
        .map(drop)
        .or_else(|errno| if errno == Errno::NOENT { mkdir(path, Mode::from_raw_mode(0o755)) } else { Err(errno) })
}

/// Label, user and groups, capabilities, no_new_privs. In this order: each needs rights that a later one takes.
pub(crate) fn drop_rights(
    fail_at: Option<Step>,
    process: &Process<'_>,
    entered: Entered,
    _: Rooted,
) -> Result<Confined, Stop> {
    drop_rights_in_place(fail_at, process, entered)
}

/// The same for a process that joined a container and never had another root.
pub(crate) fn drop_rights_in_place(
    fail_at: Option<Step>,
    process: &Process<'_>,
    entered: Entered,
) -> Result<Confined, Stop> {
    take_nature(fail_at, process)?;
    for (index, (file, label)) in process.labels.iter().enumerate() {
        fail_here(fail_at, Step::Label)?;
        write_label(file, label).during_nth(Step::Label, index)?;
    }
    fail_here(fail_at, Step::Capabilities)?;
    bound(process.capabilities.bounding).during_nth(Step::Capabilities, 0)?;
    fail_here(fail_at, Step::User)?;
    become_user(process)?;
    set_all(process).during_nth(Step::Capabilities, 1)?;
    if entered == Entered::LeftToUser {
        chdir(process.cwd).during(Step::WorkingDirectory)?;
    }
    check_working_directory().during(Step::WorkingDirectory)?;
    fail_here(fail_at, Step::NoNewPrivileges)?;
    if process.no_new_privileges {
        set_no_new_privs(true).during(Step::NoNewPrivileges)?;
    }
    Ok(Confined(()))
}

/// Execution domain, and the nodes that memory comes from: by now those of the container's cpuset.
fn take_nature(fail_at: Option<Step>, process: &Process<'_>) -> Result<(), Stop> {
    if let Some(persona) = process.personality {
        fail_here(fail_at, Step::Personality)?;
        kelp_sys::process::set_personality(persona).during(Step::Personality)?;
    }
    if let Some((mode, nodes)) = process.memory_policy {
        fail_here(fail_at, Step::MemoryPolicy)?;
        kelp_sys::schedule::set_memory_policy(mode, nodes).during(Step::MemoryPolicy)?;
    }
    Ok(())
}

/// A link to a directory outside, through some descriptor's entry in /proc, ends here (CVE-2024-21626).
fn check_working_directory() -> Result<(), Errno> {
    if kelp_sys::process::cwd_is_reachable()? { Ok(()) } else { Err(Errno::XDEV) }
}

/// `/proc/thread-self/attr/…` takes effect at the next exec. Written through a procfs of our own (CVE-2019-16884).
fn write_label(file: &CStr, label: &CStr) -> Result<(), Errno> {
    let proc = private_proc()?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    let file = openat2(&proc, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty(), resolve)?;
    write(file.as_fd(), label.to_bytes()).map(drop)
}

/// Drops what is not in `keep` from the bounding set, up to the last capability that this kernel knows.
fn bound(keep: u64) -> Result<(), Errno> {
    for number in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if keep & capability.bits() != 0 {
            continue;
        }
        match kelp_sys::rustix::thread::remove_capability_from_bounding_set(capability) {
            // Beyond the last one.
            Err(Errno::INVAL) => break,
            result => result?,
        }
    }
    Ok(())
}

fn become_user(process: &Process<'_>) -> Result<(), Stop> {
    if let Some(groups) = process.groups {
        match set_thread_groups(groups) {
            // A user namespace that we joined or are in may deny setgroups(2) to all. Nothing was asked for: keep what we have.
            Err(Errno::PERM) if groups.is_empty() => {}
            result => result.during_nth(Step::User, 0)?,
        }
    }
    // Keeps the permitted set over the change of user; exec clears the flag.
    set_keep_capabilities(true).during_nth(Step::User, 1)?;
    let (uid, gid) = (Uid::from_raw(process.uid), Gid::from_raw(process.gid));
    set_thread_res_gid(gid, gid, gid).during_nth(Step::User, 2)?;
    set_thread_res_uid(uid, uid, uid).during_nth(Step::User, 3)?;
    set_keep_capabilities(false).during_nth(Step::User, 1)?;
    umask(Mode::from_raw_mode(process.umask));
    Ok(())
}

/// The other four sets. Without no_new_privs, seccomp(2) wants CAP_SYS_ADMIN, so it stays in the permitted and effective sets
/// until exec, which computes both anew from the bounding, inheritable and ambient sets: the program never has it.
fn set_all(process: &Process<'_>) -> Result<(), Errno> {
    let Capabilities { effective, inheritable, permitted, ambient, .. } = process.capabilities;
    let extra = if process.seccomp && !process.no_new_privileges { CAP_SYS_ADMIN } else { 0 };
    let sets = CapabilitySets {
        effective: CapabilitySet::from_bits_retain(effective | extra),
        permitted: CapabilitySet::from_bits_retain(permitted | extra),
        inheritable: CapabilitySet::from_bits_retain(inheritable),
    };
    set_capabilities(None, sets)?;
    clear_ambient_capability_set()?;
    let raise = ambient & permitted & inheritable;
    for number in (0..64).filter(|number| raise & (1 << number) != 0) {
        configure_capability_in_ambient_set(CapabilitySet::from_bits_retain(1 << number), true)?;
    }
    Ok(())
}

/// No descriptor reaches the program but the standard streams and those it was promised (CVE-2024-21626).
pub(crate) fn close_descriptors(process: &Process<'_>) -> Result<(), Stop> {
    kelp_sys::process::close_on_exec_from(process.first_closed_fd).during(Step::Execute)
}

/// Loads the filter, last of all: after it the profile decides what we may still call. We call execve, and before it, where
/// the profile notifies somebody, the one sendmsg(2) that hands the listener over; the plan has seen to it that both may be.
pub(crate) fn filter(
    fail_at: Option<Step>,
    filter: &[u8],
    flags: u32,
    runtime: Channel<'_>,
    _: &Confined,
) -> Result<(), Stop> {
    fail_here(fail_at, Step::Seccomp)?;
    if filter.is_empty() {
        return Ok(());
    }
    let loaded = kelp_sys::seccomp::load_bytes(filter, kelp_sys::seccomp::Flags(flags)).during(Step::Seccomp)?;
    let Some(listener) = loaded else { return Ok(()) };
    fail_here(fail_at, Step::Listener)?;
    runtime.report(Report::Listener, Some(listener.as_fd())).during(Step::Listener)?;
    // Exec closes it: close(2) would be for the profile to decide.
    core::mem::forget(listener);
    Ok(())
}
