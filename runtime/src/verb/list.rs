// SPDX-License-Identifier: Apache-2.0
//! `state`, `list`, `ps`: looking, without touching.
//!
//! Spec: runtime.md "Query State".

use crate::Runtime;
use crate::cgroup::Cgroup;
use crate::error::{Doing, Result};
use crate::state::{self, Folder, Record, State, Status, check_id};

impl Runtime {
    /// The container's state.
    ///
    /// # Errors
    /// There is no such container.
    pub fn state(&self, id: &str) -> Result<State> {
        Folder::open(&self.root, id)?.state().map(|(state, _)| state)
    }

    /// The record of the container, for those who extend this runtime.
    ///
    /// # Errors
    /// There is no such container.
    pub fn record(&self, id: &str) -> Result<Record> {
        Folder::open(&self.root, id)?.record().map(|(record, _)| record)
    }

    /// All containers, by id. Those being made or deleted at this moment may be missing.
    ///
    /// # Errors
    /// The root directory cannot be read. One that does not exist has no containers.
    pub fn list(&self) -> Result<Vec<State>> {
        Ok(self.names()?.iter().filter_map(|id| self.state(id).ok()).collect())
    }

    /// Their ids alone, in order: of none is more looked at than whether it is there and ours.
    ///
    /// # Errors
    /// As of [`Runtime::list`].
    pub fn ids(&self) -> Result<Vec<String>> {
        let mut ids = self.names()?;
        ids.retain(|id| state::is_there(&self.root.join(id)));
        Ok(ids)
    }

    /// What may be the directory of a container.
    fn names(&self) -> Result<Vec<String>> {
        let entries = match std::fs::read_dir(&self.root) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.doing(|| format!("cannot read {}", self.root.display()))?,
        };
        let mut ids: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|id| check_id(id).is_ok())
            .collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// The pids of the container's processes, as the caller sees them.
    ///
    /// # Errors
    /// It has no cgroup by which its processes could be known.
    pub fn processes(&self, id: &str) -> Result<Vec<i32>> {
        let (state, record) = Folder::open(&self.root, id)?.state()?;
        // As with runc: what has ended has none, and that is no error.
        if state.status == Status::Stopped {
            return Ok(Vec::new());
        }
        match record.cgroup.as_ref().map(Cgroup::open).transpose()?.flatten() {
            Some(cgroup) => cgroup.processes(),
            None => crate::process::in_pid_namespace_of(record.init),
        }
    }
}
