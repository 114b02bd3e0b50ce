// SPDX-License-Identifier: Apache-2.0
//! The six kinds of hooks: when they run, where they run, what they are told, and what their failure does.
//!
//! Runs `kelp-runtime` with hooks that write to a file. Spec: config.md "POSIX-platform Hooks", runtime.md "Lifecycle".
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::PathBuf;

use kelp_tests::{Bundle, Who, World, claims, schema_errors};
use serde_json::{Value, json};

const KINDS: [&str; 6] = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

claims!(as_root, as_user:
    hooks_of_six_kinds_run_in_order_around_the_life,
    hooks_of_one_kind_run_in_the_order_of_the_spec,
    each_kind_runs_in_its_namespaces,
    each_kind_reads_a_valid_state_with_its_status,
    hooks_get_their_arguments_and_environment_and_no_other,
    a_hook_without_an_environment_inherits_one,
    create_container_hooks_begin_in_the_root_file_system,
    a_failing_hook_before_start_undoes_the_container,
    a_failing_start_container_hook_stops_the_program_from_running,
    a_failing_poststart_hook_ends_the_program,
    a_failing_poststop_hook_is_reported_and_the_next_one_runs,
    a_hook_that_exceeds_its_timeout_is_killed,
    a_hook_that_reads_nothing_of_a_long_state_has_no_more_time,
    what_a_hook_leaves_behind_holds_nobody_up,
    a_hook_that_does_not_exist_is_named,
    prestart_runs_before_pivot_and_poststop_after_delete,
    start_container_hooks_have_the_filter_of_the_program,
    hooks_of_the_container_write_nothing_into_its_output,
);

/// Where the hooks write: the container sees it at the same path.
fn record(w: &World) -> PathBuf {
    w.dir().join("record/lines")
}

