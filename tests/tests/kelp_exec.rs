// SPDX-License-Identifier: Apache-2.0
//! `kelp exec`, and others that stay: what of the caller's a program gets, and when the command ends.
//!
//! Runs `kelp`, at terminals and at pipes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::Read as _;

use kelp_tests::{Terminal, Who, World, claims};

claims!(as_root, as_user:
    a_program_gets_no_descriptor_of_the_caller,
    a_child_that_keeps_the_pipes_holds_nobody_up,
    all_that_was_written_comes_before_the_status,
    what_goes_to_one_place_keeps_its_order,
    the_detach_keys_leave_the_program_running,
    a_detached_program_keeps_no_pipe_of_the_caller_open,
    detach_keys_come_from_the_config_file_too,
    a_container_that_just_ended_is_said_to_be_not_running,
    statuses_are_docker_s,
    who_follows_leaves_with_his_reader,
    attach_shows_the_prompt_again,
);

fn detached(w: &World, program: &[&str]) {
    w.load_busybox();
    w.kelp(["run", "-d", "--name", "c", "--network", "none", "busybox"]).args(program).ok();
}

fn remove(w: &World) {
    w.kelp(["rm", "-f", "c"]).ok();
}

fn a_program_gets_no_descriptor_of_the_caller(w: &World) {
    detached(w, &["sleep", "1000"]);
    let look = "for n in 0 1 2; do [ -t $n ] && echo \"$n is a terminal\"; readlink /proc/self/fd/$n; done >/tmp/seen";
    for flags in [&["exec"][..], &["exec", "-i"], &["exec", "-d"]] {
        let command = w.kelp(flags.iter().chain(&["c", "sh", "-c", &format!("{look}; mv /tmp/seen /tmp/done")]));
        let (mut terminal, running) = Terminal::start(command, 24, 80);
        running.output().ok();
        terminal.ends();
        kelp_tests::until("it has looked", || w.kelp(["exec", "c", "test", "-e", "/tmp/done"]).output().status() == 0);
        let seen = w.kelp(["exec", "c", "cat", "/tmp/done"]).ok().stdout;
        assert!(!seen.contains("terminal") && !seen.contains("/dev/pts"), "{flags:?}: {seen}");
        w.kelp(["exec", "c", "rm", "/tmp/done"]).ok();
    }
    // A file that output is appended to is not the program's to truncate. The descriptor is a pipe, which has no size.
    let file = w.write("output", "earlier\n");
    let appended = fs::OpenOptions::new().append(true).open(&file).unwrap();
    w.kelp(["exec", "c", "sh", "-c", "echo later; : >/proc/self/fd/1"]).stdout(appended).ok();
    assert_eq!(fs::read_to_string(&file).unwrap(), "earlier\nlater\n");
    remove(w);
}

fn a_child_that_keeps_the_pipes_holds_nobody_up(w: &World) {
    detached(w, &["sleep", "1000"]);
    let left = w.kelp(["exec", "c", "sh", "-c", "sleep 900 & echo begun; exit 3"]).limit(20).output().code(3);
    assert_eq!(left.stdout, "begun\n");
    remove(w);
}

fn all_that_was_written_comes_before_the_status(w: &World) {
    detached(w, &["sleep", "1000"]);
    let script = "yes | head -c 1000000; yes no | head -c 1000000 >&2; sleep 900 & exit 4";
    let output = w.kelp(["exec", "c", "sh", "-c", script]).limit(30).output().code(4);
    assert_eq!((output.stdout.len(), output.stderr.len()), (1_000_000, 1_000_000));
    // Input ends where ours does.
    let input = vec![b'x'; 500_000];
    assert_eq!(w.kelp(["exec", "-i", "c", "wc", "-c"]).stdin(input).ok().text(), "500000");
    remove(w);
}

fn what_goes_to_one_place_keeps_its_order(w: &World) {
    detached(w, &["sleep", "1000"]);
    let script = "for n in $(seq 60); do echo out $n; echo err $n >&2; echo again $n >/dev/stdout; done";
    let in_order: String = (1..=60).map(|n| format!("out {n}\nerr {n}\nagain {n}\n")).collect();
    for verb in [&["exec", "c"][..], &["exec", "-i", "c"], &["run", "--rm", "--network", "none", "busybox"]] {
        let command = || w.kelp(verb).args(["sh", "-c", script]);
        let kelp = w.program("kelp").display().to_string();
        let joined = w.command("sh").args(["-c", "exec \"$@\" 2>&1", "sh", &kelp]).args(verb);
        assert_eq!(joined.args(["sh", "-c", script]).ok().stdout, in_order, "{verb:?}");
        let apart = command().ok();
        assert_eq!((apart.stdout.lines().count(), apart.stderr.lines().count()), (120, 60), "{verb:?}");
    }
    remove(w);
}

/// The shell that said `up` becomes the program a moment later.
fn goes_on(w: &World, program: &str) {
    let runs = || w.kelp(["exec", "c", "ps", "-o", "args"]).ok().stdout.lines().any(|line| line.trim() == program);
    kelp_tests::until(program, runs);
}

