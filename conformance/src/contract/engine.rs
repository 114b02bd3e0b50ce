// SPDX-License-Identifier: Apache-2.0
//! What engines do with every container: create, start, kill, delete and run, with their options and exit codes.
//! The quotes name who relies on it.

use std::os::unix::net::UnixListener;

use serde_json::{Value, json};

use super::console;
use crate::case::{CREATE_ACCEPTS, Case, Chapter, Document, Judged, Mutation, Need, Stop, ensure, same};
use crate::config::{steps, without_pid_namespace};
use crate::trial::{Container, Trial, broken, text, watch};

const CREATE: Chapter = Chapter::new(Document::CommandLine, "create and run");
const LOG: Chapter = Chapter::new(Document::CommandLine, "--log");
const KILL: Chapter = Chapter::new(Document::CommandLine, "kill and delete");
const PAUSE: Chapter = Chapter::new(Document::CommandLine, "pause and resume");

pub(super) const CASES: &[Case] = &[
    CREATE.says(
        "create-pid-file",
        "conmon and containerd's shim read the container's pid from create --pid-file.",
        |t| {
            let (bundle, file) = (t.bundle(|_| {})?, t.path("pid"));
            let container = t.create_in(&bundle, &["--pid-file", &file.to_string_lossy()])?;
            same("the pid file", t.read(&file.to_string_lossy())?, container.pid.to_string())
        },
        &[Mutation::Outside(|x| *x = "1".into())],
    ),
    CREATE.says(
        "create-bundle-option",
        "podman, containerd and CRI-O call create --bundle DIR from another folder.",
        |t| {
            let (bundle, elsewhere, id) = (t.bundle(|_| {})?, t.path(""), t.id());
            t.call(&elsewhere, &["create", "--bundle", &bundle.to_string_lossy(), &id])?.worked()?;
            let state = t.call(&elsewhere, &["state", &id])?.json()?;
            same("bundle in the state", state["bundle"].as_str(), Some(&*bundle.to_string_lossy()))
        },
        &[
            Mutation::Skip("create"),
            Mutation::Ran(|r| {
                if r.verb == "state" {
                    r.edit(|s| s["bundle"] = json!("/"))
                }
            }),
        ],
    ),
    CREATE.says(
        "create-short-bundle-option",
        "Scripts call create -b DIR.",
        |t| {
            let (bundle, elsewhere, id) = (t.bundle(|_| {})?, t.path(""), t.id());
            t.call(&elsewhere, &["create", "-b", &bundle.to_string_lossy(), &id])?.worked()?;
            t.call(&elsewhere, &["state", &id])?.worked()
        },
        &[Mutation::Skip("create")],
    ),
    CREATE.says(
        "create-console-socket",
        "conmon and containerd's shim receive the terminal's master end over --console-socket.",
        |t| {
            let facts = console::look(t, |_| {})?;
            same("descriptors that are terminals", facts.terminals, vec![0, 1, 2])
        },
        &[Mutation::Config(|c| c["process"]["terminal"] = json!(false))],
    ),
    CREATE.says(
        "create-terminal-without-socket",
        "runc refuses a terminal without --console-socket in create: nobody would hold its other end.",
        |t| t.refuses(|c| c["process"]["terminal"] = json!(true)).map(drop),
        &[Mutation::Config(|c| c["process"]["terminal"] = json!(false)), CREATE_ACCEPTS],
    ),
    CREATE.says(
        "create-console-socket-without-terminal",
        "runc refuses --console-socket when the config asks for no terminal.",
        |t| {
            let socket = t.path("console.sock");
            let _listener = broken(UnixListener::bind(&socket), "a socket")?;
            let (bundle, id) = (t.bundle(|_| {})?, t.id());
            t.call(&bundle, &["create", "--console-socket", &socket.to_string_lossy(), &id])?.refused()
        },
        &[CREATE_ACCEPTS],
    ),
    CREATE.says(
        "run-exit-status",
        "Scripts and podman read the program's exit status from run.",
        |t| {
            for code in [0, 7, 255] {
                let (bundle, id) = (t.bundle(|c| steps(c, &[&format!("exit:{code}")]))?, t.id());
                same("status of run", t.call(&bundle, &["run", &id])?.code, code)?;
            }
            Ok(())
        },
        &[Mutation::Config(|c| steps(c, &["exit:1"]))],
    ),
    CREATE.says(
        "run-output",
        "run hands its stdin, stdout and stderr to the program.",
        |t| {
            let (bundle, id) = (t.bundle(|_| {})?, t.id());
            let ran = t.call(&bundle, &["run", &id])?;
            ran.worked()?;
            t.facts_of(&ran.stdout).map(drop)
        },
        &[Mutation::Config(|c| steps(c, &["exit:0"]))],
    ),
    CREATE.says(
        "run-deletes",
        "After run the container is gone: its id is free, state does not know it.",
        |t| {
            let (bundle, id) = (t.bundle(|_| {})?, t.id());
            t.call(&bundle, &["run", &id])?.worked()?;
            t.call(&bundle, &["state", &id])?.refused()?;
            t.call(&bundle, &["run", &id])?.worked()
        },
        &[Mutation::Ran(|r| {
            if r.verb == "state" {
                r.code = 0
            }
        })],
    ),
    CREATE.says(
        "run-detach",
        "run --detach returns when the program runs; --pid-file holds its pid.",
        |t| {
            let (bundle, id, file) = (t.bundle(|c| steps(c, &["wait"]))?, t.id(), t.path("pid"));
            let (words, out) = (["run", "--detach", "--pid-file", &file.to_string_lossy(), &id], t.path("out"));
            t.call_with(&bundle, &[], &words, Some(&out))?.worked()?;
            let pid: i32 = text(&file).trim().parse().map_err(|e| Stop::Red(format!("the pid file: {e}")))?;
            t.settled(pid, &out)?;
            let state = t.call(&bundle, &["state", &id])?.json()?;
            same("status", state["status"].as_str(), Some("running"))?;
            same("the pid file", i64::from(pid), state["pid"].as_i64().unwrap_or(0))
        },
        &[Mutation::Config(|c| steps(c, &["exit:0"])), Mutation::Skip("run")],
    ),
    CREATE.says(
        "run-missing-program",
        "Engines tell a missing program by a failing runtime that names it.",
        |t| {
            let (bundle, id) = (t.bundle(|c| c["process"]["args"] = json!(["/nowhere/program"]))?, t.id());
            let ran = t.call(&bundle, &["run", &id])?;
            ran.refused()?;
            ensure(ran.stderr.contains("/nowhere/program"), || {
                format!("it does not name the program: {:?}", ran.stderr)
            })?;
            let message = ran.stderr.to_lowercase();
            ensure(message.contains("no such file"), || format!("podman looks for “no such file” in {message:?}"))
        },
        &[Mutation::Config(|c| steps(c, &["exit:1"])), Mutation::Ran(|r| r.stderr.clear())],
    ),
    CREATE.says(
        "run-program-not-executable",
        "Engines tell a program that cannot be executed by “permission denied”.",
        |t| {
            let (bundle, id) = (t.bundle(|c| c["process"]["args"] = json!(["/etc/secret"]))?, t.id());
            let ran = t.call(&bundle, &["run", &id])?;
            ran.refused()?;
            let message = ran.stderr.to_lowercase();
            ensure(message.contains("permission denied"), || {
                format!("podman looks for “permission denied” in {message:?}")
            })
        },
        &[Mutation::Config(|c| steps(c, &["exit:1"])), Mutation::Ran(|r| r.stderr.clear())],
    ),
    CREATE.says(
        "preserve-fds",
        "podman and systemd socket activation pass descriptors with --preserve-fds N, from 3 on.",
        |t| {
            let (bundle, id) = (t.bundle(|_| {})?, t.id());
            let script = format!(
                "exec 3</dev/null 4</dev/zero; exec \"$0\" --root {}/state run --preserve-fds 2 {id}",
                t.place.work.display()
            );
            let runtime = t.place.runtime.to_string_lossy().into_owned();
            let bundle = bundle.to_string_lossy().into_owned();
            let xdg = format!("XDG_RUNTIME_DIR={}/x", t.place.work.display());
            let said = t.host("env", &["-C", &bundle, &xdg, "sh", "-c", &script, &runtime])?;
            let fds = t.facts_of(&said)?.fds;
            same("open descriptors", fds.keys().copied().collect::<Vec<_>>()[1..].to_vec(), vec![1, 2, 3, 4])
        },
        &[
            Mutation::Facts(|f| {
                f.fds.remove(&4);
            }),
            Mutation::Config(|c| steps(c, &["exit:0"])),
        ],
    ),
    CREATE
        .says(
            "no-pivot",
            "create --no-pivot works on a root that cannot be pivoted (initramfs): the root is moved instead.",
            |t| {
                let bundle = t.bundle(|c| steps(c, &["read:/etc/secret", "report"]))?;
                let container = t.create_in(&bundle, &["--no-pivot"])?;
                same("a file of the root", t.finish(&container)?.act("read:/etc/secret")?.text.as_str(), "secret")
            },
            &[Mutation::Config(|c| c["root"]["path"] = json!("rootfs/share"))],
        )
        .needs(&[Need::Root]),
    CREATE.says(
        "no-new-keyring",
        "containerd passes --no-new-keyring.",
        |t| {
            let bundle = t.bundle(|_| {})?;
            let container = t.create_in(&bundle, &["--no-new-keyring"])?;
            t.finish(&container).map(drop)
        },
        &[Mutation::Skip("create")],
    ),
    CREATE
        .says(
            "systemd-cgroup",
            "podman and kubelet pass --systemd-cgroup, with a cgroupsPath of the form slice:prefix:name.",
            |t| {
                let bundle = t.bundle(|c| c["linux"]["cgroupsPath"] = json!("system.slice:kc:unit"))?;
                let id = t.id();
                t.call_with(&bundle, &["--systemd-cgroup"], &["create", &id], None)?.worked()?;
                let state = t.call(&bundle, &["state", &id])?.json()?;
                let cgroup = t.read(&format!("/proc/{}/cgroup", state["pid"]))?;
                ensure(cgroup.contains("kc-unit.scope"), || format!("the container's cgroup is {cgroup}"))
            },
            &[Mutation::Outside(String::clear)],
        )
        .needs(&[Need::Root, Need::Path("/run/systemd/system")]),
    LOG.says(
        "log-json",
        "podman, containerd and CRI-O parse --log FILE --log-format json: one object per line with level and msg.",
        |t| {
            let log = failing_create(t, &["--log-format", "json"])?;
            let last = log.lines().last().unwrap_or("");
            let line: Value = serde_json::from_str(last).unwrap_or(Value::Null);
            ensure(line["level"] == "error" || line["level"] == "fatal", || {
                format!("the last line has no level “error”: {last}")
            })?;
            ensure(line["msg"].as_str().is_some_and(|m| m.contains("config.json")), || {
                format!("the last line has no msg about config.json: {last}")
            })?;
            ensure(log.lines().all(|l| serde_json::from_str::<Value>(l).is_ok()), || {
                format!("not every line is JSON: {log}")
            })
        },
        &[Mutation::Outside(|x| *x = "create: something".into()), Mutation::Outside(String::clear)],
    ),
    LOG.says(
        "log-text",
        "Without --log-format, --log FILE holds text.",
        |t| {
            let log = failing_create(t, &[])?;
            ensure(log.contains("config.json"), || format!("it does not name config.json: {log:?}"))
        },
        &[Mutation::Outside(String::clear)],
    ),
    KILL.says(
        "kill-signal-forms",
        "Engines name signals as 9, KILL and SIGKILL.",
        |t| {
            for signal in ["9", "KILL", "SIGKILL"] {
                let container = waiting(t)?;
                t.kill(&container, signal)?;
                let code = t.wait(&container)?;
                ensure(code == 137 || code == -1, || {
                    format!("after kill {signal} the program ended with {code}, wanted 137")
                })?;
            }
            Ok(())
        },
        &[Mutation::Skip("kill")],
    ),
    KILL.says(
        "kill-default-signal",
        "kill without a signal sends TERM.",
        |t| {
            let container = t.create(|c| {
                without_pid_namespace(c);
                steps(c, &["report", "wait"]);
            })?;
            t.start(&container)?;
            t.reported(&container)?;
            t.call(&container.bundle, &["kill", &container.id])?.worked()?;
            same("the end of the program", t.wait(&container)?, 143)
        },
        &[Mutation::Skip("kill")],
    ),
    KILL.says(
        "kill-unknown-signal",
        "A signal that there is not is an error.",
        |t| {
            let container = waiting(t)?;
            t.call(&container.bundle, &["kill", &container.id, "SIGNONSENSE"])?.refused()?;
            same("status afterwards", t.status(&container)?.as_str(), "running")
        },
        &[Mutation::Ran(|r| {
            if r.verb == "kill" {
                r.code = 0
            }
        })],
    ),
    KILL.says(
        "kill-all",
        "containerd calls kill --all ID 9 to end every process of a container.",
        |t| {
            let container = waiting(t)?;
            t.call(&container.bundle, &["kill", "--all", &container.id, "9"])?.worked()?;
            t.wait(&container).map(drop)
        },
        &[Mutation::Skip("kill")],
    ),
    KILL.says(
        "delete-force-running",
        "Engines call delete --force to end and remove whatever state a container is in.",
        |t| {
            let container = waiting(t)?;
            t.call(&container.bundle, &["delete", "--force", &container.id])?.worked()?;
            t.call(&container.bundle, &["state", &container.id])?.refused()?;
            ensure(watch(container.pid, t.patience)?, || "the program still runs".into())
        },
        &[Mutation::Skip("delete")],
    ),
    KILL.says(
        "delete-force-created",
        "Engines call delete --force to end and remove whatever state a container is in.",
        |t| {
            let container = t.create(|_| {})?;
            t.call(&container.bundle, &["delete", "--force", &container.id])?.worked()?;
            t.call(&container.bundle, &["state", &container.id])?.refused()
        },
        &[Mutation::Skip("delete")],
    ),
    KILL.says(
        "delete-force-unknown",
        "delete --force of a container that does not exist is no error: containerd cleans up so.",
        |t| {
            let (dir, id) = (t.path(""), t.id());
            t.call(&dir, &["delete", "--force", &id])?.worked()
        },
        &[Mutation::Ran(|r| r.code = 1)],
    ),
    PAUSE
        .says(
            "pause-status",
            "docker pause and podman pause: state says paused, and running again after resume.",
            |t| {
                let container = waiting(t)?;
                t.call(&container.bundle, &["pause", &container.id])?.worked()?;
                same("status after pause", t.status(&container)?.as_str(), "paused")?;
                t.call(&container.bundle, &["resume", &container.id])?.worked()?;
                same("status after resume", t.status(&container)?.as_str(), "running")
            },
            &[Mutation::Skip("pause"), Mutation::Skip("resume")],
        )
        .needs(&[Need::Verb("pause"), Need::Root]),
    PAUSE
        .says(
            "pause-freezes",
            "A paused container's processes do not run.",
            |t| {
                let container = waiting(t)?;
                t.call(&container.bundle, &["pause", &container.id])?.worked()?;
                let cgroup = format!(
                    "{}{}",
                    crate::place::CGROUP,
                    text(format!("/proc/{}/cgroup", container.pid).as_ref())
                        .lines()
                        .find_map(|l| l.strip_prefix("0::"))
                        .unwrap_or("")
                );
                let events = t.read(&format!("{cgroup}/cgroup.events"))?;
                ensure(events.contains("frozen 1"), || format!("the cgroup's events: {events}"))
            },
            &[Mutation::Skip("pause"), Mutation::Outside(String::clear)],
        )
        .needs(&[Need::Verb("pause"), Need::Root]),
    PAUSE
        .says(
            "kill-paused",
            "docker kill of a paused container ends it.",
            |t| {
                let container = waiting(t)?;
                t.call(&container.bundle, &["pause", &container.id])?.worked()?;
                t.kill(&container, "KILL")?;
                t.wait(&container)?;
                same("status", t.status(&container)?.as_str(), "stopped")
            },
            &[Mutation::Skip("kill")],
        )
        .needs(&[Need::Verb("pause"), Need::Root]),
    PAUSE
        .says(
            "delete-force-paused",
            "Engines call delete --force to end and remove whatever state a container is in.",
            |t| {
                let container = waiting(t)?;
                t.call(&container.bundle, &["pause", &container.id])?.worked()?;
                t.call(&container.bundle, &["delete", "--force", &container.id])?.worked()?;
                t.call(&container.bundle, &["state", &container.id])?.refused()
            },
            &[Mutation::Skip("delete")],
        )
        .needs(&[Need::Verb("pause"), Need::Root]),
    PAUSE
        .says(
            "pause-of-stopped",
            "A container that does not run cannot be paused.",
            |t| {
                let container = t.create(|_| {})?;
                t.start(&container)?;
                t.wait(&container)?;
                t.call(&container.bundle, &["pause", &container.id])?.refused()
            },
            &[Mutation::Ran(|r| {
                if r.verb == "pause" {
                    r.code = 0
                }
            })],
        )
        .needs(&[Need::Verb("pause"), Need::Root]),
];

/// A running container whose program waits.
pub(super) fn waiting(t: &mut Trial<'_>) -> Judged<Container> {
    let container = t.create(|c| steps(c, &["report", "wait"]))?;
    t.start(&container)?;
    t.reported(&container)?;
    Ok(container)
}

/// What the log says of a create without config.json.
fn failing_create(t: &mut Trial<'_>, options: &[&str]) -> Judged<String> {
    let (dir, id, log) = (t.path(""), t.id(), t.path("log"));
    let log = log.to_string_lossy().into_owned();
    let globals: Vec<&str> = ["--log", &log].into_iter().chain(options.iter().copied()).collect();
    t.call_with(&dir, &globals, &["create", &id], None)?.refused()?;
    t.read(&log)
}
