// SPDX-License-Identifier: Apache-2.0
//! The verbs beyond the spec: exec, list, ps, spec, features, update, --version.

use std::os::unix::net::UnixListener;

use serde_json::{Value, json};

use super::console;
use super::engine::waiting;
use crate::case::{Case, Chapter, Document, Judged, Mutation, Need, Stop, ensure, same};
use crate::config::{remove, steps};
use crate::facts::Facts;
use crate::trial::{Container, Ran, Trial, broken, text, watch};

const EXEC: Chapter = Chapter::new(Document::CommandLine, "exec");
const LIST: Chapter = Chapter::new(Document::CommandLine, "list and ps");
const OTHER: Chapter = Chapter::new(Document::CommandLine, "other verbs");

const EXECS: &[Need] = &[Need::Verb("exec")];

pub(super) const CASES: &[Case] = &[
    EXEC.says("exec-joins", "podman exec, docker exec and kubectl exec: the program runs in all namespaces of the container.",
        |t| {
            let container = waiting(t)?;
            let (inside, init) = (exec(t, &container, &[], &["report"])?, t.facts(&container)?);
            for kind in ["mnt", "pid", "net", "uts", "ipc", "user", "cgroup"] {
                same(&format!("the {kind} namespace"), inside.namespace(kind)?, init.namespace(kind)?)?;
            }
            Ok(())
        },
        &[Mutation::Skip("exec"), Mutation::Facts(|f| f.links.clear())]).needs(EXECS),
    EXEC.says("exec-exit-status", "exec ends with the program's exit status.",
        |t| {
            let container = waiting(t)?;
            for code in ["0", "7", "255"] {
                let ran = t.call(&container.bundle, &["exec", &container.id, "/probe", &format!("exit:{code}")])?;
                same("status of exec", ran.code.to_string().as_str(), code)?;
            }
            Ok(())
        },
        &[Mutation::Skip("exec"), Mutation::Ran(|r| if r.verb == "exec" { r.code = 1 })]).needs(EXECS),
    EXEC.says("exec-cgroup", "A program of exec counts for the container's limits: it is in its cgroup.",
        |t| {
            let container = waiting(t)?;
            let inside = exec(t, &container, &[], &["report"])?;
            same("the cgroup", inside.file("/proc/self/cgroup")?.to_owned(), t.facts(&container)?.file("/proc/self/cgroup")?.to_owned())?;
            let members = t.call(&container.bundle, &["exec", "--detach", &container.id, "/probe", "wait"])?;
            members.worked()?;
            let of = |pid: i32| text(format!("/proc/{pid}/cgroup").as_ref()).lines().find_map(|l| l.strip_prefix("0::").map(str::to_owned)).unwrap_or_default();
            let procs = t.read(&format!("{}{}/cgroup.procs", crate::place::CGROUP, of(container.pid)))?;
            ensure(procs.lines().count() >= 2, || format!("processes in the container's cgroup: {procs:?}"))
        },
        &[Mutation::Skip("exec"), Mutation::Outside(String::clear)]).needs(&[Need::Verb("exec"), Need::Root]),
    EXEC.says("exec-cwd-env", "exec --cwd DIR --env K=V.",
        |t| {
            let container = waiting(t)?;
            let inside = exec(t, &container, &["--cwd", "/share", "--env", "EXTRA=1"], &["report"])?;
            same("cwd", inside.link("/proc/self/cwd")?, "/share")?;
            let env = inside.strings("/proc/self/environ")?;
            ensure(env.contains(&"EXTRA=1") && env.contains(&"HOME=/"), || format!("environ is {env:?}"))
        },
        &[Mutation::Facts(|f| { f.links.insert("/proc/self/cwd".into(), "/".into()); }), Mutation::Facts(|f| { f.files.remove("/proc/self/environ"); })]).needs(EXECS),
    EXEC.says("exec-user", "exec --user UID:GID.",
        |t| {
            let container = waiting(t)?;
            let inside = exec(t, &container, &["--user", "1000:1001"], &["report"])?;
            let ids = (inside.status("Uid")?.split('\t').next(), inside.status("Gid")?.split('\t').next());
            same("uid and gid", ids, (Some("1000"), Some("1001")))
        },
        &[Mutation::Facts(|f| f.set_status("Uid", "0\t0\t0\t0"))]).needs(&[Need::Verb("exec"), Need::Ids]),
    EXEC.says("exec-process-file", "conmon and containerd call exec --process FILE with an OCI process object.",
        |t| {
            let container = waiting(t)?;
            let file = process_file(t, |p| { p["cwd"] = json!("/share/below"); p["args"] = json!(["/probe", "report", "exit:5"]); })?;
            let ran = t.call(&container.bundle, &["exec", "--process", &file, &container.id])?;
            same("status of exec", ran.code, 5)?;
            same("cwd", t.facts_of(&ran.stdout)?.link("/proc/self/cwd")?, "/share/below")
        },
        &[Mutation::Skip("exec"), Mutation::Facts(|f| f.links.clear())]).needs(EXECS),
    EXEC.says("exec-detach-pid-file", "conmon and containerd call exec --detach --pid-file FILE.",
        |t| {
            let container = waiting(t)?;
            let (file, out) = (t.path("exec.pid"), t.path("exec.out"));
            let words = ["exec", "--detach", "--pid-file", &file.to_string_lossy(), &container.id, "/probe", "wait"];
            t.call_with(&container.bundle, &[], &words, Some(&out))?.worked()?;
            let pid: i32 = t.read(&file.to_string_lossy())?.trim().parse().map_err(|e| Stop::Red(format!("the pid file: {e}")))?;
            // exec --detach may return a moment before the program is executed.
            t.settled(pid, &out)?;
            let theirs = text(format!("/proc/{pid}/cmdline").as_ref());
            same("the process with that pid", theirs.as_str(), "/probe\0wait\0")
        },
        &[Mutation::Skip("exec"), Mutation::Outside(|x| *x = "1".into())]).needs(EXECS),
    EXEC.says("exec-terminal", "podman exec -t: exec --tty with --console-socket sends the master end, as create does.",
        |t| {
            let container = waiting(t)?;
            let socket = t.path("exec.sock");
            let listener = broken(UnixListener::bind(&socket), "a socket")?;
            let file = process_file(t, |p| { p["terminal"] = json!(true); p["args"] = json!(["/probe", "report", "answer"]); })?;
            t.call(&container.bundle, &["exec", "--detach", "--tty", "--console-socket", &socket.to_string_lossy(), "--process", &file, &container.id])?.worked()?;
            let master = console::accept(&listener, t.patience)?;
            let said = console::converse(&master, t.patience)?;
            same("descriptors that are terminals", t.facts_of(&said)?.terminals, vec![0, 1, 2])
        },
        &[Mutation::Skip("exec"), Mutation::Facts(|f| f.terminals.clear())]).needs(EXECS),
    EXEC.says("exec-confined", "A program of exec is confined as the container is: seccomp, capabilities, no_new_privs, limits.",
        |t| {
            let container = t.create(|c| {
                c["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["getcwd"], "action": "SCMP_ACT_ERRNO"}]});
                c["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 123, "hard": 123}]);
                c["process"]["oomScoreAdj"] = json!(321);
                steps(c, &["getcwd", "report", "wait"]);
            })?;
            t.start(&container)?;
            let init = t.reported(&container)?;
            let inside = exec(t, &container, &[], &["getcwd", "report"])?;
            same("errno of getcwd", inside.errno("getcwd")?, 1)?;
            for key in ["CapBnd", "CapEff", "NoNewPrivs", "Seccomp"] {
                same(key, inside.status(key)?, init.status(key)?)?;
            }
            same("RLIMIT_NOFILE", inside.limit("Max open files")?, ("123".to_owned(), "123".to_owned()))
        },
        &[Mutation::Config(|c| remove(&mut c["linux"], "seccomp")), Mutation::Config(|c| remove(&mut c["process"], "rlimits")), Mutation::Facts(|f| f.set_errnos(0))]).needs(EXECS),
    EXEC.says("exec-in-stopped", "exec in a container that does not run is an error.",
        |t| {
            let container = t.create(|_| {})?;
            t.start(&container)?;
            t.wait(&container)?;
            t.call(&container.bundle, &["exec", &container.id, "/probe", "exit:0"])?.refused()
        },
        &[Mutation::Skip("exec")]).needs(EXECS),
    EXEC.says("exec-missing-program", "exec of a program that there is not fails and names it; podman and docker look for “no such file”.",
        |t| {
            let container = waiting(t)?;
            let ran = t.call(&container.bundle, &["exec", &container.id, "/nowhere/program"])?;
            ensure(ran.code > 0, || format!("exec ended with {}", ran.code))?;
            let message = ran.stderr.to_lowercase();
            ensure(message.contains("no such file") && message.contains("/nowhere/program"), || format!("it says {message:?}"))?;
            same("status of the container", t.status(&container)?.as_str(), "running")
        },
        &[Mutation::Ran(|r| r.stderr.clear()), Mutation::Skip("exec")]).needs(EXECS),
    EXEC.says("exec-descriptors", "A program of exec has no descriptors but the standard ones.",
        |t| {
            let container = waiting(t)?;
            let inside = exec(t, &container, &[], &["report"])?;
            same("open descriptors", inside.fds.keys().copied().collect::<Vec<_>>(), vec![0, 1, 2])
        },
        &[Mutation::Facts(|f| { f.fds.insert(5, "/".into()); })]).needs(EXECS),
    EXEC.says("exec-leaves-cleanly", "When the container's first process ends, programs of exec end with it.",
        |t| {
            let container = waiting(t)?;
            let file = t.path("exec.pid");
            t.call(&container.bundle, &["exec", "--detach", "--pid-file", &file.to_string_lossy(), &container.id, "/probe", "wait"])?.worked()?;
            let pid: i32 = text(&file).trim().parse().map_err(|e| Stop::Red(format!("the pid file: {e}")))?;
            t.kill(&container, "KILL")?;
            t.wait(&container)?;
            ensure(watch(pid, t.patience)?, || "it still runs".into())
        },
        &[Mutation::Skip("kill")]).needs(EXECS),
    LIST.says("list-json", "containerd parses list --format json: id, pid, status, bundle, created.",
        |t| {
            let container = waiting(t)?;
            let all = t.call(&container.bundle, &["list", "--format", "json"])?.json()?;
            let one = all.as_array().and_then(|a| a.iter().find(|c| c["id"] == container.id.as_str()).cloned());
            let one = one.ok_or_else(|| Stop::Red("the container is not in the list".into()))?;
            same("pid", one["pid"].as_i64(), Some(i64::from(container.pid)))?;
            same("status", one["status"].as_str(), Some("running"))?;
            same("bundle", one["bundle"].as_str(), Some(&*container.bundle.to_string_lossy()))?;
            ensure(one["created"].as_str().is_some_and(|c| c.len() > 18), || format!("created is {}", one["created"]))
        },
        &[Mutation::Ran(|r| in_verb(r, "list", |l| *l = json!([]))), Mutation::Ran(|r| in_verb(r, "list", |l| l[0]["status"] = json!("stopped")))]).needs(&[Need::Verb("list")]),
    LIST.says("list-quiet", "list -q prints ids, one a line.",
        |t| {
            let container = waiting(t)?;
            let ran = t.call(&container.bundle, &["list", "-q"])?;
            ran.worked()?;
            ensure(ran.stdout.lines().any(|l| l == container.id), || format!("it printed {:?}", ran.stdout))
        },
        &[Mutation::Ran(|r| if r.verb == "list" { r.stdout.clear() })]).needs(&[Need::Verb("list")]),
    LIST.says("ps-json", "docker top and containerd call ps --format json: an array of pids.",
        |t| {
            let container = waiting(t)?;
            let pids = t.call(&container.bundle, &["ps", "--format", "json", &container.id])?.json()?;
            ensure(pids.as_array().is_some_and(|p| p.contains(&json!(container.pid))), || format!("{} is not in {pids}", container.pid))
        },
        &[Mutation::Ran(|r| in_verb(r, "ps", |l| *l = json!([1])))]).needs(&[Need::Verb("ps"), Need::Root]),
    OTHER.says("spec-writes-config", "spec writes a config.json that the runtime itself can run.",
        |t| {
            let bundle = t.bundle(|_| {})?;
            let file = bundle.join("config.json");
            broken(std::fs::remove_file(&file), "config.json")?;
            let words: &[&str] = if t.place.rootless { &["spec", "--rootless"] } else { &["spec"] };
            t.call(&bundle, words)?.worked()?;
            let mut config: Value = serde_json::from_str(&text(&file)).map_err(|e| Stop::Red(format!("config.json: {e}")))?;
            config["process"]["terminal"] = json!(false);
            // What this machine's root may not do is no fault of the config.
            remove(&mut config["linux"]["resources"], "devices");
            steps(&mut config, &["report"]);
            t.write_config(&bundle, config)?;
            let container = t.create_in(&bundle, &[])?;
            let facts = t.finish(&container)?;
            same("NoNewPrivs", facts.status("NoNewPrivs")?, "1")?;
            facts.mount("/proc").map(drop)
        },
        &[Mutation::Skip("spec"), Mutation::Config(|c| c["mounts"] = json!([]))]).needs(&[Need::Verb("spec")]),
    OTHER.says("spec-does-not-overwrite", "spec leaves a config.json that is there already as it is.",
        |t| {
            let bundle = t.bundle(|_| {})?;
            let before = text(&bundle.join("config.json"));
            t.call(&bundle, &["spec"])?.refused()?;
            same("config.json afterwards", text(&bundle.join("config.json")), before)
        },
        &[Mutation::Ran(|r| r.code = 0)]).needs(&[Need::Verb("spec")]),
    OTHER.says("version", "podman info and containerd print RUNTIME --version; its lines name the version and the spec.",
        |t| {
            let dir = t.path("");
            let ran = t.call(&dir, &["--version"])?;
            ran.worked()?;
            ensure(ran.stdout.contains("spec: "), || format!("there is no line “spec: …” in {:?}", ran.stdout))?;
            ensure(ran.stdout.chars().any(|c| c.is_ascii_digit()), || "there is no version".into())
        },
        &[Mutation::Ran(|r| r.stdout.clear())]),
    OTHER.says("unknown-verb", "A verb that there is not is an error.",
        |t| {
            let dir = t.path("");
            let ran = t.call(&dir, &["dance"])?;
            ensure(ran.code > 0, || format!("it ended with {}", ran.code))
        },
        &[Mutation::Ran(|r| r.code = 0)]),
    OTHER.says("update-pids", "docker update and podman update: update --pids-limit N changes the running container.",
        |t| updated(t, &["--pids-limit", "33"], "pids.max", "33"),
        &[Mutation::Skip("update")]).needs(&[Need::Verb("update"), Need::Controller("pids")]),
    OTHER.says("update-memory", "docker update: update --memory BYTES changes the running container.",
        |t| updated(t, &["--memory", "104857600"], "memory.max", "104857600"),
        &[Mutation::Skip("update")]).needs(&[Need::Verb("update"), Need::Controller("memory")]),
    OTHER.says("update-resources-file", "containerd and CRI-O call update --resources FILE with an OCI resources object.",
        |t| {
            let file = t.path("resources.json");
            broken(std::fs::write(&file, json!({"pids": {"limit": 44}}).to_string()), "resources.json")?;
            updated(t, &["--resources", &file.to_string_lossy()], "pids.max", "44")
        },
        &[Mutation::Skip("update")]).needs(&[Need::Verb("update"), Need::Controller("pids")]),
    OTHER.says("events-stats", "docker stats through containerd: events --stats prints one JSON object with the container's figures.",
        |t| {
            let container = waiting(t)?;
            let said = t.call(&container.bundle, &["events", "--stats", &container.id])?.json()?;
            same("type", said["type"].as_str(), Some("stats"))?;
            same("id", said["id"].as_str(), Some(container.id.as_str()))?;
            ensure(said["data"].is_object(), || format!("data is {}", said["data"]))
        },
        &[Mutation::Ran(|r| in_verb(r, "events", |e| e["id"] = json!("another"))), Mutation::Skip("events")]).needs(&[Need::Verb("events"), Need::Root]),
];

fn in_verb(ran: &mut Ran, verb: &str, edit: impl FnOnce(&mut Value)) {
    if ran.verb == verb {
        ran.edit(edit);
    }
}

/// What the probe saw when it was started by exec.
fn exec(t: &mut Trial<'_>, container: &Container, options: &[&str], steps: &[&str]) -> Judged<Facts> {
    let head = ["exec"].into_iter().chain(options.iter().copied());
    let words: Vec<&str> = head.chain([container.id.as_str(), "/probe"]).chain(steps.iter().copied()).collect();
    let ran = t.call(&container.bundle, &words)?;
    ran.worked()?;
    t.facts_of(&ran.stdout)
}

fn process_file(t: &Trial<'_>, edit: impl FnOnce(&mut Value)) -> Judged<String> {
    let mut process = crate::config::base(t.place)["process"].clone();
    edit(&mut process);
    let file = t.path("process.json");
    broken(std::fs::write(&file, process.to_string()), "process.json")?;
    Ok(file.to_string_lossy().into_owned())
}

fn updated(t: &mut Trial<'_>, options: &[&str], file: &str, wanted: &str) -> Judged<()> {
    let container = waiting(t)?;
    let words: Vec<&str> =
        ["update"].into_iter().chain(options.iter().copied()).chain([container.id.as_str()]).collect();
    t.call(&container.bundle, &words)?.worked()?;
    let cgroup = text(format!("/proc/{}/cgroup", container.pid).as_ref());
    let path = cgroup.lines().find_map(|l| l.strip_prefix("0::")).unwrap_or("");
    same(file, t.read(&format!("{}{path}/{file}", crate::place::CGROUP))?.trim(), wanted)
}
