// SPDX-License-Identifier: Apache-2.0
//! The verbs of kelp-runtime on a bundle, in every order that makes sense and some that do not.
//!
//! Runs `kelp-runtime` as root, as an unprivileged user and with a single id.
//! Spec: runtime.md "Lifecycle", "State", "Operations".
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use kelp_tests::{Terminal, Who, World, claims, receive_descriptor, schema_errors};
use rustix::process::Signal;
use serde_json::{Value, json};

claims!(as_root, as_user, as_stranger:
    run_gives_the_programs_output_and_status,
    create_start_and_delete_pass_through_every_status,
    the_program_does_not_run_before_start,
    delete_refuses_a_running_container_unless_forced,
    a_bundle_may_be_the_current_folder,
);
claims!(as_root, as_user:
    state_is_valid_by_the_schema_in_every_status,
    verbs_on_an_unknown_container_say_so,
    an_id_in_use_is_refused_and_the_first_container_lives_on,
    an_id_that_is_a_path_is_refused,
    start_twice_is_refused,
    kill_delivers_signals_by_name_and_number,
    run_ends_with_128_and_the_signal_that_ended_the_program,
    run_detach_returns_while_the_program_runs,
    run_forwards_signals_to_the_program,
    the_pid_file_holds_the_pid_of_the_program,
    without_a_pid_namespace_sigkill_ends_all,
    preserved_descriptors_arrive_and_no_others,
    nothing_of_the_host_leaks_into_the_program,
    console_socket_receives_the_terminal,
    run_with_a_terminal_in_the_foreground_relays_it,
    list_knows_every_container,
    ps_lists_the_processes_inside,
    features_is_valid_by_the_schema,
    spec_is_valid_by_the_schema_and_does_not_overwrite,
    plan_needs_no_privilege_and_changes_nothing,
    log_format_json_writes_one_object_per_line,
    a_killed_runtime_leaves_a_container_that_can_be_deleted,
    stdin_reaches_the_program,
);

fn run_gives_the_programs_output_and_status(w: &World) {
    let bundle = w.bundle("b");
    assert_eq!(bundle.shell("echo out; echo err >&2").run().ok().text(), "out");
    let failed = bundle.shell("echo err >&2; exit 7").run().output().code(7);
    assert_eq!(failed.stderr.trim(), "err");
}

fn create_start_and_delete_pass_through_every_status(w: &World) {
    let bundle = w.bundle("b");
    bundle.args(&["/bin/sleep", "1000"]);
    bundle.create().ok();
    assert_eq!(bundle.status(), "created");
    bundle.verb("start", &[]).ok();
    assert_eq!(bundle.status(), "running");
    bundle.verb("kill", &[]).arg("KILL").ok();
    bundle.becomes("stopped");
    bundle.verb("delete", &[]).ok();
    bundle.verb("state", &[]).output().explains(&[]);
}

fn the_program_does_not_run_before_start(w: &World) {
    let bundle = w.bundle("b");
    bundle.shell("echo now >/tmp/ran; exec sleep 1000").set("/root/readonly", json!(false));
    bundle.create().ok();
    let ran = bundle.rootfs().join("tmp/ran");
    assert!(!ran.exists(), "the program ran at create");
    bundle.verb("start", &[]).ok();
    kelp_tests::until("the program runs", || ran.exists());
    bundle.delete();
}

fn delete_refuses_a_running_container_unless_forced(w: &World) {
    let bundle = w.bundle("b");
    bundle.args(&["/bin/sleep", "1000"]).launch();
    let pid = bundle.pid();
    bundle.verb("delete", &[]).output().explains(&[]);
    assert_eq!(bundle.status(), "running");
    bundle.delete();
    kelp_tests::until("the program is dead", || !kelp_tests::is_alive(pid));
}

fn a_bundle_may_be_the_current_folder(w: &World) {
    let bundle = w.bundle("b");
    bundle.args(&["/bin/echo", "here"]);
    let output = bundle.verb("run", &[]).dir(bundle.dir()).ok();
    assert_eq!(output.text(), "here");
}

