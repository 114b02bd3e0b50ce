// SPDX-License-Identifier: Apache-2.0
//! `create`: from a bundle to a process that waits at the gate.
//!
//! Runs in the caller. Its counterpart is `kelp_init::life::live`, in the container: read them side by side.
//! Spec: runtime.md "Create", "Lifecycle" steps 1 to 5.

use crate::bundle::Bundle;
use crate::cgroup::{self, Cgroup, CgroupPlan, Facts};
use crate::channel::{Channel, Heard};
use crate::error::{Doing, Error, Kind, Result};
use crate::explain;
use crate::host::Host;
use crate::journal::{Journal, Made};
use crate::plan::{Options, Plan};
use crate::process::Identity;
use crate::script::{Descriptors, with_script};
use crate::state::{ExecDefaults, Folder, GATE, Record, State, Status, check_id};
use crate::trace::{self, Phase};
use crate::{Runtime, hooks, idmap, undo};
use kelp_init::{Order, Report, Step, Stop};
use kelp_sys::clone::{Clone, Cloned, Namespaces, Parent, clone3};
use kelp_sys::rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use kelp_sys::rustix::fs::{CWD, Mode, OFlags, openat};
use kelp_sys::rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
use kelp_sys::rustix::process::{Pid, PidfdFlags, pidfd_open};
use oci_spec::runtime::{Hook, Hooks, Spec};
use std::path::{Path, PathBuf};

/// What the program gets as stdin, stdout and stderr.
#[derive(Debug, Default)]
pub enum Stdio {
    /// Those of the caller. With `process.terminal`, a new terminal.
    #[default]
    Inherit,
    /// These. With `process.terminal`, a new terminal.
    Fds([OwnedFd; 3]),
}

/// Whether the program waits for `start`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gate {
    /// It waits.
    #[default]
    Closed,
    /// It runs at once: `run`.
    Open,
}

/// Told init's pid as soon as a network can be made for it, while the rest of the container is.
#[derive(Clone, Copy)]
pub struct OnBirth<'a>(pub &'a dyn Fn(i32));

impl std::fmt::Debug for OnBirth<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnBirth")
    }
}

/// What to create.
#[derive(Debug)]
pub struct CreateRequest<'a> {
    /// The container's id.
    pub id: &'a str,
    /// The bundle's folder.
    pub bundle: &'a Path,
    /// The program's standard streams.
    pub stdio: Stdio,
    /// Whether it waits for `start`.
    pub gate: Gate,
    /// A file that gets the program's pid.
    pub pid_file: Option<&'a Path>,
    /// Who hears of its birth. It is not promised: where init writes its own id maps, nobody does.
    pub on_birth: Option<OnBirth<'a>>,
    /// Options of the command line.
    pub options: Options,
}

impl<'a> CreateRequest<'a> {
    /// A request with all options as they are by default.
    #[must_use]
    pub fn new(id: &'a str, bundle: &'a Path) -> Self {
        Self {
            id,
            bundle,
            stdio: Stdio::default(),
            gate: Gate::default(),
            pid_file: None,
            on_birth: None,
            options: Options::default(),
        }
    }
}

/// A container that is created.
#[derive(Debug)]
pub struct Created {
    /// The program's pid, as the caller sees it. It is the caller's child.
    pub pid: i32,
    /// Its pidfd, close-on-exec.
    pub pidfd: OwnedFd,
    /// The master of its terminal, if the process has one.
    pub console: Option<OwnedFd>,
    /// What is odd, and did not stop us.
    pub warnings: Vec<String>,
}

/// What `delete` would read of a container that was just created, for a caller who stays until it ends.
#[derive(Debug)]
pub struct Remains {
    pub(crate) folder: Folder,
    pub(crate) made: Vec<Made>,
    pub(crate) record: Record,
}

impl Runtime {
    /// Creates the container. On failure nothing of it is left.
    ///
    /// # Errors
    /// The bundle is wrong, the host does not let us, or a step fails in the container; each with what to try.
    pub fn create(&self, request: CreateRequest<'_>) -> Result<Created> {
        let bundle = Bundle::read(request.bundle)?;
        self.create_read(request, bundle)
    }

