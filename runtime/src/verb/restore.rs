// SPDX-License-Identifier: Apache-2.0
//! `restore`: a container's processes, made anew by criu from the files of a checkpoint.
//!
//! Spec: none; runc's behaviour. What `create` makes around the processes is made here too: the cgroup, the state, hooks.

use super::checkpoint::{DESCRIPTORS, bound_places, external_key, external_namespace, open_folders, with_log};
use super::create::Build;
use crate::bundle::Bundle;
use crate::cgroup::{self, Cgroup, CgroupPlan, Facts};
use crate::criu::{self, Kind as Call, Notice, Options, Request};
use crate::error::{Doing, Error, Result};
use crate::host::Host;
use crate::journal::{Journal, Made};
use crate::plan::{self, Plan, WhatPlan};
use crate::process::Identity;
use crate::state::{Folder, Record, State, Status};
use crate::{CreateRequest, Created, Runtime, hooks, undo};
use kelp_init::target::{Kind as Sort, find_or_make};
use kelp_sys::clone::Namespaces;
use kelp_sys::mount::{Propagation, Reach, attach_mount, clone_mount, here, set_propagation};
use kelp_sys::rustix::fd::{AsFd, OwnedFd};
use kelp_sys::rustix::fs::{CWD, Mode, OFlags, openat};
use kelp_sys::rustix::mount::UnmountFlags;
use kelp_sys::rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

impl Runtime {
    /// Restores a container from the files of a checkpoint. It runs; its init is a child of the caller, who is in a mount
    /// namespace of his own from now on. On failure nothing of it is left.
    ///
    /// # Errors
    /// As for `create`; criu is not there, is too old, or cannot make the processes.
    pub fn restore(&self, request: &CreateRequest<'_>, options: &Options) -> Result<Created> {
        let bundle = Bundle::read(request.bundle)?;
        let host = Host::look()?;
        let plan = Plan::make(&bundle, request.bundle, request.id, &host, request.options)?;
        if plan.root.overlay.is_some() {
            return Err(Error::unsupported("an overlay at / in restore", "criu is given a folder as the root")
                .hint("mount it, and name it in root.path"));
        }
        if plan.mounts.iter().any(|mount| matches!(mount.what, WhatPlan::Prepared { ids: Some(_), .. })) {
            return Err(Error::unsupported("an id-mapped mount in restore", "criu binds the source as it is"));
        }
        let facts = Facts::read()?;
        let cgroups = cgroup::plan(&bundle.spec, request.id, &facts, self.cgroups, host.nested)?;

        let folder = Folder::claim(&self.root, request.id)?;
        let build = Build::new(self, &bundle.spec, &plan, &folder);
        let mut restore = Restore { build, options, host: &host, init: None, console: None };
        match restore.run(request, &cgroups) {
            Ok(created) => Ok(Created { warnings: [bundle.warnings, created.warnings].concat(), ..created }),
            Err(error) => {
                let failures =
                    undo::unmake_failed(self, &folder, restore.init.and_then(|init| init.open().ok().flatten()));
                Err(failures.iter().fold(with_log(error, options, "restore.log"), Error::and_also))
            }
        }
    }
}

struct Restore<'a> {
    build: Build<'a>,
    options: &'a Options,
    host: &'a Host,
    init: Option<Identity>,
    console: Option<OwnedFd>,
}

