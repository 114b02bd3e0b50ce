// SPDX-License-Identifier: Apache-2.0
//! A container that just ended, whose shim was killed, or whose files are damaged: an ordinary sight for every command.
//!
//! Runs `kelp` as root and as an unprivileged user.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use kelp_tests::{World, claims};

claims!(as_root, as_user:
    rm_force_meets_a_container_at_any_moment,
    every_command_meets_a_container_that_just_ended,
    a_program_without_its_shim_is_killed_stopped_and_removed,
    a_damaged_file_hides_no_other_container_and_rm_force_removes_its_own,
    a_program_of_which_no_record_is_left_is_shown_and_ended,
    names_that_lead_nowhere_are_swept,
    many_are_removed_at_once_and_named_in_order,
    start_of_what_runs_prints_its_name,
    a_program_that_cannot_run_leaves_its_container_created,
);

const LOOP: &str = "while :; do sleep 100; done";

fn start(w: &World, args: &[&str]) -> String {
    w.kelp(["run", "-d", "--network", "none"]).args(args).ok().text().to_owned()
}

fn field(w: &World, name: &str, template: &str) -> String {
    w.kelp(["inspect", "-f", template, name]).ok().text().to_owned()
}

fn folder(w: &World, id: &str) -> PathBuf {
    w.store().join("containers").join(id)
}

fn is_alive(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().next());
    state.is_some_and(|state| !matches!(state, "Z" | "X"))
}

/// SIGKILL for the shim: the parent of the program.
fn kill_shim(w: &World, pid: &str) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let shim = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().to_owned();
    w.command("kill").args(["-9", &shim]).ok();
    kelp_tests::until("the shim is gone", || !is_alive(&shim));
}

/// Pauses of different lengths, the same in every run.
fn pause(round: u32) {
    std::thread::sleep(Duration::from_millis(u64::from(round * 7 % 30)));
}

fn rm_force_meets_a_container_at_any_moment(w: &World) {
    w.load_busybox();
    for round in 0..30 {
        let id = start(w, &["busybox", "true"]);
        pause(round % 3);
        w.kelp(["rm", "-f", &id]).ok();
        let id = start(w, &["busybox", "true"]);
        let other = w.kelp(["rm", "-f", &id]).spawn();
        w.kelp(["rm", "-f", &id]).ok();
        other.output().ok();
    }
    assert_eq!(w.kelp(["ps", "-aq"]).ok().stdout, "");
}

fn every_command_meets_a_container_that_just_ended(w: &World) {
    w.load_busybox();
    for (round, verb) in
        (0..).zip(["stop", "wait", "logs", "inspect", "update", "restart", "cp", "stats", "start"].repeat(4))
    {
        let id = start(w, &["busybox", "sh", "-c", "echo said; sleep 0.02"]);
        pause(round);
        let from = format!("{id}:/bin/busybox");
        let args: &[&str] = match verb {
            "stop" | "restart" => &["-t", "1", &id],
            "cp" => &[&from, "-"],
            "stats" => &["--no-stream", &id],
            "update" => &["--restart", "no", &id],
            _ => &[&id],
        };
        w.kelp([verb]).args(args).ok();
        w.kelp(["rm", "-f", &id]).ok();
    }
    for (round, verb) in (0..).zip(["kill", "attach"].repeat(6)) {
        let id = start(w, &["busybox", "sleep", "0.02"]);
        pause(round);
        let met = w.kelp([verb, &id]).output();
        assert!(
            met.stderr.is_empty() || met.stderr.contains("it is not running") || met.stderr.contains("it is exited"),
            "{verb}: {met}"
        );
        w.kelp(["rm", "-f", &id]).ok();
    }
}

fn a_program_without_its_shim_is_killed_stopped_and_removed(w: &World) {
    w.load_busybox();
    for verb in [&["kill"][..], &["kill", "-s", "TERM"], &["stop", "-t", "1"], &["rm", "-f"]] {
        start(w, &["--name", "c", "busybox", "sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.1; done"]);
        let pid = field(w, "c", "{{.State.Pid}}");
        kill_shim(w, &pid);
        assert_eq!(field(w, "c", "{{.State.Status}}"), "running");
        w.kelp(verb.iter().copied()).arg("c").ok();
        kelp_tests::until("the program has ended", || !is_alive(&pid));
        w.kelp(["rm", "-f", "c"]).ok();
    }
}

fn a_damaged_file_hides_no_other_container_and_rm_force_removes_its_own(w: &World) {
    w.load_busybox();
    // No name here may be the beginning of an id.
    start(w, &["--name", "other", "busybox", "sh", "-c", LOOP]);
    for (round, file) in
        (0..).zip(["container.json", "started.json", "layers.json", "claim", "state.json", "journal"].repeat(3))
    {
        let id = start(w, &["--name", "hurt", "busybox", "sh", "-c", LOOP]);
        let pid = field(w, "hurt", "{{.State.Pid}}");
        let beside = if matches!(file, "state.json" | "journal") { w.runtime_root().join(&id) } else { folder(w, &id) };
        // With and without a shim in turn, as 3 and 2 have no divisor in common.
        if (round + round / 6) % 2 == 1 {
            kill_shim(w, &pid);
        }
        match round / 6 {
            0 => fs::remove_file(beside.join(file)).unwrap(),
            1 => fs::write(beside.join(file), "").unwrap(),
            _ => fs::write(beside.join(file), b"\0\xff{junk").unwrap(),
        }
        let all = w.kelp(["ps", "-a", "--format", "{{.Names}}: {{.Status}}"]).ok();
        assert!(all.stdout.contains("other: Up") && all.stdout.contains("hurt: "), "{file}: {all}");
        if matches!(file, "container.json" | "started.json") && round >= 6 {
            assert!(
                all.stdout.lines().any(|line| line.starts_with("hurt: ") && line.contains("Damaged")),
                "{file}: {all}"
            );
        }
        w.kelp(["system", "prune", "-f"]).ok();
        w.kelp(["rm", "-f", "hurt"]).ok();
        assert!(!is_alive(&pid), "{file}: the program lives on");
        assert!(!folder(w, &id).exists(), "{file}: its folder stays");
    }
    let id = start(w, &["--name", "hurt", "busybox", "false"]);
    w.kelp(["wait", "hurt"]).ok();
    fs::write(folder(w, &id).join("exit.json"), "").unwrap();
    // Its shim may be on its way out still; the program has ended either way.
    let status = || w.kelp(["ps", "-a", "-f", "name=hurt", "--format", "{{.Status}}"]).ok().text().to_owned();
    kelp_tests::until("it is damaged and does not run", || status() == "Damaged");
    w.kelp(["container", "prune", "-f"]).ok();
    assert!(!folder(w, &id).exists());
    w.kelp(["rm", "-f", "other"]).ok();
}

