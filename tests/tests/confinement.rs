// SPDX-License-Identifier: Apache-2.0
//! The process that holds a container gives up its rights once the container exists, and everything goes on as before.
//!
//! Runs `kelp`, and looks at the shim from outside. What a confined shim cannot do any more is in shim/holder/confinement.rs.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use kelp_tests::{World, claims};
use serde_json::Value;

claims!(as_root, as_user:
    a_holder_is_confined_and_attach_logs_and_records_work,
    a_holder_of_another_runtimes_container_is_confined_too,
    a_confined_holder_still_cleans_up_behind_itself,
    a_holder_that_may_have_to_create_again_keeps_its_rights,
);

const SLEEPER: &str = "echo begun; sleep 1000 & trap 'exit 7' TERM; wait";

/// A field of the status of the process that holds the container: the parent of its init.
fn holders(w: &World, name: &str, field: &str) -> String {
    let inspected = w.kelp(["inspect", name]).ok().json();
    let Value::Number(pid) = &inspected[0]["State"]["Pid"] else { panic!("no pid in {inspected}") };
    let parent = status(&pid.to_string(), "PPid");
    assert!(fs::read(format!("/proc/{parent}/cmdline")).unwrap().windows(9).any(|word| word == b"kelp-shim"));
    status(&parent, field)
}

fn status(pid: &str, field: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {field} in\n{status}")).trim().to_owned()
}

/// What it was denied it would have complained of.
fn assert_no_complaints(w: &World) {
    for container in fs::read_dir(w.store().join("containers")).unwrap() {
        let log = container.unwrap().path().join("shim.log");
        assert_eq!(fs::read_to_string(log).unwrap_or_default(), "");
    }
}

fn a_holder_is_confined_and_attach_logs_and_records_work(w: &World) {
    w.load_busybox();
    for options in [&["-d"][..], &["-d", "-t"], &["-d", "-i"]] {
        let run = w.kelp(["run", "--network", "none", "--name", "c"]).args(options);
        run.args(["busybox", "sh", "-c", SLEEPER]).ok();
        // Engine and holder act at the same time: it gives up its rights while the network is made.
        kelp_tests::until("the holder is confined", || holders(w, "c", "Seccomp") == "2");
        assert_eq!(holders(w, "c", "NoNewPrivs"), "1");
        kelp_tests::until("it is in the log", || w.kelp(["logs", "c"]).ok().stdout.contains("begun"));
        let attached = w.kelp(["attach", "--no-stdin", "c"]).spawn();
        w.kelp(["exec", "c", "true"]).ok();
        w.kelp(["stop", "c"]).ok();
        attached.output().code(7);
        assert_eq!(w.kelp(["wait", "c"]).ok().text(), "7");
        assert_no_complaints(w);
        w.kelp(["rm", "c"]).ok();
    }
}

fn a_holder_of_another_runtimes_container_is_confined_too(w: &World) {
    w.load_busybox();
    let runtime = w.program("kelp-runtime").display().to_string();
    let run = w.kelp(["run", "-d", "--network", "none", "--name", "c", "--runtime", &runtime]);
    run.args(["busybox", "sh", "-c", SLEEPER]).ok();
    kelp_tests::until("the holder is confined", || holders(w, "c", "Seccomp") == "2");
    w.kelp(["stop", "c"]).ok();
    assert_eq!(w.kelp(["wait", "c"]).ok().text(), "7");
    assert_no_complaints(w);
    w.kelp(["rm", "c"]).ok();
}

fn a_confined_holder_still_cleans_up_behind_itself(w: &World) {
    w.load_busybox();
    let run = w.kelp(["run", "-d", "--rm", "--network", "none", "--name", "c", "-v", "/data"]);
    run.args(["busybox", "sh", "-c", SLEEPER]).ok();
    kelp_tests::until("the holder is confined", || holders(w, "c", "Seccomp") == "2");
    w.kelp(["stop", "c"]).ok();
    kelp_tests::until("the container is gone", || w.kelp(["ps", "-a", "-q"]).ok().text().is_empty());
    kelp_tests::until("its volume is gone", || w.kelp(["volume", "ls", "-q"]).ok().text().is_empty());
}

/// It would have to clone, map ids and mount: docs/decisions/0501-a-confined-holder.md.
fn a_holder_that_may_have_to_create_again_keeps_its_rights(w: &World) {
    w.load_busybox();
    let run = w.kelp(["run", "-d", "--restart", "always", "--network", "none", "--name", "c"]);
    run.args(["busybox", "sh", "-c", "echo round; sleep 0.3"]).ok();
    kelp_tests::until("it has been started again", || w.kelp(["logs", "c"]).ok().stdout.matches("round").count() >= 2);
    w.kelp(["rm", "-f", "c"]).ok();
}
