// SPDX-License-Identifier: Apache-2.0
//! `checkpoint`: a container's processes, written to files by criu.
//!
//! Spec: none; runc's behaviour. What is bound from outside is not saved: it is named, and found again by its name.

use crate::bundle::Bundle;
use crate::criu::{Kind as Call, Options, Request};
use crate::error::{Doing, Error, Kind, Result};
use crate::host::Host;
use crate::plan::{self, DeviceHowPlan, Plan, WhatPlan};
use crate::state::{Folder, Record, Status};
use crate::{Runtime, process::Identity};
use kelp_sys::clone::Namespaces;
use kelp_sys::rustix::fd::OwnedFd;
use kelp_sys::rustix::fs::{CWD, Mode, OFlags, openat, stat};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

/// Names of what the standard streams were, beside criu's files.
pub(super) const DESCRIPTORS: &str = "descriptors.json";

/// What is written, and what becomes of the container.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dump {
    /// `--leave-running`
    pub leave_running: bool,
    /// `--pre-dump`: memory only, and the container goes on.
    pub pre_dump: bool,
}

impl Runtime {
    /// Writes the container's processes to files. Unless it shall go on, it is deleted then. Returns warnings.
    ///
    /// # Errors
    /// It does not run; criu is not there, is too old, or cannot save what the container does.
    pub fn checkpoint(&self, id: &str, dump: Dump, options: &Options) -> Result<Vec<Error>> {
        let folder = Folder::open(&self.root, id)?;
        let (state, record) = folder.state()?;
        if !matches!(state.status, Status::Running | Status::Paused) {
            return Err(Error::new(format!("cannot checkpoint container {id}"))
                .because(format!("Container cannot be checkpointed in {} state", state.status))
                .of_kind(Kind::NotRunning));
        }
        let bundle = Bundle::read(&record.bundle)?;
        let plan = Plan::make(&bundle, &record.bundle, id, &Host::look()?, plan::Options::default())?;
        let (images, work) = open_folders(options)?;
        let criu = options.start(&[])?;
        let mut request = options.request("dump.log", &images, work.as_ref());
        request.number(Request::PID, record.init.pid.cast_unsigned().into());
        request.flag(Request::LEAVE_RUNNING, dump.leave_running);
        request.flag(Request::LINK_REMAP, options.link_remap);
        request.flag(Request::TCP_SKIP_IN_FLIGHT, options.tcp_skip_in_flight);
        add_memory(&mut request, options);
        name_what_is_outside(&mut request, &plan, &record, options)?;
        let kind = if dump.pre_dump { Call::PreDump } else { Call::Dump };
        criu.perform(kind, &request, |_| Ok(())).map_err(|error| with_log(error, options, "dump.log"))?;
        if dump.leave_running || dump.pre_dump { Ok(Vec::new()) } else { self.delete(id, true) }
    }
}

/// The folders of files and logs, made where they are missing.
pub(super) fn open_folders(options: &Options) -> Result<(OwnedFd, Option<OwnedFd>)> {
    let open = |path: &Path| {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .doing(|| format!("cannot make the folder {}", path.display()))?;
        openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .doing(|| format!("cannot open the folder {}", path.display()))
    };
    Ok((open(&options.images)?, options.work.as_deref().map(open).transpose()?))
}

/// Where memory goes, and what of it is written already.
fn add_memory(request: &mut Request, options: &Options) {
    if let Some((address, port)) = &options.page_server {
        request.page_server(address, *port);
    }
    if let Some(parent) = &options.parent {
        request.text(Request::PARENT_IMG, &parent.to_string_lossy());
        request.flag(Request::TRACK_MEM, true);
    }
}