    /// The same for a bundle that the caller has read.
    ///
    /// # Errors
    /// As for `create`.
    pub fn create_read(&self, request: CreateRequest<'_>, bundle: Bundle) -> Result<Created> {
        self.create_kept(request, bundle).map(|(created, _)| created)
    }

    /// The same for a caller who will delete it himself, with `delete_ended`.
    ///
    /// # Errors
    /// As for `create`.
    pub fn create_kept(&self, request: CreateRequest<'_>, bundle: Bundle) -> Result<(Created, Remains)> {
        trace::begin(Phase::Plan);
        check_id(request.id)?;
        let host = Host::look()?;
        let plan = Plan::make(&bundle, request.bundle, request.id, &host, request.options)?;
        let facts = Facts::read()?;
        let cgroup = cgroup::plan(&bundle.spec, request.id, &facts, self.cgroups, host.nested)?;

        // Beyond this point things are made: each is in the journal first.
        self.begin(Step::ClaimId)?;
        let folder = Folder::claim(&self.root, request.id)?;
        let mut build = Build::new(self, &bundle.spec, &plan, &folder);
        match build.run(&request, &cgroup, &host) {
            Ok((created, made, record)) => {
                let warnings = [bundle.warnings, plan.process.warnings, created.warnings].concat();
                Ok((Created { warnings, ..created }, Remains { folder, made, record }))
            }
            Err(error) => {
                let mut failures = undo::unmake_failed(self, &folder, build.init.take());
                if let Some(record) = build.hooked.take() {
                    failures.extend(hooks::poststop(&record));
                }
                Err(failures.iter().fold(error, Error::and_also))
            }
        }
    }
}

/// A create under way.
pub(super) struct Build<'a> {
    pub(super) runtime: &'a Runtime,
    pub(super) spec: &'a Spec,
    pub(super) plan: &'a Plan,
    pub(super) folder: &'a Folder,
    /// Files that get the pid of each of its processes.
    pub(super) resctrl: Vec<PathBuf>,
    /// Init, as soon as it lives.
    pub(super) init: Option<OwnedFd>,
    /// The container, as soon as hooks know of it: a failure then leads to the poststop hooks (runtime.md, steps 12 to 14).
    pub(super) hooked: Option<Record>,
}

impl<'a> Build<'a> {
    /// Nothing is made yet.
    pub(super) fn new(runtime: &'a Runtime, spec: &'a Spec, plan: &'a Plan, folder: &'a Folder) -> Self {
        Self { runtime, spec, plan, folder, resctrl: Vec::new(), init: None, hooked: None }
    }

