// SPDX-License-Identifier: Apache-2.0
//! The first steps: ids, session, names.
//!
//! Runs in init (and, for namespaces given by path, in the helper before it), while the host's root is still ours.
//! Spec: config-linux.md "Namespaces", "User namespace mappings". Kernel: user_namespaces(7), setns(2).

use crate::channel::Order;
use crate::script::{IdMaps, Script};
use crate::step::{During, Step, Stop};
use core::ffi::CStr;
use kelp_sys::clone::{Clone, Cloned, Namespaces, Parent, clone3};
use kelp_sys::rustix::fd::{AsFd, BorrowedFd};
use kelp_sys::rustix::fs::{CWD, Mode, OFlags, openat};
use kelp_sys::rustix::io::{Errno, write};
use kelp_sys::rustix::process::{DumpableBehavior, Gid, Uid, set_dumpable_behavior, setsid, umask};
use kelp_sys::rustix::thread::{
    ThreadNameSpaceType, move_into_thread_name_spaces, set_thread_res_gid, set_thread_res_uid,
};

/// The index under which [`Step::ProcessLimits`] reports `oom_score_adj`; the others are rlimits.
const OOM_SCORE_ADJ: usize = 1000;

/// Our ids mean what they shall mean.
pub(crate) struct Mapped(());

/// Which process we are after [`join_and_clone`].
pub(crate) enum Helped {
    Init,
    Helper { pid: i32 },
}

/// Runs in the helper: enters the namespaces given by path, then clones init as a child of the runtime.
pub(crate) fn join_and_clone(script: &Script<'_>) -> Result<Helped, Stop> {
    script.begin(Step::JoinNamespaces)?;
    // Without others in the namespaces there is nobody to hide from, and init may have to write its own id maps.
    if !script.birth.joins.is_empty() {
        hide().during(Step::JoinNamespaces)?;
    }
    for (index, (namespace, kind)) in script.birth.joins.iter().enumerate() {
        // `EINVAL`: it is of another kind.
        let kind = ThreadNameSpaceType::from_bits_retain(kind.bits() as u32);
        move_into_thread_name_spaces(*namespace, kind).during_nth(Step::JoinNamespaces, index)?;
    }
    // From the clone on others in a joined pid namespace can see us: there is nothing left in our hands by then.
    let_go(script.strays).during(Step::Clone)?;
    // In our cgroup, which is the container's. From in here no other could be named: see the runtime's cgroup/enter.rs.
    let request = Clone { namespaces: script.birth.namespaces, cgroup: None, parent: Parent::CallersParent };
    script.begin(Step::Clone)?;
    match clone3(&request).during(Step::Clone)? {
        Cloned::Child => Ok(Helped::Init),
        Cloned::Parent { pid, .. } => Ok(Helped::Helper { pid }),
    }
}

/// Closes what the clone copied and we have no use for. With the runtime's own end of the channel among them, nobody would
/// hear of the runtime's death: we would wait for its word for ever, and hold whatever else it had open.
pub(crate) fn let_go(strays: &[(u32, u32)]) -> Result<(), Errno> {
    strays.iter().try_for_each(|(first, last)| kelp_sys::process::close_range(*first, *last))
}

/// No process of the container may trace us or read our memory, descriptors or program (CVE-2016-9962, CVE-2019-5736).
/// An exec undoes it.
pub(crate) fn hide() -> Result<(), Errno> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
}

/// Gets the ids of a new user namespace mapped, and becomes its root, with a keyring of its own.
pub(crate) fn map_ids(script: &Script<'_>) -> Result<Mapped, Stop> {
    script.begin(Step::AwaitMaps)?;
    match script.birth.maps {
        IdMaps::None => {}
        IdMaps::Own { uid, gid } => {
            put(c"/proc/self/setgroups", b"deny").during(Step::WriteIdMaps)?;
            put(c"/proc/self/uid_map", uid.to_bytes()).during(Step::WriteIdMaps)?;
            put(c"/proc/self/gid_map", gid.to_bytes()).during(Step::WriteIdMaps)?;
        }
        IdMaps::Runtime => {
            script.channel().await_order(Order::Mapped).during(Step::AwaitMaps)?;
        }
    }
    // Before we hide: the file would be root's then.
    set_oom_score(script.birth.oom_score_adj)?;
    set_clocks(script)?;
    if script.birth.become_root {
        script.begin(Step::BecomeRoot)?;
        become_root().during(Step::BecomeRoot)?;
    }
    if let Some(name) = script.birth.keyring {
        script.begin(Step::Keyring)?;
        join_keyring(name).during(Step::Keyring)?;
    }
    // In joined namespaces there may be others, and we still hold what is the host's.
    let alone = script.birth.joins.is_empty();
    if alone && is_reachable(script) { show() } else { hide() }.during(Step::AwaitMaps)?;
    Ok(Mapped(()))
}

