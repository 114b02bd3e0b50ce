// SPDX-License-Identifier: Apache-2.0
//! CVE-2024-21626 and its kin: descriptors of the host as working directory, as program, or in the container's hands.
//!
//! `hostile.rs` has the working directory of `run`; here are `exec`, the program's own path, and what was promised to reach it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use kelp_tests::{Output, World, claims};
use serde_json::json;

claims!(as_root, as_user:
    exec_cannot_begin_in_a_folder_of_the_host,
    a_link_to_a_descriptor_is_no_working_directory,
    a_program_is_not_found_through_descriptors_of_the_host,
    a_preserved_folder_of_the_host_is_no_working_directory,
    no_descriptor_of_the_host_reaches_a_process_of_exec,
    an_environment_of_a_megabyte_arrives,
    arguments_of_a_megabyte_arrive,
    one_argument_of_a_megabyte_is_refused_by_the_kernel_and_explained,
);

/// A folder of the host with a file and a program in it.
fn treasure(w: &World) -> PathBuf {
    w.script("treasure/program", "echo of the host");
    w.write("treasure/file", "of the host").parent().unwrap().to_owned()
}

fn assert_nothing_of_the_host(output: &Output, context: &str) {
    assert!(!output.stdout.contains("of the host") && !output.stdout.contains("root:x:0"), "{context}: {output}");
    assert!(!output.stderr.contains("panicked"), "{context}: {output}");
}

/// Reads what lies around, and above.
const LOOK: &str = "cat file; cat ../../../../../../etc/shadow ../../../../../../../etc/hostname; ls; ls ..";

fn exec_cannot_begin_in_a_folder_of_the_host(w: &World) {
    let treasure = treasure(w);
    let bundle = w.bundle("b");
    bundle.args(&["/bin/sleep", "1000"]).launch();
    for fd in 3..12 {
        for folder in [format!("/proc/self/fd/{fd}"), format!("/proc/thread-self/fd/{fd}/..")] {
            let exec = bundle.exec(&["--cwd", &folder], &["/bin/sh", "-c", LOOK]);
            assert_nothing_of_the_host(&exec.descriptor(7, &treasure).dir(&treasure).output(), &folder);
        }
    }
    bundle.delete();
}

fn a_link_to_a_descriptor_is_no_working_directory(w: &World) {
    let treasure = treasure(w);
    let bundle = w.bundle("b");
    bundle.args(&["/bin/sleep", "1000"]);
    for fd in 3..12 {
        symlink(format!("/proc/self/fd/{fd}"), bundle.rootfs().join(format!("link{fd}"))).unwrap();
    }
    bundle.launch();
    for fd in 3..12 {
        let exec = bundle.exec(&["--cwd", &format!("/link{fd}")], &["/bin/sh", "-c", LOOK]);
        assert_nothing_of_the_host(&exec.descriptor(7, &treasure).output(), &format!("exec in /link{fd}"));
    }
    bundle.delete();
    bundle.shell(LOOK);
    for fd in 3..12 {
        bundle.set("/process/cwd", json!(format!("/link{fd}")));
        let run = bundle.run().descriptor(7, &treasure).output();
        assert_nothing_of_the_host(&run, &format!("run in /link{fd}"));
    }
}

fn a_program_is_not_found_through_descriptors_of_the_host(w: &World) {
    let treasure = treasure(w);
    let bundle = w.bundle("b");
    let names = |fd: i32| [format!("/proc/self/fd/{fd}/program"), format!("/proc/self/fd/{fd}/../../bin/cat")];
    for fd in 3..12 {
        for program in names(fd) {
            let run = bundle.args(&[&program, "/etc/shadow"]).run().descriptor(7, &treasure).output().fails();
            assert_nothing_of_the_host(&run, &program);
        }
    }
    bundle.args(&["/bin/sleep", "1000"]).launch();
    for fd in 3..12 {
        for program in names(fd) {
            let exec = bundle.exec(&[], &[&program, "/etc/shadow"]).descriptor(7, &treasure).output().fails();
            assert_nothing_of_the_host(&exec, &program);
        }
    }
    bundle.delete();
}

