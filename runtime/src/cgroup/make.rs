// SPDX-License-Identifier: Apache-2.0
//! Makes the container's cgroup in cgroupfs: directories, controllers, and who owns them.
//!
//! Runs in create, after the journal has the directories and before the clone.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use kelp_sys::rustix::fs::{self, AtFlags, Mode, OFlags, Uid};
use kelp_sys::rustix::io::{self, Errno};

use super::events::Event;
use super::facts::{open_directory, read_file};
use super::place::no_controller;
use super::{CgroupPlan, Controllers, Error, Kind, Level, error, kernel};

/// How often a vanished directory is made again.
const TRIES: u32 = 100;

/// Makes the directories from `base` (which is there) down to `dir`, opens the last one.
///
/// A directory on the way may vanish under our hands, when the last other container in it is deleted: then again.
pub(super) fn make(plan: &CgroupPlan, base: &Level, dir: &Path) -> Result<OwnedFd, Error> {
    for _ in 0..TRIES {
        if let Some(cgroup) = try_make(plan, base, dir)? {
            return Ok(cgroup);
        }
    }
    Err(refused(dir, "mkdir", Errno::NOENT))
}

/// None: something on the way was removed meanwhile.
fn try_make(plan: &CgroupPlan, base: &Level, dir: &Path) -> Result<Option<OwnedFd>, Error> {
    let wanted = plan.needed | Controllers::WORTH_HAVING;
    let chain = plan.directories();
    let mut parent = base.dir.as_path();
    for below in &chain {
        // The plan's own look was a moment ago: mostly it saw that nothing is left to enable, and one look is enough.
        let had = parent == base.dir && !base.available.is_empty() && base.enabled.contains(wanted & base.available);
        if !(had || give(parent, wanted, plan)?) || !make_one(below, below == dir)? {
            return Ok(None);
        }
        parent = below;
    }
    take(plan, dir).map(Some)
}

/// Opens the container's directory and gives it to whom it belongs.
pub(super) fn take(plan: &CgroupPlan, dir: &Path) -> Result<OwnedFd, Error> {
    let cgroup = open_directory(dir).map_err(|errno| refused(dir, "open", errno))?;
    if let Some(owner) = plan.owner {
        delegate(cgroup.as_fd(), dir, owner)?;
    }
    Ok(cgroup)
}

/// Makes one directory. Those on the way may exist; the container's own may too, if nobody lives there. Not done, if the
/// one above is gone.
fn make_one(dir: &Path, last: bool) -> Result<bool, Error> {
    match fs::mkdir(dir, Mode::from_raw_mode(0o755)) {
        Err(Errno::EXIST) if last => must_be_free(dir).map(|()| true),
        Err(Errno::EXIST) | Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(refused(dir, "mkdir", errno)),
    }
}

/// A cgroup that is there already is taken if it is empty, as runc does: kubelet and users make them beforehand.
fn must_be_free(dir: &Path) -> Result<(), Error> {
    let cgroup = open_directory(dir).map_err(|errno| refused(dir, "open", errno))?;
    for (event, trouble) in [(Event::Populated, "has processes"), (Event::Frozen, "is frozen")] {
        if event.now(&cgroup).map_err(|errno| refused(dir, "read cgroup.events", errno))? {
            let doing = format!("cannot make the cgroup {}", dir.display());
            return Err(error(Kind::AlreadyExists, doing, format!("it exists and {trouble}"))
                .hint("another container may be using it: choose another id or linux.cgroupsPath"));
        }
    }
    Ok(())
}

