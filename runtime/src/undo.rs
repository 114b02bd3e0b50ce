// SPDX-License-Identifier: Apache-2.0
//! Unmakes what the journal lists, last things first. What cannot be unmade is reported, and the rest is still done.

use crate::cgroup::{self, Cgroup};
use crate::error::{Doing, Error, Result};
use crate::journal::{Journal, Made};
use crate::process::{self, Identity};
use crate::state::Folder;
use crate::{Runtime, Step};
use kelp_sys::rustix::fd::{AsFd, OwnedFd};
use kelp_sys::rustix::fs::rmdir;
use kelp_sys::rustix::io::Errno;
use std::time::Duration;

/// How long a killed process may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// Unmakes a container that could not be made, and its folder. `child`: init, where it is a child of ours that nobody else
/// will wait for.
pub(crate) fn unmake_failed(runtime: &Runtime, folder: &Folder, child: Option<OwnedFd>) -> Vec<Error> {
    let mut failures = Vec::new();
    if let Some(child) = child {
        let ended = process::signal(child.as_fd(), 9).and_then(|_| process::reap(&child).map(drop));
        failures.extend(ended.err());
    }
    unmake_read(runtime, folder, failures, |_| true)
}

/// Unmakes a container that was made, and its folder. Who asked for its pid file has it to remove, as with runc.
pub(crate) fn unmake(runtime: &Runtime, folder: &Folder) -> Vec<Error> {
    let made = folder.is_made();
    unmake_read(runtime, folder, Vec::new(), |thing| !(made && is_pid_file(thing)))
}

fn unmake_read(
    runtime: &Runtime,
    folder: &Folder,
    mut failures: Vec<Error>,
    wanted: impl Fn(&Made) -> bool,
) -> Vec<Error> {
    match Journal::read(folder.path()) {
        Ok(all) => {
            let mut all = with_record(all, folder);
            all.retain(wanted);
            unmake_these(runtime, folder, &all, failures)
        }
        Err(error) => {
            failures.push(error);
            failures
        }
    }
}

/// What a damaged journal does not say, the record does: a program must not outlive its container.
fn with_record(mut all: Vec<Made>, folder: &Folder) -> Vec<Made> {
    if all.iter().any(|made| matches!(made, Made::Init(_))) {
        return all;
    }
    let Ok((record, _)) = folder.record() else { return all };
    if !all.iter().any(|made| matches!(made, Made::Cgroup(_) | Made::Unit(_))) {
        all.extend(record.cgroup.map(|cgroup| cgroup.scope.map_or(Made::Cgroup(cgroup.dir), Made::Unit)));
    }
    all.push(Made::Init(record.init));
    all
}

fn is_pid_file(made: &Made) -> bool {
    matches!(made, Made::PidFile(_))
}

/// The same as `unmake` for a caller who knows what the journal says.
pub(crate) fn unmake_all(runtime: &Runtime, folder: &Folder, mut all: Vec<Made>) -> Vec<Error> {
    all.retain(|made| !is_pid_file(made));
    unmake_these(runtime, folder, &all, Vec::new())
}

/// `failures`: those that there were before.
fn unmake_these(runtime: &Runtime, folder: &Folder, all: &[Made], mut failures: Vec<Error>) -> Vec<Error> {
    let lived = all.iter().any(|made| matches!(made, Made::Init(_)));
    failures.extend(all.iter().rev().filter_map(|made| unmake_one(runtime, made, lived).err()));
    if failures.is_empty() {
        failures.extend(runtime.begin(Step::RemoveState).and_then(|()| remove_folder(folder)).err());
    }
    failures
}

/// `lived`: init was made. Before that nobody of ours was in the cgroup, so whoever is there now must not be killed.
fn unmake_one(runtime: &Runtime, made: &Made, lived: bool) -> Result<()> {
    runtime.begin(match made {
        Made::Init(_) => Step::EndProcesses,
        Made::Cgroup(_) | Made::CgroupParent(_) | Made::Unit(_) => Step::RemoveCgroup,
        Made::Resctrl(_) => Step::RemoveResctrl,
        Made::PidFile(_) => Step::RemovePidFile,
    })?;
    match made {
        Made::Init(init) => end(*init),
        Made::Cgroup(dir) if lived => remove_cgroup(dir),
        Made::Cgroup(dir) | Made::CgroupParent(dir) => cgroup::remove_if_unused(dir),
        Made::Unit(scope) if lived => scope.stop(),
        // Systemd collects a scope in which nobody is; and if it refused to make ours, this one is another's.
        Made::Unit(_) => Ok(()),
        Made::Resctrl(group) => crate::resctrl::remove(group),
        Made::PidFile(path) => match std::fs::remove_file(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => other.doing(|| format!("cannot remove {}", path.display())),
        },
    }
}

/// Kills init if it still lives, and waits until it is gone: its pid namespace goes with it.
fn end(init: Identity) -> Result<()> {
    let Some(fd) = init.open()? else { return Ok(()) };
    if process::signal(fd.as_fd(), 9)? && !process::await_end(&fd, Some(PATIENCE))? {
        return Err(Error::new(format!("cannot end process {}", init.pid))
            .because("it is still there ten seconds after SIGKILL")
            .hint("it waits in the kernel for a device or a server: see /proc/PID/stack as root"));
    }
    Ok(())
}

/// Whatever still lives in it dies: a container without a pid namespace can leave processes behind.
fn remove_cgroup(dir: &std::path::Path) -> Result<()> {
    // Mostly nobody is.
    if matches!(rmdir(dir), Ok(()) | Err(Errno::NOENT)) {
        return Ok(());
    }
    let Some(cgroup) = Cgroup::open(&cgroup::Record::at(dir))? else { return Ok(()) };
    cgroup.kill()?;
    cgroup.remove()
}

/// The folder goes last: as long as it is there, the container can be deleted again.
fn remove_folder(folder: &Folder) -> Result<()> {
    // What is mostly in it is removed by name: that takes a third of the calls that looking takes.
    if folder.remove_files() && matches!(rmdir(folder.path()), Ok(()) | Err(Errno::NOENT)) {
        return Ok(());
    }
    match std::fs::remove_dir_all(folder.path()) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.doing(|| format!("cannot remove {}", folder.path().display())),
    }
}
