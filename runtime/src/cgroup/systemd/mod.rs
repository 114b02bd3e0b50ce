// SPDX-License-Identifier: Apache-2.0
//! The systemd manager: the container's cgroup as a transient scope, asked for over D-Bus.
//!
//! A scope is made around a process, so a helper of ours is put into it ([`keeper`]); the container is then cloned into
//! the scope's cgroup like into any other, and the helper goes. Limits are told to systemd and written into the cgroup.
//! Why the D-Bus client is our own: docs/decisions/0004.

mod bus;
mod keeper;
mod properties;
mod scope;
mod wire;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::limits::Limits;
use super::{Error, Mount, limits};

pub use bus::Bus;
pub(super) use keeper::Keeper;
pub use properties::Property;
pub use scope::Scope;
pub use wire::Value;
pub(crate) use wire::read_foreign;

/// A scope that will be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopePlan {
    /// Its name.
    pub scope: Scope,
    /// The slice that it goes into.
    pub slice: String,
    /// Everything that systemd is told of it.
    pub properties: Vec<Property>,
    /// Where its cgroup will be seen.
    pub mount: Mount,
}

/// Plans the scope of container `id`. Pure.
pub(super) fn plan(
    id: &str,
    path: Option<&Path>,
    bus: Bus,
    mount: &Mount,
    limits: &Limits,
    annotations: &HashMap<String, String>,
) -> Result<ScopePlan, Error> {
    let (scope, slice) = scope::name(id, path, bus)?;
    let mut properties = properties::of_scope(id, &slice);
    properties.extend(properties::of_writes(&limits.writes).into_iter().filter(|property| !is_tight(property)));
    properties.extend(properties::of_annotations(annotations)?);
    Ok(ScopePlan { scope, slice, properties, mount: mount.clone() })
}

/// Whether a limit leaves no room for init beside our helper. It is only written into the cgroup, when init is there.
fn is_tight((name, value): &Property) -> bool {
    name == "TasksMax" && matches!(value, Value::U64(0..=1))
}

impl ScopePlan {
    /// Starts the scope. Its cgroup lives as long as the helper, or whoever is in it then.
    pub(super) fn start(&self) -> Result<(Keeper, PathBuf), Error> {
        self.scope.start(&self.properties, &self.mount)
    }
}

impl Scope {
    /// Tells systemd other limits.
    pub(super) fn limit(&self, writes: &[limits::Write]) -> Result<(), Error> {
        self.change(&properties::of_writes(writes))
    }

    /// Puts a process into it.
    pub(super) fn put(&self, pid: u32) -> Result<(), Error> {
        self.attach(pid, "/")
    }
}
