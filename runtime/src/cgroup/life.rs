// SPDX-License-Identifier: Apache-2.0
//! A container's cgroup from make to remove.
//!
//! `make` and `apply` run in create; all else runs in later calls, on what the state remembers ([`Record`]).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kelp_sys::rustix::fs::rmdir;
use kelp_sys::rustix::io::Errno;
use oci_spec::runtime::LinuxResources;
use serde::{Deserialize, Serialize};

use super::events::Event;
use super::facts::{open_directory, read_file};
use super::limits::Limits;
use super::make::write_file;
use super::place::Place;
use super::systemd::{Keeper, Scope, ScopePlan};
use super::{CgroupPlan, Error, Kind, apply, enter, error, kernel, make, tree};

/// How long killed processes may take to go, and running ones to stand still. Both take microseconds unless a process
/// sleeps uninterruptibly in the kernel (a dead NFS server).
const PATIENCE: Duration = Duration::from_secs(10);

/// What the state remembers of a cgroup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its directory.
    pub dir: PathBuf,
    /// The scope of systemd that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
}

impl Record {
    /// A cgroup of which no more is known than where it is.
    #[must_use]
    pub fn at(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), scope: None }
    }
}

/// A container's cgroup, open.
#[derive(Debug)]
pub struct Cgroup {
    record: Record,
    fd: OwnedFd,
    /// Keeps a new scope alive until the container is in it: as long as the [`Cgroup`] that made it.
    _keeper: Option<Keeper>,
}

impl Cgroup {
    /// Makes the cgroup of the plan: directories, controllers, owner. None if the plan has none. Limits are for
    /// [`Self::apply`], which can wait until the clone is done.
    pub fn make(plan: &CgroupPlan) -> Result<Option<Self>, Error> {
        match &plan.place {
            Place::None { .. } => Ok(None),
            Place::Directory { base, dir } => {
                let fd = make::make(plan, base, dir)?;
                Ok(Some(Self { record: Record::at(dir), fd, _keeper: None }))
            }
            Place::Scope(scope) => Self::make_scope(plan, scope).map(Some),
        }
    }

    fn make_scope(plan: &CgroupPlan, scope: &ScopePlan) -> Result<Self, Error> {
        let (keeper, dir) = scope.start()?;
        make::give_what_systemd_does_not(plan.needed, &scope.mount.at, &dir);
        let fd = make::take(plan, &dir)?;
        let record = Record { dir, scope: Some(scope.scope.clone()) };
        Ok(Self { record, fd, _keeper: Some(keeper) })
    }

    /// Opens what `make` made. None if it has gone, which is how every removed cgroup ends.
    pub fn open(record: &Record) -> Result<Option<Self>, Error> {
        match open_directory(&record.dir) {
            Ok(fd) => Ok(Some(Self { record: record.clone(), fd, _keeper: None })),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(kernel(format!("cannot look at the cgroup {}", record.dir.display()), "open", errno)),
        }
    }

    /// The cgroup in which the container's init is now: the container may have moved it since it was made, or have given
    /// controllers to cgroups below, and then its outermost one takes no process. None for a container that was given none.
    pub fn of_init(record: Option<&Record>, init: i32) -> Result<Option<Self>, Error> {
        let Some(record) = record else { return Ok(None) };
        let now = enter::directory_now(init, &record.dir).unwrap_or_else(|| record.dir.clone());
        let scope = record.scope.clone().filter(|_| now.starts_with(&record.dir));
        let now = Record { dir: now, scope };
        Self::open(&now)?.map(Some).ok_or_else(|| {
            let doing = format!("cannot find the cgroup of the container's init, process {init}");
            error(Kind::Other, doing, format!("{} is not there", now.dir.display()))
        })
    }

    /// The cgroup of a process, if it is in one that is not ours.
    pub fn of_process(pid: i32) -> Result<Option<Self>, Error> {
        let own = i32::try_from(std::process::id()).ok().and_then(enter::directory_of);
        let theirs = enter::directory_of(pid).filter(|theirs| Some(theirs) != own.as_ref());
        theirs.map_or(Ok(None), |dir| Self::open(&Record::at(&dir)))
    }

