// SPDX-License-Identifier: Apache-2.0
//! runtime.md, Operations: state, create, start, kill, delete.

use serde_json::json;

use crate::case::{CREATE_ACCEPTS, Case, Chapter, Document, Mutation, Need, ensure, same};
use crate::config::{drop_namespace, remove, steps, without_pid_namespace};
use crate::trial::{Container, Ran, text};

const QUERY: Chapter = Chapter::new(Document::Runtime, "Query State");
const CREATE: Chapter = Chapter::new(Document::Runtime, "Create");
const START: Chapter = Chapter::new(Document::Runtime, "Start");
const KILL: Chapter = Chapter::new(Document::Runtime, "Kill");
const DELETE: Chapter = Chapter::new(Document::Runtime, "Delete");

/// The runtime says yes to this verb.
const fn says_yes(lie: fn(&mut Ran)) -> Mutation {
    Mutation::Ran(lie)
}

fn yes(ran: &mut Ran, verb: &str) {
    if ran.verb == verb {
        ran.code = 0;
    }
}

/// How many times the program has reported.
fn reports(container: &Container) -> usize {
    text(&container.out).lines().filter(|l| l.starts_with('{')).count()
}

pub(super) const CASES: &[Case] = &[
    QUERY.says(
        "state-without-id",
        "This operation MUST generate an error if it is not provided the ID of a container.",
        |t| {
            let dir = t.path("");
            t.call(&dir, &["state"])?.refused()
        },
        &[says_yes(|r| yes(r, "state"))],
    ),
    QUERY.says(
        "state-of-unknown",
        "Attempting to query a container that does not exist MUST generate an error.",
        |t| {
            let (dir, id) = (t.path(""), t.id());
            t.call(&dir, &["state", &id])?.refused()
        },
        &[says_yes(|r| yes(r, "state"))],
    ),
    CREATE.says(
        "create-without-id",
        "This operation MUST generate an error if it is not provided a path to the bundle and the container ID to associate with the container.",
        |t| {
            let bundle = t.bundle(|_| {})?;
            t.call(&bundle, &["create"])?.refused()
        },
        &[CREATE_ACCEPTS],
    ),
    CREATE.says(
        "create-without-bundle",
        "This operation MUST generate an error if it is not provided a path to the bundle and the container ID to associate with the container.",
        |t| {
            let (dir, id) = (t.path(""), t.id());
            t.call(&dir, &["create", &id])?.refused()
        },
        &[CREATE_ACCEPTS],
    ),
    CREATE.says(
        "create-id-taken",
        "If the ID provided is not unique across all containers within the scope of the runtime, or is not valid in any other way, the implementation MUST generate an error and a new container MUST NOT be created.",
        |t| {
            let container = t.create(|_| {})?;
            let again = t.bundle(|_| {})?;
            t.call(&again, &["create", &container.id])?.refused()?;
            let state = t.state(&container)?;
            same("the first container's pid afterwards", state["pid"].as_i64(), Some(i64::from(container.pid)))?;
            t.finish(&container).map(drop)
        },
        &[Mutation::Skip("create"), Mutation::Ran(|ran| if ran.stderr.contains("exist") { ran.code = 0 })],
    ),
    CREATE.says(
        "create-id-invalid",
        "If the ID provided is not unique across all containers within the scope of the runtime, or is not valid in any other way, the implementation MUST generate an error and a new container MUST NOT be created.",
        |t| {
            let bundle = t.bundle(|_| {})?;
            for id in ["../escape", "a/b", "", "."] {
                let ran = t.call(&bundle, &["create", id])?;
                ensure(ran.code != 0, || format!("create accepted the id {id:?}"))?;
            }
            Ok(())
        },
        &[CREATE_ACCEPTS],
    ),
    CREATE.says(
        "create-makes-container",
        "This operation MUST create a new container.",
        |t| {
            let container = t.create(|_| {})?;
            let theirs = t.read_link(&format!("/proc/{}/ns/mnt", container.pid))?;
            let ours = t.read_link("/proc/self/ns/mnt")?;
            ensure(theirs != ours, || format!("the new process lives in our mount namespace {ours}"))
        },
        &[Mutation::Skip("create"), Mutation::Config(|c| drop_namespace(c, "mount")), Mutation::Outside(|text| "mnt:[1]".clone_into(text))],
    ),
    CREATE.says(
        "create-refuses-what-it-cannot-apply",
        "If the runtime cannot apply a property as specified in the configuration, it MUST generate an error and a new container MUST NOT be created.",
        |t| {
            t.refuses(|c| {
                let mount = crate::config::mount("/m", "nosuchfs", "none", &[]);
                crate::config::add_mount(c, mount);
            })
            .map(drop)
        },
        &[Mutation::Config(|c| crate::config::drop_mount(c, "/m")), CREATE_ACCEPTS],
    ),
    START.says(
        "start-without-id",
        "This operation MUST generate an error if it is not provided the container ID.",
        |t| {
            let dir = t.path("");
            t.call(&dir, &["start"])?.refused()
        },
        &[says_yes(|r| yes(r, "start"))],
    ),
    START.says(
        "start-unknown",
        "Attempting to start a container that is not created MUST have no effect on the container and MUST generate an error.",
        |t| {
            let (dir, id) = (t.path(""), t.id());
            t.call(&dir, &["start", &id])?.refused()
        },
        &[says_yes(|r| yes(r, "start"))],
    ),
    START.says(
        "start-running",
        "Attempting to start a container that is not created MUST have no effect on the container and MUST generate an error.",
        |t| {
            let container = t.create(|c| steps(c, &["report", "wait"]))?;
            t.start(&container)?;
            t.reported(&container)?;
            let again = t.call(&container.bundle, &["start", &container.id])?;
            same("status afterwards", t.status(&container)?.as_str(), "running")?;
            same("reports of the program", reports(&container), 1)?;
            again.refused()
        },
        &[says_yes(|r| yes(r, "start"))],
    ),
    START.says(
        "start-stopped",
        "Attempting to start a container that is not created MUST have no effect on the container and MUST generate an error.",
        |t| {
            let container = t.create(|_| {})?;
            t.start(&container)?;
            t.wait(&container)?;
            t.call(&container.bundle, &["start", &container.id])?.refused()?;
            same("reports of the program", reports(&container), 1)
        },
        &[says_yes(|r| yes(r, "start"))],
    ),
    START.says(
        "start-runs-program",
        "This operation MUST run the user-specified program as specified by process.",
        |t| t.look(|_| {}).map(drop),
        &[Mutation::Skip("start"), Mutation::Config(|c| steps(c, &["exit:0"]))],
    ),
    START.says(
        "start-without-process",
        "This operation MUST generate an error if process was not set.",
        |t| {
            let bundle = t.bundle(|c| remove(c, "process"))?;
            let id = t.id();
            // The spec lets create refuse early: `process` is REQUIRED when start is called.
            if t.call(&bundle, &["create", &id])?.code != 0 {
                return Ok(());
            }
            t.call(&bundle, &["start", &id])?.refused()
        },
        &[Mutation::Ran(|ran| ran.code = 0)],
    ),
    KILL.says(
        "kill-without-id",
        "This operation MUST generate an error if it is not provided the container ID.",
        |t| {
            let dir = t.path("");
            t.call(&dir, &["kill"])?.refused()
        },
        &[says_yes(|r| yes(r, "kill"))],
    ),
    KILL.says(
        "kill-unknown",
        "Attempting to send a signal to a container that is neither created nor running MUST have no effect on the container and MUST generate an error.",
        |t| {
            let (dir, id) = (t.path(""), t.id());
            t.call(&dir, &["kill", &id, "KILL"])?.refused()
        },
        &[says_yes(|r| yes(r, "kill"))],
    ),
    KILL.says(
        "kill-stopped",
        "Attempting to send a signal to a container that is neither created nor running MUST have no effect on the container and MUST generate an error.",
        |t| {
            let container = t.create(|_| {})?;
            t.start(&container)?;
            t.wait(&container)?;
            t.call(&container.bundle, &["kill", &container.id, "KILL"])?.refused()?;
            same("status afterwards", t.status(&container)?.as_str(), "stopped")
        },
        &[says_yes(|r| yes(r, "kill"))],
    ),
    KILL.says(
        "kill-created",
        "Attempting to send a signal to a container that is neither created nor running MUST have no effect on the container and MUST generate an error.",
        |t| {
            let container = t.create(|_| {})?;
            t.kill(&container, "KILL")?;
            t.wait(&container)?;
            same("status after KILL", t.status(&container)?.as_str(), "stopped")
        },
        &[Mutation::Skip("kill")],
    ),
    KILL.says(
        "kill-sends-the-signal",
        "This operation MUST send the specified signal to the process in the container.",
        |t| {
            for (signal, number) in [("TERM", 15), ("USR1", 10), ("HUP", 1)] {
                let container = t.create(|c| {
                    without_pid_namespace(c);
                    steps(c, &["report", "wait"]);
                })?;
                t.start(&container)?;
                t.reported(&container)?;
                t.kill(&container, signal)?;
                let code = t.wait(&container)?;
                same(&format!("the end of the program after {signal}"), code, 128 + number)?;
            }
            Ok(())
        },
        &[Mutation::Skip("kill"), Mutation::Config(|c| steps(c, &["report"]))],
    ),
    DELETE.says(
        "delete-without-id",
        "This operation MUST generate an error if it is not provided the container ID.",
        |t| {
            let dir = t.path("");
            t.call(&dir, &["delete"])?.refused()
        },
        &[says_yes(|r| yes(r, "delete"))],
    ),
    DELETE.says(
        "delete-unknown",
        "Attempting to delete a container that is not stopped MUST have no effect on the container and MUST generate an error.",
        |t| {
            let (dir, id) = (t.path(""), t.id());
            t.call(&dir, &["delete", &id])?.refused()
        },
        &[says_yes(|r| yes(r, "delete"))],
    ),
    DELETE.says(
        "delete-running",
        "Attempting to delete a container that is not stopped MUST have no effect on the container and MUST generate an error.",
        |t| {
            let container = t.create(|c| steps(c, &["report", "wait"]))?;
            t.start(&container)?;
            t.reported(&container)?;
            t.call(&container.bundle, &["delete", &container.id])?.refused()?;
            same("status afterwards", t.status(&container)?.as_str(), "running")
        },
        &[says_yes(|r| yes(r, "delete"))],
    ),
    DELETE.says(
        "delete-created",
        "Attempting to delete a container that is not stopped MUST have no effect on the container and MUST generate an error.",
        |t| {
            let container = t.create(|_| {})?;
            t.call(&container.bundle, &["delete", &container.id])?.refused()?;
            same("status afterwards", t.status(&container)?.as_str(), "created")
        },
        &[says_yes(|r| yes(r, "delete"))],
    ),
    DELETE.says(
        "delete-removes-cgroup",
        "Deleting a container MUST delete the resources that were created during the create step.",
        |t| {
            let container = t.create(|c| c["linux"]["cgroupsPath"] = json!("/kc-delete/below"))?;
            let cgroup = super::cgroups::cgroup_of(t, container.pid)?;
            ensure(std::path::Path::new(&cgroup).is_dir(), || format!("there is no cgroup {cgroup}"))?;
            t.finish(&container)?;
            ensure(!std::path::Path::new(&cgroup).exists(), || format!("the cgroup {cgroup} is left"))
        },
        &[Mutation::Skip("delete")],
    )
    .needs(&[Need::Root]),
    DELETE.says(
        "delete-spares-others",
        "Note that resources associated with the container, but not created by this container, MUST NOT be deleted.",
        |t| {
            let shared = t.path("shared");
            crate::trial::make_dir(&shared)?;
            crate::trial::broken(std::fs::write(shared.join("file"), "mine"), "a file")?;
            let source = shared.to_string_lossy().into_owned();
            let container = t.create(|c| crate::config::add_mount(c, crate::config::mount("/m", "bind", &source, &["rbind"])))?;
            t.finish(&container)?;
            same("a file of a bind mount after delete", t.read(&shared.join("file").to_string_lossy())?.as_str(), "mine")?;
            same("a file of the root filesystem", text(&container.bundle.join("rootfs/etc/secret")).as_str(), "secret")
        },
        &[Mutation::Outside(String::clear)],
    ),
    DELETE.says(
        "id-free-after-delete",
        "Once a container is deleted its ID MAY be used by a subsequent container.",
        |t| {
            let container = t.create(|_| {})?;
            t.finish(&container)?;
            t.call(&container.bundle, &["create", &container.id])?.worked()
        },
        &[Mutation::Skip("delete")],
    ),
];
