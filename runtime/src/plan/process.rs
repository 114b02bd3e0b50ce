// SPDX-License-Identifier: Apache-2.0
//! The program: what it is and what it may do. The same for create and exec.
//!
//! Spec: config.md "Process".

use super::schedule::{Nature, Priorities};
use super::{capability, environment, path_text, text_of};
use crate::error::{Error, Result};
use kelp_init::script::Capabilities;
use kelp_sys::rustix::process::{Gid, Resource, Rlimit};
use oci_spec::runtime::{PosixRlimit, PosixRlimitType, Process, User};
use std::ffi::CString;

/// One rlimit.
#[derive(Clone, Debug)]
pub struct Limit {
    /// Which.
    pub resource: Resource,
    /// Soft and hard value.
    pub value: Rlimit,
    /// Its name in the spec.
    pub name: String,
}

/// The program and its rights.
#[derive(Debug)]
pub struct ProcessPlan {
    /// Working directory.
    pub cwd: CString,
    /// Arguments.
    pub argv: Vec<CString>,
    /// Environment.
    pub env: Vec<CString>,
    /// Whether HOME is missing among it, and is the container's /etc/passwd's to say.
    pub finds_home: bool,
    /// Where the program may be.
    pub candidates: Vec<CString>,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Supplementary groups; `None`: cannot be set here.
    pub groups: Option<Vec<Gid>>,
    /// File mode creation mask.
    pub umask: u32,
    /// Capability sets.
    pub capabilities: Capabilities,
    /// no_new_privs
    pub no_new_privileges: bool,
    /// Security labels: files below /proc, and their texts.
    pub labels: Vec<(CString, CString)>,
    /// Whether there is a seccomp profile.
    pub seccomp: bool,
    /// First descriptor that is closed.
    pub first_closed_fd: u32,
    /// Terminal wanted, and its rows and columns.
    pub console: Option<Option<(u16, u16)>>,
    /// Resource limits.
    pub limits: Vec<Limit>,
    /// `oom_score_adj`
    pub oom_score_adj: Option<i32>,
    /// When and where it runs.
    pub priorities: Priorities,
    /// What it has of the container, and not of its own.
    pub nature: Nature,
    /// Whether newlines of its terminal stay what they are.
    pub plain_newlines: bool,
    /// What is odd about it, and does not stop it.
    pub warnings: Vec<String>,
}

impl ProcessPlan {
    /// Plans the program.
    ///
    /// # Errors
    /// The spec's process is wrong, or asks for groups where none can be set.
    pub fn make(process: &Process, may_set_groups: bool, seccomp: bool, preserve_fds: u32) -> Result<Self> {
        let args = process.args().as_deref().unwrap_or_default();
        let program = args.first().ok_or_else(|| {
            Error::bad_input("cannot run the process").because("args must not be empty: process.args has no program")
        })?;
        let env = environment::plan(process.env().as_deref().unwrap_or_default())?;
        if !process.cwd().is_absolute() {
            let cause = match process.cwd().as_os_str().is_empty() {
                true => "Cwd property must not be empty".to_owned(),
                false => format!("Cwd must be an absolute path: process.cwd is {:?}", process.cwd()),
            };
            return Err(Error::bad_input("cannot run the process").because(cause));
        }
        let user = process.user();
        check_ids(user)?;
        Ok(Self {
            cwd: path_text(process.cwd())?,
            candidates: environment::candidates(program, &env)?,
            argv: args.iter().map(|arg| text_of("", arg)).collect::<Result<_>>()?,
            finds_home: !environment::has_home(&env),
            env: environment::without_empty_home(env),
            uid: user.uid(),
            gid: user.gid(),
            groups: groups(user.additional_gids().as_deref().unwrap_or_default(), may_set_groups)?,
            umask: user.umask().unwrap_or(0o022) & 0o777,
            capabilities: capability::plan(process.capabilities().as_ref()),
            no_new_privileges: process.no_new_privileges().unwrap_or(false),
            labels: labels(process)?,
            seccomp,
            first_closed_fd: preserve_fds.saturating_add(3),
            console: process.terminal().unwrap_or(false).then(|| console_size(process)),
            limits: limits(process.rlimits().as_deref().unwrap_or_default())?,
            oom_score_adj: process.oom_score_adj().map(check_oom_score_adj).transpose()?,
            priorities: Priorities::make(process)?,
            nature: Nature::default(),
            plain_newlines: false,
            warnings: capability::warnings(process.capabilities().as_ref()),
        })
    }

    /// The same for a caller who prints what its terminal says.
    pub(crate) fn shown_by_caller(self, plain_newlines: bool) -> Self {
        Self { plain_newlines, ..self }
    }

    /// The same with the groups that the caller has.
    pub(crate) fn keeping_groups(self) -> Self {
        Self { groups: None, ..self }
    }

