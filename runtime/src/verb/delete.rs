// SPDX-License-Identifier: Apache-2.0
//! `delete`: unmakes what create made.
//!
//! Spec: runtime.md "Delete", "Lifecycle" steps 11 to 13.

use crate::error::{Error, Kind, Result};
use crate::state::{Folder, Record, State, Status};
use crate::verb::create::Remains;
use crate::{Runtime, hooks, undo};

impl Runtime {
    /// Deletes a stopped container; with `force` one in any state, whose processes are killed. Errors of poststop hooks are
    /// returned as warnings.
    ///
    /// # Errors
    /// It is not stopped; something of it cannot be unmade: then it can be deleted again.
    pub fn delete(&self, id: &str, force: bool) -> Result<Vec<Error>> {
        let folder = match Folder::open(&self.root, id) {
            Err(error) if force && error.kind() == Kind::NoSuchContainer => return Ok(Vec::new()),
            other => other?,
        };
        let record = self.deletable(&folder, id, force)?;
        let failures = undo::unmake(self, &folder, None);
        if let Some(first) = failures.first() {
            return Err(failures.iter().skip(1).fold(first.clone(), Error::and_also));
        }
        Ok(record.map_or_else(Vec::new, |record| {
            hooks::run_all("poststop", &record.poststop, &State::of(&record, Status::Stopped))
        }))
    }

    /// Deletes a container whose init has ended and was waited for, by what its creator remembers of it.
    ///
    /// # Errors
    /// As for `delete`.
    pub fn delete_ended(&self, remains: Remains) -> Result<Vec<Error>> {
        let Remains { folder, made, record } = remains;
        // Somebody deleted it meanwhile, and what has its id now is another's.
        if !folder.is_in_place() {
            return Ok(Vec::new());
        }
        let failures = undo::unmake_all(self, &folder, &made, Vec::new());
        if let Some(first) = failures.first() {
            return Err(failures.iter().skip(1).fold(first.clone(), Error::and_also));
        }
        Ok(hooks::run_all("poststop", &record.poststop, &State::of(&record, Status::Stopped)))
    }

    /// The record of the container if it may go; `None` of one whose creator died before there was any.
    fn deletable(&self, folder: &Folder, id: &str, force: bool) -> Result<Option<Record>> {
        if folder.is_torso() {
            return if force { Ok(None) } else { Err(not_stopped(id, Status::Creating)) };
        }
        let (state, record) = folder.state()?;
        if state.status == Status::Stopped || force {
            return Ok(Some(record));
        }
        Err(not_stopped(id, state.status))
    }
}

fn not_stopped(id: &str, status: Status) -> Error {
    Error::new(format!("cannot delete container {id}"))
        .because(format!("cannot delete container {id} that is not stopped: {status}"))
        .hint(format!("`kelp-runtime kill {id} KILL` first, or `delete --force`"))
        .of_kind(Kind::Other)
}