fn state_is_valid_by_the_schema_in_every_status(w: &World) {
    let bundle = w.bundle("b");
    bundle.args(&["/bin/sleep", "1000"]).set("/annotations", json!({"org.example.key": "value"}));
    bundle.create().ok();
    let judge = |status: &str| {
        let state = bundle.state();
        assert_eq!(state["status"], status);
        assert_eq!(state["id"], bundle.id());
        assert_eq!(state["bundle"], bundle.dir().to_string_lossy().as_ref());
        assert_eq!(state["annotations"]["org.example.key"], "value");
        match schema_errors("state-schema.json", &state) {
            Ok(errors) => assert!(errors.is_empty(), "{state}: {errors:?}"),
            Err(reason) => w.skip(&reason),
        }
        state
    };
    assert!(judge("created")["pid"].as_i64().is_some_and(|pid| pid > 1));
    bundle.verb("start", &[]).ok();
    assert!(judge("running")["pid"].as_i64().is_some_and(|pid| pid > 1));
    bundle.verb("kill", &[]).arg("9").ok();
    bundle.becomes("stopped");
    judge("stopped");
    bundle.verb("delete", &[]).ok();
}

fn verbs_on_an_unknown_container_say_so(w: &World) {
    for verb in ["state", "start", "delete", "pause", "resume", "ps"] {
        w.runtime([verb, "nobody"]).output().explains(&["nobody"]);
    }
    w.runtime(["kill", "nobody", "TERM"]).output().explains(&["nobody"]);
    w.runtime(["exec", "nobody", "true"]).output().explains(&["nobody"]);
    // As runc has it: nothing to do is no failure when forced.
    w.runtime(["delete", "--force", "nobody"]).ok();
}

fn an_id_in_use_is_refused_and_the_first_container_lives_on(w: &World) {
    let bundle = w.bundle("b");
    bundle.args(&["/bin/sleep", "1000"]).launch();
    bundle.create().output().explains(&[bundle.id()]);
    assert_eq!(bundle.status(), "running");
    bundle.delete();
}

fn an_id_that_is_a_path_is_refused(w: &World) {
    let bundle = w.bundle("b");
    let dir = bundle.dir().to_string_lossy().into_owned();
    for id in ["../evil", "a/b", "/abs", ".", "..", "", "new\nline"] {
        w.runtime(["create", "--bundle", &dir, id]).output().fails();
    }
    assert!(!w.run_dir().join("evil").exists());
}

fn start_twice_is_refused(w: &World) {
    let bundle = w.bundle("b");
    bundle.args(&["/bin/sleep", "1000"]).launch();
    bundle.verb("start", &[]).output().explains(&[bundle.id()]);
    assert_eq!(bundle.status(), "running");
    bundle.delete();
}

fn kill_delivers_signals_by_name_and_number(w: &World) {
    let bundle = w.bundle("b");
    let script = "for s in HUP USR1 USR2 TERM; do trap \"echo $s >>/tmp/got\" $s; done; echo >/tmp/ready; while :; do sleep 0.05; done";
    bundle.shell(script).set("/root/readonly", json!(false)).launch();
    let got = || fs::read_to_string(bundle.rootfs().join("tmp/got")).unwrap_or_default();
    kelp_tests::until("the traps are set", || bundle.rootfs().join("tmp/ready").exists());
    for (signal, name) in [("HUP", "HUP"), ("SIGUSR1", "USR1"), ("12", "USR2")] {
        bundle.verb("kill", &[]).arg(signal).ok();
        kelp_tests::until(&format!("{name} arrives"), || got().contains(name));
    }
    // TERM is the default.
    bundle.verb("kill", &[]).ok();
    kelp_tests::until("TERM arrives", || got().contains("TERM"));
    bundle.verb("kill", &[]).arg("NOSUCH").output().explains(&["NOSUCH"]);
    bundle.delete();
}

fn run_ends_with_128_and_the_signal_that_ended_the_program(w: &World) {
    let bundle = w.bundle("b");
    bundle.args(&["/bin/sleep", "1000"]);
    let running = bundle.run().spawn();
    bundle_runs(&bundle);
    bundle.verb("kill", &[]).arg("KILL").ok();
    running.output().code(137);
}

fn bundle_runs(bundle: &kelp_tests::Bundle<'_>) {
    kelp_tests::until("the container runs", || {
        let state = bundle.verb("state", &[]).output();
        state.status() == 0 && state.json()["status"] == "running"
    });
}

fn run_detach_returns_while_the_program_runs(w: &World) {
    let bundle = w.bundle("b");
    bundle.args(&["/bin/sleep", "1000"]);
    bundle.verb("run", &["--detach", "--bundle", &bundle.dir().to_string_lossy()]).ok();
    assert_eq!(bundle.status(), "running");
    bundle.delete();
}