    /// Tells the program, which is process 1 of the container, of the sockets that it gets.
    pub(super) fn with_sockets(mut self, count: u32) -> Result<Self> {
        if count > 0 {
            self.env.push(text_of("", &format!("LISTEN_FDS={count}"))?);
            self.env.push(text_of("", "LISTEN_PID=1")?);
        }
        Ok(self)
    }

    /// The same in a container of this nature.
    pub(crate) fn of_nature(self, nature: Nature) -> Self {
        Self { nature, ..self }
    }
}

/// The last id means “none” to the kernel: setresuid(2) with it changes nothing, and the program would stay root.
fn check_ids(user: &User) -> Result<()> {
    let groups = user.additional_gids().iter().flatten().copied();
    if [user.uid(), user.gid()].into_iter().chain(groups).all(|id| id != u32::MAX) {
        return Ok(());
    }
    Err(Error::bad_input("cannot use process.user")
        .because(format!("uids and gids must be in range 0-{}", u32::MAX - 1)))
}

fn groups(wanted: &[u32], may_set_groups: bool) -> Result<Option<Vec<Gid>>> {
    if may_set_groups {
        return Ok(Some(wanted.iter().copied().map(Gid::from_raw).collect()));
    }
    if wanted.is_empty() {
        return Ok(None);
    }
    Err(Error::bad_input("cannot set process.user.additionalGids")
        .because("a user who maps only his own ids may not set groups (user_namespaces(7), setgroups)")
        .hint("have root add a range for you to /etc/subuid and /etc/subgid, and map it"))
}

fn console_size(process: &Process) -> Option<(u16, u16)> {
    let size = process.console_size()?;
    let small = |number: u64| u16::try_from(number).unwrap_or(u16::MAX);
    (size.height() > 0 || size.width() > 0).then(|| (small(size.height()), small(size.width())))
}

/// AppArmor's attributes are at attr/apparmor/ where the kernel has them apart (since Linux 5.1); SELinux's at attr/.
/// A process may have both, where the kernel stacks its modules.
fn labels(process: &Process) -> Result<Vec<(CString, CString)>> {
    let apparmor = process.apparmor_profile().as_deref().filter(|profile| !profile.is_empty());
    let selinux = process.selinux_label().as_deref().filter(|label| !label.is_empty());
    let apparmor = apparmor.map(|profile| ("thread-self/attr/apparmor/exec", "exec ", profile));
    let selinux = selinux.map(|label| ("thread-self/attr/exec", "", label));
    let both = apparmor.into_iter().chain(selinux);
    both.map(|(file, word, label)| Ok((text_of("", file)?, text_of(word, label)?))).collect()
}

fn check_oom_score_adj(value: i32) -> Result<i32> {
    if (-1000..=1000).contains(&value) {
        return Ok(value);
    }
    Err(Error::bad_input(format!("cannot set process.oomScoreAdj {value}"))
        .because("it must be between -1000 and 1000"))
}

fn limits(wanted: &[PosixRlimit]) -> Result<Vec<Limit>> {
    let mut limits: Vec<Limit> = Vec::with_capacity(wanted.len());
    for limit in wanted {
        let name = limit.typ().to_string();
        let wrong = |cause: &str| Error::bad_input(format!("cannot set {name}")).because(cause);
        if limits.iter().any(|other| other.name == name) {
            return Err(wrong("process.rlimits names it twice"));
        }
        if limit.soft() > limit.hard() {
            let number = resource(limit.typ()) as u32;
            return Err(wrong(&format!(
                "error setting rlimit type {number}: invalid argument: its soft value is above its hard value"
            )));
        }
        let finite = |value: u64| (value != u64::MAX).then_some(value);
        let value = Rlimit { current: finite(limit.soft()), maximum: finite(limit.hard()) };
        limits.push(Limit { resource: resource(limit.typ()), value, name });
    }
    Ok(limits)
}

fn resource(kind: PosixRlimitType) -> Resource {
    match kind {
        PosixRlimitType::RlimitCpu => Resource::Cpu,
        PosixRlimitType::RlimitFsize => Resource::Fsize,
        PosixRlimitType::RlimitData => Resource::Data,
        PosixRlimitType::RlimitStack => Resource::Stack,
        PosixRlimitType::RlimitCore => Resource::Core,
        PosixRlimitType::RlimitRss => Resource::Rss,
        PosixRlimitType::RlimitNproc => Resource::Nproc,
        PosixRlimitType::RlimitNofile => Resource::Nofile,
        PosixRlimitType::RlimitMemlock => Resource::Memlock,
        PosixRlimitType::RlimitAs => Resource::As,
        PosixRlimitType::RlimitLocks => Resource::Locks,
        PosixRlimitType::RlimitSigpending => Resource::Sigpending,
        PosixRlimitType::RlimitMsgqueue => Resource::Msgqueue,
        PosixRlimitType::RlimitNice => Resource::Nice,
        PosixRlimitType::RlimitRtprio => Resource::Rtprio,
        PosixRlimitType::RlimitRttime => Resource::Rttime,
    }
}
