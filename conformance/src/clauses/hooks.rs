// SPDX-License-Identifier: Apache-2.0
//! config.md, POSIX-platform Hooks. The hooks are the probe; each writes one line about itself into a diary, which
//! the container sees too, at /work.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::case::{Case, Chapter, Document, Judged, Mutation, Stop, ensure, same};
use crate::config::{add_mount, mount, remove, steps};
use crate::facts::mounts;
use crate::trial::{Trial, make_dir};

const HOOKS: Chapter = Chapter::new(Document::Config, "POSIX-platform Hooks");
const PRESTART: Chapter = Chapter::new(Document::Config, "Prestart");
const CREATE_RUNTIME: Chapter = Chapter::new(Document::Config, "CreateRuntime Hooks");
const CREATE_CONTAINER: Chapter = Chapter::new(Document::Config, "CreateContainer Hooks");
const START_CONTAINER: Chapter = Chapter::new(Document::Config, "StartContainer Hooks");
const POSTSTART: Chapter = Chapter::new(Document::Config, "Poststart");
const POSTSTOP: Chapter = Chapter::new(Document::Config, "Poststop");

const KINDS: [&str; 6] = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

const NO_HOOKS: Mutation = Mutation::Config(|c| remove(c, "hooks"));
const BACKWARDS: Mutation = Mutation::Diary(|d| d.reverse());

/// Makes hooks for one attempt.
pub(super) struct Hooks {
    probe: String,
    dir: PathBuf,
}

impl Hooks {
    pub(super) fn new(t: &Trial<'_>) -> Judged<Self> {
        let dir = t.path("d");
        make_dir(&dir)?;
        Ok(Self { probe: t.place.probe.to_string_lossy().into_owned(), dir })
    }

    /// A hook of the host that writes into the diary.
    pub(super) fn writing(&self, tag: &str) -> Value {
        let step = format!("diary:{}={tag}", self.dir.join("diary").display());
        json!({"path": self.probe, "args": ["probe", step]})
    }

    /// The same from inside of the container.
    fn writing_inside(tag: &str) -> Value {
        json!({"path": "/probe", "args": ["probe", format!("diary:/work/diary={tag}")]})
    }

    pub(super) fn failing(&self) -> Value {
        json!({"path": self.probe, "args": ["probe", "exit:3"]})
    }

    fn share(&self, config: &mut Value) {
        add_mount(config, mount("/work", "bind", &self.dir.to_string_lossy(), &["rbind", "rw"]));
    }

    /// One hook of each kind, named by its kind.
    pub(super) fn all_kinds(&self, config: &mut Value) {
        self.share(config);
        for kind in KINDS {
            let hook = if kind == "startContainer" { Self::writing_inside(kind) } else { self.writing(kind) };
            config["hooks"][kind] = json!([hook]);
        }
    }
}

/// Who wrote, in order.
pub(super) fn tags(diary: &[Value]) -> Vec<String> {
    diary.iter().map(|l| l["tag"].as_str().unwrap_or("").to_owned()).collect()
}

fn entry(diary: &[Value], tag: &str) -> Judged<Value> {
    diary.iter().find(|l| l["tag"] == tag).cloned().ok_or_else(|| Stop::Red(format!("no {tag} hook was run")))
}