fn lines(w: &World) -> Vec<String> {
    let text = fs::read_to_string(record(w)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// A bundle whose hooks can write to the record from outside and inside, through busybox at a path that is the same
/// on both sides.
fn bundle_with_record(w: &World) -> Bundle<'_> {
    let bundle = w.bundle("b");
    w.write("record/lines", "");
    let tool = w.copy(&bundle.rootfs().join("bin/busybox"), "record/busybox");
    let folder = tool.parent().unwrap();
    bundle.mount(json!({"destination": folder, "source": folder, "options": ["bind", "rw"]}));
    bundle
}

fn hook(w: &World, script: &str) -> Value {
    let tool = w.dir().join("record/busybox");
    let script = script.replace("RECORD", &record(w).to_string_lossy());
    json!({"path": tool, "args": ["busybox", "sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]})
}

fn add(bundle: &Bundle<'_>, kind: &str, hook: Value) {
    bundle.edit(|spec| match &mut spec["hooks"][kind] {
        Value::Array(hooks) => hooks.push(hook),
        empty => *empty = json!([hook]),
    });
}

fn hooks_of_six_kinds_run_in_order_around_the_life(w: &World) {
    let bundle = bundle_with_record(w);
    for kind in KINDS {
        add(&bundle, kind, hook(w, &format!("echo {kind} >>RECORD")));
    }
    bundle.shell(&format!("echo program >>{}; exec sleep 1000", record(w).display()));
    bundle.create().ok();
    assert_eq!(lines(w), ["prestart", "createRuntime", "createContainer"]);
    bundle.verb("start", &[]).ok();
    kelp_tests::until("the program runs", || lines(w).contains(&"program".into()));
    let mut started = lines(w).split_off(3);
    assert_eq!(started.first().unwrap(), "startContainer");
    started.sort();
    assert_eq!(started, ["poststart", "program", "startContainer"]);
    bundle.delete();
    assert_eq!(lines(w).last().unwrap(), "poststop");
}

fn hooks_of_one_kind_run_in_the_order_of_the_spec(w: &World) {
    let bundle = bundle_with_record(w);
    for kind in ["createRuntime", "startContainer", "poststop"] {
        for number in 1..=3 {
            add(&bundle, kind, hook(w, &format!("echo {kind} {number} >>RECORD")));
        }
    }
    bundle.run().ok();
    let expected: Vec<String> = ["createRuntime", "startContainer", "poststop"]
        .iter()
        .flat_map(|kind| (1..=3).map(move |number| format!("{kind} {number}")))
        .collect();
    assert_eq!(lines(w), expected);
}

fn each_kind_runs_in_its_namespaces(w: &World) {
    let bundle = bundle_with_record(w);
    for kind in KINDS {
        let script = format!("echo {kind} $(readlink /proc/self/ns/uts) $(readlink /proc/self/ns/mnt) >>RECORD");
        add(&bundle, kind, hook(w, &script.replace("readlink", "$0 readlink").replace("$0", &tool(w))));
    }
    bundle.run().ok();
    let own = |name: &str| fs::read_link(format!("/proc/self/ns/{name}")).unwrap().display().to_string();
    for line in lines(w) {
        let words: Vec<&str> = line.split(' ').collect();
        let outside = matches!(words[0], "prestart" | "createRuntime" | "poststart" | "poststop");
        assert_eq!(words.len(), 3, "{line}");
        assert_eq!(words[1] == own("uts"), outside, "uts: {line}");
        assert_eq!(words[2] == own("mnt"), outside, "mnt: {line}");
    }
    let ran: Vec<String> = lines(w).iter().filter_map(|line| Some(line.split(' ').next()?.to_owned())).collect();
    assert_eq!(ran.len(), 6, "only {ran:?} ran");
}

fn tool(w: &World) -> String {
    w.dir().join("record/busybox").display().to_string()
}

fn each_kind_reads_a_valid_state_with_its_status(w: &World) {
    let bundle = bundle_with_record(w);
    for kind in KINDS {
        let script = format!("{} cat >{}.{kind}", tool(w), record(w).display());
        add(&bundle, kind, hook(w, &script));
    }
    bundle.set("/annotations", json!({"key": "value"}));
    bundle.run().ok();
    let expected = ["creating", "creating", "creating", "created", "running", "stopped"];
    for (kind, status) in KINDS.iter().zip(expected) {
        let text = fs::read_to_string(format!("{}.{kind}", record(w).display()));
        let text = text.unwrap_or_else(|e| panic!("the {kind} hook wrote nothing: {e}"));
        let state: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{kind}: {e}: {text}"));
        assert_eq!(state["id"], bundle.id(), "{kind}: {state}");
        assert_eq!(state["bundle"], bundle.dir().to_string_lossy().as_ref(), "{kind}: {state}");
        assert_eq!(state["annotations"]["key"], "value", "{kind}: {state}");
        // The specification asks for `created` in startContainer hooks too; runc and crun tell it as `created`,
        // and for the create hooks `creating` or `created`.
        let told = state["status"].as_str().unwrap();
        assert!(told == status || (status == "creating" && told == "created"), "{kind}: {state}");
        if let Ok(errors) = schema_errors("state-schema.json", &state) {
            assert!(errors.is_empty(), "{kind}: {errors:?}");
        }
    }
}

fn hooks_get_their_arguments_and_environment_and_no_other(w: &World) {
    let bundle = bundle_with_record(w);
    let script = format!("echo \"$0|$1\" >>{0}; {1} env >>{0}", record(w).display(), tool(w));
    let hook = json!({"path": tool(w), "args": ["busybox", "sh", "-c", script, "zero", "one"], "env": ["ONLY=this"]});
    add(&bundle, "createRuntime", hook);
    bundle.run().env("SECRET", "of the caller").ok();
    let text = lines(w).join("\n");
    assert!(text.starts_with("zero|one\n") && text.contains("ONLY=this"), "{text}");
    assert!(!text.contains("SECRET"), "{text}");
}

/// As with runc: the runtime's own outside, the process's inside.
fn a_hook_without_an_environment_inherits_one(w: &World) {
    let bundle = bundle_with_record(w);
    bundle.set("/process/env", json!(["PATH=/bin", "OF=the process"]));
    for kind in KINDS {
        let script = format!("echo {kind} of $OF >>{}", record(w).display());
        add(&bundle, kind, json!({"path": tool(w), "args": ["busybox", "sh", "-c", script]}));
        let script = format!("echo {kind} empty $OF >>{}", record(w).display());
        add(&bundle, kind, json!({"path": tool(w), "args": ["busybox", "sh", "-c", script], "env": []}));
    }
    bundle.run().env("OF", "the caller").ok();
    for kind in KINDS {
        let whose = if kind.ends_with("Container") { "the process" } else { "the caller" };
        assert!(lines(w).contains(&format!("{kind} of {whose}")), "{kind}: {:?}", lines(w));
        assert!(lines(w).contains(&format!("{kind} empty")), "{kind}: {:?}", lines(w));
    }
}

fn create_container_hooks_begin_in_the_root_file_system(w: &World) {
    let bundle = bundle_with_record(w);
    for kind in ["createRuntime", "createContainer", "startContainer"] {
        add(&bundle, kind, hook(w, &format!("echo {kind} $(pwd) >>RECORD")));
    }
    bundle.set("/process/cwd", json!("/tmp")).run().ok();
    assert_eq!(lines(w)[1..], [format!("createContainer {}", bundle.rootfs().display()), "startContainer /tmp".into()]);
}

/// And those who were told of the container by a hook are told of its end by poststop hooks.
fn a_failing_hook_before_start_undoes_the_container(w: &World) {
    for (number, kind) in KINDS[..3].iter().enumerate() {
        let bundle = w.bundle(&format!("b{number}"));
        let told = w.dir().join(format!("told-{kind}"));
        let tell = w.script("tell", &format!("cat >>{}", told.display()));
        add(&bundle, "poststop", json!({"path": tell}));
        let path = w.script("failing", "echo from the hook >&2; exit 3");
        let failing = json!({"path": if *kind == "createContainer" { "/bin/false".into() } else { path }});
        add(&bundle, kind, failing);
        let status = if *kind == "createContainer" { "exit status 1" } else { "exit status 3" };
        bundle.create().output().explains(&[kind, "error running hook #0", status]);
        bundle.verb("state", &[]).output().explains(&[bundle.id()]);
        assert_eq!(w.leaks(), Vec::<String>::new(), "{kind}");
        let state: Value = serde_json::from_slice(&fs::read(told).unwrap()).unwrap();
        assert_eq!((&state["id"], &state["status"]), (&json!(bundle.id()), &json!("stopped")), "{kind}");
    }
}

/// runtime.md, "Lifecycle", step 10.
/// Steps 9 and 12 of the lifecycle: the container is destroyed.
fn a_failing_poststart_hook_ends_the_program(w: &World) {
    for verb in ["start", "run"] {
        let bundle = w.bundle(verb);
        bundle.args(&["/bin/sleep", "1000"]);
        let path = w.script("failing", "echo from the hook >&2; exit 3");
        add(&bundle, "poststart", json!({"path": path}));
        if verb == "run" {
            bundle.run().limit(30).output().explains(&["poststart", "from the hook"]);
            bundle.verb("state", &[]).output().explains(&[bundle.id()]);
        } else {
            bundle.create().ok();
            bundle.verb("start", &[]).output().explains(&["poststart", "hook #0", "exit status 3", "from the hook"]);
            bundle.verb("state", &[]).output().explains(&[bundle.id()]);
        }
    }
}

fn a_failing_start_container_hook_stops_the_program_from_running(w: &World) {
    let bundle = bundle_with_record(w);
    add(&bundle, "startContainer", hook(w, "exit 0"));
    add(&bundle, "startContainer", hook(w, "echo out; echo its word >&2; exit 3"));
    add(&bundle, "poststop", hook(w, "echo poststop >>RECORD"));
    bundle.shell(&format!("echo program >>{}", record(w).display()));
    for terminal in [false, true] {
        let listener = w.dir().join("console");
        let console = terminal.then(|| std::os::unix::net::UnixListener::bind(&listener).unwrap());
        let create = bundle.set("/process/terminal", json!(terminal)).create();
        let socket = ["--console-socket".to_owned(), listener.display().to_string()];
        let master = match &console {
            Some(console) => {
                w.give(&listener);
                create.args(socket).ok();
                Some(kelp_tests::receive_descriptor(console))
            }
            None => {
                create.ok();
                None
            }
        };
        let start = bundle.verb("start", &[]).output();
        start.explains(&["startContainer", "error running hook #1", "exit status 3", "its word"]);
        // Steps 7 and 12 of the lifecycle: it is destroyed, and the poststop hooks have run.
        bundle.verb("state", &[]).output().explains(&["does not exist"]);
        drop(master);
        assert_eq!(lines(w), ["poststop"], "with a terminal: {terminal}");
        w.write("record/lines", "");
    }
}

fn a_failing_poststop_hook_is_reported_and_the_next_one_runs(w: &World) {
    let bundle = bundle_with_record(w);
    add(&bundle, "poststop", hook(w, "exit 3"));
    add(&bundle, "poststop", hook(w, "echo second >>RECORD"));
    bundle.create().ok();
    let deleted = bundle.delete();
    assert!(deleted.stderr.contains("poststop"), "nothing was said\n{deleted}");
    assert_eq!(lines(w), ["second"]);
}

fn a_hook_that_exceeds_its_timeout_is_killed(w: &World) {
    let bundle = bundle_with_record(w);
    let mut slow = hook(w, "exec sleep 1000");
    slow["timeout"] = json!(1);
    add(&bundle, "createRuntime", slow);
    bundle.create().limit(30).output().explains(&["createRuntime", "hook ran past specified timeout of 1.0s"]);
}

fn a_hook_that_reads_nothing_of_a_long_state_has_no_more_time(w: &World) {
    let bundle = bundle_with_record(w);
    // More than a pipe takes.
    bundle.set("/annotations/long", json!("x".repeat(200_000)));
    add(&bundle, "createRuntime", hook(w, "exec true"));
    bundle.run().limit(30).ok();
    let mut slow = hook(w, "exec sleep 1000");
    slow["timeout"] = json!(1);
    add(&bundle, "createRuntime", slow);
    bundle.create().limit(30).output().explains(&["hook ran past specified timeout of 1.0s"]);
}

/// A hook's child keeps the hook's stdin, stdout and stderr: nobody waits for their end.
fn what_a_hook_leaves_behind_holds_nobody_up(w: &World) {
    for kind in KINDS {
        let bundle = bundle_with_record(w);
        add(&bundle, kind, hook(w, &format!("sleep 1000 & echo $! >RECORD.{kind}")));
        bundle.args(&["/bin/sleep", "1000"]);
        bundle.create().limit(30).ok();
        bundle.verb("start", &[]).limit(30).ok();
        bundle.verb("delete", &["--force"]).limit(30).ok();
        // Inside it has ended with the container; outside it is for us to end.
        let pid = fs::read_to_string(record(w).with_extension(kind)).unwrap();
        match kind {
            "createContainer" | "startContainer" => {}
            _ => drop(w.command("/bin/kill").args(["-9", pid.trim()]).ok()),
        }
        fs::remove_dir_all(bundle.dir()).unwrap();
    }
}

fn a_hook_that_does_not_exist_is_named(w: &World) {
    let bundle = w.bundle("b");
    add(&bundle, "createRuntime", json!({"path": "/no/such/hook"}));
    bundle.create().output().explains(&["/no/such/hook"]);
}

fn prestart_runs_before_pivot_and_poststop_after_delete(w: &World) {
    let bundle = bundle_with_record(w);
    // At prestart the container's namespaces exist and can be joined by its pid, as hooks that set up a network do;
    // its process still sees the host's root.
    let pid = "P=$(sed -n 's/.*\"pid\": *\\([0-9]*\\).*/\\1/p')";
    let script = format!("{pid}; echo namespace $({0} readlink /proc/$P/ns/net) >>RECORD", tool(w));
    add(&bundle, "prestart", hook(w, &script));
    if w.who() == Who::Root {
        add(
            &bundle,
            "prestart",
            hook(w, &format!("{pid}; test -d /proc/$P/root{} && echo old root >>RECORD", w.dir().display())),
        );
    }
    let state = w.runtime_root().join(bundle.id());
    add(&bundle, "poststop", hook(w, &format!("test -e {} || echo after >>RECORD", state.display())));
    bundle.run().ok();
    let lines = lines(w);
    assert!(lines[0].starts_with("namespace net:["), "{lines:?}");
    assert_eq!(lines.iter().any(|line| line == "old root"), w.who() == Who::Root, "{lines:?}");
    assert_eq!(lines.last().map(String::as_str), Some("after"), "{lines:?}");
}

fn start_container_hooks_have_the_filter_of_the_program(w: &World) {
    let bundle = bundle_with_record(w);
    let rule = json!({"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28});
    bundle.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}));
    let script = format!("grep Seccomp: /proc/self/status >>RECORD; {} mkdir RECORD.d 2>>RECORD", tool(w));
    add(&bundle, "startContainer", hook(w, &format!("{script}; exit 0")));
    bundle.run().ok();
    let lines = lines(w);
    assert!(lines[0].ends_with('2') && lines[1].contains("No space"), "{lines:?}");
}

fn hooks_of_the_container_write_nothing_into_its_output(w: &World) {
    let bundle = bundle_with_record(w);
    for kind in ["createContainer", "startContainer"] {
        add(&bundle, kind, hook(w, &format!("echo {kind}; echo {kind} to stderr >&2")));
    }
    bundle.shell("echo program");
    let run = bundle.run().ok();
    assert_eq!((run.text(), run.stderr.as_str()), ("program", ""));
    bundle.set("/process/terminal", json!(true));
    assert_eq!(bundle.run().ok().text(), "program");
}
