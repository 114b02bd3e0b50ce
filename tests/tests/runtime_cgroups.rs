// SPDX-License-Identifier: Apache-2.0
//! Cgroup v2: where the container's cgroup is, what limits it, freezing, killing, and its end.
//!
//! Runs `kelp-runtime` as root, and as a user with a delegated subtree. Spec: config-linux.md "Control groups".
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::PathBuf;

use kelp_tests::{Bundle, Cgroup, Who, World, claims};
use serde_json::json;

claims!(as_root, as_user:
    the_program_runs_in_a_cgroup_of_its_own_that_goes_with_it,
    pause_freezes_every_process_and_resume_thaws_them,
    a_container_that_waits_for_start_can_be_paused_and_resumed,
    kill_all_ends_every_process,
    delete_ends_what_the_program_left_running,
    a_limit_is_written_where_its_controller_is_there_and_refused_where_not,
);
claims!(as_user:
    without_delegation_a_container_without_limits_runs,
    without_delegation_a_limit_is_refused_with_a_hint,
);
claims!(as_root: a_cgroup_path_of_the_spec_is_used);

/// The commands of a user run in a delegated subtree; root's where they are.
fn caller(w: &World) -> Result<Option<Cgroup>, String> {
    if w.who() == Who::Root { Ok(None) } else { Cgroup::delegated(w).map(Some) }
}

/// Where the container's cgroup is on this machine, by what its process says.
fn cgroup_of(pid: i32) -> PathBuf {
    let lines = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let path = lines.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_else(|| panic!("no v2: {lines}"));
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 ")).unwrap();
    PathBuf::from(mount.split(' ').nth(4).unwrap()).join(path)
}

/// Creates and starts, in the delegated subtree where there is one.
fn launch(bundle: &Bundle<'_>, cgroup: Option<&Cgroup>) {
    let create = bundle.create();
    if let Some(cgroup) = cgroup { create.cgroup(cgroup) } else { create }.ok();
    bundle.verb("start", &[]).ok();
}

fn the_program_runs_in_a_cgroup_of_its_own_that_goes_with_it(w: &World) {
    let delegated = match caller(w) {
        Ok(delegated) => delegated,
        Err(reason) => return w.skip(&reason),
    };
    let bundle = w.bundle("b");
    bundle.args(&["/bin/sleep", "1000"]);
    launch(&bundle, delegated.as_ref());
    let dir = cgroup_of(bundle.pid());
    assert!(dir.to_string_lossy().contains(bundle.id()), "{}", dir.display());
    let procs = fs::read_to_string(dir.join("cgroup.procs")).unwrap();
    assert_eq!(procs.trim(), bundle.pid().to_string());
    bundle.delete();
    assert!(!dir.exists(), "{} is left", dir.display());
}

fn pause_freezes_every_process_and_resume_thaws_them(w: &World) {
    let delegated = match caller(w) {
        Ok(delegated) => delegated,
        Err(reason) => return w.skip(&reason),
    };
    let bundle = w.bundle("b");
    bundle.set("/root/readonly", json!(false));
    bundle.shell("while :; do echo x >>/tmp/ticks; sleep 0.01; done");
    launch(&bundle, delegated.as_ref());
    let ticks = || fs::metadata(bundle.rootfs().join("tmp/ticks")).map_or(0, |metadata| metadata.len());
    kelp_tests::until("it ticks", || ticks() > 4);
    bundle.verb("pause", &[]).ok();
    assert_eq!(bundle.status(), "paused");
    let dir = cgroup_of(bundle.pid());
    assert!(fs::read_to_string(dir.join("cgroup.events")).unwrap().contains("frozen 1"));
    let before = ticks();
    bundle.exec(&[], &["/bin/true"]).limit(20).output().explains(&["paused"]);
    assert_eq!(ticks(), before);
    bundle.verb("resume", &[]).ok();
    assert_eq!(bundle.status(), "running");
    kelp_tests::until("it ticks again", || ticks() > before);
    bundle.verb("pause", &[]).ok();
    // A frozen container must be deletable.
    bundle.delete();
}

fn a_container_that_waits_for_start_can_be_paused_and_resumed(w: &World) {
    let delegated = match caller(w) {
        Ok(delegated) => delegated,
        Err(reason) => return w.skip(&reason),
    };
    let bundle = w.bundle("b");
    bundle.args(&["/bin/sleep", "1000"]);
    let create = bundle.create();
    if let Some(cgroup) = &delegated { create.cgroup(cgroup) } else { create }.ok();
    bundle.verb("pause", &[]).ok();
    assert_eq!(bundle.status(), "paused");
    bundle.verb("start", &[]).output().explains(&["paused"]);
    bundle.verb("resume", &[]).ok();
    assert_eq!(bundle.status(), "created");
    bundle.verb("start", &[]).ok();
    assert_eq!(bundle.status(), "running");
    bundle.delete();
}