    fn run(
        &mut self,
        request: &CreateRequest<'_>,
        cgroup_plan: &CgroupPlan,
        host: &Host,
    ) -> Result<(Created, Vec<Made>, Record)> {
        self.runtime.begin(Step::OpenJournal)?;
        let mut journal = Journal::begin(self.folder.owned_fd(), self.folder.path())?;
        let cgroup = self.make_cgroup(cgroup_plan, &mut journal)?;
        self.runtime.begin(Step::Resctrl)?;
        self.resctrl = crate::resctrl::make(self.plan.intel_rdt.as_ref(), &mut journal)?;
        let gate = self.open_gate(request.gate)?;
        self.runtime.begin(Step::OpenChannel)?;
        let (channel, inits_end) = Channel::open()?;

        let init = self.clone_init(request, &channel, inits_end, gate, cgroup.as_ref())?;
        journal.will_make(&Made::Init(init))?;
        // From here on init works at the same time: it mounts while we map, limit, compile and write.
        self.runtime.begin(Step::WriteIdMaps)?;
        idmap::write(init.pid, &self.plan.maps)?;
        self.tell_of_birth(request, init.pid);
        if matches!(self.plan.maps, crate::plan::Maps::Write { .. } | crate::plan::Maps::Helpers { .. }) {
            channel.say(Order::Mapped, &[])?;
        }
        if let Some(cgroup) = &cgroup {
            self.runtime.begin(Step::DeviceProgram)?;
            cgroup.apply(cgroup_plan)?;
        }
        if self.plan.become_root && self.plan.process.console.is_none() {
            crate::stdio::give(&request.stdio, init.pid, self.plan.process.uid)?;
        }
        self.limit(init.pid)?;
        crate::resctrl::join(&self.resctrl, init.pid)?;
        self.runtime.begin(Step::NetDevices)?;
        crate::net_device::move_all(&self.plan.net_devices, init.pid)?;
        let (filter, flags) = self.compile_seccomp()?;
        let record = self.write_state(init, cgroup.as_ref(), host, &filter, flags)?;
        if self.plan.has_hooks || !record.poststart.is_empty() {
            self.hooked = Some(record.clone());
        }
        self.run_hooks(&channel, &record)?;

        // Our part is done. Init confines itself, and says that it is ready, or becomes the program.
        channel.say(Order::Finish { filter: &filter, flags: flags.unwrap_or(0) }, &[])?;
        trace::begin(Phase::Await);
        let console = self.await_ready(&channel, request.gate, &record)?;
        self.publish(request, init.pid, &mut journal)?;
        if request.gate == Gate::Open {
            hooks::run("poststart", &record.poststart, &State::of(&record, Status::Running))?;
        }
        let pidfd = self.init.take().ok_or_else(|| Error::new("cannot find init").because("it was never made"))?;
        let warnings = cgroup_plan.limits.ignored.iter().map(ToString::to_string).collect();
        Ok((Created { pid: init.pid, pidfd, console, warnings }, journal.into_made(), record))
    }

    /// Its namespaces are there and its ids are mapped: who makes its network may enter them (see `kelp_init::born`).
    fn tell_of_birth(&self, request: &CreateRequest<'_>, init: i32) {
        let maps_itself = matches!(self.plan.maps, crate::plan::Maps::Own { .. });
        // Who joins others hides from them until it is at the gate.
        let open = self.plan.joins.is_empty() && !maps_itself;
        if let (Some(OnBirth(told)), true) = (request.on_birth, open) {
            told(init);
        }
    }

    pub(super) fn make_cgroup(&self, plan: &CgroupPlan, journal: &mut Journal) -> Result<Option<Cgroup>> {
        self.runtime.begin(Step::MakeCgroup)?;
        for made in plan.will_be_made() {
            journal.will_make(&made)?;
        }
        let cgroup = Cgroup::make(plan)?;
        if let (None, Some(cgroup)) = (plan.directory(), &cgroup) {
            // Systemd has chosen it.
            journal.will_make(&Made::Cgroup(cgroup.dir().to_owned()))?;
        }
        Ok(cgroup)
    }

    /// A socket in the container's folder, which only we can reach. Its path is too long for an address; its place among
    /// our descriptors is not.
    fn open_gate(&self, gate: Gate) -> Result<Option<OwnedFd>> {
        if gate == Gate::Open {
            return Ok(None);
        }
        self.runtime.begin(Step::OpenGate)?;
        let open = || {
            let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
            bind(&socket, &SocketAddrUnix::new(self.folder.short(GATE))?)?;
            listen(&socket, 4)?;
            Ok(socket)
        };
        open().map(Some).map_err(|errno: kelp_sys::rustix::io::Errno| {
            Error::new("cannot open the start gate").because(std::io::Error::from(errno))
        })
    }

    pub(super) fn open_joins(&self) -> Result<Vec<OwnedFd>> {
        let open = |path: &std::ffi::CStr| openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        self.plan
            .joins
            .iter()
            .map(|joined| {
                let path = joined.path.to_string_lossy();
                open(&joined.path).map_err(|errno| {
                    Error::new(format!("cannot open the namespace {path}"))
                        .because(format!("namespace path: lstat {path}: {}", std::io::Error::from(errno)))
                })
            })
            .collect()
    }

