// SPDX-License-Identifier: Apache-2.0
//! Classes of service and monitoring groups in the resctrl file system.
//!
//! Runs in create before the clone, when init is born, and in exec. Spec: config-linux.md "IntelRdt".
//! Kernel: Documentation/filesystems/resctrl.rst.

use crate::error::{Doing, Error, Kind, Result};
use crate::journal::{Journal, Made};
use crate::plan::IntelRdt;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Makes what the plan wants, and returns the files into which the pids of the container's processes go, in order.
///
/// # Errors
/// No resctrl is mounted; the class that should be there is not, or is another; the kernel takes no such share.
pub(crate) fn make(plan: Option<&IntelRdt>, journal: &mut Journal) -> Result<Vec<PathBuf>> {
    let Some(plan) = plan else { return Ok(Vec::new()) };
    let mounts = std::fs::read("/proc/self/mountinfo").doing(|| "cannot look for resctrl".into())?;
    let root = mount_point(&mounts).ok_or_else(|| {
        Error::new("cannot honour linux.intelRdt")
            .because("Intel RDT/CAT is not enabled: no resctrl file system is mounted")
            .hint("the processor must have Intel RDT (cat_l3, mba, … in /proc/cpuinfo); then `mount -t resctrl resctrl /sys/fs/resctrl`")
            .of_kind(Kind::Unsupported)
    })?;
    make_in(&root, plan, journal)
}

fn mount_point(mountinfo: &[u8]) -> Option<PathBuf> {
    let line = mountinfo.split(|&byte| byte == b'\n').find(|line| line.windows(11).any(|w| w == b" - resctrl "))?;
    let at = line.split(|&byte| byte == b' ').nth(4)?;
    Some(PathBuf::from(std::ffi::OsStr::from_bytes(at)))
}

fn make_in(root: &Path, plan: &IntelRdt, journal: &mut Journal) -> Result<Vec<PathBuf>> {
    let class = root.join(&plan.class);
    let is_new = make_class(&class, plan, journal)?;
    if !is_new && !plan.schemata.is_empty() {
        compare(&class, plan)?;
    } else if is_new && !plan.schemata.is_empty() {
        write_schemata(root, &class, plan)?;
    }
    let mut tasks = vec![class.join("tasks")];
    if let Some(name) = &plan.monitor {
        let group = class.join("mon_groups").join(name);
        journal.will_make(&Made::Resctrl(group.clone()))?;
        std::fs::create_dir(&group).map_err(|error| {
            let doing = format!("cannot make the monitoring group {}", group.display());
            Error::new(doing)
                .because(error)
                .hint("linux.intelRdt.enableMonitoring needs cqm in /proc/cpuinfo, and a free RMID")
        })?;
        tasks.push(group.join("tasks"));
    }
    Ok(tasks)
}

/// Whether the class was made. One that the container does not share is in the journal, and goes with it.
fn make_class(class: &Path, plan: &IntelRdt, journal: &mut Journal) -> Result<bool> {
    let doing = || format!("cannot make the class of service {}", class.display());
    let there = class.is_dir();
    if there && !plan.is_named {
        return Err(Error::new(doing()).because("it exists, and belongs to no container of this id"));
    }
    if !there && plan.is_named && plan.schemata.is_empty() {
        return Err(Error::bad_input(format!("cannot use linux.intelRdt.closID {}", plan.class))
            .because("there is no such class, and nothing says what its share would be")
            .hint("set linux.intelRdt.schemata, or make the class first"));
    }
    if there {
        return Ok(false);
    }
    if !plan.is_named {
        journal.will_make(&Made::Resctrl(class.to_owned()))?;
    }
    match std::fs::create_dir(class) {
        Err(error) if error.kind() == ErrorKind::StorageFull => {
            Err(Error::new(doing()).because(error).hint("all classes that the processor has are in use"))
        }
        done => done.doing(doing).map(|()| true),
    }
}

