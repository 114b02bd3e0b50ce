// SPDX-License-Identifier: Apache-2.0
//! `update`: other limits for a living container.
//!
//! Spec: none; runc's behaviour. What the new resources do not name stays as it is.

use crate::cgroup::{Cgroup, Limits};
use crate::error::{Error, Kind, Result};
use crate::state::{Folder, Status};
use crate::{Runtime, Step};
use oci_spec::runtime::LinuxResources;

impl Runtime {
    /// Changes the limits of the container to those of `resources`. Returns what of them has no meaning in cgroup v2.
    ///
    /// # Errors
    /// It does not run, or has no cgroup; a limit cannot be had, or the kernel refuses its value.
    pub fn update(&self, id: &str, resources: &LinuxResources) -> Result<Vec<&'static str>> {
        let cgroup = self.living_cgroup(id, "update")?;
        let resources = with_known_memory(resources, &cgroup)?;
        self.begin(Step::UpdateLimits)?;
        cgroup.update(&resources)?;
        Ok(Limits::of(&resources)?.ignored)
    }

    /// Gives the container's class of service other shares of caches and memory bandwidth: lines of resctrl's `schemata`.
    ///
    /// # Errors
    /// It does not run, or is in no class; the kernel takes no such share.
    pub fn update_shares(&self, id: &str, schemata: &[String]) -> Result<()> {
        let (state, record) = Folder::open(&self.root, id)?.state()?;
        if matches!(state.status, Status::Stopped | Status::Creating) {
            return Err(not_running(id, "update"));
        }
        self.begin(Step::UpdateLimits)?;
        crate::resctrl::change(&record.resctrl, schemata)
    }

    /// The cgroup of a container that has not ended.
    pub(super) fn living_cgroup(&self, id: &str, verb: &str) -> Result<Cgroup> {
        let cannot = || Error::new(format!("cannot {verb} container {id}"));
        let (state, record) = Folder::open(&self.root, id)?.state()?;
        if matches!(state.status, Status::Stopped | Status::Creating) {
            return Err(not_running(id, verb));
        }
        record.cgroup.as_ref().map(Cgroup::open).transpose()?.flatten().ok_or_else(|| {
            cannot()
                .because("it has no cgroup of its own")
                .hint("start it where a cgroup is delegated to you: `systemd-run --user --scope -p Delegate=yes …`")
                .of_kind(Kind::Permission)
        })
    }
}

fn not_running(id: &str, verb: &str) -> Error {
    // runc's words, which differ from verb to verb.
    let because = match verb {
        "update" => "container not running".to_owned(),
        _ => format!("container with id {id} is not running"),
    };
    Error::new(format!("cannot {verb} container {id}")).because(because).of_kind(Kind::NotRunning)
}

/// The spec counts swap together with memory, the kernel alone: a new limit of swap needs that of memory, and where none is
/// given, the present one holds.
fn with_known_memory(resources: &LinuxResources, cgroup: &Cgroup) -> Result<LinuxResources> {
    let mut resources = resources.clone();
    let Some(mut memory) = resources.memory().filter(|memory| !is_given(memory.limit()) && is_given(memory.swap()))
    else {
        return Ok(resources);
    };
    let present = cgroup.memory_limit()?.map_or(-1, |limit| i64::try_from(limit).unwrap_or(-1));
    memory.set_limit(Some(present));
    resources.set_memory(Some(memory));
    Ok(resources)
}

/// Zero is “not said”, as in `Limits`.
fn is_given(amount: Option<i64>) -> bool {
    amount.is_some_and(|amount| amount != 0)
}
