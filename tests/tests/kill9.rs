// SPDX-License-Identifier: Apache-2.0
//! SIGKILL of the command, of the shim, of the container's first process, at random moments: the truth stays on disk.
//!
//! Runs `kelp` as root and as an unprivileged user. Random means a generator with a seed that a failure prints (`KELP_SEED` repeats it).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::time::Duration;

use kelp_tests::{Chance, World, claims};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

claims!(as_root, as_user:
    fifty_kills_at_random_moments_leave_a_true_ps_and_nothing_else,
    a_killed_shim_ends_its_container_or_ps_says_so,
    a_killed_load_leaves_the_store_usable,
);

const ROUNDS: u32 = 51;

/// The shims and first processes of this world's containers, by what the kernel knows of them.
fn processes(w: &World, shim: bool) -> Vec<i32> {
    let is_shim = |leak: &&String| leak.contains("kelp-shim");
    w.leaks()
        .iter()
        .filter(|leak| leak.starts_with("process ") && is_shim(leak) == shim)
        .filter_map(|leak| leak.split(' ').nth(1)?.parse().ok())
        .collect()
}

fn kill(pid: i32) {
    // It may have ended by itself meanwhile: that is one of the moments.
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).ok();
}

/// What `ps -a` tells about each container must be what the kernel says.
fn assert_ps_is_true(w: &World) {
    let all = w.kelp(["ps", "-a", "-q"]).ok();
    for id in all.stdout.lines() {
        let inspected = w.kelp(["inspect", id]).output();
        if inspected.status() != 0 {
            // A container of `run --rm` may go between the two commands.
            assert!(inspected.stderr.contains("error: "), "{inspected}");
            continue;
        }
        let state = inspected.json()[0]["State"].clone();
        let pid = state["Pid"].as_i64().map_or(0, |pid| i32::try_from(pid).unwrap());
        let told = state["Status"].as_str().unwrap().to_owned();
        match told.as_str() {
            "running" => {
                let lives = kelp_tests::within(Duration::from_secs(20), || {
                    kelp_tests::is_alive(pid) || !still(w, id, "running")
                });
                assert!(lives, "{id} is told to run as {pid}, which is dead: {state}");
            }
            "exited" | "dead" => assert!(pid == 0, "{id} has ended and has a pid: {state}"),
            "created" | "restarting" | "removing" | "paused" => {}
            other => panic!("{id} has the status {other}"),
        }
    }
}

fn still(w: &World, id: &str, status: &str) -> bool {
    let inspected = w.kelp(["inspect", id]).output();
    inspected.status() == 0 && inspected.json()[0]["State"]["Status"] == status
}

fn fifty_kills_at_random_moments_leave_a_true_ps_and_nothing_else(w: &World) {
    w.load_busybox();
    let chance = Chance::new();
    for round in 0..ROUNDS {
        let name = format!("c{round}");
        let mut args = vec!["run", "--network", "none", "--name", &name];
        if chance.below(2) == 0 {
            args.push("-d");
        }
        if chance.below(4) == 0 {
            args.push("--rm");
        }
        args.extend(["busybox", "sh", "-c", "echo started; sleep 0.1; sleep 1000 & wait"]);
        let running = w.kelp(&args).limit(60).spawn();
        std::thread::sleep(Duration::from_micros(chance.below(120_000)));
        match round % 3 {
            0 => running.signal(Signal::KILL),
            1 => processes(w, true).into_iter().for_each(kill),
            _ => processes(w, false).into_iter().filter(|pid| *pid != running.pid()).for_each(kill),
        }
        assert_ps_is_true(w);
        assert_no_zombies_of(w);
        // Whatever happened, the name can be removed or is not there, and then nothing of it is left.
        // On a slow machine `run` may come to its name only later: then it is removed as soon as it is there.
        kelp_tests::within(Duration::from_secs(30), || {
            let removed = w.kelp(["rm", "-f", &name]).limit(30).output();
            assert!(!removed.stderr.contains("panicked"), "{removed}");
            !kelp_tests::is_alive(running.pid())
        });
        let status = running.output().status();
        w.kelp(["rm", "-f", &name]).limit(30).output();
        let clean = kelp_tests::within(Duration::from_secs(20), || w.leaks().is_empty());
        assert!(clean, "round {round}, run ended with {status}, left behind:\n  {}", w.leaks().join("\n  "));
    }
    assert_eq!(w.kelp(["ps", "-a", "-q"]).ok().text(), "");
}

/// No process of ours may leave its children waiting for ever to be reaped. Orphans are for the machine's init, when it comes to
/// that; and what other tests and people have left undone is not judged here.
fn assert_no_zombies_of(w: &World) {
    let zombies = || -> Vec<String> {
        let names = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path().join("stat"));
        let stats = names.filter_map(|path| fs::read_to_string(path).ok());
        stats.filter(|stat| stat.contains(") Z ") && parent(stat).is_some_and(|parent| is_of(parent, w))).collect()
    };
    let clean = kelp_tests::within(Duration::from_secs(20), || zombies().is_empty());
    assert!(clean, "zombies: {:?}", zombies());
}

fn parent(stat: &str) -> Option<i32> {
    stat.rsplit(") ").next()?.split(' ').nth(1)?.parse().ok()
}

/// Whether it is a process of this world.
fn is_of(pid: i32, w: &World) -> bool {
    let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    String::from_utf8_lossy(&environ).contains(w.token())
}

fn a_killed_shim_ends_its_container_or_ps_says_so(w: &World) {
    w.load_busybox();
    w.kelp(["run", "-d", "--network", "none", "--name", "c", "busybox", "sleep", "1000"]).ok();
    let pid = w.kelp(["inspect", "c"]).ok().json()[0]["State"]["Pid"].clone();
    let pid = i32::try_from(pid.as_i64().unwrap()).unwrap();
    processes(w, true).into_iter().for_each(kill);
    kelp_tests::until("the shim is dead", || processes(w, true).is_empty());
    let told = || -> Value { w.kelp(["inspect", "c"]).ok().json()[0]["State"].clone() };
    let agrees = || (told()["Status"] == "running") == kelp_tests::is_alive(pid);
    kelp_tests::until("ps and the kernel agree", agrees);
    w.kelp(["logs", "c"]).ok();
    w.kelp(["rm", "-f", "c"]).ok();
    kelp_tests::until("the container's process is gone", || kelp_tests::is_gone_or_zombie(pid).is_none());
}

fn a_killed_load_leaves_the_store_usable(w: &World) {
    let chance = Chance::new();
    let archive = kelp_tests::busybox_image(w).docker_archive(w, "image.tar", "busybox:latest").display().to_string();
    for _ in 0..10 {
        let load = w.kelp(["load", "-i", &archive]).spawn();
        std::thread::sleep(Duration::from_micros(chance.below(200_000)));
        load.signal(Signal::KILL);
        load.output();
        w.kelp(["images"]).ok();
    }
    w.kelp(["load", "-i", &archive]).ok();
    let output = w.kelp(["run", "--rm", "--network", "none", "busybox", "echo", "works"]).ok();
    assert_eq!(output.stdout, "works\n");
}
