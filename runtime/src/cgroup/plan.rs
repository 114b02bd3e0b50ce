// SPDX-License-Identifier: Apache-2.0
//! Decides everything about the container's cgroup. Pure: (spec, facts) in, data out.
//!
//! Runs in create, after the look at the host and before the journal is opened.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxIdMapping, LinuxNamespaceType, Mount, Spec};

use super::device::{self, Rule};
use super::limits::{Absent, Limits};
use super::place::{Place, no_mount, place};
use super::systemd::{self, Bus, ScopePlan};
use super::{Controllers, Error, Facts};
use crate::journal::Made;

/// Who makes the cgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manager {
    /// We do, in cgroupfs.
    #[default]
    Cgroupfs,
    /// Systemd does, as a transient scope, on our asking.
    Systemd,
    /// Nobody: the container stays in the cgroup of its creator.
    Disabled,
}

/// All that will be done.
#[derive(Clone, Debug)]
pub struct CgroupPlan {
    /// Where.
    pub place: Place,
    /// The limits.
    pub limits: Limits,
    /// The controllers without which the limits cannot be had.
    pub needed: Controllers,
    /// The device rules; none where no program is loaded.
    pub devices: Option<Vec<Rule>>,
    /// The user who gets the files by which a cgroup is delegated, if the container mounts its own writable.
    pub owner: Option<u32>,
    /// Controllers that cgroup v1 holds, for the words of an error.
    pub(super) v1: Controllers,
}

/// Plans the cgroup of container `id`. `rootless`: our root is not the host's, so that no device program can be loaded.
pub fn plan(spec: &Spec, id: &str, facts: &Facts, manager: Manager, rootless: bool) -> Result<CgroupPlan, Error> {
    let linux = spec.linux().as_ref();
    let resources = linux.and_then(|linux| linux.resources().as_ref());
    let mut limits = resources.map(Limits::of).transpose()?.unwrap_or_default();
    let rules = device::rules(resources.and_then(|resources| resources.devices().as_deref()).unwrap_or_default())?;
    let needed = limits.needed();
    let place = match manager {
        Manager::Disabled => Place::None { why: "cgroups are switched off" },
        Manager::Cgroupfs => place(id, linux.and_then(|linux| linux.cgroups_path().as_deref()), facts, needed)?,
        Manager::Systemd => Place::Scope(Box::new(scope(spec, id, facts, &limits, rootless)?)),
    };
    let asked = resources.and_then(|resources| resources.devices().as_ref()).is_some_and(|rules| !rules.is_empty());
    let denies = !device::allow_everything(&rules);
    let loads = !rootless && denies && !matches!(place, Place::None { .. });
    limits.ignore(
        asked && denies && rootless,
        "devices: the kernel lets no user load a device program; nodes are bound from the host's /dev instead",
    );
    Ok(CgroupPlan {
        place,
        limits,
        needed,
        devices: loads.then_some(rules),
        owner: if rootless { None } else { owner(spec) },
        v1: facts.v1,
    })
}

/// Plans the scope: of the machine's systemd if we are the host's root, else of the user's own.
fn scope(spec: &Spec, id: &str, facts: &Facts, limits: &Limits, rootless: bool) -> Result<ScopePlan, Error> {
    let Some(mount) = &facts.mount else { return Err(no_mount(facts)) };
    let path = spec.linux().as_ref().and_then(|linux| linux.cgroups_path().as_deref());
    let bus = if rootless { Bus::User } else { Bus::System };
    systemd::plan(id, path, bus, mount, limits, spec.annotations().as_ref().unwrap_or(&HashMap::new()))
}

impl CgroupPlan {
    /// The container's directory, if it gets one.
    #[must_use]
    pub fn directory(&self) -> Option<&Path> {
        match &self.place {
            Place::Directory { dir, .. } => Some(dir),
            // Systemd decides where it puts it.
            Place::None { .. } | Place::Scope(_) => None,
        }
    }