/// Whether we may be entered from outside while we wait at the gate, and on the way to it: our memory is still the runtime's,
/// which belongs to the first user namespace, so that hidden, `/proc/PID/ns` is closed even to the user who made us, and with
/// it the network that slirp4netns, pasta or a CNI plugin shall make now. Nobody else is in our user namespace yet. Without a
/// gate nothing would hide us again before the program.
pub(crate) fn is_reachable(script: &Script<'_>) -> bool {
    script.gate.is_some() && script.birth.namespaces.has(Namespaces::USER)
}

/// Undoes [`hide`]; becoming root may have hidden us, too.
pub(crate) fn show() -> Result<(), Errno> {
    set_dumpable_behavior(DumpableBehavior::Dumpable)
}

/// A time namespace whose clocks are set before anybody is in it: unshare(2) makes it for children only, and then we enter it
/// ourselves. While the files are ours. See time_namespaces(7).
fn set_clocks(script: &Script<'_>) -> Result<(), Stop> {
    let Some(offsets) = script.birth.time_offsets else { return Ok(()) };
    script.begin(Step::TimeOffsets)?;
    kelp_sys::process::unshare(Namespaces::TIME).during(Step::TimeOffsets)?;
    put(c"/proc/self/timens_offsets", offsets.to_bytes()).during_nth(Step::TimeOffsets, 1)?;
    let path = c"/proc/self/ns/time_for_children";
    openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .and_then(|clocks| {
            let kind = ThreadNameSpaceType::from_bits_retain(Namespaces::TIME.bits() as u32);
            move_into_thread_name_spaces(clocks.as_fd(), kind)
        })
        .during_nth(Step::TimeOffsets, 2)
}

/// Writes `/proc/self/oom_score_adj`, of the host's /proc, while the file is ours.
pub(crate) fn set_oom_score(score: Option<&CStr>) -> Result<(), Stop> {
    let Some(score) = score else { return Ok(()) };
    put(c"/proc/self/oom_score_adj", score.to_bytes()).during_nth(Step::ProcessLimits, OOM_SCORE_ADJ)
}

/// `setresgid(0, 0, 0)`, `setresuid(0, 0, 0)`: files that we make belong to the container's root.
pub(crate) fn become_root() -> Result<(), Errno> {
    set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
    set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)
}

/// Folders and files that we make have the modes that we say, whatever umask the caller has.
pub(crate) fn set_umask() {
    umask(Mode::from_raw_mode(0o022));
}

/// Session, standard streams, names, loopback: whatever our ids are.
pub(crate) fn settle(script: &Script<'_>) -> Result<(), Stop> {
    let birth = &script.birth;
    set_umask();
    script.begin(Step::Session)?;
    setsid().map(drop).during(Step::Session)?;
    script.begin(Step::Stdio)?;
    kelp_sys::process::default_signals().during(Step::Stdio)?;
    if let Some(stdio) = birth.stdio {
        place_stdio(stdio).during(Step::Stdio)?;
    }
    if let Some(name) = birth.hostname {
        script.begin(Step::Hostname)?;
        kelp_sys::rustix::system::sethostname(name.to_bytes()).during_nth(Step::Hostname, 0)?;
    }
    if let Some(name) = birth.domainname {
        kelp_sys::rustix::system::setdomainname(name.to_bytes()).during_nth(Step::Hostname, 1)?;
    }
    if birth.loopback {
        script.begin(Step::Loopback)?;
        kelp_sys::net::loopback_up().during(Step::Loopback)?;
    }
    Ok(())
}

/// A kernel without keys (`ENOSYS`), one that denies them (`EACCES`, `EPERM` by seccomp) or a full quota (`EDQUOT`) leave us
/// with the keyring we have: the spec does not speak of keyrings.
pub(crate) fn join_keyring(name: &CStr) -> Result<(), Errno> {
    match kelp_sys::process::join_session_keyring(name) {
        Err(Errno::NOSYS | Errno::ACCESS | Errno::PERM | Errno::DQUOT) => Ok(()),
        other => other,
    }
}

/// `dup3` of the three onto 0, 1, 2. None of the three may be one of the other's places: the runtime passes descriptors from 3 on,
/// or the very ones in place.
pub(crate) fn place_stdio(stdio: [BorrowedFd<'_>; 3]) -> Result<(), Errno> {
    let [stdin, stdout, stderr] = stdio;
    kelp_sys::rustix::stdio::dup2_stdin(stdin)?;
    kelp_sys::rustix::stdio::dup2_stdout(stdout)?;
    kelp_sys::rustix::stdio::dup2_stderr(stderr)
}

/// Writes `text` to an existing file with one write, as files of /proc want it.
fn put(path: &CStr, text: &[u8]) -> Result<(), Errno> {
    let file = openat(CWD, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    write(&file, text).map(drop)
}