/// Its shim is dead, and neither the runtime's state nor its journal can be read.
fn a_program_of_which_no_record_is_left_is_shown_and_ended(w: &World) {
    w.load_busybox();
    for (round, damage) in [None, Some(&b""[..]), Some(b"\0\xff{junk")].into_iter().enumerate() {
        let id = start(w, &["--name", "hurt", "busybox", "sh", "-c", LOOP]);
        let pid = field(w, "hurt", "{{.State.Pid}}");
        kill_shim(w, &pid);
        for file in ["state.json", "journal"].map(|file| w.runtime_root().join(&id).join(file)) {
            match damage {
                None => fs::remove_file(file).unwrap(),
                Some(junk) => fs::write(file, junk).unwrap(),
            }
        }
        let all = w.kelp(["ps", "-a", "--format", "{{.Names}}: {{.Status}}"]).ok();
        assert!(all.stdout.contains("hurt: Up (Damaged)"), "{round}: {all}");
        w.kelp(["system", "prune", "-f"]).ok();
        assert!(is_alive(&pid), "{round}: prune has ended what runs");
        w.kelp(["rm", "-f", "hurt"]).ok();
        assert!(!is_alive(&pid), "{round}: the program lives on");
        assert!(!folder(w, &id).exists() && !w.runtime_root().join(&id).exists(), "{round}: its folders stay");
    }
}

fn names_that_lead_nowhere_are_swept(w: &World) {
    w.load_busybox();
    let names = w.store().join("names");
    start(w, &["--name", "kept", "busybox", "sleep", "100"]);
    fs::remove_file(names.join("kept")).unwrap();
    // Its record has the name still.
    assert_eq!(field(w, "kept", "{{.Name}}"), "/kept");
    w.command("ln").args(["-s", "../containers/nowhere", &names.join("dangling").to_string_lossy()]).ok();
    fs::write(names.join("junk"), "junk").unwrap();
    w.kelp(["run", "--rm", "--network", "none", "--name", "junk", "busybox", "true"]).ok();
    fs::write(names.join("junk"), "junk").unwrap();
    w.kelp(["system", "prune", "-f"]).ok();
    assert_eq!(fs::read_dir(names).unwrap().count(), 0);
    w.kelp(["rm", "-f", "kept"]).ok();
}

fn many_are_removed_at_once_and_named_in_order(w: &World) {
    w.load_busybox();
    let names: Vec<String> = (0..20).map(|number| format!("c{number}")).collect();
    for name in &names {
        w.kelp(["create", "--network", "none", "--name", name, "busybox"]).ok();
    }
    let mut wanted: Vec<&str> = names.iter().map(String::as_str).collect();
    wanted.insert(7, "nobody");
    let removed = w.kelp(["rm"]).args(&wanted).output().code(1).explains(&["no such container: nobody"]);
    assert_eq!(removed.stdout.lines().collect::<Vec<_>>(), names);
    assert_eq!(w.kelp(["ps", "-aq"]).ok().stdout, "");
}

fn start_of_what_runs_prints_its_name(w: &World) {
    w.load_busybox();
    start(w, &["--name", "c", "busybox", "sh", "-c", "read line; exit 4"]);
    assert_eq!(w.kelp(["start", "c"]).ok().stdout, "c\n");
    w.kelp(["rm", "-f", "c"]).ok();
}

fn a_program_that_cannot_run_leaves_its_container_created(w: &World) {
    w.load_busybox();
    for detach in [&["--name", "c"][..], &["-d", "--name", "c"]] {
        w.kelp(["run", "--network", "none"])
            .args(detach)
            .args(["busybox", "nosuch"])
            .output()
            .code(127)
            .explains(&["nosuch"]);
        assert_eq!(field(w, "c", "{{.State.Status}} {{.State.ExitCode}}"), "created 127");
        assert!(field(w, "c", "{{.State.Error}}").contains("nosuch"));
        w.kelp(["start", "c"]).output().code(1).explains(&["nosuch"]);
        assert_eq!(field(w, "c", "{{.State.Status}} {{.State.ExitCode}}"), "created 127");
        w.kelp(["rm", "c"]).ok();
        w.kelp(["run", "--rm", "--network", "none"]).args(detach).args(["busybox", "nosuch"]).output().code(127);
    }
    let begin = Instant::now();
    kelp_tests::until("no container is left", || {
        w.kelp(["ps", "-aq"]).ok().stdout.is_empty() || begin.elapsed().as_secs() > 9
    });
}