/// A class that others may be in is not changed: it must be as the spec wants it.
fn compare(class: &Path, plan: &IntelRdt) -> Result<()> {
    let file = class.join("schemata");
    let text = std::fs::read_to_string(&file).doing(|| format!("cannot read {}", file.display()))?;
    let has: Vec<(String, Vec<String>)> = text.lines().filter_map(domains).collect();
    for line in &plan.schemata {
        let wanted = domains(line);
        let found = wanted.as_ref().and_then(|(name, _)| has.iter().find(|(other, _)| other == name));
        let same =
            wanted.as_ref().zip(found).is_some_and(|((_, all), (_, has))| all.iter().all(|one| has.contains(one)));
        if !same {
            return Err(Error::bad_input(format!("cannot use the class of service {}", plan.class))
                .because(format!("it exists, and its schemata have not the line {line}"))
                .hint("name another closID, or leave the schemata out to use the class as it is"));
        }
    }
    Ok(())
}

/// `L3:0=00ff;1=f` is L3, and {0: ff, 1: f}: the kernel writes masks with leading zeros and lines with spaces before them.
fn domains(line: &str) -> Option<(String, Vec<String>)> {
    let (name, list) = line.split_once(':')?;
    let clean = |pair: &str| {
        let (domain, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = value.trim().trim_start_matches('0').to_ascii_lowercase();
        format!("{}={value}", domain.trim())
    };
    Some((name.trim().to_owned(), list.split(';').filter(|pair| !pair.trim().is_empty()).map(clean).collect()))
}

fn write_schemata(root: &Path, class: &Path, plan: &IntelRdt) -> Result<()> {
    let Err(refused) = write_lines(root, class, &plan.schemata) else { return Ok(()) };
    // New, and nobody is in it: one that is named is in no journal.
    Err(match plan.is_named.then(|| std::fs::remove_dir(class)) {
        Some(Err(undo)) => refused.and_also(&Error::new(format!("cannot remove {}", class.display())).because(undo)),
        _ => refused,
    })
}

fn write_lines(root: &Path, class: &Path, lines: &[String]) -> Result<()> {
    let file = class.join("schemata");
    let Err(error) = std::fs::write(&file, format!("{}\n", lines.join("\n"))) else { return Ok(()) };
    // The kernel says more there than with an errno; where it does not, the errno is all there is.
    let status = std::fs::read_to_string(root.join("info/last_cmd_status")).unwrap_or_default();
    let because = format!("{:?}: {error}; {}", lines.join("; "), status.trim());
    Err(Error::new(format!("cannot write {}", file.display())).because(because))
}

/// Gives the class of a container, whose `tasks` these are, other shares. What the lines do not name stays as it is.
///
/// # Errors
/// The container is in no class; the kernel takes no such share.
pub(crate) fn change(tasks: &[PathBuf], lines: &[String]) -> Result<()> {
    let class = tasks.first().and_then(|file| file.parent()).ok_or_else(|| {
        Error::unsupported(
            "a share of caches or memory bandwidth",
            "the container is in no resctrl group: linux.intelRdt makes one when it is created",
        )
    })?;
    // Only resctrl's own root has the folder `info`; it is a class too.
    let root = if class.join("info").is_dir() { class } else { class.parent().unwrap_or(class) };
    write_lines(root, class, lines)
}

/// Puts a process into the container's class and monitoring group.
///
/// # Errors
/// The kernel refuses, or the class is gone.
pub(crate) fn join(tasks: &[PathBuf], pid: i32) -> Result<()> {
    tasks.iter().try_for_each(|file| {
        std::fs::write(file, pid.to_string()).doing(|| format!("cannot write process {pid} to {}", file.display()))
    })
}

/// Removes a class or group. Its processes, if any are left, fall back to the default class.
pub(crate) fn remove(group: &Path) -> Result<()> {
    match std::fs::remove_dir(group) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other.doing(|| format!("cannot remove {}", group.display())),
    }
}

#[cfg(test)]
#[path = "resctrl_tests.rs"]
mod tests;
