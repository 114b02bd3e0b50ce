// SPDX-License-Identifier: Apache-2.0
//! The verbs of runc beside the lifecycle: update, events; and options by which engines get hold of a process.
//!
//! Runs `kelp-runtime`. Spec: none; runc's behaviour.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use kelp_tests::{Bundle, Cgroup, Who, World, claims};
use serde_json::{Value, json};

claims!(as_root, as_user:
    update_changes_what_it_names_or_says_which_controller_is_missing,
    events_prints_statistics_in_runcs_shape,
    events_end_with_the_container,
    exec_runs_in_a_cgroup_that_the_container_has_made,
    the_pidfd_socket_gets_the_very_process,
    sockets_of_systemd_reach_the_program,
    debug_writes_what_was_asked_for_into_the_log,
    what_is_wrong_with_options_is_in_the_log_too,
    help_is_told_of_one_command_or_of_all,
    options_stand_before_the_id_or_after_it,
    a_log_that_cannot_be_opened_is_an_error,
    a_root_that_was_named_and_is_not_there_has_no_list,
    a_container_that_is_being_written_is_none_or_whole,
    a_trace_shows_both_processes_on_one_axis,
    what_cannot_be_written_ends_nothing_in_a_panic,
);
claims!(as_user: verbs_that_need_a_cgroup_say_how_to_get_one);
claims!(as_root: options_that_mean_nothing_here_are_refused_with_the_reason);

fn what_cannot_be_written_ends_nothing_in_a_panic(w: &World) {
    let runtime = w.program("kelp-runtime").display().to_string();
    let kelp = w.program("kelp").display().to_string();
    let bundle = w.bundle("b").dir().display().to_string();
    let sh = |script: &str| w.command("sh").args(["-c", script, "sh"]).args([&runtime, &kelp, &bundle]).output();
    for line in
        ["\"$1\" features", "\"$1\" plan \"$3\"", "\"$1\" --help", "\"$1\" list", "\"$2\" --help", "\"$2\" run --help"]
    {
        // A full disk is an error, a reader who has left is none: also where SIGPIPE is ignored, as in a unit of systemd.
        sh(&format!("{line} >/dev/full")).code(1).explains(&["cannot write to stdout"]);
        let left = sh(&format!("trap '' PIPE; {{ sleep 0.3; {line}; echo $? >&2; }} | true")).ok();
        assert_eq!(left.stderr, "0\n", "{line}: {left}");
    }
    sh("\"$1\" state absent 2>/dev/full").code(1);
}

/// Launches in a delegated subtree.
fn launch<'w>(w: &'w World, bundle: &Bundle<'w>) -> Result<Cgroup, String> {
    let delegated = Cgroup::delegated(w)?;
    if w.who() == Who::Root {
        bundle.set("/linux/cgroupsPath", json!(format!("/{}/c", w.token())));
    }
    bundle.create().cgroup(&delegated).ok();
    bundle.verb("start", &[]).ok();
    Ok(delegated)
}

/// Where the cgroup of a process is.
fn cgroup_of(pid: i32) -> PathBuf {
    let lines = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let path = lines.lines().find_map(|line| line.strip_prefix("0::/")).unwrap().to_owned();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 ")).unwrap();
    PathBuf::from(mount.split(' ').nth(4).unwrap()).join(path)
}