fn run_forwards_signals_to_the_program(w: &World) {
    let bundle = w.bundle("b");
    bundle.shell("trap 'echo got it; exit 3' TERM; echo ready; while :; do sleep 0.05; done");
    let running = bundle.run().spawn();
    running.prints("ready");
    running.signal(Signal::TERM);
    running.output().code(3).says("got it");
}

fn the_pid_file_holds_the_pid_of_the_program(w: &World) {
    let bundle = w.bundle("b");
    bundle.args(&["/bin/sleep", "1000"]);
    let file = w.dir().join("pid");
    // After the id, where engines and scripts put options too.
    bundle.create().args(["--pid-file", &file.to_string_lossy()]).ok();
    let written: i32 = fs::read_to_string(&file).unwrap().parse().expect("a number and nothing else");
    assert_eq!(written, bundle.pid());
    bundle.delete();
    // As with runc: who asked for the file removes it.
    assert!(file.exists(), "delete took the pid file");
    fs::remove_file(&file).unwrap();
    bundle.args(&["/bin/true"]).run().args(["--pid-file", &file.to_string_lossy()]).ok();
    assert!(file.exists(), "run took the pid file");
    fs::remove_file(&file).unwrap();
    bundle.args(&["/bin/no-such-program"]).run().args(["--pid-file", &file.to_string_lossy()]).output();
    assert!(!file.exists(), "a pid file of no container");
    // At its last step: nobody takes the terminal.
    let options = ["--console-socket", "/nosuch", "--pid-file", &*file.to_string_lossy()];
    bundle.args(&["/bin/true"]).set("/process/terminal", json!(true));
    bundle.create().args(options).output().explains(&["dial unix /nosuch"]);
    assert!(!file.exists(), "a pid file of no container");
    bundle.set("/process/terminal", json!(false)).args(&["/bin/sleep", "1000"]).launch();
    let exec = [&options[..], &["--tty", "--detach"]].concat();
    bundle.exec(&exec, &["/bin/sleep", "1000"]).output().explains(&["dial unix /nosuch"]);
    assert!(!file.exists(), "a pid file of no process");
    bundle.delete();
}

fn without_a_pid_namespace_sigkill_ends_all(w: &World) {
    let bundle = w.bundle("b");
    bundle.edit(|spec| {
        let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != "pid");
    });
    let cgroup = match (w.who(), kelp_tests::Cgroup::delegated(w)) {
        (Who::User, Err(reason)) => return w.skip(&reason),
        (_, delegated) => delegated.ok(),
    };
    bundle.shell("sleep 1000 & exec sleep 1000");
    let create = bundle.create();
    cgroup.iter().fold(create, |create, cgroup| create.cgroup(cgroup)).ok();
    bundle.verb("start", &[]).ok();
    let left = || {
        let pids = bundle.verb("ps", &["--format", "json"]).output().stdout;
        serde_json::from_str::<Vec<i32>>(&pids).map_or(0, |pids| pids.len())
    };
    kelp_tests::until("the child runs", || left() == 2);
    let pid = bundle.pid();
    bundle.verb("kill", &[]).arg("KILL").ok();
    bundle.becomes("stopped");
    let child = || fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    kelp_tests::until("all are gone", || left() == 0 && child().map_or(true, |pids| pids.is_empty()));
    assert_eq!(w.leaks().iter().filter(|leak| leak.contains("sleep")).count(), 0, "{:?}", w.leaks());
    bundle.delete();
}

fn preserved_descriptors_arrive_and_no_others(w: &World) {
    let bundle = w.bundle("b");
    let three = w.write("three", "content of three");
    let four = w.write("four", "content of four");
    let nine = w.write("nine", "a secret of the host");
    bundle.args(&["/bin/probe", "see"]);
    let dir = bundle.dir().to_string_lossy().into_owned();
    let seen = bundle
        .verb("run", &["--preserve-fds", "2", "--bundle", &dir])
        .descriptor(3, &three)
        .descriptor(4, &four)
        .descriptor(9, &nine)
        .ok()
        .json();
    assert_eq!(open_descriptors(&seen), ["0", "1", "2", "3", "4"], "{}", seen["fds"]);
    let read = "cat <&3; cat <&4";
    let output = bundle.shell(read).verb("run", &["--preserve-fds", "2", "--bundle", &dir]);
    let output = output.descriptor(3, &three).descriptor(4, &four).ok();
    assert_eq!(output.text(), "content of threecontent of four");
}

fn open_descriptors(seen: &Value) -> Vec<String> {
    seen["fds"].as_object().unwrap().keys().cloned().collect()
}

