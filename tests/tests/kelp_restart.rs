// SPDX-License-Identifier: Apache-2.0
//! Restart policies: what a container has again, and how its policy is changed.
//!
//! Runs `kelp run --restart …` and `kelp update --restart`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use kelp_tests::{World, claims, free_port, until, within};

claims!(as_root, as_user:
    a_container_that_was_restarted_has_its_network_and_its_ports,
    update_stops_a_container_from_being_restarted,
    update_gives_a_policy_to_the_next_start,
);

fn obstacle(w: &World) -> Option<String> {
    let open = || OpenOptions::new().read(true).write(true).open("/dev/net/tun").is_ok();
    let usable = || w.command("sh").args(["-c", "exec 3<>/dev/net/tun"]).output().status() == 0;
    match Path::new("/usr/bin/slirp4netns").exists() && open() && usable() {
        true => None,
        false => Some("slirp4netns is not installed, or /dev/net/tun cannot be opened".into()),
    }
}

/// What the service says, when it is there.
fn get(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.contains("round").then_some(text)
}

fn inspect(w: &World, what: &str) -> String {
    w.kelp(["inspect", "-f", &format!("{{{{{what}}}}}"), "c"]).ok().text().to_owned()
}

fn a_container_that_was_restarted_has_its_network_and_its_ports(w: &World) {
    if let Some(reason) = obstacle(w) {
        return w.skip(&reason);
    }
    w.load_busybox();
    let port = free_port();
    // The files of a container stay when it is started again: it counts its rounds.
    let script = "echo round >>/tmp/index.html; exec httpd -f -p 8080 -h /tmp";
    let publish = format!("{port}:8080");
    let run = ["run", "-d", "--name", "c", "--restart", "always", "-p", &publish, "busybox", "sh", "-c", script];
    w.kelp(run).ok();
    let rounds = |port| get(port).map_or(0, |text| text.matches("round").count());
    until("the first round", || rounds(port) == 1);
    let first = inspect(w, ".State.StartedAt");
    for round in 2..4 {
        // Its own end, which is no stop of ours.
        let pid = rustix::process::Pid::from_raw(inspect(w, ".State.Pid").parse().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        assert!(within(Duration::from_secs(20), || rounds(port) == round), "round {round}: {:?}", get(port));
    }
    assert_ne!(inspect(w, ".State.StartedAt"), first);
    assert_eq!(w.kelp(["port", "c", "8080"]).ok().text(), format!("0.0.0.0:{port}"));
    let routes = w.kelp(["exec", "c", "ip", "route"]).ok().stdout;
    assert!(routes.contains("default"), "no way out after a restart: {routes}");
    w.kelp(["rm", "-f", "c"]).ok();
    assert!(within(Duration::from_secs(20), || TcpStream::connect(("127.0.0.1", port)).is_err()), "still published");
}

fn update_stops_a_container_from_being_restarted(w: &World) {
    w.load_busybox();
    let script = "echo again; sleep 0.2; exit 3";
    w.kelp(["run", "-d", "--name", "c", "--restart", "always", "--network", "none", "busybox", "sh", "-c", script])
        .ok();
    until("it was started again", || w.kelp(["logs", "c"]).ok().stdout.matches("again").count() > 2);
    assert_eq!(w.kelp(["update", "--restart", "no", "c"]).ok().text(), "c");
    until("it has ended", || inspect(w, ".State.Status") == "exited");
    // One that is to be started again is `restarting` until it is: who has ended has nobody who would start it.
    assert_eq!(w.kelp(["wait", "c"]).ok().text(), "3");
    assert_eq!(
        (inspect(w, ".HostConfig.RestartPolicy.Name"), inspect(w, ".State.ExitCode")),
        ("no".into(), "3".into())
    );
    w.kelp(["rm", "c"]).ok();
}

fn update_gives_a_policy_to_the_next_start(w: &World) {
    w.load_busybox();
    let script = "echo again; sleep 0.3; exit 3";
    w.kelp(["create", "--name", "c", "--network", "none", "busybox", "sh", "-c", script]).ok();
    w.kelp(["update", "--restart", "on-failure:2", "c"]).ok();
    assert_eq!(inspect(w, ".HostConfig.RestartPolicy.MaximumRetryCount"), "2");
    w.kelp(["start", "c"]).ok();
    until("three rounds", || w.kelp(["logs", "c"]).ok().stdout.matches("again").count() == 3);
    until("it has ended", || inspect(w, ".State.Status") == "exited");
    w.kelp(["rm", "c"]).ok();
    // Its holder has given up the right to make it anew: that is said, and kept for the next time.
    w.kelp(["run", "-d", "--name", "c", "--network", "none", "busybox", "sleep", "1000"]).ok();
    let update = w.kelp(["update", "--restart", "always", "c"]).ok();
    assert!(update.stderr.contains("next start"), "{update}");
    w.kelp(["update", "--restart", "sometimes", "c"]).output().code(125).explains(&["on-failure"]);
    w.kelp(["rm", "-f", "c"]).ok();
}
