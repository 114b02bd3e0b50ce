// SPDX-License-Identifier: Apache-2.0
//! `exec`: another process in a container that lives.
//!
//! Runs in the caller. Its counterpart is `kelp_init::join::join`.
//! Spec: none; runc's behaviour. What holds for the container's process holds for this one too: seccomp, capabilities,
//! labels, limits, groups, where exec is not told otherwise.

use crate::cgroup::{self, Cgroup};
use crate::channel::{Channel, Heard};
use crate::error::{Doing, Error, Kind, Result};
use crate::plan::{ProcessPlan, path_text};
use crate::script::with_process;
use crate::seccomp::Agent;
use crate::state::{ExecDefaults, Folder, Record, State, Status};
use crate::verb::create::{Created, Stdio};
use crate::{Runtime, explain, limit, pidfile};
use kelp_init::script::Join;
use kelp_init::{Order, Report, Step};
use kelp_sys::clone::{Cloned, Namespaces};
use kelp_sys::rustix::fd::{AsFd, AsRawFd, OwnedFd};
use kelp_sys::rustix::io::Errno;
use kelp_sys::rustix::process::{Pid, PidfdFlags, pidfd_open};
use oci_spec::runtime::Process;
use std::path::Path;

/// What to run.
#[derive(Debug)]
pub enum ExecProcess {
    /// A whole process, as in config.json. Of what it leaves out only that is filled in which confines the container: the
    /// seccomp filter, capabilities, labels, and the score for the OOM killer.
    Whole(Box<Process>),
    /// Changes to the container's own process.
    Changed(Changes),
}

/// What differs from the container's own process.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Program and arguments.
    pub args: Vec<String>,
    /// Working directory.
    pub cwd: Option<String>,
    /// Entries added to the environment.
    pub env: Vec<String>,
    /// User and group id.
    pub user: Option<(u32, Option<u32>)>,
    /// Additional groups.
    pub groups: Vec<u32>,
    /// Whether it gets a terminal.
    pub terminal: bool,
    /// The size of its terminal.
    pub console_size: Option<oci_spec::runtime::Box>,
    /// no_new_privs
    pub no_new_privileges: Option<bool>,
    /// Capabilities added to all sets.
    pub capabilities: Vec<oci_spec::runtime::Capability>,
    /// AppArmor profile.
    pub apparmor_profile: Option<String>,
    /// SELinux label.
    pub selinux_label: Option<String>,
}

/// A process to run in a container.
#[derive(Debug)]
pub struct ExecRequest<'a> {
    /// What to run.
    pub process: ExecProcess,
    /// Its standard streams.
    pub stdio: Stdio,
    /// A file that gets its pid.
    pub pid_file: Option<&'a Path>,
    /// Descriptors beyond the standard ones that it gets.
    pub preserve_fds: u32,
    /// Run it even if the container is paused.
    pub ignore_paused: bool,
    /// Run it in this cgroup, which exists below the container's.
    pub cgroup: Option<&'a str>,
    /// The caller prints what its terminal says: newlines stay what they are.
    pub foreground: bool,
}

impl Runtime {
    /// Runs another process in the container. It is a child of the caller.
    ///
    /// # Errors
    /// The container does not run; the process is wrong; a step fails.
    pub fn exec(&self, id: &str, request: ExecRequest<'_>) -> Result<Created> {
        let folder = Folder::open(&self.root, id)?;
        let (state, record) = folder.state()?;
        check_status(id, state.status, request.ignore_paused)?;
        let (defaults, filter) = folder.read_exec()?;
        let flags = defaults.seccomp_flags;
        let (nature, agent) = (defaults.nature.clone(), defaults.seccomp_agent.clone());
        let process = merge(request.process, defaults);
        let may_set_groups = record.may_set_groups || record.keeps_groups();
        let plan = ProcessPlan::make(&process, may_set_groups, flags.is_some(), request.preserve_fds)?
            .of_nature(nature)
            .shown_by_caller(request.foreground);
        let plan = if record.keeps_groups() { plan.keeping_groups() } else { plan };
        let exec = Exec { runtime: self, record: &record, plan: &plan, cgroup: request.cgroup, agent };
        let (channel, pid, pidfd) = exec.begin(&request.stdio)?;
        let finished = exec
            .give_stdio(&request.stdio, pid)
            .and_then(|()| exec.finish(&channel, pid, &filter, flags))
            .and_then(|console| {
                self.begin(Step::Publish)?;
                request.pid_file.map_or(Ok(()), |path| pidfile::write_whole(path, pid)).map(|()| console)
            });
        match finished {
            Ok(console) => Ok(Created { pid, pidfd, console, warnings: plan.warnings }),
            Err(error) => {
                let killed = crate::process::signal(pidfd.as_fd(), 9).and_then(|_| crate::process::reap(&pidfd));
                Err(killed.err().iter().fold(error, Error::and_also))
            }
        }
    }
}