fn the_detach_keys_leave_the_program_running(w: &World) {
    detached(w, &["sleep", "1000"]);
    for (options, keys, seconds) in
        [(&[][..], &b"\x10\x11"[..], "901"), (&["--detach-keys", "ctrl-x,y"], b"\x18y", "902")]
    {
        let script = format!("echo up; exec sleep {seconds}");
        let command = w.kelp(["exec", "-it"]).args(options).args(["c", "sh", "-c", &script]);
        let (mut terminal, running) = Terminal::start(command, 24, 80);
        terminal.shows("up");
        terminal.types(keys);
        running.output().ok();
        goes_on(w, &format!("sleep {seconds}"));
    }
    remove(w);
}

fn a_detached_program_keeps_no_pipe_of_the_caller_open(w: &World) {
    detached(w, &["sleep", "1000"]);
    let (mut reader, writer) = std::io::pipe().unwrap();
    w.kelp(["exec", "-d", "-t", "c", "sleep", "904"]).stdout(writer).ok();
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
    goes_on(w, "sleep 904");
    let holding = w.write("held", "");
    w.kelp(["exec", "-d", "-t", "c", "sleep", "905"]).descriptor(7, &holding).ok();
    let has_it = |process: fs::DirEntry| fs::read_link(process.path().join("fd/7")).is_ok_and(|file| file == holding);
    kelp_tests::until("nobody has it open", || !fs::read_dir("/proc").unwrap().flatten().any(has_it));
    goes_on(w, "sleep 905");
    remove(w);
}

fn detach_keys_come_from_the_config_file_too(w: &World) {
    detached(w, &["sleep", "1000"]);
    w.write("config.json", r#"{"detachKeys": "ctrl-x"}"#);
    let folder = w.dir().to_string_lossy().into_owned();
    let command = w.kelp(["exec", "-it", "c", "sh", "-c", "echo up; exec sleep 903"]).env("DOCKER_CONFIG", &folder);
    let (mut terminal, running) = Terminal::start(command, 24, 80);
    terminal.shows("up");
    terminal.types(b"\x18");
    running.output().ok();
    goes_on(w, "sleep 903");
    let command = w.kelp(["run", "-it", "--name", "run", "--network", "none", "busybox", "sh", "-c", "echo up; cat"]);
    let (mut terminal, running) = Terminal::start(command.env("DOCKER_CONFIG", &folder), 24, 80);
    terminal.shows("up");
    terminal.types(b"\x18");
    running.output().ok();
    let (mut terminal, running) = Terminal::start(w.kelp(["attach", "run"]).env("DOCKER_CONFIG", &folder), 24, 80);
    terminal.types(b"here\n");
    terminal.shows("here");
    terminal.types(b"\x18");
    running.output().ok();
    w.kelp(["rm", "-f", "run"]).ok();
    remove(w);
}

fn a_container_that_just_ended_is_said_to_be_not_running(w: &World) {
    w.load_busybox();
    for _ in 0..12 {
        w.kelp(["run", "-d", "--name", "c", "--network", "none", "busybox", "true"]).ok();
        let output = w.kelp(["exec", "c", "true"]).output();
        match output.status() {
            // It came in time, and may have been ended with the container.
            0 | 137 => {}
            _ => drop(output.code(1).explains(&["container c is not running"])),
        }
        w.kelp(["exec", "-u", "root", "c", "true"]).output();
        remove(w);
    }
}

fn statuses_are_docker_s(w: &World) {
    detached(w, &["sleep", "1000"]);
    w.kelp(["exec", "-w", "/nosuch", "c", "true"])
        .output()
        .code(127)
        .explains(&[r#"chdir to cwd ("/nosuch") set in config.json failed: no such file or directory"#]);
    w.kelp(["exec", "c", "sh", "-c", "kill -9 $$"]).output().code(137);
    if w.who() == Who::Root {
        w.kelp(["pause", "c"]).ok();
        w.kelp(["exec", "c", "true"]).output().code(1).explains(&["container c is paused"]).hints("kelp unpause c");
        w.kelp(["unpause", "c"]).ok();
    }
    remove(w);
}

fn who_follows_leaves_with_his_reader(w: &World) {
    detached(w, &["sh", "-c", "echo ready; exec sleep 1000"]);
    // Nothing more is written: that the reader has left is seen all the same.
    for follow in
        [&["logs", "-f", "c"][..], &["stats"], &["attach", "--sig-proxy=false", "--no-stdin", "c"], &["events"]]
    {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut running = w.kelp(follow).stdout(writer).limit(30).spawn();
        assert!(running.runs(), "{follow:?}");
        drop(reader);
        drop(running.output());
    }
    assert_eq!(w.kelp(["inspect", "-f", "{{.State.Status}}", "c"]).ok().text(), "running");
    remove(w);
}

fn attach_shows_the_prompt_again(w: &World) {
    w.load_busybox();
    w.kelp(["run", "-dit", "--name", "c", "--network", "none", "-e", "PS1=prompt> ", "busybox", "sh"]).ok();
    for _ in 0..2 {
        let (mut terminal, running) = Terminal::start(w.kelp(["attach", "c"]), 30, 90);
        terminal.shows("prompt>");
        terminal.types(b"stty size\n");
        terminal.shows("30 90");
        terminal.types(b"\x10\x11");
        running.output().ok();
    }
    remove(w);
}
