// SPDX-License-Identifier: Apache-2.0
//! A detached container's life: ps, logs, attach, exec, stop, kill, rm, wait, inspect, from other shells.
//!
//! Runs `kelp` as root and as an unprivileged user.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use kelp_tests::{Terminal, World, claims};
use rustix::process::Signal;

claims!(as_root, as_user:
    ps_shows_who_runs_and_with_all_who_ran,
    what_was_to_go_with_its_container_is_not_started_again,
    containers_are_found_by_id_prefix_and_name,
    logs_keep_both_streams_apart,
    logs_follow_until_the_end,
    attach_shows_new_output_and_gives_the_status,
    attach_to_a_terminal_and_detach_leaves_it_running,
    detach_keys_leave_a_foreground_container_running,
    exec_runs_inside_with_the_containers_confinement,
    exec_relays_stdin_and_terminals,
    stop_asks_first_and_kills_after_the_grace,
    kill_sends_the_signal_asked_for,
    rm_refuses_a_running_container_unless_forced,
    wait_prints_the_status,
    inspect_is_json_as_dockers,
    a_container_survives_the_kill_of_its_command,
    a_container_survives_its_session,
    two_attached_clients_see_the_same,
    commands_on_unknown_containers_say_so,
    ten_containers_live_at_once,
    the_status_is_known_to_every_later_caller,
);

/// Starts a container in the background and returns its id.
fn detached(w: &World, args: &[&str]) -> String {
    w.load_busybox();
    start(w, args)
}

fn start(w: &World, args: &[&str]) -> String {
    w.kelp(["run", "-d", "--network", "none"]).args(args).ok().text().to_owned()
}

fn status(w: &World, name: &str) -> String {
    let state = w.kelp(["inspect", name]).ok().json()[0]["State"]["Status"].clone();
    state.as_str().unwrap_or_else(|| panic!("no status: {state}")).to_owned()
}

fn remove(w: &World, name: &str) {
    w.kelp(["rm", "-f", name]).ok();
}

fn ps_shows_who_runs_and_with_all_who_ran(w: &World) {
    let id = detached(w, &["--name", "runs", "busybox", "sleep", "1000"]);
    let ended = start(w, &["--name", "ended", "busybox", "sh", "-c", "exit 3"]);
    w.kelp(["wait", "ended"]).ok();
    let table = w.kelp(["ps"]).ok();
    assert!(
        table.stdout.contains("runs") && table.stdout.contains(&id[..12]) && table.stdout.contains("busybox"),
        "{table}"
    );
    assert!(!table.stdout.contains("ended"), "{table}");
    let all = w.kelp(["ps", "-a"]).ok();
    let line = all.stdout.lines().find(|line| line.contains("ended")).unwrap_or_else(|| panic!("{all}"));
    assert!(line.contains("Exited (3)"), "{all}");
    assert!(all.stdout.lines().any(|line| line.contains("runs") && line.contains("Up")), "{all}");
    assert_eq!(w.kelp(["ps", "-q"]).ok().text(), &id[..12]);
    let both = w.kelp(["ps", "-a", "-q"]).ok();
    assert!(both.stdout.contains(&id[..12]) && both.stdout.contains(&ended[..12]), "{both}");
    remove(w, "runs");
    remove(w, "ended");
    assert_eq!(w.kelp(["ps", "-a", "-q"]).ok().text(), "");
}

/// The files of a `--rm` container do not wait for the disk. If its shim cannot remove it, only `rm` is left to do.
fn what_was_to_go_with_its_container_is_not_started_again(w: &World) {
    detached(w, &["--rm", "--name", "c", "busybox", "sh", "-c", "echo written >/file; exec sleep 1000"]);
    let root = w.kelp(["exec", "c", "cat", "/proc/self/mounts"]).ok();
    let root = root.stdout.lines().find(|line| line.contains(" / ")).unwrap_or_default();
    assert!(root.contains("volatile"), "{root}");
    let pid = w.kelp(["inspect", "c"]).ok().json()[0]["State"]["Pid"].as_i64().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let shim = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim();
    w.command("sh").args(["-c", &format!("kill -9 {shim} {pid}")]).ok();
    kelp_tests::until("it has ended", || w.kelp(["ps", "-q"]).ok().stdout.is_empty());
    w.kelp(["start", "c"]).output().explains(&["--rm", "kelp rm c"]);
    remove(w, "c");
    assert_eq!(w.kelp(["ps", "-a", "-q"]).ok().text(), "");
    assert_eq!(w.kelp(["system", "prune", "-f"]).ok().stdout.lines().last(), Some("Total reclaimed space: 0B"));
}

