// SPDX-License-Identifier: Apache-2.0
//! The built holder with kelp-runtime in it, and containers that contain: busybox in namespaces of its own.
//!
//! As root, or as any user who may make user namespaces. Without busybox-static there is nothing to run: skipped.
#![allow(clippy::unwrap_used, reason = "tests")]

mod harness;

use harness::{Container, PATIENCE, open_descriptors, processes_with, shim, signal, until};
use kelp_shim::client;
use kelp_shim::{Cgroups, Phase, Runtime, Stdin};
use kelp_sys::rustix::process::{getegid, geteuid};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Output;

const BUSYBOX: &str = "/bin/busybox";
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

/// A container that runs this script in busybox' shell; `None`, with the reason said, where that cannot be.
fn contained(script: &str) -> Option<Container> {
    contain(&["/bin/sh", "-c", script])
}

#[expect(clippy::print_stdout, reason = "the reason of a skip")]
fn contain(args: &[&str]) -> Option<Container> {
    if !Path::new(BUSYBOX).exists() {
        println!("skipped: {BUSYBOX} is missing (Debian: busybox-static)");
        return None;
    }
    let mut container = Container::without_program();
    container.launch.runtime = Runtime::Library { cgroups: Cgroups::Disabled };
    let bin = container.file("rootfs/bin");
    for folder in ["bin", "proc", "dev", "tmp", "sys"] {
        fs::create_dir_all(container.file("rootfs").join(folder)).unwrap();
    }
    fs::copy(BUSYBOX, bin.join("busybox")).unwrap();
    for applet in ["sh", "cat", "sleep", "ls", "grep", "stty", "seq", "kill", "readlink"] {
        symlink("busybox", bin.join(applet)).unwrap();
    }
    fs::write(bin.join("plain"), "not a program").unwrap();
    fs::write(container.file("config.json"), serde_json::to_vec(&config(args, false)).unwrap()).unwrap();
    Some(container)
}

fn config(args: &[&str], terminal: bool) -> Value {
    let mut namespaces = vec![json!({"type": "pid"}), json!({"type": "mount"}), json!({"type": "uts"})];
    let mut linux = json!({});
    if !geteuid().is_root() {
        namespaces.push(json!({"type": "user"}));
        linux["uidMappings"] = json!([{"containerID": 0, "hostID": geteuid().as_raw(), "size": 1}]);
        linux["gidMappings"] = json!([{"containerID": 0, "hostID": getegid().as_raw(), "size": 1}]);
    }
    linux["namespaces"] = Value::from(namespaces);
    json!({
        "ociVersion": "1.2.0",
        "process": {
            "terminal": terminal, "user": {"uid": 0, "gid": 0}, "args": args, "env": ["PATH=/bin", "PS1=$ "], "cwd": "/",
        },
        "root": {"path": "rootfs"},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666"]},
        ],
        "linux": linux,
    })
}

fn give_terminal(container: &mut Container, args: &[&str]) {
    container.launch.terminal = true;
    container.launch.stdin = Stdin::Once;
    fs::write(container.file("config.json"), serde_json::to_vec(&config(args, true)).unwrap()).unwrap();
}

