// SPDX-License-Identifier: Apache-2.0
//! Flags and what they do: seen from inside the container, in its config.json, or in what is written.
//!
//! Runs `kelp`. A flag that is read and then forgotten is the fault that these claims look for.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use kelp_tests::{Who, World, busybox_image, claims, until};
use rustix::process::Signal;
use serde_json::{Value, json};

claims!(as_stranger: group_add_without_a_range_is_explained);
claims!(as_user: a_group_beyond_the_range_is_explained);
claims!(as_root, as_user:
    cidfile_has_the_id_and_env_file_the_variables,
    limits_are_in_the_configuration,
    resolver_flags_are_in_resolv_conf,
    stop_signal_and_stop_timeout_end_the_program,
    namespaces_are_the_hosts_where_that_is_asked_for,
    publish_all_publishes_what_the_image_exposes,
    signals_reach_the_program_unless_told_otherwise,
    lists_end_where_they_are_told,
    logs_have_times_where_they_are_asked_for,
    commit_writes_author_and_changes,
    export_writes_the_file,
    group_add_gives_the_group,
);

fn run<'w>(w: &'w World, flags: &[&str]) -> kelp_tests::Command<'w> {
    w.kelp(["run", "--rm", "--network", "none"]).args(flags).arg("busybox")
}

/// The configuration that is written for these flags.
fn configured(w: &World, flags: &[&str]) -> Value {
    let id = w.kelp(["create", "--network", "none"]).args(flags).args(["busybox", "true"]).ok();
    let file = w.store().join("containers").join(id.text()).join("config.json");
    let config = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    w.kelp(["rm", id.text()]).ok();
    config
}

fn cidfile_has_the_id_and_env_file_the_variables(w: &World) {
    w.load_busybox();
    let file = w.dir().join("home/id");
    let cidfile = file.to_string_lossy();
    let variables = w.write("variables", "# mine\nA=from the file\nB=2\nCALLER\nABSENT\n");
    let env_file = variables.to_string_lossy();
    let flags = ["--cidfile", &cidfile, "--env-file", &env_file, "-e", "B=3"];
    let made = w.kelp(["create", "--network", "none"]).args(flags).args(["busybox", "env"]).env("CALLER", "seen").ok();
    assert_eq!(fs::read_to_string(&file).unwrap(), made.text());
    let said = w.kelp(["start", "-a", made.text()]).ok().stdout;
    for line in ["A=from the file", "B=3", "CALLER=seen"] {
        assert!(said.lines().any(|said| said == line), "{line}: {said}");
    }
    assert!(!said.contains("ABSENT"), "{said}");
    // An old id must not be taken for a new one.
    run(w, &["--cidfile", &cidfile]).arg("true").output().code(125).explains(&["container ID file found"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), made.text());
    w.kelp(["rm", made.text()]).ok();
}

fn group_add_gives_the_group(w: &World) {
    w.load_busybox();
    let groups = |flags: &[&str]| run(w, flags).args(["id", "-G"]).ok().text().to_owned();
    let all = groups(&["--group-add", "crew", "--group-add", "4321"]);
    let all: Vec<&str> = all.split(' ').collect();
    assert!(all.contains(&"2000") && all.contains(&"4321"), "{all:?}");
    assert!(!groups(&[]).contains("4321"));
}

fn group_add_without_a_range_is_explained(w: &World) {
    w.load_busybox();
    run(w, &["--group-add", "2000"]).arg("true").output().code(125).explains(&["--group-add"]).hints("/etc/subuid");
    run(w, &[]).arg("true").ok();
}

fn a_group_beyond_the_range_is_explained(w: &World) {
    w.load_busybox();
    let made = w.kelp(["create", "--group-add", "2000000000", "busybox"]).output();
    made.code(1).explains(&["as a member of group 2000000000", "do not reach that far"]);
}

fn limits_are_in_the_configuration(w: &World) {
    w.load_busybox();
    let resources = |flags: &[&str]| configured(w, flags)["linux"]["resources"].clone();
    let flags = [
        "--cpu-shares",
        "512",
        "--cpu-period",
        "50000",
        "--cpu-quota",
        "25000",
        "--cpuset-cpus",
        "0",
        "-m",
        "64m",
        "--memory-reservation",
        "32m",
        "--memory-swap",
        "96m",
    ];
    let written = resources(&flags);
    let cpu = &written["cpu"];
    assert_eq!(
        [&cpu["shares"], &cpu["period"], &cpu["quota"], &cpu["cpus"]],
        [&json!(512), &json!(50_000), &json!(25_000), &json!("0")]
    );
    let memory = &written["memory"];
    assert_eq!(
        [&memory["limit"], &memory["reservation"], &memory["swap"]],
        [&json!(64 << 20), &json!(32 << 20), &json!(96 << 20)]
    );
    assert_eq!(resources(&["-m", "64m", "--memory-swap", "-1"])["memory"]["swap"], -1);
    assert_eq!(resources(&["-m", "64m"])["memory"]["swap"], 128 << 20, "as much swap again, as in Docker");
    assert_eq!(resources(&["--cpus", "0.5"])["cpu"]["quota"], 50_000);
    let files = "cd /sys/fs/cgroup; cat cpu.max cpuset.cpus memory.max memory.low memory.swap.max";
    let said = run(w, &flags).args(["sh", "-c", files]).output();
    if said.status() != 0 {
        // Controllers of cgroup v2 are not everywhere, and not everybody's.
        return drop(said.explains(&["cgroup"]));
    }
    let lines: Vec<&str> = said.stdout.lines().collect();
    assert_eq!(lines, ["25000 50000", "0", "67108864", "33554432", "33554432"]);
}

