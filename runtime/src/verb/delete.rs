// SPDX-License-Identifier: Apache-2.0
//! `delete`: unmakes what create made.
//!
//! Spec: runtime.md "Delete", "Lifecycle" steps 11 to 13.

use crate::error::{Error, Kind, Result};
use crate::state::{Folder, Record, Status};
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
        end(&undo::unmake(self, &folder), record.as_ref())
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
        end(&undo::unmake_all(self, &folder, made), Some(&record))
    }

    /// The record of the container if it may go; `None` of one whose creator died before there was any.
    fn deletable(&self, folder: &Folder, id: &str, force: bool) -> Result<Option<Record>> {
        if folder.is_torso() {
            return if force { Ok(None) } else { Err(not_stopped(id, Status::Creating)) };
        }
        match folder.state() {
            Ok((state, record)) if state.status == Status::Stopped || force => Ok(Some(record)),
            Ok((state, _)) => Err(not_stopped(id, state.status)),
            // A record that is damaged, or a cgroup that cannot be read: the journal still says what to end and remove.
            Err(_) if force => Ok(folder.record().ok().map(|(record, _)| record)),
            Err(error) => Err(error),
        }
    }
}

/// All is unmade: the poststop hooks. Or not: what could not be.
fn end(failures: &[Error], record: Option<&Record>) -> Result<Vec<Error>> {
    if let [first, others @ ..] = failures {
        return Err(others.iter().fold(first.clone(), Error::and_also));
    }
    Ok(record.map_or_else(Vec::new, hooks::poststop))
}

fn not_stopped(id: &str, status: Status) -> Error {
    Error::new(format!("cannot delete container {id}"))
        .because(format!("cannot delete container {id} that is not stopped: {status}"))
        .hint(format!("`kelp-runtime delete --force {id}` kills it first"))
        .of_kind(Kind::Other)
}