fn run(container: &Container) -> Output {
    container.hold("run").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_contained_program_s_streams_and_status_are_relayed_and_recorded() {
    let Some(mut container) = contained("echo pid $$; cat; echo oops >&2; exit 7") else { return };
    container.launch.stdin = Stdin::Once;
    let input = container.file("input");
    fs::write(&input, "typed\n").unwrap();
    let output = container.hold("run").stdin(fs::File::open(input).unwrap()).output().unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", text(&output.stderr));
    assert_eq!((text(&output.stdout).as_str(), text(&output.stderr).as_str()), ("pid 1\ntyped\n", "oops\n"));
    assert_eq!(container.record().unwrap().code, 7);
    assert_eq!(fs::read_to_string(container.file("shim.log")).unwrap(), "");
    container.assert_nothing_left();
}

#[test]
fn the_program_finds_default_signals_and_no_descriptor_of_ours() {
    let Some(container) = contained("grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status; ls /proc/self/fd") else { return };
    let output = run(&container);
    let stdout = text(&output.stdout);
    for set in ["SigBlk", "SigIgn"] {
        let mask = stdout.lines().find_map(|line| line.strip_prefix(set)?.strip_prefix(":\t")).unwrap();
        let mask = u64::from_str_radix(mask, 16).unwrap();
        // 32 and 33 are glibc's own: its posix_spawn leaves them ignored, whoever is spawned.
        assert_eq!(mask & !(3 << 31), 0, "{stdout}");
    }
    let fds: Vec<&str> = stdout.lines().filter(|line| line.parse::<u8>().is_ok()).collect();
    assert_eq!(fds, ["0", "1", "2", "3"], "3 is ls's own");
}

#[test]
fn a_missing_program_is_127_and_one_that_is_none_126() {
    for (args, code) in [(["/bin/nope"], 127), (["/bin/plain"], 126)] {
        let Some(container) = contain(&args) else { return };
        let output = run(&container);
        assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
        assert_eq!(container.record().unwrap().code, code);
        assert!(container.record().unwrap().error.is_some());
        container.assert_nothing_left();
    }
}

#[test]
fn a_terminal_of_the_container_s_own_has_a_size_and_input() {
    let Some(mut container) = contained("") else { return };
    give_terminal(&mut container, &["/bin/sh", "-c", "stty size; readlink /proc/self/fd/0; read line; echo got $line"]);
    let mut held = client::launch(&shim(), &container.launch, &[]).unwrap();
    let size = kelp_shim::Size { rows: 31, cols: 77 };
    let attach = kelp_shim::protocol::Request::Attach { streams: kelp_shim::Streams::ALL, size: Some(size) };
    held.send(&attach).unwrap();
    let attached = held.receive().unwrap();
    assert!(matches!(attached, kelp_shim::protocol::Reply::Attached { terminal: true, stdin: true }), "{attached:?}");
    held.start().unwrap();
    held.send(&kelp_shim::protocol::Request::Stdin(b"keys\r")).unwrap();
    let mut screen = String::new();
    let status = loop {
        match held.receive().unwrap() {
            kelp_shim::protocol::Reply::Stdout(bytes) => screen += &text(bytes),
            kelp_shim::protocol::Reply::Exit(status) => break status,
            _ => {}
        }
    };
    assert_eq!(status.code, 0);
    assert!(screen.contains("31 77") && screen.contains("/dev/pts/0") && screen.contains("got keys"), "{screen:?}");
    container.assert_nothing_left();
}

#[test]
fn stop_ends_all_of_a_container_and_a_killed_holder_leaves_it_to_the_next() {
    let Some(container) = contained("sleep 63 & trap 'exit 11' TERM; while :; do sleep 0.1; done") else { return };
    container.start_detached();
    let sleepers = || processes_with(&["sleep", "63"]);
    until("the background process", || !sleepers().is_empty());
    let stopped = container.connect().stop(SIGTERM, Some(PATIENCE)).unwrap();
    assert_eq!(stopped.code, 11);
    assert_eq!(sleepers(), [0; 0]);
    container.assert_nothing_left();

    container.start_detached();
    until("the background process", || !sleepers().is_empty());
    signal(container.holder().unwrap(), SIGKILL);
    until("the lock", || !client::is_held(&container.launch.container).unwrap());
    container.start_detached();
    assert_eq!(container.connect().ping().unwrap().0, Phase::Running);
    until("the first container to be gone", || sleepers().len() == 1);
    container.connect().stop(SIGKILL, None).unwrap();
    container.assert_nothing_left();
}

#[test]
fn twenty_containers_come_and_go_and_leave_nothing() {
    let Some(container) = contained("exit 0") else { return };
    let before = open_descriptors(i32::try_from(std::process::id()).unwrap());
    for _ in 0..20 {
        let mut held = client::launch(&shim(), &container.launch, &[]).unwrap();
        held.start().unwrap();
        assert_eq!(held.wait().unwrap().code, 0);
    }
    assert!(open_descriptors(i32::try_from(std::process::id()).unwrap()) <= before + 8);
    container.assert_nothing_left();
}
