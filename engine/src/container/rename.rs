// SPDX-License-Identifier: Apache-2.0
//! Another name for a container.

use super::{find, name};
use crate::caller::Caller;
use crate::error::{Error, Kind, Result};
use crate::events;

/// Takes the new name, records it, gives the old one back.
///
/// # Errors
/// There is no such container; the new name is none, or another one's.
pub fn rename(caller: &Caller, wanted: &str, new: &str) -> Result<()> {
    let mut container = find::one(caller, wanted)?;
    name::check(new)?;
    if container.record.name == new {
        let because = "it has this name already; a container cannot be renamed to its current name";
        return Err(Error::new(Kind::AlreadyExists, format!("cannot rename container {new}"), because));
    }
    name::take(caller, new, &container.record.id)?;
    let old = std::mem::replace(&mut container.record.name, new.to_owned());
    container.record.write(&container.folder)?;
    name::release(caller, &old, &container.record.id)?;
    events::container_with(caller, &container.record, "rename", [("oldName", format!("/{old}"))]);
    Ok(())
}