pub(super) const CASES: &[Case] = &[
    HOOKS.says(
        "hooks-order",
        "Hooks MUST be called in the listed order.",
        |t| {
            for kind in KINDS {
                let hooks = Hooks::new(t)?;
                drop(std::fs::remove_file(t.path("d/diary")));
                let container = t.create(|c| {
                    hooks.share(c);
                    let make = |tag| if kind == "startContainer" { Hooks::writing_inside(tag) } else { hooks.writing(tag) };
                    c["hooks"][kind] = json!([make("c"), make("a"), make("b")]);
                })?;
                t.finish(&container)?;
                same(&format!("the order of {kind} hooks"), tags(&t.diary()?), vec!["c", "a", "b"])?;
            }
            Ok(())
        },
        &[BACKWARDS, NO_HOOKS],
    ),
    HOOKS.says(
        "hooks-state-on-stdin",
        "The state of the container MUST be passed to hooks over stdin so that they may do work appropriate to the current state of the container.",
        |t| {
            let (diary, id, _) = full_life(t)?;
            // Between step 2 and the end of create: the text allows both words.
            let early = &["creating", "created"][..];
            let statuses = [early, early, early, &["created"], &["running", "stopped"], &["stopped"]];
            for (kind, statuses) in KINDS.into_iter().zip(statuses) {
                let state = &entry(&diary, kind)?["state"];
                same(&format!("id in the state given to {kind}"), state["id"].as_str(), Some(id.as_str()))?;
                let status = state["status"].as_str().unwrap_or("(none)");
                ensure(statuses.contains(&status), || format!("status given to {kind} is {status:?}, wanted {statuses:?}"))?;
                for key in ["ociVersion", "bundle"] {
                    ensure(state[key].is_string(), || format!("the state given to {kind} has no {key}"))?;
                }
            }
            Ok(())
        },
        &[Mutation::Diary(|d| d.iter_mut().for_each(|l| l["state"]["status"] = json!("paused"))), NO_HOOKS],
    ),
    HOOKS.says(
        "hooks-pid-in-state",
        "The state of the container MUST be passed to hooks over stdin so that they may do work appropriate to the current state of the container.",
        |t| {
            let (diary, _, pid) = full_life(t)?;
            for kind in ["prestart", "createRuntime", "poststart"] {
                let given = entry(&diary, kind)?["state"]["pid"].as_i64();
                same(&format!("pid in the state given to {kind}"), given, Some(i64::from(pid)))?;
            }
            Ok(())
        },
        &[Mutation::Diary(|d| d.iter_mut().for_each(|l| l["state"]["pid"] = json!(1)))],
    ),
    HOOKS.says(
        "hooks-path-absolute",
        "This specification extends the IEEE standard in that path MUST be absolute.",
        |t| t.refuses(|c| c["hooks"]["createRuntime"] = json!([{"path": "true"}])).map(drop),
        &[NO_HOOKS],
    ),
    HOOKS.says(
        "hooks-args",
        "args (array of strings, OPTIONAL) with the same semantics as IEEE Std 1003.1-2008 execv's argv.",
        |t| {
            let hooks = Hooks::new(t)?;
            let mut hook = hooks.writing("args");
            hook["args"][0] = json!("/elsewhere/probe");
            t.look(|c| c["hooks"]["createRuntime"] = json!([hook]))?;
            same("argv[0] of the hook", entry(&t.diary()?, "args")?["argv"][0].as_str(), Some("/elsewhere/probe"))
        },
        &[NO_HOOKS, Mutation::Diary(|d| d.iter_mut().for_each(|l| l["argv"] = json!([])))],
    ),
    HOOKS.says(
        "hooks-env",
        "env (array of strings, OPTIONAL) with the same semantics as IEEE Std 1003.1-2008's environ.",
        |t| {
            let hooks = Hooks::new(t)?;
            let mut hook = hooks.writing("env");
            hook["env"] = json!(["key1=value1", "key2="]);
            t.look(|c| c["hooks"]["createRuntime"] = json!([hook]))?;
            same("env of the hook", &entry(&t.diary()?, "env")?["env"], &json!({"key1": "value1", "key2": ""}))
        },
        &[NO_HOOKS, Mutation::Diary(|d| d.iter_mut().for_each(|l| l["env"]["PATH"] = json!("/")))],
    ),
    HOOKS.says(
        "hooks-timeout",
        "timeout (int, OPTIONAL) is the number of seconds before aborting the hook.",
        |t| {
            let hooks = Hooks::new(t)?;
            let mut hook = hooks.failing();
            hook["args"] = json!(["probe", "wait"]);
            hook["timeout"] = json!(1);
            let began = std::time::Instant::now();
            t.refuses(|c| c["hooks"]["createRuntime"] = json!([hook]))?;
            let took = began.elapsed().as_secs_f64();
            ensure((0.9..25.0).contains(&took), || format!("the hook was aborted after {took:.1} s, wanted 1 s"))
        },
        &[NO_HOOKS, Mutation::Config(|c| c["hooks"]["createRuntime"][0]["timeout"] = json!(300))],
    ),
    HOOKS.says(
        "hooks-timeout-positive",
        "If set, timeout MUST be greater than zero.",
        |t| {
            let hooks = Hooks::new(t)?;
            let mut hook = hooks.writing("timeout");
            hook["timeout"] = json!(-1);
            t.refuses(|c| c["hooks"]["createRuntime"] = json!([hook])).map(drop)
        },
        &[NO_HOOKS, Mutation::Config(|c| c["hooks"]["createRuntime"][0]["timeout"] = json!(5))],
    ),
    PRESTART.says(
        "prestart-namespace",
        "The prestart hooks MUST be executed in the runtime namespace.",
        |t| runs_in_runtime_namespace(t, "prestart"),
        &[NO_HOOKS, Mutation::Diary(|d| move_house(d))],
    ),
    PRESTART.says(
        "prestart-before-pivot",
        "The prestart hooks MUST be called as part of the create operation after the runtime environment has been created but before the pivot_root or any equivalent operation has been executed.",
        |t| namespaces_exist_before(t, "prestart"),
        &[NO_HOOKS, Mutation::Outside(|text| "net:[1]".clone_into(text))],
    ),
    PRESTART.says(
        "prestart-before-createRuntime",
        "The prestart hooks MUST be called before the createRuntime hooks.",
        |t| one_before_the_other(t, "prestart", "createRuntime"),
        &[BACKWARDS, NO_HOOKS],
    ),
    CREATE_RUNTIME.says(
        "createRuntime-namespace",
        "The createRuntime hooks MUST be executed in the runtime namespace.",
        |t| runs_in_runtime_namespace(t, "createRuntime"),
        &[NO_HOOKS, Mutation::Diary(|d| move_house(d))],
    ),
    CREATE_RUNTIME.says(
        "createRuntime-before-pivot",
        "The createRuntime hooks MUST be called as part of the create operation after the runtime environment has been created but before the pivot_root or any equivalent operation has been executed.",
        |t| namespaces_exist_before(t, "createRuntime"),
        &[NO_HOOKS, Mutation::Outside(|text| "net:[1]".clone_into(text))],
    ),
    CREATE_CONTAINER.says(
        "createContainer-namespace",
        "The createContainer hooks MUST be executed in the container namespace.",
        |t| {
            let (diary, _, _) = full_life(t)?;
            let (hook, inside) = (entry(&diary, "createContainer")?, entry(&diary, "startContainer")?);
            for kind in ["mnt", "pid", "net", "uts", "ipc"] {
                same(&format!("the {kind} namespace of the hook"), &hook["namespaces"][kind], &inside["namespaces"][kind])?;
            }
            Ok(())
        },
        &[NO_HOOKS, Mutation::Diary(|d| move_house(d))],
    ),
    CREATE_CONTAINER.says(
        "createContainer-path",
        "The createContainer hooks' path MUST resolve in the runtime namespace.",
        |t| {
            // The path of the hook is one of the host, and the container's root has no such file.
            let (diary, _, _) = full_life(t)?;
            entry(&diary, "createContainer").map(drop)
        },
        &[Mutation::Config(|c| c["hooks"]["createContainer"][0]["path"] = json!("/etc/hidden/probe")), NO_HOOKS],
    ),
    CREATE_CONTAINER.says(
        "createContainer-before-pivot",
        "The createContainer hooks MUST be called as part of the create operation after the runtime environment has been created but before the pivot_root or any equivalent operation has been executed.",
        |t| {
            let (diary, _, _) = full_life(t)?;
            let hook = entry(&diary, "createContainer")?;
            let table = mounts(hook["mounts"].as_str().unwrap_or(""));
            ensure(table.iter().any(|m| m.at.ends_with("/rootfs/proc") || m.at.ends_with("/rootfs/work")), || {
                "the hook does not see the container's mounts below the host's root".into()
            })?;
            same("whether the hook sees files of the host", hook["sees_diary_of_host"].as_bool(), Some(true))
        },
        &[NO_HOOKS, Mutation::Diary(|d| d.iter_mut().for_each(|l| l["mounts"] = json!("")))],
    ),
    CREATE_CONTAINER.says(
        "createContainer-after-createRuntime",
        "The createContainer hooks MUST be called after the createRuntime hooks.",
        |t| one_before_the_other(t, "createRuntime", "createContainer"),
        &[BACKWARDS, NO_HOOKS],
    ),
    START_CONTAINER.says(
        "startContainer-before-program",
        "The startContainer hooks MUST be called before the user-specified process is executed as part of the start operation.",
        |t| {
            let hooks = Hooks::new(t)?;
            let container = t.create(|c| {
                hooks.all_kinds(c);
                steps(c, &["append:/work/diary={\"tag\":\"program\"}\n", "report"]);
            })?;
            ensure(!tags(&t.diary()?).contains(&"startContainer".to_owned()), || "it was called by create".into())?;
            t.finish(&container)?;
            before(&tags(&t.diary()?), "startContainer", "program")
        },
        &[BACKWARDS, NO_HOOKS],
    ),
    START_CONTAINER.says(
        "startContainer-path",
        "The startContainer hooks' path MUST resolve in the container namespace.",
        |t| {
            // `/probe` is a file of the container's root, and none of the host's.
            ensure(!std::path::Path::new("/probe").exists(), || "the host has a /probe too".into())?;
            let (diary, _, _) = full_life(t)?;
            entry(&diary, "startContainer").map(drop)
        },
        &[NO_HOOKS, Mutation::Config(|c| c["hooks"]["startContainer"][0]["path"] = json!("/nowhere"))],
    ),
    START_CONTAINER.says(
        "startContainer-namespace",
        "The startContainer hooks MUST be executed in the container namespace.",
        |t| {
            let hooks = Hooks::new(t)?;
            let facts = t.look(|c| hooks.all_kinds(c))?;
            let hook = entry(&t.diary()?, "startContainer")?;
            for kind in ["mnt", "pid", "net", "uts", "ipc"] {
                let theirs = hook["namespaces"][kind].as_str().unwrap_or("");
                same(&format!("the {kind} namespace of the hook"), theirs, facts.namespace(kind)?)?;
            }
            Ok(())
        },
        &[NO_HOOKS, Mutation::Diary(|d| move_house(d))],
    ),
    POSTSTART.says(
        "poststart-after-program",
        "The poststart hooks MUST be called after the user-specified process is executed but before the start operation returns.",
        |t| {
            let hooks = Hooks::new(t)?;
            let container = t.create(|c| {
                // The hook waits until the program has written, and writes at last when that never happens.
                let mut hook = hooks.writing("poststart");
                let (diary, file) = (hook["args"][1].clone(), hooks.dir.join("diary"));
                hook["args"] = json!(["probe", format!("until:{}=program", file.display()), diary]);
                hooks.share(c);
                c["hooks"]["poststart"] = json!([hook]);
                steps(c, &["append:/work/diary={\"tag\":\"program\"}\n", "wait"]);
            })?;
            t.start(&container)?;
            before(&tags(&t.diary()?), "program", "poststart")
        },
        &[BACKWARDS, NO_HOOKS],
    ),
    POSTSTART.says(
        "poststart-namespace",
        "The poststart hooks MUST be executed in the runtime namespace.",
        |t| runs_in_runtime_namespace(t, "poststart"),
        &[NO_HOOKS, Mutation::Diary(|d| move_house(d))],
    ),
    POSTSTOP.says(
        "poststop-after-delete",
        "The poststop hooks MUST be called after the container is deleted but before the delete operation returns.",
        |t| {
            let hooks = Hooks::new(t)?;
            let container = t.create(|c| c["hooks"]["poststop"] = json!([hooks.writing("poststop")]))?;
            t.start(&container)?;
            t.wait(&container)?;
            ensure(t.diary()?.is_empty(), || "the hook ran before delete was called".into())?;
            t.delete(&container)?;
            entry(&t.diary()?, "poststop").map(drop)
        },
        &[NO_HOOKS, Mutation::Skip("delete")],
    ),
    POSTSTOP.says(
        "poststop-namespace",
        "The poststop hooks MUST be executed in the runtime namespace.",
        |t| runs_in_runtime_namespace(t, "poststop"),
        &[NO_HOOKS, Mutation::Diary(|d| move_house(d))],
    ),
];