impl Restore<'_> {
    fn run(&mut self, request: &CreateRequest<'_>, cgroups: &CgroupPlan) -> Result<Created> {
        let mut journal = Journal::begin(self.build.folder.owned_fd(), self.build.folder.path())?;
        let cgroup = self.build.make_cgroup(cgroups, &mut journal)?;
        self.build.resctrl = crate::resctrl::make(self.build.plan.intel_rdt.as_ref(), &mut journal)?;
        let root = self.mount_root()?;
        let restored = self.restore_at(&root, cgroups, cgroup.as_ref(), &mut journal);
        // Before anybody unmakes anything by its path.
        let cleared = clear(&root);
        let pid = match (restored, cleared) {
            (Ok(pid), Ok(())) => pid,
            (Err(error), Ok(())) | (Ok(_), Err(error)) => return Err(error),
            (Err(error), Err(undo)) => return Err(error.and_also(&undo)),
        };
        self.build.publish(request, pid, &mut journal)?;
        let pidfd = Pid::from_raw(pid)
            .ok_or(kelp_sys::rustix::io::Errno::SRCH)
            .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()))
            .doing(|| format!("cannot open process {pid}"))?;
        let warnings = cgroups.limits.ignored.iter().map(ToString::to_string).collect();
        Ok(Created { pid, pidfd, console: self.console.take(), warnings })
    }

    /// Has criu make the processes; returns init's pid.
    fn restore_at(
        &mut self,
        root: &Path,
        cgroups: &CgroupPlan,
        cgroup: Option<&Cgroup>,
        journal: &mut Journal,
    ) -> Result<i32> {
        let (images, work) = open_folders(self.options)?;
        let mut asked = self.options.request("restore.log", &images, work.as_ref());
        let joins = self.build.open_joins()?;
        self.describe(&mut asked, root, &joins)?;
        let criu = self.options.start(&joins)?;
        if let Some(cgroup) = cgroup {
            // What criu makes is born where it is.
            cgroup.attach(criu.pid())?;
            cgroup.apply(cgroups)?;
            asked.cgroup_root(&own_cgroup(criu.pid())?);
        }
        let (filter, flags) = self.build.compile_seccomp()?;
        self.build.write_exec(&filter, flags)?;
        let restored = criu.perform(Call::Restore, &asked, |notice| self.hear(notice, cgroup, journal))?;
        restored
            .or(self.init.map(|init| init.pid))
            .ok_or_else(|| Error::new("cannot find the restored process").because("criu does not tell its pid"))
    }

    /// criu wants a mount as the root. In a mount namespace of ours it goes when we go, whatever happens; and not in the
    /// container's folder, where a mount would stand in the way of its removal, or lead it into the root file system.
    fn mount_root(&self) -> Result<PathBuf> {
        let doing = || "cannot mount the root file system for criu".to_owned();
        kelp_sys::process::unshare(Namespaces::MOUNT).doing(doing)?;
        set_propagation(c"/", Propagation::Slave, Reach::Tree).doing(doing)?;
        let at = std::env::temp_dir().join(format!("kelp-restore-{}", std::process::id()));
        std::fs::DirBuilder::new().mode(0o700).create(&at).doing(|| format!("cannot make {}", at.display()))?;
        let tree = clone_mount(here(), &self.build.plan.root.path, Reach::Tree).doing(doing)?;
        let place = openat(CWD, &at, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).doing(doing)?;
        attach_mount(tree.as_fd(), place.as_fd()).doing(doing)?;
        let root = openat(CWD, &at, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).doing(doing)?;
        self.make_mountpoints(&root)?;
        Ok(at)
    }

    /// The places of mounts may be missing in a root that the container has never run in. What lies on a tmpfs is among the
    /// files, and what lies on a bind mount is its owner's.
    fn make_mountpoints(&self, root: &OwnedFd) -> Result<()> {
        let mut covered: Vec<&[u8]> = Vec::new();
        for mount in &self.build.plan.mounts {
            let target = mount.target.as_bytes();
            let below = |upper: &&[u8]| target.strip_prefix(*upper).is_some_and(|rest| rest.starts_with(b"/"));
            if !covered.iter().any(below) {
                let sort = match &mount.what {
                    WhatPlan::Bind { source, .. } | WhatPlan::Prepared { source, .. } if !is_directory(source) => {
                        Sort::File
                    }
                    _ => Sort::Directory,
                };
                find_or_make(root.as_fd(), &mount.target, sort)
                    .doing(|| format!("cannot find or make the place /{}", mount.target.to_string_lossy()))?;
            }
            covered.push(target);
        }
        Ok(())
    }

    fn describe(&self, request: &mut Request, root: &Path, joins: &[OwnedFd]) -> Result<()> {
        request.text(Request::ROOT, &root.to_string_lossy());
        request.flag(Request::RST_SIBLING, true);
        request.flag(Request::EVASIVE_DEVICES, true);
        for (field, text) in [
            (Request::LSM_PROFILE, &self.options.lsm_profile),
            (Request::LSM_MOUNT_CONTEXT, &self.options.lsm_mount_context),
        ] {
            if let Some(text) = text {
                request.text(field, text);
            }
        }
        let sources = bound_sources(self.build.plan);
        bound_places(self.build.plan)
            .iter()
            .zip(sources)
            .for_each(|(place, source)| request.external_mount(place, &source));
        if !self.build.plan.masked_paths.is_empty() {
            request.external_mount("/dev/null", "/dev/null");
        }
        for (joined, fd) in self.build.plan.joins.iter().zip(joins) {
            match external_namespace(joined.namespace) {
                Some(name) => request.inherit_fd(&external_key(name), criu::number(fd)),
                None => request.join_namespace(joinable(joined.namespace)?, &joined.path.to_string_lossy()),
            }
        }
        let path = self.options.images.join(DESCRIPTORS);
        let text = std::fs::read(&path).doing(|| format!("cannot read {}", path.display()))?;
        let streams: Vec<String> = serde_json::from_slice(&text)
            .map_err(|error| Error::bad_input(format!("cannot understand {}", path.display())).because(error))?;
        for (stream, fd) in streams.iter().zip(0..) {
            if stream.contains("pipe:") || stream.starts_with("file[") {
                request.inherit_fd(stream, fd);
            }
        }
        Ok(())
    }

    fn hear(&mut self, notice: Notice, cgroup: Option<&Cgroup>, journal: &mut Journal) -> Result<()> {
        match (notice.script.as_str(), notice.pid) {
            ("setup-namespaces", Some(pid)) => {
                let record = self.note(pid, cgroup, journal)?;
                crate::resctrl::join(&self.build.resctrl, pid)?;
                crate::net_device::move_all(&self.build.plan.net_devices, pid)?;
                let state = State::of(&record, Status::Creating);
                let hooks = self.build.spec.hooks().clone().unwrap_or_default();
                #[allow(deprecated, reason = "prestart hooks are deprecated in the spec, and still to be run")]
                hooks::run("prestart", hooks.prestart().as_deref().unwrap_or_default(), &state)?;
                hooks::run("createRuntime", hooks.create_runtime().as_deref().unwrap_or_default(), &state)
            }
            // Its namespaces are complete now.
            ("post-restore", Some(pid)) => self.note(pid, cgroup, journal).map(drop),
            ("orphan-pts-master", _) => {
                self.console = notice.fd;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Writes down who init is.
    fn note(&mut self, pid: i32, cgroup: Option<&Cgroup>, journal: &mut Journal) -> Result<Record> {
        let init = Identity::of(pid)?;
        if self.init != Some(init) {
            journal.will_make(&Made::Init(init))?;
            self.init = Some(init);
        }
        let mut record = self.build.record(init, cgroup, self.host);
        record.namespaces = differing_namespaces(pid)?;
        self.build.folder.write_record(&record)?;
        Ok(record)
    }
}

/// Takes the mount of the root away again; it is the container's own now.
fn clear(root: &Path) -> Result<()> {
    kelp_sys::rustix::mount::unmount(root, UnmountFlags::DETACH)
        .map_err(std::io::Error::from)
        .and_then(|()| std::fs::remove_dir(root))
        .doing(|| format!("cannot remove {}", root.display()))
}

fn is_directory(path: &std::ffi::CStr) -> bool {
    std::fs::metadata(Path::new(&*path.to_string_lossy())).is_ok_and(|metadata| metadata.is_dir())
}

/// Where what is bound comes from, in the order of `bound_places`.
fn bound_sources(plan: &Plan) -> Vec<String> {
    let mounts = plan.mounts.iter().filter_map(|mount| match &mount.what {
        WhatPlan::Bind { source, .. } | WhatPlan::Prepared { source, .. } => Some(source),
        WhatPlan::FileSystem { .. } | WhatPlan::Tmpfs { .. } | WhatPlan::Remount { .. } => None,
    });
    let devices = plan.devices.iter().filter_map(|device| match &device.how {
        plan::DeviceHowPlan::Bind { source } => Some(source),
        plan::DeviceHowPlan::Make { .. } => None,
    });
    mounts.chain(devices).map(|source| source.to_string_lossy().into_owned()).collect()
}

/// criu's name of a kind of namespace that it can join.
fn joinable(kind: Namespaces) -> Result<&'static str> {
    match kind {
        Namespaces::IPC => Ok("ipc"),
        Namespaces::UTS => Ok("uts"),
        Namespaces::MOUNT => Ok("mnt"),
        Namespaces::USER => Ok("user"),
        Namespaces::TIME => Ok("time"),
        _ => Err(Error::unsupported("a cgroup namespace by path in restore", "criu cannot join one")),
    }
}

/// In which namespaces a process is that we are not in: criu also makes a time namespace, in which clocks go on from where
/// they were.
fn differing_namespaces(pid: i32) -> Result<u64> {
    let kinds = [
        ("mnt", Namespaces::MOUNT),
        ("cgroup", Namespaces::CGROUP),
        ("uts", Namespaces::UTS),
        ("ipc", Namespaces::IPC),
        ("user", Namespaces::USER),
        ("pid", Namespaces::PID),
        ("net", Namespaces::NETWORK),
        ("time", Namespaces::TIME),
    ];
    let read = |path: String| std::fs::read_link(&path).doing(|| format!("cannot read {path}"));
    let mut differing = Namespaces::NONE;
    for (name, kind) in kinds {
        if read(format!("/proc/{pid}/ns/{name}"))? != read(format!("/proc/self/ns/{name}"))? {
            differing = differing.with(kind);
        }
    }
    Ok(differing.bits())
}

/// The cgroup of a process, as the kernel names it.
fn own_cgroup(pid: i32) -> Result<String> {
    let path = format!("/proc/{pid}/cgroup");
    let text = std::fs::read_to_string(&path).doing(|| format!("cannot read {path}"))?;
    let own = text.lines().find_map(|line| line.strip_prefix("0::"));
    own.map(str::to_owned).ok_or_else(|| Error::new("cannot find criu's cgroup").because("it is in none of cgroup v2"))
}