fn nothing_of_the_host_leaks_into_the_program(w: &World) {
    let bundle = w.bundle("b");
    let secret = w.write("secret", "a secret of the host");
    bundle.args(&["/bin/probe", "see"]);
    let seen = bundle.run().env("SECRET", "of the caller").descriptor(7, &secret).ok().json();
    assert_eq!(open_descriptors(&seen), ["0", "1", "2"], "{}", seen["fds"]);
    assert!(!seen["env"].to_string().contains("SECRET"), "{}", seen["env"]);
    assert_eq!(seen["cwd"], "/");
    assert_eq!(seen["signals"]["blocked"], "0000000000000000");
    assert_eq!(seen["session"], 1, "the program leads its own session");
    let mounts = seen["mounts"].to_string();
    assert!(!mounts.contains("/put_old") && !mounts.contains("/oldroot"), "{mounts}");
    // Rust programs ignore SIGPIPE from their first instruction: that must not reach the container's program.
    let ignored = bundle.args(&["/bin/grep", "SigIgn", "/proc/self/status"]).prints();
    let ignored = u64::from_str_radix(ignored.trim().trim_start_matches("SigIgn:").trim(), 16).unwrap();
    assert_eq!(ignored & (1 << 12), 0, "SIGPIPE is ignored");
}

fn console_socket_receives_the_terminal(w: &World) {
    let bundle = w.bundle("b");
    bundle.shell("stty size; tty; read line; echo \"read $line\"; read line");
    bundle.set("/process/terminal", json!(true)).set("/process/consoleSize", json!({"height": 33, "width": 77}));
    let path = w.dir().join("console");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    w.give(&path);
    let dir = bundle.dir().to_string_lossy().into_owned();
    bundle.verb("create", &["--console-socket", &path.to_string_lossy(), "--bundle", &dir]).ok();
    let mut terminal = Terminal::of_master(receive_descriptor(&listener).0);
    bundle.verb("start", &[]).ok();
    terminal.shows("33 77");
    terminal.shows("/dev/");
    terminal.types(b"hello\n");
    terminal.shows("read hello");
    bundle.delete();
}

fn run_with_a_terminal_in_the_foreground_relays_it(w: &World) {
    let bundle = w.bundle("b");
    bundle.shell("stty size; trap 'stty size' WINCH; read line; echo \"read $line\"; read line; read line; exit 4");
    bundle.set("/process/terminal", json!(true));
    let (mut terminal, running) = Terminal::start(bundle.run(), 31, 71);
    terminal.shows("31 71");
    terminal.types(b"one\n");
    terminal.shows("read one");
    terminal.resize(41, 91);
    terminal.shows("41 91");
    terminal.types(b"two\nthree\n");
    running.output().code(4);
}

fn list_knows_every_container(w: &World) {
    let (first, second) = (w.bundle("one"), w.bundle("two"));
    for bundle in [&first, &second] {
        bundle.args(&["/bin/sleep", "1000"]).create().ok();
    }
    first.verb("start", &[]).ok();
    let table = w.runtime(["list"]).ok();
    assert!(table.stdout.contains(first.id()) && table.stdout.contains(second.id()), "{table}");
    let list = w.runtime(["list", "--format", "json"]).ok().json();
    let status = |id: &str| list.as_array().unwrap().iter().find(|c| c["id"] == id).unwrap()["status"].clone();
    assert_eq!(status(first.id()), "running");
    assert_eq!(status(second.id()), "created");
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let named = passwd.lines().find(|line| line.split(':').nth(2) == Some(&w.uid().to_string())).unwrap();
    let name = named.split(':').next().unwrap();
    assert!(list.as_array().unwrap().iter().all(|c| c["owner"] == name), "{list}");
    assert!(table.stdout.lines().skip(1).all(|line| line.ends_with(name)), "{table}");
    let quiet = w.runtime(["list", "--quiet"]).ok();
    assert_eq!(quiet.stdout.lines().count(), 2, "{quiet}");
    let record = w.runtime_root().join(first.id()).join("state.json");
    let whole = fs::read(&record).unwrap();
    fs::write(&record, "{").unwrap();
    let table = w.runtime(["list"]).ok();
    assert!(table.stdout.contains(second.id()) && !table.stdout.contains(first.id()), "{table}");
    assert!(table.stderr.contains(first.id()), "{table}");
    fs::write(&record, whole).unwrap();
    // A creator that died over the record left a container that can be deleted all the same.
    let unfinished = record.with_file_name("state.new");
    fs::rename(&record, &unfinished).unwrap();
    fs::write(&unfinished, "{").unwrap();
    assert_eq!(w.runtime(["list"]).ok().stderr, "");
    w.runtime(["delete", "--force", first.id()]).ok();
    second.delete();
    assert_eq!(w.runtime(["list", "--quiet"]).ok().text(), "");
}

