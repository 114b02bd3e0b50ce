// SPDX-License-Identifier: Apache-2.0
//! When, where and from which memory the program runs.
//!
//! Runs `kelp-runtime`. Spec: config.md "process.scheduler", "process.ioPriority", "process.execCPUAffinity",
//! config-linux.md "Memory policy", "Personality".
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use kelp_tests::{World, claims};
use serde_json::json;

claims!(as_root, as_user:
    a_nice_value_and_an_idle_policy_are_set,
    an_io_priority_is_set,
    exec_begins_and_goes_on_with_the_processors_it_is_given,
    the_memory_policy_is_that_of_all_processes,
    a_32_bit_personality_shows_in_uname,
);
claims!(as_root: realtime_and_deadline_policies_are_set_by_root);
claims!(as_user: a_realtime_policy_is_refused_to_an_ordinary_user_with_a_hint);

fn a_nice_value_and_an_idle_policy_are_set(w: &World) {
    let bundle = w.bundle("b");
    bundle.set("/process/scheduler", json!({"policy": "SCHED_BATCH", "nice": 7}));
    let seen = bundle.sees();
    assert_eq!((&seen["policy"], &seen["nice"]), (&json!(3), &json!(7)));
    bundle.set("/process/scheduler", json!({"policy": "SCHED_IDLE", "flags": ["SCHED_FLAG_RESET_ON_FORK"]}));
    assert_eq!(bundle.sees()["policy"], 5);
    bundle.args(&["/bin/sleep", "1000"]).launch();
    assert_eq!(bundle.exec(&[], &["/bin/probe", "see"]).ok().json()["policy"], 5, "exec has another policy");
    bundle.delete();
}

fn realtime_and_deadline_policies_are_set_by_root(w: &World) {
    let bundle = w.bundle("b");
    for (policy, number) in [("SCHED_FIFO", 1), ("SCHED_RR", 2)] {
        bundle.set("/process/scheduler", json!({"policy": policy, "priority": 12}));
        let seen = bundle.sees();
        assert_eq!((&seen["policy"], &seen["rt_priority"]), (&json!(number), &json!(12)), "{policy}");
    }
    let time = json!({"policy": "SCHED_DEADLINE", "runtime": 1_000_000, "deadline": 10_000_000, "period": 20_000_000});
    bundle.set("/process/scheduler", time);
    assert_eq!(bundle.sees()["policy"], 6);
    bundle.set("/process/scheduler", json!({"policy": "SCHED_ISO"}));
    bundle.run().output().explains(&["process.scheduler"]);
}

fn a_realtime_policy_is_refused_to_an_ordinary_user_with_a_hint(w: &World) {
    let bundle = w.bundle("b");
    bundle.set("/process/scheduler", json!({"policy": "SCHED_FIFO", "priority": 1}));
    bundle.run().output().explains(&["process.scheduler", "CAP_SYS_NICE"]);
}

fn an_io_priority_is_set(w: &World) {
    let bundle = w.bundle("b");
    bundle.set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 6}));
    assert_eq!(bundle.args(&["/bin/busybox", "ionice", "-p", "1"]).prints(), "best-effort: prio 6\n");
    bundle.set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 9}));
    bundle.run().output().explains(&["process.ioPriority"]);
}

fn exec_begins_and_goes_on_with_the_processors_it_is_given(w: &World) {
    let bundle = w.bundle("b");
    bundle.args(&["/bin/sleep", "1000"]).launch();
    let process = |affinity| {
        let process = json!({
            "cwd": "/", "args": ["/bin/probe", "see"], "user": {"uid": 0, "gid": 0}, "execCPUAffinity": affinity,
        });
        let file = w.write("process.json", process.to_string());
        bundle.verb("exec", &["--process", &file.to_string_lossy()])
    };
    assert_eq!(process(json!({"initial": "0", "final": ""})).ok().json()["cpus"], "0");
    assert_eq!(process(json!({"final": "0"})).ok().json()["cpus"], "0");
    process(json!({"initial": "0", "final": "4000"})).output().explains(&["execCPUAffinity"]);
    bundle.delete();
}

fn the_memory_policy_is_that_of_all_processes(w: &World) {
    if !Path::new("/proc/self/numa_maps").exists() {
        return w.skip("this kernel has no NUMA");
    }
    let bundle = w.bundle("b");
    bundle.set("/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "0"}));
    let first = ["/bin/head", "-n", "1", "/proc/self/numa_maps"];
    assert!(bundle.args(&first).prints().contains("bind:0"));
    bundle.args(&["/bin/sleep", "1000"]).launch();
    assert!(bundle.exec(&[], &first).ok().stdout.contains("bind:0"));
    bundle.delete();
    bundle.set("/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "900"}));
    bundle.run().output().explains(&["memory policy"]);
}

fn a_32_bit_personality_shows_in_uname(w: &World) {
    let bundle = w.bundle("b");
    let uname = ["/bin/busybox", "uname", "-m"];
    let usual = bundle.args(&uname).prints();
    bundle.set("/linux/personality", json!({"domain": "LINUX32"}));
    let other = bundle.args(&uname).prints();
    assert_ne!(usual, other);
    bundle.args(&["/bin/sleep", "1000"]).launch();
    assert_eq!(bundle.exec(&[], &uname).ok().stdout, other, "exec has another personality");
    bundle.delete();
}