fn resolver_flags_are_in_resolv_conf(w: &World) {
    w.load_busybox();
    let flags =
        ["--dns", "192.0.2.7", "--dns-search", "a.example", "--dns-search", "b.example", "--dns-option", "ndots:3"];
    let said = run(w, &flags).args(["cat", "/etc/resolv.conf"]).ok().stdout;
    for line in ["nameserver 192.0.2.7", "search a.example b.example", "options ndots:3"] {
        assert_eq!(said.lines().filter(|said| *said == line).count(), 1, "{line}: {said}");
    }
    let servers = said.lines().filter(|line| line.starts_with("nameserver"));
    assert_eq!(servers.count(), 1, "the host's are replaced: {said}");
    let nowhere = run(w, &["--dns-search", "."]).args(["cat", "/etc/resolv.conf"]).ok().stdout;
    assert!(!nowhere.contains("search"), "{nowhere}");
}

fn stop_signal_and_stop_timeout_end_the_program(w: &World) {
    w.load_busybox();
    let script = "trap 'exit 7' USR1; trap '' TERM; echo ready; while :; do sleep 0.1; done";
    let start = |flags: &[&str]| {
        w.kelp(["run", "-d", "--name", "c", "--network", "none"])
            .args(flags)
            .args(["busybox", "sh", "-c", script])
            .ok();
        until("the program is ready", || w.kelp(["logs", "c"]).ok().stdout.contains("ready"));
    };
    let ended = || {
        let begin = Instant::now();
        w.kelp(["stop", "c"]).ok();
        let status = w.kelp(["wait", "c"]).ok().text().to_owned();
        w.kelp(["rm", "c"]).ok();
        (status, begin.elapsed())
    };
    start(&["--stop-signal", "USR1", "--stop-timeout", "60"]);
    assert_eq!(
        w.kelp(["inspect", "-f", "{{.Config.StopSignal}} {{.Config.StopTimeout}}", "c"]).ok().text(),
        "SIGUSR1 60"
    );
    let (status, time) = ended();
    assert!(status == "7" && time < Duration::from_secs(40), "{status} {time:?}");
    // Its SIGTERM is ignored: it is killed when the time is over, which is not Docker's ten seconds.
    start(&["--stop-timeout", "1"]);
    let (status, time) = ended();
    assert!(status == "137" && time >= Duration::from_secs(1) && time < Duration::from_secs(9), "{status} {time:?}");
}

fn namespaces_are_the_hosts_where_that_is_asked_for(w: &World) {
    w.load_busybox();
    let own = |kind: &str| fs::read_link(Path::new("/proc/self/ns").join(kind)).unwrap().display().to_string();
    let seen = |flags: &[&str]| run(w, flags).args(["/bin/probe", "see"]).ok().json()["namespaces"].clone();
    for (flag, kind) in [("--uts", "uts"), ("--cgroupns", "cgroup"), ("--ipc", "ipc")] {
        assert_eq!(seen(&[flag, "host"])[kind], own(kind), "{flag}");
        assert_ne!(seen(&[flag, "private"])[kind], own(kind), "{flag}");
    }
    let host = seen(&["--uts", "host"]);
    assert_ne!(host["pid"], own("pid"), "the others stay the container's own");
    match w.who() {
        Who::Root => assert_eq!(seen(&["--userns", "host"])["user"], own("user")),
        _ => {
            run(w, &["--userns", "host"]).arg("true").output().code(125).explains(&["only root"]);
            assert_ne!(seen(&["--userns", "private"])["user"], own("user"));
        }
    }
}

fn publish_all_publishes_what_the_image_exposes(w: &World) {
    let tun = fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun").is_ok();
    if !tun || !Path::new("/usr/bin/slirp4netns").exists() {
        return w.skip("slirp4netns is not installed, or /dev/net/tun cannot be opened");
    }
    w.load(&busybox_image(w).config("ExposedPorts", json!({"8080/tcp": {}})), "web:1");
    let start = ["run", "-d", "--name", "c", "--network", "slirp4netns", "--publish-all", "--expose", "9090"];
    w.kelp(start).args(["web:1", "sleep", "1000"]).ok();
    let ports = w.kelp(["port", "c"]).ok().stdout;
    let mut inside: Vec<&str> = ports.lines().filter_map(|line| line.split(" -> ").next()).collect();
    inside.sort_unstable();
    assert_eq!(inside, ["8080/tcp", "9090/tcp"], "{ports}");
    assert!(ports.lines().all(|line| !line.ends_with(":0")), "each has a port of the host: {ports}");
    w.kelp(["rm", "-f", "c"]).ok();
}