/// For lies: all hooks ran in namespaces of their own.
fn move_house(diary: &mut [Value]) {
    for (n, line) in diary.iter_mut().enumerate() {
        for kind in ["mnt", "pid", "net", "uts", "ipc"] {
            line["namespaces"][kind] = json!(format!("{kind}:[{n}]"));
        }
    }
}

/// create, start, delete with one hook of each kind: the diary, the id, the pid.
fn full_life(t: &mut Trial<'_>) -> Judged<(Vec<Value>, String, i32)> {
    let hooks = Hooks::new(t)?;
    let container = t.create(|c| hooks.all_kinds(c))?;
    t.finish(&container)?;
    Ok((t.diary()?, container.id, container.pid))
}

fn runs_in_runtime_namespace(t: &mut Trial<'_>, kind: &str) -> Judged<()> {
    let (diary, _, _) = full_life(t)?;
    let hook = entry(&diary, kind)?;
    for namespace in ["mnt", "pid", "net", "uts", "ipc", "user"] {
        let ours = t.read_link(&format!("/proc/self/ns/{namespace}"))?;
        let theirs = hook["namespaces"][namespace].as_str().unwrap_or("");
        same(&format!("the {namespace} namespace of the {kind} hook"), theirs, ours.as_str())?;
    }
    Ok(())
}