fn update_changes_what_it_names_or_says_which_controller_is_missing(w: &World) {
    let bundle = w.bundle("b");
    bundle.args(&["/bin/sleep", "1000"]);
    let delegated = match launch(w, &bundle) {
        Ok(delegated) => delegated,
        Err(reason) => return w.skip(&reason),
    };
    let file = w.write("resources.json", r#"{"pids": {"limit": 55}}"#);
    let given: [(&[&str], &str, &str); 3] = [
        (&["--pids-limit", "44"], "", "44"),
        (&["--resources", file.to_str().unwrap()], "", "55"),
        (&["-r", "-", "--pids-limit", "1"], r#"{"pids": {"limit": -1}}"#, "max"),
    ];
    let has_pids = delegated.controllers().iter().any(|name| name == "pids");
    for (options, stdin, expected) in given {
        let update = bundle.verb("update", options).cgroup(&delegated).stdin(stdin).output();
        match (has_pids, expected) {
            (true, _) => {
                update.ok();
                assert_eq!(fs::read_to_string(cgroup_of(bundle.pid()).join("pids.max")).unwrap().trim(), expected);
            }
            // Without the controller there is no limit anyway.
            (false, "max") => drop(update.ok()),
            (false, _) => drop(update.explains(&["pids.max", "controller pids is not there"])),
        }
    }
    bundle.verb("update", &["-r", "-"]).stdin("{").output().explains(&["stdin", "line 1"]);
    bundle.verb("update", &["-r", "-"]).stdin(" []").output().explains(&["stdin", "a list"]);
    bundle.verb("update", &["--memory", "much"]).output().explains(&["--memory", "much"]);
    bundle.delete();
}

fn events_prints_statistics_in_runcs_shape(w: &World) {
    let bundle = w.bundle("b");
    bundle.shell("i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done; sleep 1000");
    if let Err(reason) = launch(w, &bundle) {
        return w.skip(&reason);
    }
    let total = || {
        let event = bundle.verb("events", &["--stats"]).ok().json();
        assert_eq!(event["type"], "stats");
        assert_eq!(event["id"], bundle.id());
        let data = &event["data"];
        for part in ["cpu", "cpuset", "memory", "pids", "blkio", "hugetlb", "intel_rdt"] {
            assert!(data[part].is_object(), "{part}: {data}");
        }
        assert!(data["pids"]["current"].as_u64() >= Some(1), "{data}");
        // Without the controller there are no numbers, and no limit that anybody could take for one.
        let counted = data["memory"]["raw"].is_object();
        assert_eq!(data["memory"]["usage"]["limit"].as_u64() != Some(0), counted, "{data}");
        assert!(data["cpu"]["usage"]["user"].is_u64() && data["memory"]["usage"]["failcnt"].is_u64(), "{data}");
        data["cpu"]["usage"]["total"].as_u64().unwrap_or(0)
    };
    kelp_tests::until("its time at the processor is counted in nanoseconds", || total() > 1_000_000);
    bundle.verb("kill", &[]).arg("KILL").ok();
    bundle.becomes("stopped");
    bundle.verb("events", &["--stats"]).output().explains(&["not running"]);
    bundle.delete();
}

fn events_end_with_the_container(w: &World) {
    let bundle = w.bundle("b");
    bundle.args(&["/bin/sleep", "1000"]);
    let delegated = match launch(w, &bundle) {
        Ok(delegated) => delegated,
        Err(reason) => return w.skip(&reason),
    };
    let running = bundle.verb("events", &["--interval", "50ms"]).cgroup(&delegated).spawn();
    kelp_tests::until("it repeats", || running.stdout().lines().count() > 2);
    bundle.verb("kill", &["--all"]).arg("KILL").ok();
    let output = running.output().ok();
    for line in output.stdout.lines() {
        let event: Value = serde_json::from_str(line).expect("each line is an object");
        assert_eq!(event["type"], "stats", "{event}");
    }
    bundle.verb("events", &["--interval", "0s"]).output().explains(&["greater than 0"]);
    bundle.delete();
}

fn exec_runs_in_a_cgroup_that_the_container_has_made(w: &World) {
    let bundle = w.bundle("b");
    bundle.args(&["/bin/sleep", "1000"]);
    let delegated = match launch(w, &bundle) {
        Ok(delegated) => delegated,
        Err(reason) => return w.skip(&reason),
    };
    let below = cgroup_of(bundle.pid()).join("below");
    w.make_dir(&below);
    for file in ["cgroup.procs", "cgroup.threads"] {
        w.give(&below.join(file));
    }
    let inside = bundle.exec(&["--cgroup", "below"], &["/bin/cat", "/proc/self/cgroup"]).cgroup(&delegated).ok();
    assert!(inside.stdout.lines().any(|line| line == "0::/below"), "{inside}");
    let exec = |cgroup: &str| bundle.exec(&["--cgroup", cgroup], &["/bin/true"]).cgroup(&delegated).output();
    exec("nowhere").explains(&["nowhere", "no such file"]);
    exec("../caller").explains(&["leads out"]);
    exec("pids:below").explains(&["v2"]);
    // Where its init is now, exec runs too.
    fs::write(below.join("cgroup.procs"), bundle.pid().to_string()).unwrap();
    let beside = bundle.exec(&[], &["/bin/cat", "/proc/self/cgroup"]).cgroup(&delegated).ok();
    assert!(beside.stdout.lines().any(|line| line == "0::/below"), "{beside}");
    bundle.delete();
}

/// What arrives at a socket that listens at this path: the pid behind a descriptor of a process, and the name it came with.
fn process_sent_to(listener: &UnixListener) -> (i32, String) {
    let (fd, name) = kelp_tests::receive_descriptor(listener);
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).unwrap();
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:")).expect("a pidfd").trim().parse().unwrap();
    (pid, name)
}

fn the_pidfd_socket_gets_the_very_process(w: &World) {
    let bundle = w.bundle("b");
    bundle.args(&["/bin/sleep", "1000"]);
    let path = w.dir().join("pidfd");
    let listener = UnixListener::bind(&path).unwrap();
    w.give(&path);
    let (dir, path) = (bundle.dir().to_string_lossy().into_owned(), path.to_string_lossy().into_owned());
    bundle.verb("create", &["--pidfd-socket", &path, "--bundle", &dir]).ok();
    assert_eq!(process_sent_to(&listener), (bundle.pid(), "standard".into()));
    bundle.verb("start", &[]).ok();
    let file = w.dir().join("pid");
    let options = ["--detach", "--pidfd-socket", &path, "--pid-file", file.to_str().unwrap()];
    bundle.exec(&options, &["/bin/sleep", "1000"]).ok();
    let pid: i32 = fs::read_to_string(&file).unwrap().parse().unwrap();
    assert_eq!(process_sent_to(&listener), (pid, "setns".into()));
    bundle.delete();
    let nobody = w.bundle("nobody");
    let dir = nobody.dir().to_string_lossy().into_owned();
    nobody.verb("create", &["--pidfd-socket", "/no/socket", "--bundle", &dir]).output().explains(&["/no/socket"]);
    nobody.verb("state", &[]).output().explains(&["does not exist"]);
}

fn sockets_of_systemd_reach_the_program(w: &World) {
    let bundle = w.bundle("b");
    let (one, two) = (w.write("one", "one"), w.write("two", "two"));
    bundle.shell("echo $LISTEN_FDS $LISTEN_PID; cat <&3; cat <&4; ls /proc/self/fd | wc -l");
    let run = || bundle.run().descriptor(3, &one).descriptor(4, &two);
    let passed = run().env("LISTEN_FDS", "2").ok();
    // The three standard streams, two sockets, and the folder that ls reads.
    assert_eq!(passed.text(), "2 1\nonetwo6", "{passed}");
    bundle.shell("echo \"[$LISTEN_FDS]\"; ls /proc/self/fd | wc -l");
    let others = run().env("LISTEN_FDS", "2").env("LISTEN_PID", "1").ok();
    assert_eq!(others.text(), "[]\n4", "they are for another process\n{others}");
}

fn debug_writes_what_was_asked_for_into_the_log(w: &World) {
    let bundle = w.bundle("b");
    let log = w.dir().join("log");
    let call = |debug: &[&str]| {
        let global = ["--log", log.to_str().unwrap(), "--log-format", "json"];
        w.runtime(global.iter().chain(debug).chain(&["run", "--bundle", bundle.dir().to_str().unwrap(), bundle.id()]))
            .ok();
        fs::read_to_string(&log).unwrap_or_default()
    };
    assert_eq!(call(&[]), "");
    let said = call(&["--debug"]);
    let line: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    assert_eq!(line["level"], "debug");
    assert!(line["msg"].as_str().unwrap().contains(bundle.id()), "{line}");
}

fn what_is_wrong_with_options_is_in_the_log_too(w: &World) {
    let bundle = w.bundle("b");
    bundle.args(&["/bin/sleep", "1000"]).launch();
    let log = w.dir().join("log");
    let global = ["--log", log.to_str().unwrap(), "--log-format", "json"];
    // As under runc: what the options of exec ask for is the exec's, the command line's grammar is not.
    for (line, code, says) in [
        (["exec", "--user", "nobody", bundle.id(), "true"].as_slice(), 255, "nobody"),
        (&["exec", "--cgroup", "cpu:/", bundle.id(), "true"], 255, "cpu:/"),
        (&["exec", bundle.id()], 255, "no program"),
        (&["exec", "--preserve-fds", "many", bundle.id(), "true"], 1, "many"),
        (&["exec", "--fly", bundle.id(), "true"], 1, "--fly"),
        (&["kill", bundle.id(), "FOO"], 1, "unknown signal"),
        (&["update", "--cpu-share", "much", bundle.id()], 1, "much"),
        (&["fly"], 1, "fly"),
    ] {
        w.runtime(global.iter().chain(line)).output().code(code).explains(&[says]);
        let text = fs::read_to_string(&log).unwrap_or_default();
        let said: Value = serde_json::from_str(text.lines().last().unwrap_or_default()).expect("a line of JSON");
        assert_eq!(said["level"], "error");
        assert!(said["msg"].as_str().unwrap().contains(says), "{line:?}: {said}");
        fs::remove_file(&log).unwrap();
    }
    bundle.delete();
}

fn help_is_told_of_one_command_or_of_all(w: &World) {
    let text = |line: &[&str]| w.runtime(line).ok().stdout;
    assert_eq!(text(&["help", "exec"]), text(&["exec", "--help"]));
    assert_eq!(text(&["h", "run"]), text(&["run", "-h"]));
    assert_eq!(text(&["help"]), text(&["--help"]));
    assert_ne!(text(&["help"]), text(&["help", "exec"]));
    assert_eq!(text(&["kill", "some", "-h"]), text(&["help", "kill"]));
    for line in [["fly", "-h"], ["fly", "--help"], ["help", "fly"]] {
        w.runtime(line).output().code(1).explains(&["fly"]);
    }
}

fn options_stand_before_the_id_or_after_it(w: &World) {
    let bundle = w.bundle("b");
    let (dir, id) = (bundle.dir().display().to_string(), bundle.id());
    bundle.args(&["/bin/echo", "hello"]);
    w.runtime(["run", id, "--bundle", &dir]).ok().says("hello");
    w.runtime(["run", id, "-b", &dir]).ok().says("hello");
    bundle.args(&["/bin/sleep", "1000"]);
    w.runtime(["create", id, "--bundle", &dir, "--no-pivot=false"]).ok();
    w.runtime(["start", id]).ok();
    w.runtime(["list", "--format", "json", "-q"]).ok().says(id);
    // What follows the id is the program's.
    w.runtime(["exec", id, "/bin/echo", "-t", "--help"]).ok().says("-t --help");
    w.runtime(["exec", id, "--", "/bin/echo", "-d"]).ok().says("-d");
    w.runtime(["create", id, "--fly"]).output().code(1).explains(&["flag provided but not defined: --fly"]);
    w.runtime(["create", id, "more", "--bundle", &dir]).output().code(1).explains(&["more"]);
    w.runtime(["kill", id, "KILL", "--all"]).ok();
    w.runtime(["delete", id, "--force"]).ok();
    // After `--` all are operands.
    w.runtime(["delete", "--", "--force"]).output().code(1).explains(&["--force"]);
}

fn a_log_that_cannot_be_opened_is_an_error(w: &World) {
    w.runtime(["--log", "/no/such/folder/log", "list"]).output().code(1).explains(&["/no/such/folder/log"]);
}

fn a_root_that_was_named_and_is_not_there_has_no_list(w: &World) {
    let missing = w.dir().join("nowhere").display().to_string();
    let list =
        |root: &str| w.command(&w.program("kelp-runtime").to_string_lossy()).args(["--root", root, "list"]).output();
    list(&missing).code(1).explains(&[&missing, "no such file or directory"]);
    let empty = w.dir().join("empty");
    w.make_dir(&empty);
    list(&empty.display().to_string()).code(0);
}

fn a_container_that_is_being_written_is_none_or_whole(w: &World) {
    let bundle = w.bundle("b");
    bundle.args(&["/bin/true"]);
    // A record that its writer has not finished, as a look at the wrong moment finds it.
    let folder = w.runtime_root().join(bundle.id());
    w.make_dir(&w.runtime_root());
    w.make_dir(&folder);
    w.give(&w.write(folder.join("state.new"), "{\"oci_ver"));
    w.runtime(["state", bundle.id()]).output().code(1).explains(&["container does not exist"]);
    bundle.verb("delete", &["--force"]).ok();
}

fn verbs_that_need_a_cgroup_say_how_to_get_one(w: &World) {
    let bundle = w.bundle("b");
    bundle.edit(|spec| drop(spec["linux"].as_object_mut().unwrap().remove("resources")));
    bundle.args(&["/bin/sleep", "1000"]).launch();
    for verb in ["update", "events", "pause"] {
        bundle.verb(verb, &[]).output().hints("delegat");
    }
    bundle.exec(&["--cgroup", "below"], &["/bin/true"]).output().explains(&["no cgroup"]);
    bundle.delete();
}

fn options_that_mean_nothing_here_are_refused_with_the_reason(w: &World) {
    let bundle = w.bundle("b");
    bundle.args(&["/bin/sleep", "1000"]).launch();
    for (line, says) in [
        (["--rootless", "maybe", "list"].as_slice(), "maybe"),
        (&["update", "--l3-cache-schema", "L3:0=f", bundle.id()], "resctrl"),
        (&["update", "--mem-bw-schema", "L3:0=f", bundle.id()], "MB:"),
        (&["events", "--interval", "5", bundle.id()], "duration"),
        (&["exec", "--cgroup", "cpu:a", bundle.id(), "true"], "v2"),
    ] {
        w.runtime(line).output().explains(&[says]);
    }
    bundle.delete();
    for word in ["auto", "true", "false"] {
        w.runtime(["--rootless", word, "list"]).ok();
    }
}

fn a_trace_shows_both_processes_on_one_axis(w: &World) {
    let bundle = w.bundle("b");
    bundle.args(&["/bin/true"]);
    let (file, root) = (w.dir().join("trace.json"), w.runtime_root());
    let (file, root) = (file.to_str().unwrap(), root.to_str().unwrap());
    let bundle_dir = bundle.dir().to_str().unwrap().to_owned();
    w.command(&w.program("kelp-runtime").to_string_lossy())
        .args(["--trace", file, "--root", root, "run", "--bundle", &bundle_dir, bundle.id()])
        .ok();
    let trace: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let lane = |name: &str| {
        let named = events.iter().find(|e| e["ph"] == "M" && e["args"]["name"] == name);
        named.unwrap_or_else(|| panic!("{name} in {trace:#}"))["tid"].clone()
    };
    let at = |who: &Value, what: &str| {
        let event = events.iter().find(|e| &e["tid"] == who && e["name"] == what);
        event.unwrap_or_else(|| panic!("{what} in {trace:#}"))["ts"].as_f64().unwrap()
    };
    let (runtime, init) = (lane("kelp-runtime"), lane("init"));
    let cloned = at(&runtime, "clone a process into the container's namespaces");
    let pivoted = at(&init, "make the root file system the root");
    let ran = at(&runtime, "the program runs");
    assert!(cloned < pivoted && pivoted < ran, "{cloned} {pivoted} {ran}");
}