fn ps_lists_the_processes_inside(w: &World) {
    let bundle = w.bundle("b");
    bundle.shell("sleep 1000 & echo >/tmp/ready; wait").set("/root/readonly", json!(false)).launch();
    kelp_tests::until("both run", || bundle.rootfs().join("tmp/ready").exists());
    let output = bundle.verb("ps", &["--format", "json"]).output();
    if output.status() != 0 && w.who() != kelp_tests::Who::Root {
        w.skip("without a cgroup of its own a container's processes cannot be listed");
        bundle.delete();
        return;
    }
    let pids = output.json();
    let pids: Vec<i64> = pids.as_array().unwrap().iter().filter_map(Value::as_i64).collect();
    assert!(pids.contains(&i64::from(bundle.pid())), "{pids:?}");
    assert_eq!(pids.len(), 2, "{pids:?}");
    bundle.delete();
}

fn features_is_valid_by_the_schema(w: &World) {
    let features = w.runtime(["features"]).ok().json();
    assert!(features["hooks"].as_array().unwrap().len() == 6, "{features}");
    assert_eq!(features["linux"]["cgroup"]["v2"], true);
    match schema_errors("features-schema.json", &features) {
        Ok(errors) => assert!(errors.is_empty(), "{features}: {errors:?}"),
        Err(reason) => w.skip(&reason),
    }
}

fn spec_is_valid_by_the_schema_and_does_not_overwrite(w: &World) {
    let bundle = w.bundle("b");
    match schema_errors("config-schema.json", &bundle.spec()) {
        Ok(errors) => assert!(errors.is_empty(), "{errors:?}"),
        Err(reason) => w.skip(&reason),
    }
    let before = bundle.spec();
    w.runtime(["spec", "--bundle", &bundle.dir().to_string_lossy()]).output().explains(&["config.json"]);
    assert_eq!(bundle.spec(), before);
}

fn plan_needs_no_privilege_and_changes_nothing(w: &World) {
    let bundle = w.bundle("b");
    let plan = w.runtime(["plan", &bundle.dir().to_string_lossy()]).ok();
    for word in ["proc", "/dev", "mount", "/bin/true"] {
        assert!(plan.stdout.contains(word), "the plan does not mention {word}\n{plan}");
    }
    assert!(!w.runtime_root().exists(), "something was made");
}

fn log_format_json_writes_one_object_per_line(w: &World) {
    let bundle = w.bundle("b");
    bundle.set("/process/args", json!(["/no/such/program"]));
    let log = w.dir().join("log.json");
    let root = w.runtime_root();
    let program = w.program("kelp-runtime");
    let failed = w
        .command(&program.to_string_lossy())
        .args(["--root", &root.to_string_lossy(), "--log", &log.to_string_lossy(), "--log-format", "json"])
        .args(["run", "--bundle", &bundle.dir().to_string_lossy(), bundle.id()])
        .output()
        .fails();
    let text = fs::read_to_string(&log).unwrap_or_else(|e| panic!("no log: {e}\n{failed}"));
    let last: Value = serde_json::from_str(text.lines().last().expect("a line")).expect("a JSON line");
    assert_eq!(last["level"], "error");
    assert!(last["msg"].as_str().unwrap().contains("/no/such/program"), "{last}");
    assert!(last["time"].is_string(), "{last}");
    bundle.delete();
}

fn a_killed_runtime_leaves_a_container_that_can_be_deleted(w: &World) {
    let bundle = w.bundle("b");
    bundle.args(&["/bin/sleep", "1000"]);
    let running = bundle.run().spawn();
    bundle_runs(&bundle);
    let pid = bundle.pid();
    running.signal(Signal::KILL);
    running.output().code(137);
    bundle.delete();
    kelp_tests::until("the program is dead", || !kelp_tests::is_alive(pid));
}

fn stdin_reaches_the_program(w: &World) {
    let bundle = w.bundle("b");
    let output = bundle.args(&["/bin/cat"]).run().stdin("typed\n").ok();
    assert_eq!(output.stdout, "typed\n");
}