/// Whoever passes a folder on purpose does not thereby put the program into it.
fn a_preserved_folder_of_the_host_is_no_working_directory(w: &World) {
    let treasure = treasure(w);
    let bundle = w.bundle("b");
    bundle.shell(LOOK).set("/process/cwd", json!("/proc/self/fd/3"));
    let dir = bundle.dir().to_string_lossy().into_owned();
    let run = bundle.verb("run", &["--bundle", &dir, "--preserve-fds", "1"]).descriptor(3, &treasure).output();
    assert_nothing_of_the_host(&run.explains(&["working directory"]), "run");
    bundle.set("/process/cwd", json!("/")).args(&["/bin/sleep", "1000"]).launch();
    let options = ["--preserve-fds", "1", "--cwd", "/proc/self/fd/3"];
    let exec = bundle.exec(&options, &["/bin/sh", "-c", LOOK]).descriptor(3, &treasure).output();
    assert_nothing_of_the_host(&exec.explains(&["working directory"]), "exec");
    bundle.delete();
}

fn no_descriptor_of_the_host_reaches_a_process_of_exec(w: &World) {
    let treasure = treasure(w);
    let bundle = w.bundle("b");
    bundle.args(&["/bin/sleep", "1000"]).launch();
    let seen = bundle.exec(&[], &["/bin/probe", "see"]).descriptor(7, &treasure).descriptor(9, &treasure).ok().json();
    let fds: Vec<&String> = seen["fds"].as_object().unwrap().keys().collect();
    assert_eq!(fds, ["0", "1", "2"], "{}", seen["fds"]);
    bundle.delete();
}

/// A megabyte in words of 64 KiB: a single one may have 128 KiB (execve(2), MAX_ARG_STRLEN).
fn megabyte() -> Vec<String> {
    (0..16).map(|number| format!("A{number}={}", "x".repeat(65_600))).collect()
}

fn an_environment_of_a_megabyte_arrives(w: &World) {
    let bundle = w.bundle("b");
    bundle.set("/process/env", json!(megabyte()));
    let count = |output: &Output| output.text().parse::<usize>().unwrap();
    let run = bundle.args(&["/bin/sh", "-c", "/bin/env | /bin/wc -c"]).set("/process/cwd", json!("/")).run().ok();
    assert!(count(&run) > 1 << 20, "{run}");
    // create keeps it for exec, which adds to it.
    bundle.args(&["/bin/sleep", "1000"]).launch();
    let exec = bundle.exec(&["--env", "B=1"], &["/bin/sh", "-c", "/bin/env | /bin/wc -c"]).ok();
    assert!(count(&exec) > 1 << 20, "{exec}");
    bundle.delete();
}

fn arguments_of_a_megabyte_arrive(w: &World) {
    let bundle = w.bundle("b");
    let words: Vec<String> =
        ["/bin/sh", "-c", "echo $#", "sh"].map(str::to_owned).into_iter().chain(megabyte()).collect();
    let line: Vec<&str> = words.iter().map(String::as_str).collect();
    assert_eq!(bundle.args(&line).run().ok().text(), "16");
    bundle.args(&["/bin/sleep", "1000"]).launch();
    assert_eq!(bundle.exec(&[], &line).ok().text(), "16");
    bundle.delete();
}

fn one_argument_of_a_megabyte_is_refused_by_the_kernel_and_explained(w: &World) {
    let bundle = w.bundle("b");
    bundle.args(&["/bin/echo", &"x".repeat(1 << 20)]).run().output().explains(&["/bin/echo", "too long"]);
    let process = json!({"cwd": "/", "user": {"uid": 0, "gid": 0}, "args": ["/bin/echo", "x".repeat(1 << 20)]});
    let file = w.write("process.json", process.to_string());
    bundle.args(&["/bin/sleep", "1000"]).launch();
    bundle.verb("exec", &["--process", &file.to_string_lossy()]).output().explains(&["/bin/echo", "too long"]);
    assert_eq!(bundle.status(), "running");
    bundle.delete();
    fs::remove_file(file).unwrap();
}