fn containers_are_found_by_id_prefix_and_name(w: &World) {
    let id = detached(w, &["--name", "web", "busybox", "sleep", "1000"]);
    for name in ["web", &id, &id[..12], &id[..6]] {
        assert_eq!(w.kelp(["inspect", name]).ok().json()[0]["Id"], id.as_str(), "{name}");
    }
    w.kelp(["run", "-d", "--name", "web", "busybox", "true"]).output().code(125).explains(&["web"]);
    remove(w, "web");
    // The name is free again.
    w.kelp(["run", "--rm", "--network", "none", "--name", "web", "busybox", "true"]).ok();
}

fn logs_keep_both_streams_apart(w: &World) {
    detached(w, &["--name", "c", "busybox", "sh", "-c", "echo out 1; echo err 1 >&2; echo out 2; printf unfinished"]);
    w.kelp(["wait", "c"]).ok();
    let logs = w.kelp(["logs", "c"]).ok();
    assert_eq!(logs.stdout, "out 1\nout 2\nunfinished");
    assert_eq!(logs.stderr, "err 1\n");
    remove(w, "c");
}

fn logs_follow_until_the_end(w: &World) {
    let script = "echo first; read line </go; echo second";
    let go = w.dir().join("go");
    w.command("mkfifo").arg(&go.to_string_lossy()).ok();
    let bind = format!("{}:/go", go.display());
    detached(w, &["--name", "c", "-v", &bind, "busybox", "sh", "-c", script]);
    let mut follow = w.kelp(["logs", "-f", "c"]).spawn();
    follow.prints("first");
    assert!(follow.runs(), "logs -f ended before its container");
    std::fs::write(&go, "now\n").unwrap();
    assert_eq!(follow.output().ok().stdout, "first\nsecond\n");
    remove(w, "c");
}

fn attach_shows_new_output_and_gives_the_status(w: &World) {
    let script = "while read line; do echo \"got $line\"; [ $line = two ] && exit 6; done";
    detached(w, &["-i", "--name", "c", "busybox", "sh", "-c", script]);
    let mut attached = w.kelp(["attach", "c"]).stdin_open().spawn();
    attached.send(b"one\n");
    attached.prints("got one");
    // As in Docker, the input of `run -d -i` stays open when a client's ends: another may attach.
    attached.end_of_input();
    w.kelp(["attach", "c"]).stdin("two\n").output().code(6);
    attached.output().code(6);
    remove(w, "c");
}

fn attach_to_a_terminal_and_detach_leaves_it_running(w: &World) {
    let script = "echo ready; while read line; do echo \"got $line\"; done";
    detached(w, &["-it", "--name", "c", "busybox", "sh", "-c", script]);
    for round in ["one", "two"] {
        let (mut terminal, running) = Terminal::start(w.kelp(["attach", "c"]), 24, 80);
        terminal.types(format!("{round}\n").as_bytes());
        terminal.shows(&format!("got {round}"));
        terminal.types(b"\x10\x11");
        running.output().ok();
        assert_eq!(status(w, "c"), "running");
    }
    remove(w, "c");
}

fn detach_keys_leave_a_foreground_container_running(w: &World) {
    w.load_busybox();
    let command = w.kelp(["run", "-it", "--network", "none", "--name", "c", "busybox", "sh"]);
    let (mut terminal, running) = Terminal::start(command, 24, 80);
    terminal.types(b"echo is up $((6 * 7))\n");
    terminal.shows("is up 42");
    terminal.types(b"\x10\x11");
    running.output().ok();
    assert_eq!(status(w, "c"), "running");
    remove(w, "c");
}

fn exec_runs_inside_with_the_containers_confinement(w: &World) {
    detached(w, &["--name", "c", "-e", "FROM=run", "--hostname", "inside", "-w", "/tmp", "busybox", "sleep", "1000"]);
    let seen = w.kelp(["exec", "-e", "ALSO=exec", "c", "/bin/probe", "see"]).ok().json();
    assert_eq!(seen["hostname"], "inside");
    assert_eq!(seen["cwd"], "/tmp");
    assert_eq!(seen["caps"]["bounding"], "00000000a80425fb");
    assert_eq!(seen["seccomp"], "2");
    let env = seen["env"].to_string();
    assert!(env.contains("FROM=run") && env.contains("ALSO=exec") && !env.contains("KELP_TEST"), "{env}");
    assert_eq!(seen["fds"].as_object().unwrap().len(), 3, "{}", seen["fds"]);
    w.kelp(["exec", "c", "sh", "-c", "exit 9"]).output().code(9);
    w.kelp(["exec", "c", "no-such-program"]).output().code(127);
    w.kelp(["exec", "c", "/etc/passwd"]).output().code(126);
    assert_eq!(w.kelp(["exec", "-u", "alice", "-w", "/", "c", "sh", "-c", "id -un; pwd"]).ok().stdout, "alice\n/\n");
    w.kelp(["exec", "-d", "c", "sh", "-c", "echo done >/tmp/detached"]).ok();
    kelp_tests::until("the detached one is done", || {
        w.kelp(["exec", "c", "test", "-e", "/tmp/detached"]).output().status() == 0
    });
    remove(w, "c");
}