    /// One clone; two where namespaces are joined by path, since some can only be entered before a clone, and where the
    /// kernel does not let us clone into the cgroup from where we are.
    fn clone_init(
        &mut self,
        request: &CreateRequest<'_>,
        channel: &Channel,
        inits_end: OwnedFd,
        gate: Option<OwnedFd>,
        cgroup: Option<&Cgroup>,
    ) -> Result<Identity> {
        let opened = self.open_joins()?;
        let trees = crate::prepare::trees(&self.plan.mounts)?;
        let kinds = self.plan.joins.iter().map(|joined| joined.namespace);
        let joins: Vec<(BorrowedFd<'_>, Namespaces)> = opened.iter().map(AsFd::as_fd).zip(kinds).collect();
        let stdio = match &request.stdio {
            Stdio::Inherit => None,
            Stdio::Fds(fds) => Some(fds.each_ref().map(AsFd::as_fd)),
        };
        let gate = gate.as_ref().map(AsFd::as_fd);
        let kernel_mounts = if self.plan.root.no_pivot { crate::prepare::kernel_mounts()? } else { Vec::new() };
        let fds = Descriptors {
            channel: inits_end.as_fd(),
            gate,
            joins: &joins,
            stdio,
            trees: &trees,
            kernel_mounts: &kernel_mounts,
        };
        self.runtime.begin(Step::Clone)?;
        let direct = if joins.is_empty() { self.clone_directly(&fds, cgroup)? } else { None };
        let helper = if direct.is_none() { Some(self.clone_helper(&fds, cgroup)?) } else { None };
        drop(inits_end);
        let born = match (direct, helper) {
            (_, Some((pid, pidfd))) => Some(self.await_birth(channel, pid, &pidfd)?),
            (direct, None) => direct,
        };
        let (pid, pidfd) = born.ok_or_else(|| Error::new("cannot make init").because("it was never cloned"))?;
        self.init = Some(pidfd);
        Identity::of(pid)
    }

    /// Clones init. None, if it may not be cloned into its cgroup by us (`EACCES`: not all between the two cgroups is ours).
    fn clone_directly(&self, fds: &Descriptors<'_>, cgroup: Option<&Cgroup>) -> Result<Option<(i32, OwnedFd)>> {
        let into = cgroup.map(Cgroup::fd);
        let mut space = crate::channel::space()?;
        let request = Clone { namespaces: self.plan.cloned_namespaces(), cgroup: into, parent: Parent::Caller };
        with_script(self.plan, fds, self.runtime.fail_at, |script| match clone3(&request) {
            Ok(Cloned::Child) => kelp_init::life::live(script, &mut space),
            Ok(Cloned::Parent { pid, pidfd }) => Ok(Some((pid, pidfd))),
            Err(kelp_sys::rustix::io::Errno::ACCESS) if into.is_some() => Ok(None),
            Err(errno) => Err(cannot_clone(errno, self.plan)),
        })
    }

    /// Clones the helper, in the container's cgroup, that will clone init.
    fn clone_helper(&self, fds: &Descriptors<'_>, cgroup: Option<&Cgroup>) -> Result<(i32, OwnedFd)> {
        let mut space = crate::channel::space()?;
        with_script(self.plan, fds, self.runtime.fail_at, |script| match cgroup::clone_into(cgroup)? {
            Cloned::Child => kelp_init::life::help(script, &mut space),
            Cloned::Parent { pid, pidfd } => Ok((pid, pidfd)),
        })
    }

    /// The helper tells init's pid and ends; init is our child.
    fn await_birth(&self, channel: &Channel, helper: i32, helper_fd: &OwnedFd) -> Result<(i32, OwnedFd)> {
        let heard = channel.hear_birth();
        crate::process::reap(helper_fd)?;
        match heard? {
            Heard::Report(Report::Born(pid), _) => {
                let fd = Pid::from_raw(pid)
                    .ok_or(kelp_sys::rustix::io::Errno::SRCH)
                    .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()))
                    .doing(|| format!("cannot open process {pid}"))?;
                Ok((pid, fd))
            }
            Heard::Report(Report::Stopped(stop), said) => Err(self.explain(stop, said)),
            other => Err(Error::new("cannot make init").because(format!("its helper {helper} said {other:?}"))),
        }
    }

    fn explain(&self, stop: Stop, said: Option<OwnedFd>) -> Error {
        explain::explain(stop, self.plan, said)
    }

    /// Before the user namespace could take the right away, and as late as can be: a limit of zero files would hit init.
    fn limit(&self, pid: i32) -> Result<()> {
        self.runtime.begin(Step::ProcessLimits)?;
        crate::limit::apply(pid, &self.plan.process)
    }

    pub(super) fn compile_seccomp(&self) -> Result<(Vec<u8>, Option<u32>)> {
        let Some(profile) = self.spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref()) else {
            return Ok((Vec::new(), None));
        };
        self.runtime.begin(Step::CompileSeccomp)?;
        let program = crate::seccomp::compile(profile, crate::seccomp::NATIVE)?;
        Ok((program.bytes(), Some(program.flags.0)))
    }

    fn write_state(
        &self,
        init: Identity,
        cgroup: Option<&Cgroup>,
        host: &Host,
        filter: &[u8],
        flags: Option<u32>,
    ) -> Result<Record> {
        self.runtime.begin(Step::WriteState)?;
        let record = self.record(init, cgroup, host);
        self.folder.write_record(&record)?;
        self.write_exec(filter, flags)?;
        Ok(record)
    }

    /// What `exec` will need.
    pub(super) fn write_exec(&self, filter: &[u8], flags: Option<u32>) -> Result<()> {
        let Some(process) = self.spec.process() else { return Ok(()) };
        let defaults = ExecDefaults {
            process: process.clone(),
            seccomp_flags: flags,
            seccomp_agent: self.plan.seccomp_agent.clone(),
            nature: self.plan.process.nature.clone(),
        };
        self.folder.write_exec(&defaults, filter)
    }

    pub(super) fn record(&self, init: Identity, cgroup: Option<&Cgroup>, host: &Host) -> Record {
        let joined = self.plan.joins.iter().fold(Namespaces::NONE, |all, joined| all.with(joined.namespace));
        let none = Hooks::default();
        let hooks = self.spec.hooks().as_ref().unwrap_or(&none);
        Record {
            oci_version: self.spec.version().clone(),
            id: self.plan.id.clone(),
            bundle: self.plan.bundle.clone(),
            rootfs: PathBuf::from(self.plan.root.path.to_string_lossy().into_owned()),
            created: humantime::format_rfc3339_nanos(std::time::SystemTime::now()).to_string(),
            owner: host.uid,
            annotations: self.spec.annotations().clone().unwrap_or_default(),
            init,
            cgroup: cgroup.map(|cgroup| cgroup.record().clone()),
            namespaces: self.plan.namespaces.with(joined).bits(),
            shares_pids: !self.plan.namespaces.has(Namespaces::PID),
            is_chroot: self.plan.is_chroot(),
            become_root: self.plan.become_root,
            may_set_groups: self.plan.process.groups.is_some(),
            program: self.plan.process.argv.first().map(|arg| arg.to_string_lossy().into_owned()).unwrap_or_default(),
            resctrl: self.resctrl.clone(),
            start_hooks: hooks.start_container().clone().unwrap_or_default(),
            poststart: hooks.poststart().clone().unwrap_or_default(),
            poststop: hooks.poststop().clone().unwrap_or_default(),
        }
    }

    /// prestart and createRuntime, when all is mounted and nothing is pivoted; then init goes on with its own hooks.
    fn run_hooks(&self, channel: &Channel, record: &Record) -> Result<()> {
        if !self.plan.has_hooks {
            return Ok(());
        }
        match channel.hear()? {
            Heard::Report(Report::Furnished, _) => {}
            Heard::Report(Report::Stopped(stop), said) => return Err(self.explain(stop, said)),
            other => return Err(died(&other)),
        }
        self.runtime.begin(Step::RuntimeHooks)?;
        let state = State::of(record, Status::Creating);
        let hooks = self.spec.hooks().clone().unwrap_or_default();
        #[allow(deprecated, reason = "prestart hooks are deprecated in the spec, and still to be run")]
        let prestart: &[Hook] = hooks.prestart().as_deref().unwrap_or_default();
        hooks::run("prestart", prestart, &state)?;
        hooks::run("createRuntime", hooks.create_runtime().as_deref().unwrap_or_default(), &state)?;
        let creating = in_memory(&state)?;
        let created = in_memory(&State::of(record, Status::Created))?;
        channel.say(Order::Continue, &[creating.as_fd(), created.as_fd()])
    }

    /// The last word of init: ready at the gate, or, without one, nothing at all, since it is the program now.
    fn await_ready(&self, channel: &Channel, gate: Gate, record: &Record) -> Result<Option<OwnedFd>> {
        let mut console = None;
        loop {
            match channel.hear()? {
                Heard::Report(Report::Console, fd) => console = fd,
                Heard::Report(Report::Listener, Some(listener)) => {
                    let state = State::of(record, Status::Creating);
                    crate::seccomp::hand_over(self.plan.seccomp_agent.as_ref(), &listener, record.init.pid, &state)?;
                }
                Heard::Report(Report::Ready, _) => return Ok(console),
                Heard::Report(Report::Stopped(stop), said) => return Err(self.explain(stop, said)),
                Heard::Closed if gate == Gate::Open => return Ok(console),
                other => return Err(died(&other)),
            }
        }
    }

    pub(super) fn publish(&self, request: &CreateRequest<'_>, pid: i32, journal: &mut Journal) -> Result<()> {
        self.runtime.begin(Step::Publish)?;
        if let Some(path) = request.pid_file {
            crate::pidfile::write(path, pid, journal)?;
        }
        self.folder.publish()
    }
}

