// SPDX-License-Identifier: Apache-2.0
//! runtime.md, State: what `state` says of a container.

use std::path::Path;

use serde_json::{Value, json};

use crate::case::{Case, Chapter, Document, Judged, Mutation, ensure, same};
use crate::config::{remove, steps};
use crate::trial::{Ran, Trial};

const STATE: Chapter = Chapter::new(Document::Runtime, "State");

pub(super) const CASES: &[Case] = &[
    STATE.says(
        "state-ociVersion",
        "ociVersion (string, REQUIRED) is version of the Open Container Initiative Runtime Specification with which the state complies.",
        |t| {
            let state = created_state(t)?;
            let version = state["ociVersion"].as_str().unwrap_or("");
            ensure(is_semver(version), || format!("ociVersion is {version:?}"))
        },
        &[Mutation::Ran(|ran| in_state(ran, |s| remove(s, "ociVersion")))],
    ),
    STATE.says(
        "state-id",
        "id (string, REQUIRED) is the container's ID.",
        |t| {
            let container = t.create(|_| {})?;
            let state = t.state(&container)?;
            same("id", state["id"].as_str(), Some(container.id.as_str()))
        },
        &[Mutation::Ran(|ran| in_state(ran, |s| s["id"] = json!("another")))],
    ),
    STATE.says(
        "status-created",
        "created: the runtime has finished the create operation, and the container process has neither exited nor executed the user-specified program",
        |t| same("status", created_state(t)?["status"].as_str(), Some("created")),
        &[Mutation::Ran(|ran| in_state(ran, |s| s["status"] = json!("running")))],
    ),
    STATE.says(
        "status-running",
        "running: the container process has executed the user-specified program but has not exited",
        |t| {
            let container = t.create(|c| steps(c, &["report", "wait"]))?;
            t.start(&container)?;
            t.reported(&container)?;
            same("status", t.status(&container)?.as_str(), "running")
        },
        &[Mutation::Config(|c| steps(c, &["report"])), Mutation::Skip("start")],
    ),
    STATE.says(
        "status-stopped",
        "stopped: the container process has exited",
        |t| {
            let container = t.create(|_| {})?;
            t.start(&container)?;
            t.wait(&container)?;
            same("status", t.status(&container)?.as_str(), "stopped")
        },
        &[Mutation::Config(|c| steps(c, &["report", "wait"])), Mutation::Ran(|ran| in_state(ran, |s| s["status"] = json!("running")))],
    ),
    STATE.says(
        "state-pid",
        "pid (int, REQUIRED when status is created or running on Linux) is the ID of the container process, as seen by the host.",
        |t| {
            let container = t.create(|c| steps(c, &["report", "wait"]))?;
            t.start(&container)?;
            let facts = t.reported(&container)?;
            let pid = t.state(&container)?["pid"].as_i64().unwrap_or(0);
            let outside = t.read_link(&format!("/proc/{pid}/ns/pid"))?;
            same("the pid namespace of the process with that pid", outside.as_str(), facts.namespace("pid")?)
        },
        &[
            Mutation::Ran(|ran| in_state(ran, |s| s["pid"] = json!(1))),
            Mutation::Outside(|text| "pid:[1]".clone_into(text)),
        ],
    ),
    STATE.says(
        "state-bundle",
        "bundle (string, REQUIRED) is the absolute path to the container's bundle directory.",
        |t| {
            let container = t.create(|_| {})?;
            let state = t.state(&container)?;
            same("bundle", state["bundle"].as_str().map(Path::new), Some(container.bundle.as_path()))
        },
        &[Mutation::Ran(|ran| in_state(ran, |s| s["bundle"] = json!(".")))],
    ),
    STATE.says(
        "state-annotations",
        "annotations (map, OPTIONAL) contains the list of annotations associated with the container.",
        |t| {
            let container = t.create(|c| c["annotations"] = json!({"org.example.key": "value", "org.example.empty": ""}))?;
            let state = t.state(&container)?;
            same("an annotation", state["annotations"]["org.example.key"].as_str(), Some("value"))?;
            same("an empty annotation", state["annotations"]["org.example.empty"].as_str(), Some(""))
        },
        &[Mutation::Config(|c| remove(c, "annotations"))],
    ),
];

fn created_state(t: &mut Trial<'_>) -> Judged<Value> {
    let container = t.create(|_| {})?;
    t.state(&container)
}

/// For lies: alters what `state` printed.
pub(super) fn in_state(ran: &mut Ran, edit: impl FnOnce(&mut Value)) {
    if ran.verb == "state" {
        ran.edit(edit);
    }
}

/// MAJOR.MINOR.PATCH, with anything after a `-` or `+`.
pub(super) fn is_semver(version: &str) -> bool {
    let core = version.split(['-', '+']).next().unwrap_or("");
    let numbers: Vec<&str> = core.split('.').collect();
    numbers.len() == 3 && numbers.iter().all(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::is_semver;

    #[test]
    fn semver_has_three_numbers() {
        assert!(is_semver("1.0.2-dev") && is_semver("1.3.0"));
        assert!(!is_semver("1.0") && !is_semver("latest") && !is_semver("1..2"));
    }
}