/// Starts a program with two more processes, and returns their pids on the host.
fn launch_three(bundle: &Bundle<'_>, cgroup: Option<&Cgroup>, script: &str) -> Vec<i32> {
    bundle.set("/root/readonly", json!(false)).shell(script);
    launch(bundle, cgroup);
    let dir = cgroup_of(bundle.pid());
    let pids = || -> Vec<i32> {
        let procs = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
        procs.lines().filter_map(|line| line.parse().ok()).collect()
    };
    kelp_tests::until("three processes run", || pids().len() == 3);
    pids()
}

fn kill_all_ends_every_process(w: &World) {
    let delegated = match caller(w) {
        Ok(delegated) => delegated,
        Err(reason) => return w.skip(&reason),
    };
    let bundle = w.bundle("b");
    let pids = launch_three(&bundle, delegated.as_ref(), "sleep 1000 & sleep 1000 & wait");
    bundle.verb("kill", &["--all"]).arg("KILL").ok();
    kelp_tests::until("all are dead", || !pids.iter().any(|pid| kelp_tests::is_alive(*pid)));
    bundle.delete();
}

fn delete_ends_what_the_program_left_running(w: &World) {
    let delegated = match caller(w) {
        Ok(delegated) => delegated,
        Err(reason) => return w.skip(&reason),
    };
    let bundle = w.bundle("b");
    // Without a pid namespace the others outlive the first.
    bundle.edit(|spec| {
        spec["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "pid");
        let mounts = spec["mounts"].as_array_mut().unwrap();
        let proc = mounts.iter_mut().find(|mount| mount["destination"] == "/proc").unwrap();
        *proc = json!({"destination": "/proc", "type": "none", "source": "/proc", "options": ["rbind"]});
    });
    let pids = launch_three(&bundle, delegated.as_ref(), "sleep 1000 & sleep 1000 & wait");
    bundle.verb("kill", &[]).arg("KILL").ok();
    bundle.becomes("stopped");
    bundle.delete();
    kelp_tests::until("all are dead", || !pids.iter().any(|pid| kelp_tests::is_alive(*pid)));
}

fn a_limit_is_written_where_its_controller_is_there_and_refused_where_not(w: &World) {
    let (delegated, controllers) = match Cgroup::delegated(w) {
        Ok(cgroup) => {
            let controllers = cgroup.controllers();
            (Some(cgroup), controllers)
        }
        Err(reason) => return w.skip(&reason),
    };
    for (controller, resources, file, value) in [
        ("pids", json!({"pids": {"limit": 33}}), "pids.max", "33"),
        ("memory", json!({"memory": {"limit": 67_108_864}}), "memory.max", "67108864"),
        ("cpu", json!({"cpu": {"quota": 50_000, "period": 100_000}}), "cpu.max", "50000 100000"),
    ] {
        let bundle = w.bundle(controller);
        bundle.args(&["/bin/sleep", "1000"]).set("/linux/resources", resources);
        if w.who() == Who::Root {
            let path = format!("/{}/{controller}", w.token());
            bundle.set("/linux/cgroupsPath", json!(path));
        }
        let create = bundle.create();
        let create = delegated.iter().fold(create, |create, cgroup| create.cgroup(cgroup)).output();
        if controllers.iter().any(|name| name == controller) {
            create.ok();
            let written = fs::read_to_string(cgroup_of(bundle.pid()).join(file)).unwrap();
            assert_eq!(written.trim(), value, "{file}");
            bundle.delete();
        } else {
            create.explains(&[controller]);
        }
    }
}

fn without_delegation_a_container_without_limits_runs(w: &World) {
    let bundle = w.bundle("b");
    bundle.edit(|spec| drop(spec["linux"].as_object_mut().unwrap().remove("resources")));
    assert_eq!(bundle.args(&["/bin/echo", "ran"]).prints(), "ran\n");
}

fn without_delegation_a_limit_is_refused_with_a_hint(w: &World) {
    let bundle = w.bundle("b");
    bundle.set("/linux/resources", json!({"pids": {"limit": 33}}));
    bundle.run().output().hints("delegat");
}

fn a_cgroup_path_of_the_spec_is_used(w: &World) {
    let bundle = w.bundle("b");
    let path = format!("/{}/leaf", w.token());
    bundle.args(&["/bin/sleep", "1000"]).set("/linux/cgroupsPath", json!(path)).launch();
    let dir = cgroup_of(bundle.pid());
    assert!(dir.to_string_lossy().ends_with(&path), "{}", dir.display());
    bundle.delete();
    assert!(!dir.exists(), "{} is left", dir.display());
}