fn died(heard: &Heard) -> Error {
    let cause = match heard {
        Heard::Closed => {
            "init ended without a word: was it killed, by the kernel for want of memory or by its cgroup?".into()
        }
        Heard::Report(report, _) => format!("init reported {report:?} out of turn"),
    };
    Error::new("cannot create the container").because(cause)
}

fn cannot_clone(errno: kelp_sys::rustix::io::Errno, plan: &Plan) -> Error {
    use kelp_sys::rustix::io::Errno;
    let error =
        Error::new("cannot clone a process into the container's namespaces").because(std::io::Error::from(errno));
    let user = plan.namespaces.has(Namespaces::USER);
    match errno {
        Errno::BUSY => error
            .hint("its cgroup gives controllers to cgroups below it, and then takes no process (cgroups(7), “no internal processes”): choose another linux.cgroupsPath"),
        Errno::PERM | Errno::ACCESS if user => error
            .hint("user namespaces are switched off for you: `sysctl kernel.unprivileged_userns_clone=1`, on Ubuntu `sysctl kernel.apparmor_restrict_unprivileged_userns=0`, in a container let its seccomp profile allow clone")
            .of_kind(Kind::Permission),
        Errno::PERM => error.hint("only root may make namespaces without a user namespace").of_kind(Kind::Permission),
        Errno::NOSPC | Errno::USERS => {
            error.hint("a limit of user namespaces (or another kind) is reached, or they are switched off: see /proc/sys/user/max_user_namespaces and the files beside it (0 means off)")
        }
        _ => error,
    }
}

/// A file that exists in memory only, for a hook's stdin.
fn in_memory(state: &State) -> Result<OwnedFd> {
    use kelp_sys::rustix::fs::{MemfdFlags, memfd_create};
    let doing = || "cannot pass the state to the hooks of the container".to_owned();
    let text = serde_json::to_vec(state).map_err(|error| Error::new(doing()).because(error))?;
    let fd = memfd_create("state", MemfdFlags::CLOEXEC).doing(doing)?;
    std::io::Write::write_all(&mut std::fs::File::from(fd.try_clone().doing(doing)?), &text).doing(doing)?;
    Ok(fd)
}
