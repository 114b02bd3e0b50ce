// SPDX-License-Identifier: Apache-2.0
//! Other limits for a container, or another restart policy.
//!
//! config.json is changed too, so that a container that is started again has its new limits.

use super::find::{self, Container};
use super::runtime::Runtime;
use super::{record, status, stop};
use crate::caller::Caller;
use crate::config::resources;
use crate::error::{Error, Kind, Result};
use crate::events;
use crate::request::{Limits, Update};
use kelp_shim::Restart;
use serde_json::Value;

/// Changes what is asked for; the rest stays.
///
/// # Errors
/// There is no such container; a limit cannot be set; the policy does not go with `--rm`.
pub fn update(caller: &Caller, asked: &Update) -> Result<()> {
    let mut container = find::one(caller, &asked.container)?;
    if let Some(policy) = asked.restart {
        set_policy(policy, caller, &mut container)?;
    }
    if asked.limits.any() {
        set_limits(&asked.limits, caller, &container)?;
    }
    events::container(caller, &container.record, "update");
    Ok(())
}

/// For the container as it runs, if that can be, and for every start after this one.
fn set_policy(policy: Restart, caller: &Caller, container: &mut Container) -> Result<()> {
    if container.record.auto_remove && policy != Restart::No {
        let doing = format!("cannot have container {} started again", container.record.name);
        return Err(Error::new(Kind::BadInput, doing, "it is removed when it exits (--rm)"));
    }
    if status::of(caller, container)?.state.is_alive() {
        let shim = kelp_shim::client::connect(&caller.places.run, &container.record.id);
        match shim.and_then(|mut shim| shim.set_restart(policy)) {
            // It has just ended, or its shim was killed, which starts nothing again: its next start has the policy.
            Err(error) if stop::is_gone(&error) => {}
            Err(error) if error.kind == kelp_shim::Kind::Unsupported => {
                caller.note(format!(
                    "{} restarts by its policy from its next start on: {}",
                    container.record.name, error.because
                ));
            }
            changed => changed?,
        }
    }
    container.record.restart = policy;
    container.record.write(&container.folder)
}

fn set_limits(limits: &Limits, caller: &Caller, container: &Container) -> Result<()> {
    let resources = resources::of(limits)?;
    if status::of(caller, container)?.state.is_alive() {
        match Runtime::of(caller, &container.record).update(&resources) {
            Ok(ignored) => ignored.iter().for_each(|note| caller.note(note)),
            // It has just ended: its next start has the limits.
            Err(_) if status::has_just_ended(caller, container) => {}
            Err(error) => return Err(error),
        }
    }
    let path = container.folder.join("config.json");
    let wrong = |error: &dyn std::fmt::Display| {
        Error::new(Kind::Other, format!("cannot change {}", path.display()), error.to_string())
    };
    let text = std::fs::read(&path).map_err(|error| wrong(&error))?;
    let mut spec: Value = serde_json::from_slice(&text).map_err(|error| wrong(&error))?;
    let changes = serde_json::to_value(&resources).map_err(|error| wrong(&error))?;
    merge(&mut spec["linux"]["resources"], changes);
    record::write(&container.folder, "config.json", &spec)?;
    let mut record = container.record.clone();
    record.limited = true;
    record.write(&container.folder)
}

/// What the changes name is as they say; the rest stays.
fn merge(old: &mut Value, changes: Value) {
    match (old, changes) {
        (_, Value::Null) => {}
        (Value::Object(old), Value::Object(changes)) => {
            changes.into_iter().for_each(|(key, change)| merge(old.entry(key).or_insert(Value::Null), change));
        }
        (old, changes) => *old = changes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_not_named_stays() {
        let mut old = json!({"memory": {"limit": 1, "reservation": 2}, "devices": [1]});
        merge(&mut old, json!({"memory": {"limit": 5}, "pids": {"limit": 7}, "devices": null}));
        assert_eq!(old, json!({"memory": {"limit": 5, "reservation": 2}, "devices": [1], "pids": {"limit": 7}}));
    }
}
