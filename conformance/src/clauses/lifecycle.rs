// SPDX-License-Identifier: Apache-2.0
//! runtime.md, Lifecycle and Errors: what happens when, and what a failure may leave behind.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;

use super::hooks::{Hooks, tags};
use crate::case::{CREATE_ACCEPTS, Case, Chapter, Document, Judged, Mutation, ensure, same};
use crate::config::{remove, steps};
use crate::trial::{Trial, text};

const LIFECYCLE: Chapter = Chapter::new(Document::Runtime, "Lifecycle");
const ERRORS: Chapter = Chapter::new(Document::Runtime, "Errors");

const NO_HOOKS: Mutation = Mutation::Config(|c| remove(c, "hooks"));
const EMPTY_DIARY: Mutation = Mutation::Diary(Vec::clear);

pub(super) const CASES: &[Case] = &[
    LIFECYCLE.says(
        "create-applies-config",
        "The container's runtime environment MUST be created according to the configuration in config.json.",
        |t| {
            let container = t.create(|c| c["hostname"] = json!("early"))?;
            let inside = t.read_link(&format!("/proc/{}/ns/uts", container.pid))?;
            let ours = t.read_link("/proc/self/ns/uts")?;
            ensure(inside != ours, || format!("after create the process has our uts namespace {ours}"))?;
            same("hostname", t.finish(&container)?.sysctl("kernel/hostname")?, "early")
        },
        &[Mutation::Config(|c| c["hostname"] = json!("late")), Mutation::Outside(|text| "uts:[1]".clone_into(text))],
    ),
    LIFECYCLE.says(
        "create-fails-when-impossible",
        "If the runtime is unable to create the environment specified in the config.json, it MUST generate an error.",
        |t| t.refuses(|c| c["root"]["path"] = json!("nowhere")).map(drop),
        &[Mutation::Config(|c| c["root"]["path"] = json!("rootfs")), CREATE_ACCEPTS],
    ),
    LIFECYCLE.says(
        "program-waits-for-start",
        "While the resources requested in the config.json MUST be created, the user-specified program (from process) MUST NOT be run at this time.",
        |t| {
            let container = t.create(|_| {})?;
            sleep(Duration::from_millis(200));
            ensure(text(&container.out).is_empty(), || "the program ran before start".into())?;
            let program = t.read_link(&format!("/proc/{}/exe", container.pid)).unwrap_or_default();
            ensure(!program.ends_with("/probe"), || format!("before start the process is already {program}"))?;
            t.finish(&container).map(drop)
        },
        &[Mutation::Outside(|text| "/probe".clone_into(text)), Mutation::Skip("start")],
    ),
    LIFECYCLE.says(
        "config-frozen-at-create",
        "Any updates to config.json after this step MUST NOT affect the container.",
        |t| {
            let bundle = t.bundle(|c| c["process"]["env"] = json!(["WHEN=before", "HOME=/"]))?;
            let container = t.create_in(&bundle, &[])?;
            let file = bundle.join("config.json");
            let later = text(&file).replace("WHEN=before", "WHEN=after").replace("\"report\"", "\"report\",\"exit:7\"");
            crate::trial::broken(std::fs::write(&file, later), "config.json")?;
            same("env", t.finish(&container)?.strings("/proc/self/environ")?, vec!["WHEN=before", "HOME=/"])
        },
        &[Mutation::Config(|c| c["process"]["env"] = json!(["WHEN=after"]))],
    ),
    LIFECYCLE.says(
        "prestart-invoked",
        "The prestart hooks MUST be invoked by the runtime.",
        |t| invoked_by(t, "prestart", "create"),
        &[NO_HOOKS, EMPTY_DIARY],
    ),
    LIFECYCLE.says(
        "prestart-failure",
        "If any prestart hook fails, the runtime MUST generate an error, stop the container, and continue the lifecycle at step 12.",
        |t| failing_create_hook(t, "prestart"),
        &[NO_HOOKS, CREATE_ACCEPTS],
    ),
    LIFECYCLE.says(
        "createRuntime-invoked",
        "The createRuntime hooks MUST be invoked by the runtime.",
        |t| invoked_by(t, "createRuntime", "create"),
        &[NO_HOOKS, EMPTY_DIARY],
    ),
    LIFECYCLE.says(
        "createRuntime-failure",
        "If any createRuntime hook fails, the runtime MUST generate an error, stop the container, and continue the lifecycle at step 12.",
        |t| failing_create_hook(t, "createRuntime"),
        &[NO_HOOKS, CREATE_ACCEPTS],
    ),
    LIFECYCLE.says(
        "createContainer-invoked",
        "The createContainer hooks MUST be invoked by the runtime.",
        |t| invoked_by(t, "createContainer", "create"),
        &[NO_HOOKS, EMPTY_DIARY],
    ),
    LIFECYCLE.says(
        "createContainer-failure",
        "If any createContainer hook fails, the runtime MUST generate an error, stop the container, and continue the lifecycle at step 12.",
        |t| failing_create_hook(t, "createContainer"),
        &[NO_HOOKS, CREATE_ACCEPTS],
    ),
    LIFECYCLE.says(
        "startContainer-invoked",
        "The startContainer hooks MUST be invoked by the runtime.",
        |t| invoked_by(t, "startContainer", "start"),
        &[NO_HOOKS, EMPTY_DIARY],
    ),
    LIFECYCLE.says(
        "startContainer-failure",
        "If any startContainer hook fails, the runtime MUST generate an error, stop the container, and continue the lifecycle at step 12.",
        |t| {
            let bundle = t.bundle(|c| c["hooks"]["startContainer"] = json!([{"path": "/probe", "args": ["probe", "exit:3"]}]))?;
            let container = t.create_in(&bundle, &[])?;
            let ran = t.call(&bundle, &["start", &container.id])?;
            t.wait(&container)?;
            ensure(text(&container.out).is_empty(), || "the program ran although its hook had failed".into())?;
            ran.refused()
        },
        &[NO_HOOKS, Mutation::Config(|c| c["hooks"]["startContainer"][0]["args"] = json!(["probe", "exit:0"]))],
    ),
    LIFECYCLE.says(
        "program-run",
        "The runtime MUST run the user-specified program, as specified by process.",
        |t| {
            let facts = t.look(|c| steps(c, &["report", "exit:0", "as", "specified"]))?;
            same("argv", facts.strings("/proc/self/cmdline")?, vec!["/probe", "report", "exit:0", "as", "specified"])
        },
        &[Mutation::Config(|c| steps(c, &["report"])), Mutation::Skip("start")],
    ),
    LIFECYCLE.says(
        "poststart-invoked",
        "The poststart hooks MUST be invoked by the runtime.",
        |t| invoked_by(t, "poststart", "start"),
        &[NO_HOOKS, EMPTY_DIARY],
    ),
    LIFECYCLE.says(
        "poststart-failure",
        "If any poststart hook fails, the runtime MUST generate an error, stop the container, and continue the lifecycle at step 12.",
        |t| {
            let hooks = Hooks::new(t)?;
            let bundle = t.bundle(|c| {
                c["hooks"]["poststart"] = json!([hooks.failing()]);
                steps(c, &["report", "wait"]);
            })?;
            let container = t.create_in(&bundle, &[])?;
            t.call(&bundle, &["start", &container.id])?.refused()?;
            t.wait(&container).map(drop)
        },
        &[NO_HOOKS, Mutation::Config(|c| c["hooks"]["poststart"][0]["args"] = json!(["probe", "exit:0"]))],
    ),
    LIFECYCLE.says(
        "delete-destroys",
        "The container MUST be destroyed by undoing the steps performed during create phase (step 2).",
        |t| {
            let container = t.create(|_| {})?;
            let mounts = t.read("/proc/self/mountinfo")?;
            t.finish(&container)?;
            let left = t.read("/proc/self/mountinfo")?;
            ensure(!left.contains(&container.id), || "a mount of the container is left".into())?;
            same("our mount table after delete", left.lines().count(), mounts.lines().count())?;
            let state = t.call(&container.bundle, &["state", &container.id])?;
            ensure(state.code != 0, || "state still knows the container".into())
        },
        &[Mutation::Skip("delete")],
    ),
    LIFECYCLE.says(
        "poststop-invoked",
        "The poststop hooks MUST be invoked by the runtime.",
        |t| invoked_by(t, "poststop", "delete"),
        &[NO_HOOKS, EMPTY_DIARY],
    ),
    LIFECYCLE.says(
        "poststop-failure",
        "If any poststop hook fails, the runtime MUST log a warning, but the remaining hooks and lifecycle continue as if the hook had succeeded.",
        |t| {
            let hooks = Hooks::new(t)?;
            let container = t.create(|c| c["hooks"]["poststop"] = json!([hooks.failing(), hooks.writing("second")]))?;
            t.finish(&container)?;
            same("hooks that ran after the failing one", tags(&t.diary()?), vec!["second"])
        },
        &[NO_HOOKS, EMPTY_DIARY],
    ),
    ERRORS.says(
        "errors-leave-nothing",
        "Unless otherwise stated, generating an error MUST leave the state of the environment as if the operation were never attempted",
        |t| {
            let before = (t.read("/proc/self/mountinfo")?, children()?);
            let bundle = t.bundle(|c| c["process"]["rlimits"] = json!([{"type": "RLIMIT_NONSENSE", "hard": 1, "soft": 1}]))?;
            let id = t.id();
            t.call(&bundle, &["create", &id])?.refused()?;
            // A process that ends as create returns is no child a moment later.
            let until = Instant::now() + t.patience;
            while children()? != before.1 && Instant::now() < until {
                sleep(Duration::from_millis(5));
            }
            let after = (t.read("/proc/self/mountinfo")?, children()?);
            same("our mounts and children afterwards", after, before)?;
            same("cgroups with the container's name", crate::place::cgroups_named(&id), Vec::<std::path::PathBuf>::new())?;
            let state = t.call(&bundle, &["state", &id])?;
            ensure(state.code != 0, || "state knows the container that could not be created".into())
        },
        &[Mutation::Config(|c| remove(&mut c["process"], "rlimits")), CREATE_ACCEPTS],
    ),
];