fn check_status(id: &str, status: Status, ignore_paused: bool) -> Result<()> {
    let cannot =
        |cause: String| Error::new(format!("cannot exec in container {id}")).because(cause).of_kind(Kind::NotRunning);
    match status {
        Status::Running | Status::Created => Ok(()),
        Status::Paused if ignore_paused => Ok(()),
        Status::Paused => Err(cannot("cannot exec in a paused container (use --ignore-paused to override)".into())
            .hint(format!("`kelp-runtime resume {id}` first"))),
        Status::Stopped | Status::Creating => Err(cannot(format!("cannot exec in a {status} container"))),
    }
}

/// The container's process with the changes, or the whole one that was given.
fn merge(process: ExecProcess, defaults: ExecDefaults) -> Process {
    let changes = match process {
        ExecProcess::Whole(process) => return confined_as(*process, &defaults.process),
        ExecProcess::Changed(changes) => changes,
    };
    let mut process = defaults.process;
    process.set_args(Some(changes.args)).set_terminal(Some(changes.terminal)).set_console_size(changes.console_size);
    if let Some(cwd) = changes.cwd {
        process.set_cwd(cwd.into());
    }
    process.env_mut().get_or_insert_default().extend(changes.env);
    if let Some((uid, gid)) = changes.user {
        // Groups that are not said stay those of the container's process.
        let gid = gid.unwrap_or(process.user().gid());
        process.user_mut().set_uid(uid).set_gid(gid);
    }
    if !changes.groups.is_empty() {
        process.user_mut().additional_gids_mut().get_or_insert_default().extend(changes.groups);
    }
    if changes.no_new_privileges.is_some() {
        process.set_no_new_privileges(changes.no_new_privileges);
    }
    if changes.apparmor_profile.is_some() {
        process.set_apparmor_profile(changes.apparmor_profile);
    }
    if changes.selinux_label.is_some() {
        process.set_selinux_label(changes.selinux_label);
    }
    add_capabilities(&mut process, &changes.capabilities);
    process
}

/// The process, confined as the container's own is where it does not say how: nobody leaves a profile by not naming it.
fn confined_as(mut process: Process, own: &Process) -> Process {
    let says = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    if process.capabilities().is_none() {
        process.set_capabilities(own.capabilities().clone());
    }
    if !says(process.apparmor_profile()) {
        process.set_apparmor_profile(own.apparmor_profile().clone());
    }
    if !says(process.selinux_label()) {
        process.set_selinux_label(own.selinux_label().clone());
    }
    if process.oom_score_adj().is_none() {
        process.set_oom_score_adj(own.oom_score_adj());
    }
    process
}

fn add_capabilities(process: &mut Process, added: &[oci_spec::runtime::Capability]) {
    if added.is_empty() {
        return;
    }
    let mut sets = process.capabilities().clone().unwrap_or_default();
    let with = |set: &Option<std::collections::HashSet<_>>| {
        Some(set.iter().flatten().copied().chain(added.iter().copied()).collect())
    };
    let (bounding, effective, permitted) = (with(sets.bounding()), with(sets.effective()), with(sets.permitted()));
    sets.set_bounding(bounding).set_effective(effective).set_permitted(permitted);
    process.set_capabilities(Some(sets));
}

struct Exec<'a> {
    runtime: &'a Runtime,
    record: &'a Record,
    plan: &'a ProcessPlan,
    cgroup: Option<&'a str>,
    agent: Option<Agent>,
}