    /// Opens a cgroup below it, which exists.
    pub fn open_below(&self, path: &str) -> Result<Self, Error> {
        let dir = self.record.dir.join(path.trim_start_matches('/'));
        Self::open(&Record { dir, scope: self.record.scope.clone() })?.ok_or_else(|| {
            let doing = format!("cannot find the cgroup {path} in {}", self.record.dir.display());
            error(Kind::BadInput, doing, "no such file or directory").hint("only what the container has made is there")
        })
    }

    /// What to keep in the state.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Its directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.record.dir
    }

    /// For `clone_args.cgroup`.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Writes the plan's limits and loads its device program. Once, on a new cgroup.
    pub fn apply(&self, plan: &CgroupPlan) -> Result<(), Error> {
        apply::write_limits(self.fd(), &plan.limits)?;
        plan.devices.as_deref().map_or(Ok(()), |rules| apply::guard_devices(self.fd(), rules, true))
    }

    /// Changes the limits of a living container to those of `resources`; what it does not name stays. Device rules are
    /// changed only if there are any: an update without them (as docker, podman and kubelet send it) must not take away
    /// what the container was given.
    pub fn update(&self, resources: &LinuxResources) -> Result<(), Error> {
        let limits = Limits::of(resources)?;
        let rules = resources.devices().as_deref().filter(|rules| !rules.is_empty());
        if let Some(scope) = &self.record.scope {
            // Systemd writes too: the look at the memory in use comes before it.
            apply::check(self.fd(), &limits)?;
            scope.limit(&limits.writes)?;
        }
        apply::write_limits(self.fd(), &limits)?;
        let rules = rules.map(super::device::rules).transpose()?;
        rules.map_or(Ok(()), |rules| apply::guard_devices(self.fd(), &rules, false))
    }

    /// Puts a process into it that could not be cloned into it: a user may write `cgroup.procs` only where all between
    /// the two cgroups is his own, and his systemd may where he may not.
    pub fn attach(&self, pid: i32) -> Result<(), Error> {
        match (write_file(&self.fd, "cgroup.procs", pid.to_string().as_bytes()), &self.record.scope) {
            (Ok(()), _) => Ok(()),
            (Err(Errno::ACCESS | Errno::PERM), Some(scope)) => scope.put(pid.cast_unsigned()),
            (Err(errno), _) => Err(self.failed("put a process into", "write cgroup.procs", errno)),
        }
    }

    /// Stops all processes where they are. When this returns, they stand still; if they would not, they run on.
    pub fn freeze(&self) -> Result<(), Error> {
        self.set_frozen(true)?;
        if self.wait(Event::Frozen, true)? {
            return Ok(());
        }
        self.set_frozen(false)?;
        let because = format!("a process is stuck in the kernel for more than {} seconds", PATIENCE.as_secs());
        Err(error(Kind::Other, self.doing("freeze"), because).hint("look for state D: ps -o pid,stat,wchan,cmd"))
    }

    /// Lets them go on.
    pub fn thaw(&self) -> Result<(), Error> {
        self.set_frozen(false)
    }

    /// Whether everything in it stands still.
    pub fn is_frozen(&self) -> Result<bool, Error> {
        Event::Frozen.now(&self.fd).map_err(|errno| self.failed("look at", "read cgroup.events", errno))
    }

    /// Whether anything lives in it or below.
    pub fn is_populated(&self) -> Result<bool, Error> {
        Event::Populated.now(&self.fd).map_err(|errno| self.failed("look at", "read cgroup.events", errno))
    }

    /// Kills everything in it and below with SIGKILL, at once and without a race against forks; frozen or not. Does not
    /// wait: a pidfd of init, or [`Self::remove`], does.
    pub fn kill(&self) -> Result<(), Error> {
        match write_file(&self.fd, "cgroup.kill", b"1") {
            Ok(()) | Err(Errno::NOENT | Errno::NODEV) => Ok(()),
            Err(errno) => Err(self.failed("kill", "write cgroup.kill", errno)),
        }
    }

    /// The ids of all processes in it and below.
    pub fn processes(&self) -> Result<Vec<i32>, Error> {
        let mut processes = Vec::new();
        let walked = tree::for_each(self.fd(), |cgroup| {
            let list = match read_file(cgroup, "cgroup.procs") {
                // Gone meanwhile; or threaded, and then a cgroup above lists its processes.
                Err(Errno::NODEV | Errno::NOENT | Errno::OPNOTSUPP) => return Ok(()),
                read => read?,
            };
            processes.extend(String::from_utf8_lossy(&list).lines().filter_map(|line| line.parse::<i32>().ok()));
            Ok(())
        });
        walked.map_err(|errno| self.failed("list the processes of", "read cgroup.procs", errno))?;
        Ok(processes)
    }

    /// Removes it and what the container made below, and its scope. Waits for processes that are being killed, and kills
    /// none itself.
    pub fn remove(self) -> Result<(), Error> {
        self.remove_directory()?;
        self.record.scope.as_ref().map_or(Ok(()), Scope::stop)
    }

    fn remove_directory(&self) -> Result<(), Error> {
        // Mostly it is empty, and one call is enough.
        if self.rmdir()? {
            return Ok(());
        }
        if self.wait(Event::Populated, false)? {
            let stuck = self.processes()?.iter().map(i32::to_string).collect::<Vec<_>>().join(" ");
            return Err(error(Kind::Other, self.doing("remove"), format!("processes live in it: {stuck}"))
                .hint("kill the container first; a process in state D goes only when its device or server answers"));
        }
        tree::remove_below(self.fd()).map_err(|errno| self.failed("remove what is below", "rmdir", errno))?;
        match self.rmdir()? {
            true => Ok(()),
            false => Err(self.failed("remove", "rmdir", Errno::BUSY)),
        }
    }

    /// Whether it is gone now; not, if there is something in it.
    fn rmdir(&self) -> Result<bool, Error> {
        match rmdir(self.dir()) {
            Ok(()) | Err(Errno::NOENT) => Ok(true),
            Err(Errno::BUSY | Errno::NOTEMPTY) => Ok(false),
            Err(errno) => Err(self.failed("remove", "rmdir", errno)),
        }
    }

    fn set_frozen(&self, frozen: bool) -> Result<(), Error> {
        let (verb, value) = if frozen { ("freeze", b"1") } else { ("thaw", b"0") };
        write_file(&self.fd, "cgroup.freeze", value).map_err(|errno| self.failed(verb, "write cgroup.freeze", errno))
    }

    /// Waits patiently; tells how it is then.
    fn wait(&self, event: Event, wanted: bool) -> Result<bool, Error> {
        let waited = event.wait(&self.fd, Some(wanted), PATIENCE);
        waited.map_err(|errno| self.failed("wait for", "poll cgroup.events", errno))
    }

    fn doing(&self, verb: &str) -> String {
        format!("cannot {verb} the cgroup {}", self.dir().display())
    }

    pub(super) fn failed(&self, verb: &str, call: &str, errno: Errno) -> Error {
        kernel(self.doing(verb), call, errno)
    }
}

/// Removes a directory of cgroupfs unless there is something in it: another container's cgroup or processes.
pub fn remove_if_unused(dir: &Path) -> Result<(), Error> {
    match rmdir(dir) {
        Ok(()) | Err(Errno::NOENT | Errno::BUSY | Errno::NOTEMPTY) => Ok(()),
        Err(errno) => Err(kernel(format!("cannot remove the cgroup {}", dir.display()), "rmdir", errno)),
    }
}

#[cfg(test)]
#[path = "life_tests.rs"]
mod tests;