fn signals_reach_the_program_unless_told_otherwise(w: &World) {
    w.load_busybox();
    let script = "trap 'echo got it; exit 5' TERM; echo ready; while :; do sleep 0.1; done";
    let start = |flag: &str| {
        let running = w.kelp(["run", "--name", "c", "--network", "none", flag, "busybox", "sh", "-c", script]).spawn();
        running.prints("ready");
        running.signal(Signal::TERM);
        running.output()
    };
    assert_eq!(start("--sig-proxy=true").code(5).stdout, "ready\ngot it\n");
    w.kelp(["rm", "c"]).ok();
    let left = start("--sig-proxy=false");
    assert_ne!(left.status(), 5, "{left}");
    assert_eq!(w.kelp(["inspect", "-f", "{{.State.Status}}", "c"]).ok().text(), "running");
    assert_eq!(w.kelp(["logs", "c"]).ok().stdout, "ready\n");
    w.kelp(["rm", "-f", "c"]).ok();
}

fn lists_end_where_they_are_told(w: &World) {
    w.load_busybox();
    for name in ["one", "two", "three"] {
        w.kelp(["create", "--name", name, "--network", "none", "busybox"]).ok();
    }
    let names = |flags: &[&str]| w.kelp(["ps", "--format", "{{.Names}}"]).args(flags).ok().stdout.replace('\n', " ");
    assert_eq!(names(&["--last", "2"]), "three two ");
    assert_eq!(names(&["-n", "9"]), "three two one ");
    assert_eq!(names(&["-l"]), "three ");
    // As in Docker: those that run.
    assert_eq!((names(&["-n", "-1"]), names(&["--last", "0"])), (String::new(), String::new()));
    w.kelp(["rm", "one", "two", "three"]).ok();
}

fn logs_have_times_where_they_are_asked_for(w: &World) {
    w.load_busybox();
    w.kelp(["run", "--name", "c", "--network", "none", "busybox", "sh", "-c", "echo one; echo two"]).ok();
    assert_eq!(w.kelp(["logs", "c"]).ok().stdout, "one\ntwo\n");
    for flag in ["--timestamps", "-t"] {
        let said = w.kelp(["logs", flag, "c"]).ok().stdout;
        let lines: Vec<(&str, &str)> = said.lines().map(|line| line.split_once(' ').unwrap()).collect();
        assert_eq!([lines[0].1, lines[1].1], ["one", "two"]);
        // RFC 3339 with nanoseconds: what `--since` takes again.
        assert!(lines[0].0.len() == 30 && lines[0].0.ends_with('Z') && lines[0].0 <= lines[1].0, "{said}");
        assert_eq!(w.kelp(["logs", "--since", lines[0].0, "c"]).ok().stdout, "one\ntwo\n");
    }
    assert_eq!(w.kelp(["logs", "--since", "1.5h", "c"]).ok().stdout, "one\ntwo\n");
    assert_eq!(w.kelp(["logs", "--until", "1.5h", "c"]).ok().stdout, "");
    w.kelp(["rm", "c"]).ok();
}

fn commit_writes_author_and_changes(w: &World) {
    w.load_busybox();
    w.kelp(["create", "--name", "c", "--network", "none", "busybox"]).ok();
    let changes = ["--change", "ENV A=1", "--change", "EXPOSE 80-82/udp", "--change", "STOPSIGNAL SIGUSR1"];
    w.kelp(["commit", "--author", "Ann <ann@example.org>", "--message", "a line"])
        .args(changes)
        .args(["c", "made:1"])
        .ok();
    let image = w.kelp(["image", "inspect", "made:1"]).ok().json()[0].clone();
    assert_eq!((&image["Author"], &image["Comment"]), (&json!("Ann <ann@example.org>"), &json!("a line")));
    let config = &image["Config"];
    assert!(config["Env"].as_array().unwrap().contains(&json!("A=1")), "{config}");
    assert!(config["ExposedPorts"]["80-82/udp"].is_object(), "{config}");
    assert_eq!(config["StopSignal"], "SIGUSR1");
    w.kelp(["rm", "c"]).ok();
}

fn export_writes_the_file(w: &World) {
    w.load_busybox();
    w.kelp(["run", "--name", "c", "--network", "none", "busybox", "sh", "-c", "echo content >/mine"]).ok();
    let folder = w.dir().join("home");
    w.kelp(["export", "--output", "c.tar", "c"]).dir(&folder).ok();
    let seen = w.command("tar").args(["-xOf", "c.tar", "mine"]).dir(&folder).ok();
    assert_eq!(seen.stdout, "content\n");
    let piped = w.kelp(["export", "c"]).stdout(fs::File::create(folder.join("piped.tar")).unwrap()).ok();
    assert_eq!(piped.stdout, "");
    assert_eq!(fs::read(folder.join("piped.tar")).unwrap(), fs::read(folder.join("c.tar")).unwrap());
    w.kelp(["rm", "c"]).ok();
}
