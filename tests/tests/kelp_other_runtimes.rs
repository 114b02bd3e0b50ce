// SPDX-License-Identifier: Apache-2.0
//! `kelp run --runtime PATH` with Debian's runc and crun; and stats and update, whose numbers come from the runtime.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use kelp_tests::{Command, World, claims, until};

claims!(as_root:
    runc_runs_containers_for_kelp,
    crun_runs_containers_for_kelp,
    stats_show_what_containers_use,
    update_is_refused_or_lasts_until_the_next_start,
);

/// kelp where cgroup v2 is at /sys/fs/cgroup, where other runtimes look for it.
fn kelp<'w>(w: &'w World, args: &[&str]) -> Result<Command<'w>, String> {
    Ok(w.with_cgroup2(&w.program("kelp").to_string_lossy())?.args(args))
}

fn drives<'a>(w: &World, runtime: &'a str, more: &[&'a str]) {
    w.load_busybox();
    let run = |args: &[&str]| kelp(w, args).map(Command::output);
    let mut options = vec!["run", "--runtime", runtime, "--network", "none", "--ulimit", "nofile=1024:1024"];
    options.extend(more);
    let run_with = |words: &[&str]| run(&[options.as_slice(), words].concat());
    let output = match run_with(&["--rm", "busybox", "echo", "hello"]) {
        Ok(output) => output.ok(),
        Err(reason) => return w.skip(&reason),
    };
    assert_eq!(output.text(), "hello");
    run_with(&["--rm", "busybox", "sh", "-c", "exit 7"]).unwrap().code(7);
    run_with(&["--rm", "busybox", "/no/such/program"]).unwrap().code(127);
    run_with(&[
        "-d",
        "--name",
        "c",
        "busybox",
        "sh",
        "-c",
        "trap 'exit 3' TERM; echo ready; while :; do sleep 0.1; done",
    ])
    .unwrap()
    .ok();
    until("its trap is set", || run(&["logs", "c"]).unwrap().ok().text() == "ready");
    assert_eq!(run(&["exec", "c", "echo", "inside"]).unwrap().ok().text(), "inside");
    run(&["exec", "c", "sh", "-c", "exit 4"]).unwrap().code(4);
    assert!(run(&["top", "c"]).unwrap().ok().stdout.contains("while :"));
    assert!(run(&["ps"]).unwrap().ok().stdout.contains("Up "));
    run(&["stop", "c"]).unwrap().ok();
    assert_eq!(run(&["inspect", "-f", "{{.State.ExitCode}}", "c"]).unwrap().ok().text(), "3");
    run(&["start", "c"]).unwrap().ok();
    // Frozen by the runtime that has it.
    let committed = run(&["commit", "c", "committed"]).unwrap().ok();
    assert!(!committed.stderr.contains("runs on"), "{committed}");
    let pid = run(&["inspect", "-f", "{{.State.Pid}}", "c"]).unwrap().ok().text().to_owned();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let shim = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim();
    w.command("kill").args(["-9", shim]).ok();
    // Its runtime ends what has no shim any more, before the files go.
    run(&["rm", "-f", "c"]).unwrap().ok();
    assert!(!std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z ")));
    assert_eq!(run(&["ps", "-aq"]).unwrap().ok().text(), "");
}

fn runc_runs_containers_for_kelp(w: &World) {
    drives(w, "/usr/sbin/runc", &[]);
}

fn crun_runs_containers_for_kelp(w: &World) {
    // Without rules for devices and without capabilities: a root that lacks some has crun refuse both.
    drives(w, "/usr/bin/crun", &["--privileged", "--cap-drop", "ALL"]);
}

fn stats_show_what_containers_use(w: &World) {
    w.load_busybox();
    w.kelp(["run", "-d", "--name", "busy", "--network", "none", "busybox", "sh", "-c", "while :; do :; done"]).ok();
    w.kelp(["create", "--name", "idle", "--network", "none", "busybox"]).ok();
    let table = w.kelp(["stats", "--no-stream"]).ok();
    let title = table.stdout.lines().next().unwrap().to_owned();
    for column in ["CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS"] {
        assert!(title.contains(column), "{table}");
    }
    assert!(table.stdout.contains("busy") && !table.stdout.contains("idle"), "{table}");
    let share = w.kelp(["stats", "--no-stream", "--format", "{{.CPUPerc}}", "busy"]).ok();
    let share: f64 = share.text().trim_end_matches('%').parse().unwrap();
    assert!(share > 1.0 && share < 150.0, "{share}");
    let json = w.kelp(["stats", "--no-stream", "-a", "--format", "json"]).ok();
    assert_eq!(json.stdout.lines().count(), 2, "{json}");
    w.kelp(["stats", "--no-stream", "nobody"]).output().explains(&["nobody"]);
    w.kelp(["rm", "-f", "busy", "idle"]).ok();
}

fn update_is_refused_or_lasts_until_the_next_start(w: &World) {
    w.load_busybox();
    w.kelp(["create", "--name", "c", "--network", "none", "busybox", "sleep", "1000"]).ok();
    w.kelp(["update", "c"]).output().explains(&["neither a limit nor a restart policy was given"]);
    w.kelp(["update", "--cgroup-parent", "/x", "c"]).output().explains(&["does not move"]);
    w.kelp(["update", "--pids-limit", "77", "c"]).ok();
    let limited = w.kelp(["run", "--rm", "--network", "none", "--pids-limit", "77", "busybox", "true"]).output();
    let started = w.kelp(["start", "c"]).output();
    if limited.status() == 0 {
        started.ok();
        let limit = w.kelp(["exec", "c", "cat", "/sys/fs/cgroup/pids.max"]).ok();
        assert_eq!(limit.text(), "77");
    } else {
        // There is no controller for it here: the new limit is asked for all the same, as `run` would.
        started.explains(&["pids"]);
    }
    w.kelp(["rm", "-f", "c"]).ok();
}
