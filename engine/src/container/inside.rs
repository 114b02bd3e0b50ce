// SPDX-License-Identifier: Apache-2.0
//! The files of a container as it sees them itself: its root with all that is mounted in it, whether it runs or not.
//!
//! A container that does not run is made for as long as it takes, and not started: so its volumes are in their places, and no
//! other view of an overlay than the kernel's is needed.

use super::claim::{Claim, Tried};
use super::find::Container;
use super::{remove, status};
use crate::caller::Caller;
use crate::error::{Doing, Error, Kind, Result};
use kelp_runtime::bundle::Bundle;
use kelp_runtime::cgroup::Manager;
use kelp_runtime::{CreateRequest, Runtime, Stdio};
use kelp_sys::rustix::fs::{CWD, Mode, OFlags, openat};
use kelp_sys::rustix::process::{Pid, PidfdFlags, pidfd_open, test_kill_process};
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// What it takes to work in the container's files.
#[derive(Debug)]
pub struct Inside {
    /// Its root.
    pub root: OwnedFd,
    /// Its user namespace, where that is not ours.
    pub user: Option<OwnedFd>,
}

/// Does something with the files of the container.
pub fn with<T>(caller: &Caller, container: &Container, act: impl FnOnce(&Inside) -> Result<T>) -> Result<T> {
    let status = status::of(caller, container)?;
    if status.pid > 0 {
        match Inside::of(container, status.pid) {
            Ok(inside) => return act(&inside),
            Err(error) if !status::has_just_ended(caller, container) => return Err(error),
            // It has just ended.
            Err(_) => {}
        }
    }
    let claim = claim(caller, container)?;
    caller.places.make_run()?;
    let runtime = Runtime { cgroups: Manager::Disabled, ..caller.runtime() };
    let pid = make(&runtime, container)?;
    let done = Inside::of(container, pid).and_then(|inside| act(&inside));
    let gone = runtime.delete(&container.record.id, true).map(drop).map_err(Error::from);
    drop(claim);
    match (done, gone) {
        (Err(error), Err(undo)) => Err(error.and_also(&undo)),
        (done, gone) => gone.and(done),
    }
}

/// How long another one may take who starts or removes the container.
const PATIENCE: Duration = Duration::from_secs(10);

/// Nobody may start or remove it meanwhile.
fn claim(caller: &Caller, container: &Container) -> Result<Claim> {
    let doing = || format!("cannot reach the files of container {}", container.record.name);
    let claim = match Claim::take(&container.folder, PATIENCE)? {
        Tried::Taken(claim) => claim,
        Tried::NoFolder => return Err(Error::new(Kind::NotFound, doing(), "it was removed")),
        Tried::Busy => return Err(Error::new(Kind::WrongState, doing(), "another kelp is starting or removing it")),
    };
    if remove::await_shim(caller, container)? == remove::Shim::Holds {
        return Err(Error::new(Kind::WrongState, doing(), "it is being started again"));
    }
    // What an earlier run left, or a copy that was killed.
    remove::forget(caller, &container.record)?;
    Ok(claim)
}

/// The container, waiting to be started.
fn make(runtime: &Runtime, container: &Container) -> Result<i32> {
    let doing = || format!("cannot reach the files of container {}", container.record.name);
    let mut bundle = Bundle::read(&container.folder)?;
    if let Some(linux) = bundle.spec.linux_mut() {
        // It uses nothing, and has no cgroup.
        linux.set_resources(None);
    }
    let null = || File::options().read(true).write(true).open("/dev/null").map(OwnedFd::from).doing(doing);
    let stdio = Stdio::Fds([null()?, null()?, null()?]);
    let request = CreateRequest { stdio, ..CreateRequest::new(&container.record.id, &container.folder) };
    let created = runtime.create_read(request, bundle).map_err(|error| Error::from(error).while_doing(doing()))?;
    Ok(created.pid)
}

impl Inside {
    /// As the kernel knows it by the container's first process.
    fn of(container: &Container, pid: i32) -> Result<Inside> {
        let doing = || format!("cannot reach the files of container {}", container.record.name);
        let process = Pid::from_raw(pid).ok_or(kelp_sys::rustix::io::Errno::SRCH).doing(doing)?;
        let pidfd = pidfd_open(process, PidfdFlags::empty()).doing(doing)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, format!("/proc/{pid}/root/."), flags, Mode::empty()).doing(doing)?;
        let user = File::open(format!("/proc/{pid}/ns/user")).doing(doing)?;
        let links = |of: &str| fs::read_link(format!("/proc/{of}/ns/user")).doing(doing);
        let ours = links("self")? == links(&pid.to_string())?;
        // It still is the one whose root that was.
        test_kill_process(process).doing(doing)?;
        drop(pidfd);
        Ok(Inside { root, user: (!ours).then(|| user.into()) })
    }
}