fn exec_relays_stdin_and_terminals(w: &World) {
    detached(w, &["--name", "c", "busybox", "sleep", "1000"]);
    assert_eq!(w.kelp(["exec", "-i", "c", "cat"]).stdin("typed\n").ok().stdout, "typed\n");
    assert_eq!(w.kelp(["exec", "c", "cat"]).stdin("typed\n").ok().stdout, "");
    let script = "stty size; read line; echo \"read $line\"; exit 8";
    let (mut terminal, running) = Terminal::start(w.kelp(["exec", "-it", "c", "sh", "-c", script]), 28, 68);
    terminal.shows("28 68");
    terminal.types(b"typed\n");
    terminal.shows("read typed");
    running.output().code(8);
    remove(w, "c");
}

fn stop_asks_first_and_kills_after_the_grace(w: &World) {
    let polite = "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.05; done";
    detached(w, &["--name", "polite", "busybox", "sh", "-c", polite]);
    ready(w, "polite");
    assert_eq!(w.kelp(["stop", "polite"]).ok().text(), "polite");
    assert_eq!(w.kelp(["wait", "polite"]).ok().text(), "0");
    assert!(w.kelp(["logs", "polite"]).ok().stdout.contains("bye"));
    start(w, &["--name", "deaf", "busybox", "sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done"]);
    ready(w, "deaf");
    let before = Instant::now();
    w.kelp(["stop", "-t", "1", "deaf"]).ok();
    assert!(before.elapsed() >= Duration::from_secs(1), "killed before the grace was over");
    assert_eq!(w.kelp(["wait", "deaf"]).ok().text(), "137");
    // Stopping twice is no error.
    w.kelp(["stop", "deaf"]).ok();
    remove(w, "polite");
    remove(w, "deaf");
}

fn ready(w: &World, name: &str) {
    kelp_tests::until("it is ready", || w.kelp(["logs", name]).ok().stdout.contains("ready"));
}

fn kill_sends_the_signal_asked_for(w: &World) {
    let script = "trap 'echo got USR1' USR1; trap 'echo got HUP; exit 4' HUP; echo ready; while :; do sleep 0.05; done";
    detached(w, &["--name", "c", "busybox", "sh", "-c", script]);
    ready(w, "c");
    w.kelp(["kill", "-s", "USR1", "c"]).ok();
    kelp_tests::until("USR1 arrives", || w.kelp(["logs", "c"]).ok().stdout.contains("got USR1"));
    w.kelp(["kill", "--signal", "SIGHUP", "c"]).ok();
    assert_eq!(w.kelp(["wait", "c"]).ok().text(), "4");
    w.kelp(["kill", "c"]).output().explains(&["c", "not running"]);
    remove(w, "c");
    start(w, &["--name", "c", "busybox", "sleep", "1000"]);
    w.kelp(["kill", "c"]).ok();
    assert_eq!(w.kelp(["wait", "c"]).ok().text(), "137");
    remove(w, "c");
}

fn rm_refuses_a_running_container_unless_forced(w: &World) {
    let id = detached(w, &["--name", "c", "busybox", "sleep", "1000"]);
    w.kelp(["rm", "c"]).output().explains(&["c", "running"]);
    assert_eq!(status(w, "c"), "running");
    assert_eq!(w.kelp(["rm", "-f", &id[..12]]).ok().text(), &id[..12]);
    w.kelp(["rm", "c"]).output().explains(&["c"]);
}

fn wait_prints_the_status(w: &World) {
    detached(w, &["--name", "c", "busybox", "sh", "-c", "sleep 0.3; exit 42"]);
    assert_eq!(w.kelp(["wait", "c"]).ok().text(), "42");
    assert_eq!(w.kelp(["wait", "c"]).ok().text(), "42");
    remove(w, "c");
}