/// Lets the children of `dir` have the controllers that the limits need, and those worth having. Not done, if it is gone.
fn give(dir: &Path, wanted: Controllers, plan: &CgroupPlan) -> Result<bool, Error> {
    let doing = |errno| refused(dir, "read its controllers", errno);
    let at = match open_directory(dir) {
        Err(Errno::NOENT) => return Ok(false),
        opened => opened.map_err(doing)?,
    };
    let list = |file| Ok(Controllers::parse(&read_file(&at, file).map_err(doing)?));
    let enabled = list("cgroup.subtree_control")?;
    if enabled.contains(wanted) {
        return Ok(true);
    }
    let wanted = (wanted & list("cgroup.controllers")?) - enabled;
    // All in one write, which the kernel does or does not; what is merely worth having must not cost what is needed.
    let refusal = match enable(at.as_fd(), wanted) {
        Ok(()) => None,
        Err(_) => enable(at.as_fd(), wanted & plan.needed).err(),
    };
    let missing = plan.needed - enabled - if refusal.is_none() { wanted } else { Controllers::NONE };
    match (missing.is_empty(), refusal) {
        (true, _) => Ok(true),
        // EBUSY is how the kernel says: no internal processes.
        (false, None | Some(Errno::BUSY)) => Err(no_controller(dir, refusal.is_some(), missing, plan.v1)),
        (false, Some(errno)) => {
            let doing = format!("cannot limit the container by the cgroup controller {missing}");
            let call = format!("write(\"{}/cgroup.subtree_control\", \"{}\")", dir.display(), addition(missing));
            Err(kernel(doing, call, errno).hint(
                "this cgroup is not delegated to you: systemd-run --user --scope -p Delegate=yes COMMAND, or use \
                 --systemd-cgroup",
            ))
        }
    }
}

/// systemd enables the controllers that it knows, and leaves others alone: hugetlb, rdma, misc. As in runc, whoever may enables
/// them from the top down to the slice. Where that is refused, the write of the limit says what is missing.
pub(super) fn give_what_systemd_does_not(needed: Controllers, top: &Path, dir: &Path) {
    let unknown = needed - Controllers::OF_SYSTEMD;
    if unknown.is_empty() {
        return;
    }
    let mut above: Vec<&Path> = dir.ancestors().skip(1).take_while(|above| above.starts_with(top)).collect();
    above.reverse();
    for above in above {
        let given = open_directory(above).and_then(|at| enable(at.as_fd(), unknown));
        if given.is_err() {
            return;
        }
    }
}

fn enable(dir: BorrowedFd<'_>, controllers: Controllers) -> Result<(), Errno> {
    if controllers.is_empty() {
        return Ok(());
    }
    write_file(dir, "cgroup.subtree_control", addition(controllers).as_bytes())
}

/// `+memory +pids`
fn addition(controllers: Controllers) -> String {
    controllers.names().map(|name| format!("+{name}")).collect::<Vec<_>>().join(" ")
}

/// Writes a value into a file of a cgroup, in one write as the kernel wants it.
pub(super) fn write_file(dir: impl AsFd, file: &str, value: &[u8]) -> Result<(), Errno> {
    let file = fs::openat(dir, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    loop {
        match io::write(&file, value) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Gives the directory and the files that the kernel names for it to `owner`, so that the container can make cgroups in
/// its own, but not change its limits. Kernel: cgroup-v2.rst "Delegation".
fn delegate(cgroup: BorrowedFd<'_>, dir: &Path, owner: u32) -> Result<(), Error> {
    let uid = Some(Uid::from_raw(owner));
    let fail = |file: &str, errno| {
        kernel(format!("cannot give the cgroup {} to uid {owner}", dir.display()), format!("chown {file}"), errno)
    };
    fs::chownat(cgroup, c"", uid, None, AtFlags::EMPTY_PATH).map_err(|errno| fail("the directory", errno))?;
    let list = std::fs::read_to_string("/sys/kernel/cgroup/delegate").unwrap_or_else(|_| {
        // The three of cgroups(7), where /sys does not show the kernel's own list.
        "cgroup.procs\ncgroup.threads\ncgroup.subtree_control\n".to_owned()
    });
    for file in list.lines() {
        match fs::chownat(cgroup, file, uid, None, AtFlags::empty()) {
            // The list has files of all controllers, also of those that are not here.
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(fail(file, errno)),
        }
    }
    Ok(())
}

fn refused(dir: &Path, call: &str, errno: Errno) -> Error {
    let error = kernel(format!("cannot make the cgroup {}", dir.display()), call, errno);
    match errno {
        Errno::ACCESS | Errno::PERM | Errno::ROFS => error.hint(
            "you may not make cgroups there; leave linux.cgroupsPath out, or use --systemd-cgroup, or run it in a \
             delegated cgroup: systemd-run --user --scope -p Delegate=yes COMMAND",
        ),
        _ => error,
    }
}