/// Everything that criu shall not save, since it is another's.
fn name_what_is_outside(request: &mut Request, plan: &Plan, record: &Record, options: &Options) -> Result<()> {
    request.text(Request::ROOT, &plan.root.path.to_string_lossy());
    if let Some(cgroup) = &record.cgroup {
        request.text(Request::FREEZE_CGROUP, &cgroup.dir.to_string_lossy());
    }
    for joined in &plan.joins {
        if let Some(name) = external_namespace(joined.namespace) {
            let inode =
                stat(&joined.path).doing(|| format!("cannot look at {}", joined.path.to_string_lossy()))?.st_ino;
            request.text(Request::EXTERNAL, &format!("{name}[{inode}]:{}", external_key(name)));
        }
    }
    for place in bound_places(plan) {
        request.external_mount(&place, &place);
    }
    for path in &plan.masked_paths {
        let path = format!("/{}", path.to_string_lossy());
        let there = std::fs::metadata(format!("/proc/{}/root{path}", record.init.pid));
        if there.is_ok_and(|metadata| !metadata.is_dir()) {
            request.external_mount(&path, "/dev/null");
        }
    }
    let streams = streams(record.init)?;
    for stream in streams.iter().filter(|stream| stream.starts_with("file[")) {
        request.text(Request::EXTERNAL, stream);
    }
    let path = options.images.join(DESCRIPTORS);
    let text = serde_json::to_vec(&streams).map_err(|error| Error::new("cannot write JSON").because(error))?;
    std::fs::write(&path, text).doing(|| format!("cannot write {}", path.display()))
}

/// Mounts that come from outside, with their places.
pub(super) fn bound_places(plan: &Plan) -> Vec<String> {
    let mounts = plan
        .mounts
        .iter()
        .filter(|mount| matches!(mount.what, WhatPlan::Bind { .. } | WhatPlan::Prepared { .. }))
        .map(|mount| &mount.target);
    let devices = plan
        .devices
        .iter()
        .filter(|device| matches!(device.how, DeviceHowPlan::Bind { .. }))
        .map(|device| &device.path);
    mounts.chain(devices).map(|path| format!("/{}", path.to_string_lossy())).collect()
}

/// criu's name of a kind of namespace that it can leave to others.
pub(super) fn external_namespace(kind: Namespaces) -> Option<&'static str> {
    match kind {
        Namespaces::NETWORK => Some("net"),
        Namespaces::PID => Some("pid"),
        _ => None,
    }
}

/// The name that such a namespace is saved under, as runc gives it.
pub(super) fn external_key(name: &str) -> String {
    format!("extRoot{}{}NS", name[..1].to_ascii_uppercase(), &name[1..])
}

/// What the program's standard streams are, in criu's words: pipes by their names, files by mount and inode if they are not
/// the container's own; of terminals of the container nothing need be said.
fn streams(init: Identity) -> Result<Vec<String>> {
    let mounts = std::fs::read_to_string(format!("/proc/{}/mountinfo", init.pid))
        .doing(|| format!("cannot read the mounts of process {}", init.pid))?;
    let own = |mount: &str| mounts.lines().any(|line| line.split(' ').next() == Some(mount));
    (0..3)
        .map(|fd| {
            let proc = |kind: &str| format!("/proc/{}/{kind}/{fd}", init.pid);
            let Ok(link) = std::fs::read_link(proc("fd")) else { return Ok(String::new()) };
            let link = link.to_string_lossy().into_owned();
            if !link.starts_with('/') {
                return Ok(link);
            }
            let info = std::fs::read_to_string(proc("fdinfo")).doing(|| format!("cannot read {}", proc("fdinfo")))?;
            let mount = info.lines().find_map(|line| line.strip_prefix("mnt_id:")).map(str::trim).unwrap_or_default();
            let inode = std::fs::metadata(proc("fd")).doing(|| format!("cannot look at {}", proc("fd")))?.ino();
            match mount.parse::<u64>() {
                Ok(number) if !own(mount) => Ok(format!("file[{number:x}:{inode:x}]")),
                _ => Ok(link),
            }
        })
        .collect()
}

/// The error with the last complaint of criu's log, and where the rest is.
pub(super) fn with_log(error: Error, options: &Options, log: &str) -> Error {
    let path = options.log_folder().join(log);
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let complaint = text.lines().find(|line| line.contains("Error ("));
    let cause = error.cause().unwrap_or_default().to_owned();
    let error = error.hint(format!("criu's log is {}", path.display()));
    match complaint {
        Some(line) => error.because(format!("{cause}: {}", line.trim())),
        None => error,
    }
}