/// When the hook runs, the container's namespaces exist and its process still has our root.
fn namespaces_exist_before(t: &mut Trial<'_>, kind: &'static str) -> Judged<()> {
    let hooks = Hooks::new(t)?;
    let seen = t.path("d/seen");
    let script = format!(
        "pid=$(sed 's/.*\"pid\" *: *\\([0-9]*\\).*/\\1/' | head -n 1); readlink /proc/$pid/ns/net >{0}; \
         test -e /proc/$pid/root{1} && echo same >>{0}; true",
        seen.display(),
        t.place.probe.display(),
    );
    t.look(|c| {
        hooks.share(c);
        c["hooks"][kind] = json!([{"path": "/bin/sh", "args": ["sh", "-c", format!("tr -d '\\n' | {{ {script}; }}")], "env": ["PATH=/usr/bin:/bin"]}]);
    })?;
    let said = t.read(&seen.to_string_lossy())?;
    let ours = text_of_link("/proc/self/ns/net");
    let mut lines = said.lines();
    let net = lines.next().unwrap_or("");
    ensure(net.starts_with("net:[") && net != ours, || {
        format!("when the hook ran, the network namespace of the container's process was {net:?} (ours: {ours})")
    })?;
    same("the root of the container's process when the hook ran, compared with ours", lines.next(), Some("same"))
}

fn text_of_link(path: &str) -> String {
    std::fs::read_link(path).map(|p| p.to_string_lossy().into_owned()).unwrap_or_default()
}

fn one_before_the_other(t: &mut Trial<'_>, first: &str, second: &str) -> Judged<()> {
    let (diary, _, _) = full_life(t)?;
    before(&tags(&diary), first, second)
}

fn before(tags: &[String], first: &str, second: &str) -> Judged<()> {
    let at = |tag: &str| tags.iter().position(|t| t == tag);
    ensure(at(first).is_some() && at(first) < at(second), || format!("wanted {first} before {second}, got {tags:?}"))
}