fn inspect_is_json_as_dockers(w: &World) {
    let id = detached(w, &["--name", "c", "-e", "A=1", "--hostname", "h", "busybox", "sleep", "1000"]);
    let all = w.kelp(["inspect", "c"]).ok().json();
    let one = &all[0];
    assert_eq!(all.as_array().map(Vec::len), Some(1));
    assert_eq!(one["Id"], id.as_str());
    assert_eq!(one["Name"], "/c");
    assert_eq!(one["State"]["Running"], true);
    assert_eq!(one["Config"]["Hostname"], "h");
    assert!(one["Config"]["Env"].to_string().contains("A=1"));
    assert!(one["Created"].as_str().unwrap().contains('T'));
    let pid = i32::try_from(one["State"]["Pid"].as_i64().unwrap()).unwrap();
    assert!(kelp_tests::is_alive(pid));
    w.kelp(["kill", "c"]).ok();
    w.kelp(["wait", "c"]).ok();
    let state = w.kelp(["inspect", "c"]).ok().json()[0]["State"].clone();
    assert_eq!(state["Status"], "exited");
    assert_eq!(state["ExitCode"], 137);
    assert_eq!(state["Pid"], 0);
    remove(w, "c");
}

fn a_container_survives_the_kill_of_its_command(w: &World) {
    w.load_busybox();
    let script = "echo ready; while :; do echo tick; sleep 0.05; done";
    let running = w.kelp(["run", "--network", "none", "--name", "c", "busybox", "sh", "-c", script]).spawn();
    running.prints("tick");
    running.signal(Signal::KILL);
    running.output().code(137);
    assert_eq!(status(w, "c"), "running");
    let count = || w.kelp(["logs", "c"]).ok().stdout.lines().count();
    let before = count();
    kelp_tests::until("it still writes", || count() > before);
    w.kelp(["stop", "-t", "0", "c"]).ok();
    assert_eq!(w.kelp(["wait", "c"]).ok().text(), "137");
    remove(w, "c");
}

fn a_container_survives_its_session(w: &World) {
    w.load_busybox();
    let kelp = w.program("kelp").display().to_string();
    let script = format!("{kelp} run -d --network none --name c busybox sleep 1000; kill -HUP -$$");
    // A session of its own that ends by a hang-up, as a closed terminal's does.
    w.command("setsid").args(["sh", "-c", &script]).output();
    assert_eq!(status(w, "c"), "running");
    remove(w, "c");
}

fn two_attached_clients_see_the_same(w: &World) {
    detached(w, &["-i", "--name", "c", "busybox", "sh", "-c", "while read line; do echo \"got $line\"; done"]);
    let first = w.kelp(["attach", "c"]).stdin_open().spawn();
    let mut second = w.kelp(["attach", "c"]).stdin_open().spawn();
    // Both are there once either has had an answer; the first may be late.
    kelp_tests::until("both see it", || {
        second.send(b"line\n");
        first.stdout().contains("got line") && second.stdout().contains("got line")
    });
    remove(w, "c");
    first.output().code(137);
    second.output().code(137);
}

fn commands_on_unknown_containers_say_so(w: &World) {
    for command in ["logs", "attach", "stop", "kill", "rm", "wait", "inspect"] {
        w.kelp([command, "nobody"]).output().explains(&["nobody"]);
    }
    w.kelp(["exec", "nobody", "true"]).output().explains(&["nobody"]);
}

fn ten_containers_live_at_once(w: &World) {
    w.load_busybox();
    let started: Vec<_> = (0..10)
        .map(|number| {
            let name = format!("c{number}");
            w.kelp(["run", "-d", "--network", "none", "--name", &name, "busybox", "sleep", "1000"]).spawn()
        })
        .collect();
    for running in started {
        running.output().ok();
    }
    assert_eq!(w.kelp(["ps", "-q"]).ok().stdout.lines().count(), 10);
    let names: Vec<String> = (0..10).map(|number| format!("c{number}")).collect();
    w.kelp(["rm", "-f"]).args(&names).ok();
    assert_eq!(w.kelp(["ps", "-a", "-q"]).ok().text(), "");
}

fn the_status_is_known_to_every_later_caller(w: &World) {
    let script = "read line </go; exit 33";
    let go = w.dir().join("go");
    w.command("mkfifo").arg(&go.to_string_lossy()).ok();
    let bind = format!("{}:/go", go.display());
    detached(w, &["--name", "c", "-v", &bind, "busybox", "sh", "-c", script]);
    let waiting: Vec<_> = (0..5).map(|_| w.kelp(["wait", "c"]).spawn()).collect();
    std::fs::write(&go, "now\n").unwrap();
    for running in waiting {
        assert_eq!(running.output().ok().text(), "33");
    }
    let state = w.kelp(["inspect", "c"]).ok().json()[0]["State"].clone();
    assert_eq!((state["Status"].as_str(), state["ExitCode"].as_i64()), (Some("exited"), Some(33)));
    remove(w, "c");
}