/// Exactly once, before `verb` returned and not before it was called.
fn invoked_by(t: &mut Trial<'_>, kind: &str, verb: &str) -> Judged<()> {
    let hooks = Hooks::new(t)?;
    let container = t.create(|c| hooks.all_kinds(c))?;
    let mut order = vec![("create", tags(&t.diary()?))];
    t.start(&container)?;
    t.wait(&container)?;
    order.push(("start", tags(&t.diary()?)));
    t.delete(&container)?;
    order.push(("delete", tags(&t.diary()?)));
    for (after, seen) in order {
        let due = after == verb || (after == "delete") || (after == "start" && verb == "create");
        let count = seen.iter().filter(|t| t.as_str() == kind).count();
        same(&format!("number of {kind} hooks that ran by the end of {after}"), count, usize::from(due))?;
    }
    Ok(())
}

fn failing_create_hook(t: &mut Trial<'_>, kind: &'static str) -> Judged<()> {
    let hooks = Hooks::new(t)?;
    t.refuses(|c| {
        c["hooks"][kind] = json!([hooks.failing()]);
        c["hooks"]["poststop"] = json!([hooks.writing("poststop")]);
    })?;
    same("hooks that ran after the failure", tags(&t.diary()?), vec!["poststop"])
}

/// Our children that live, zombies included: what a failed create must not leave behind.
fn children() -> Judged<String> {
    let me = std::process::id();
    crate::trial::broken(std::fs::read_to_string(format!("/proc/{me}/task/{me}/children")), "our children")
}
