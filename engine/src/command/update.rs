// SPDX-License-Identifier: Apache-2.0
//! `kelp update`: other limits for containers, or another restart policy.
//!
//! config.json is changed too, so that a container that is started again has its new limits.

use crate::container::find::{self, Container};
use crate::container::record;
use crate::container::runtime::Runtime;
use crate::container::status;
use crate::error::{Error, Kind, Result};
use crate::options::LimitFlags;
use crate::output;
use crate::places::Places;
use crate::spec::resources;
use clap::Args;
use serde_json::Value;
use std::process::ExitCode;

/// Change the limits of one or more containers
#[derive(Debug, Args)]
pub(crate) struct Update {
    #[command(flatten)]
    limits: LimitFlags,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Performs the command.
pub(crate) fn run(args: &Update, places: &Places) -> Result<ExitCode> {
    if args.limits.cgroup_parent.is_some() {
        return Err(Error::new(Kind::BadInput, "cannot use --cgroup-parent", "a container does not move"));
    }
    if !args.limits.any() {
        return Err(Error::new(Kind::BadInput, "cannot update", "no limit was given").hint("kelp update --help"));
    }
    super::each(&args.containers, |wanted| {
        let container = find::one(places, wanted)?;
        update(args, places, &container)?;
        output::line(wanted)
    })
}

fn update(args: &Update, places: &Places, container: &Container) -> Result<()> {
    let resources = resources::of(&args.limits)?;
    if status::of(places, container)?.state.is_alive() {
        let ignored = Runtime::of(places, &container.record).update(&resources)?;
        ignored.iter().for_each(output::note);
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