impl Exec<'_> {
    /// Where the container's init is now, which may have moved since `create`; or the cgroup that was asked for.
    fn open_cgroup(&self) -> Result<Option<Cgroup>> {
        let recorded = self.record.cgroup.as_ref();
        let Some(below) = self.cgroup else { return Cgroup::of_init(recorded, self.record.init.pid) };
        let cgroup = recorded.map(Cgroup::open).transpose()?.flatten().ok_or_else(|| {
            Error::bad_input(format!("cannot exec in the cgroup {below}")).because("the container has no cgroup")
        })?;
        Ok(Some(cgroup.open_below(below)?))
    }

    /// Clones the helper, which enters the container and clones the process; returns when the process is born.
    fn begin(&self, stdio: &Stdio) -> Result<(Channel, i32, OwnedFd)> {
        let gone =
            || Error::new("cannot enter the container").because("its init has just ended").of_kind(Kind::NotRunning);
        let init = self.record.init.open()?.ok_or_else(gone)?;
        let cgroup = self.open_cgroup()?;
        self.runtime.begin(Step::OpenChannel)?;
        let (channel, their_end) = Channel::open()?;
        let stdio = match stdio {
            Stdio::Inherit => None,
            Stdio::Fds(fds) => Some(fds.each_ref().map(AsFd::as_fd)),
        };
        self.runtime.begin(Step::Clone)?;
        let oom_score_adj = crate::script::oom_score_adj(self.plan);
        let kept = std::iter::once(their_end.as_fd()).chain(stdio.into_iter().flatten());
        let root = self.record.is_chroot.then(|| path_text(&self.record.rootfs)).transpose()?;
        let strays = crate::script::all_but(kept.map(|fd| fd.as_raw_fd()), self.plan.first_closed_fd);
        let mut space = crate::channel::space()?;
        let helper = with_process(self.plan, |process| {
            let script = Join {
                channel: their_end.as_fd(),
                strays: &strays,
                init: init.as_fd(),
                namespaces: Namespaces::from_bits(self.record.namespaces),
                root: root.as_deref(),
                become_root: self.record.become_root,
                oom_score_adj: oom_score_adj.as_deref(),
                stdio,
                keyring: None,
                console: crate::script::console(self.plan),
                process,
                fail_at: self.runtime.fail_at,
            };
            // The helper is in the cgroup from birth, and the process inherits it: see cgroup::clone_into.
            let begin = || match cgroup::clone_into(cgroup.as_ref())? {
                Cloned::Child => kelp_init::join::join(&script, &mut space),
                Cloned::Parent { pidfd, .. } => Ok::<_, Error>(pidfd),
            };
            limit::while_confined_to(&self.plan.priorities.affinity.initial, begin)
        })?;
        drop(their_end);
        let heard = channel.hear_birth();
        crate::process::reap(&helper)?;
        match heard? {
            Heard::Report(Report::Born(pid), _) => {
                let fd = Pid::from_raw(pid)
                    .ok_or(Errno::SRCH)
                    .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()))
                    .doing(|| format!("cannot open process {pid}"))?;
                Ok((channel, pid, fd))
            }
            other => Err(self.unexpected(&other)),
        }
    }

    fn give_stdio(&self, stdio: &Stdio, pid: i32) -> Result<()> {
        let given = self.record.become_root && self.plan.console.is_none();
        if given { crate::stdio::give(stdio, pid, self.plan.uid) } else { Ok(()) }
    }

    fn finish(&self, channel: &Channel, pid: i32, filter: &[u8], flags: Option<u32>) -> Result<Option<OwnedFd>> {
        self.runtime.begin(Step::ProcessLimits)?;
        limit::apply(pid, self.plan)?;
        crate::resctrl::join(&self.record.resctrl, pid)?;
        limit::confine_to(pid, &self.plan.priorities.affinity.last)?;
        channel.say(Order::Finish { filter, flags: flags.unwrap_or(0) }, &[])?;
        let mut console = None;
        loop {
            match channel.hear()? {
                Heard::Report(Report::Console, fd) => console = fd,
                Heard::Report(Report::Listener, Some(listener)) => {
                    let state = State::of(self.record, Status::Running);
                    crate::seccomp::hand_over(self.agent.as_ref(), &listener, pid, &state)?;
                }
                Heard::Closed => return Ok(console),
                other => return Err(self.unexpected(&other)),
            }
        }
    }

    fn unexpected(&self, heard: &Heard) -> Error {
        match heard {
            Heard::Report(Report::Stopped(stop), _) => explain::process(*stop, self.plan),
            other => Error::new("cannot run the process in the container").because(format!("it said {other:?}")),
        }
    }
}