    /// The directories from the one that is there to the container's, outermost first.
    #[must_use]
    pub fn directories(&self) -> Vec<PathBuf> {
        let Place::Directory { base, dir } = &self.place else { return Vec::new() };
        let mut chain: Vec<_> = dir.ancestors().take_while(|path| *path != base.dir).map(Path::to_owned).collect();
        chain.reverse();
        chain
    }

    /// What the journal must have before [`super::Cgroup::make`]: the container's directory and those above it that do
    /// not exist now, or its unit. The unit's directory is known after ([`super::Cgroup::dir`]), and is noted then.
    #[must_use]
    pub fn will_be_made(&self) -> Vec<Made> {
        if let Place::Scope(plan) = &self.place {
            return vec![Made::Unit(plan.scope.clone())];
        }
        let mut directories = self.directories();
        let Some(own) = directories.pop() else { return Vec::new() };
        let parents = directories.into_iter().filter(|dir| !dir.exists()).map(Made::CgroupParent);
        parents.chain([Made::Cgroup(own)]).collect()
    }
}

/// The user of the container's process, on the host, if the container has a cgroup namespace and mounts it writable.
/// None if that is the host's root, who owns the files anyway.
fn owner(spec: &Spec) -> Option<u32> {
    let linux = spec.linux().as_ref()?;
    let namespaces = linux.namespaces().as_deref().unwrap_or_default();
    let own = |typ| namespaces.iter().any(|namespace| namespace.typ() == typ && namespace.path().is_none());
    if !own(LinuxNamespaceType::Cgroup) || !spec.mounts().iter().flatten().any(is_writable_cgroup) {
        return None;
    }
    let user = spec.process().as_ref().map_or(0, |process| process.user().uid());
    let host = match linux.uid_mappings().as_deref() {
        Some(maps) if own(LinuxNamespaceType::User) => maps.iter().find_map(|map| mapped(map, user))?,
        _ => user,
    };
    (host != 0).then_some(host)
}

fn is_writable_cgroup(mount: &Mount) -> bool {
    let cgroup = matches!(mount.typ().as_deref(), Some("cgroup" | "cgroup2"));
    let read_only = mount.options().iter().flatten().any(|option| matches!(option.as_str(), "ro" | "rro"));
    cgroup && mount.destination() == Path::new("/sys/fs/cgroup") && !read_only
}

/// The host's id for the container's `id`, if this line of the map has it.
fn mapped(map: &LinuxIdMapping, id: u32) -> Option<u32> {
    let offset = id.checked_sub(map.container_id()).filter(|offset| *offset < map.size())?;
    map.host_id().checked_add(offset)
}

fn write_scope(f: &mut fmt::Formatter<'_>, plan: &ScopePlan) -> fmt::Result {
    let whose = match plan.scope.bus {
        Bus::System => "the system's",
        Bus::User => "the user's",
    };
    writeln!(f, "cgroup of {} in {}, made by {whose} systemd", plan.scope.unit, plan.slice)?;
    plan.properties.iter().try_for_each(|(name, value)| writeln!(f, "  property {name} {value}"))
}

impl fmt::Display for CgroupPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::None { why } => writeln!(f, "no cgroup: {why}")?,
            Place::Directory { base, dir } => {
                writeln!(f, "cgroup {}", dir.display())?;
                writeln!(f, "  made in {}", base.dir.display())?;
            }
            Place::Scope(plan) => write_scope(f, plan)?,
        }
        if !self.needed.is_empty() {
            writeln!(f, "  needs {}", self.needed)?;
        }
        for write in &self.limits.writes {
            write!(f, "  write {} {}", write.file, write.value)?;
            match &write.absent {
                Absent::Refuse => writeln!(f)?,
                Absent::Skip => writeln!(f, " (if there)")?,
                Absent::Instead(other) => writeln!(f, " (or {} {})", other.file, other.value)?,
            }
        }
        for rule in self.devices.iter().flatten() {
            writeln!(f, "  devices {rule}")?;
        }
        if let Some(owner) = self.owner {
            writeln!(f, "  delegated to uid {owner}")?;
        }
        self.limits.ignored.iter().try_for_each(|field| writeln!(f, "  ignored {field}"))
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
