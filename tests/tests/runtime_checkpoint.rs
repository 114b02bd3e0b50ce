// SPDX-License-Identifier: Apache-2.0
//! checkpoint and restore: what is refused, and, where there is a criu that works, a container that goes on.
//!
//! tests/vm/suites/checkpoint does much more, on a machine that certainly has criu.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use kelp_tests::{World, claims};
use serde_json::json;

claims!(as_root:
    without_criu_or_with_an_old_one_nothing_happens_to_the_container,
    options_of_criu_that_cannot_be_had_are_refused,
    a_restored_container_goes_on_where_it_was,
);

/// Answers as criu 2.5 would: type VERSION (10), success, version { major 2, minor 5 }.
const OLD_CRIU: &str = r#"printf '\010\012\020\001\122\004\010\002\020\005' >&"$2"; cat <&"$2" >/dev/null"#;

fn without_criu_or_with_an_old_one_nothing_happens_to_the_container(w: &World) {
    let bundle = w.bundle("b");
    bundle.args(&["/bin/sleep", "1000"]).launch();
    let images = w.dir().join("images");
    let (images, old) = (images.to_string_lossy(), w.script("old-criu", OLD_CRIU));
    let checkpoint =
        |criu: &str| w.runtime(["--criu", criu, "checkpoint", "--image-path", &images, bundle.id()]).limit(20).output();
    checkpoint("/no/such/criu").explains(&["/no/such/criu", "no such file"]);
    checkpoint(&old.to_string_lossy()).explains(&["criu 2.5", "or later is needed"]);
    checkpoint("/bin/true").explains(&["/bin/true", "ended without an answer"]);
    assert_eq!(bundle.status(), "running");
    let dir = bundle.dir().to_string_lossy().into_owned();
    let restore = ["--criu", "/no/such/criu", "restore", "--image-path", &images, "--bundle", &dir];
    let id = format!("{}-other", w.token());
    w.runtime(restore).arg(&id).output().explains(&["descriptors.json"]);
    fs::write(format!("{images}/descriptors.json"), "[]").unwrap();
    w.runtime(restore).arg(&id).output().explains(&["/no/such/criu"]);
    w.runtime(["state", &id]).output().explains(&["does not exist"]);
    assert!(bundle.rootfs().join("bin/busybox").exists());
    bundle.delete();
}

fn options_of_criu_that_cannot_be_had_are_refused(w: &World) {
    let bundle = w.bundle("b");
    for (options, says) in [
        (["checkpoint", "--lazy-pages"].as_slice(), "page by page"),
        (&["restore", "--lazy-pages"], "page by page"),
        (&["checkpoint", "--status-fd", "3"], "page by page"),
        (&["checkpoint", "--page-server", "nowhere"], "ADDRESS:PORT"),
        (&["checkpoint", "--manage-cgroups-mode", "loose"], "loose"),
        (&["checkpoint", "--empty-ns", "pid"], "network"),
        (&["checkpoint", "--image-path", "tmp/i", "--parent-path", "/tmp"], "relative"),
        (&["restore", "--leave-running"], "leave-running"),
    ] {
        w.runtime(options).arg(bundle.id()).output().explains(&[says]);
    }
    bundle.args(&["/bin/sleep", "1000"]).create().ok();
    bundle.verb("checkpoint", &[]).output().explains(&["created state"]);
    bundle.delete();
}

fn a_restored_container_goes_on_where_it_was(w: &World) {
    match std::process::Command::new("criu").arg("check").output() {
        Err(_) => return w.skip("criu is not installed"),
        Ok(output) if !output.status.success() => return w.skip("criu cannot run on this kernel"),
        Ok(_) => {}
    }
    let bundle = w.bundle("b");
    bundle.shell("i=0; while :; do i=$((i + 1)); echo $i >/tmp/n; sleep 0.1; done").set("/root/readonly", json!(false));
    bundle.launch();
    let count = || -> u64 {
        fs::read_to_string(bundle.rootfs().join("tmp/n")).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    };
    kelp_tests::until("it counts", || count() > 5);
    let images = w.dir().join("images").to_string_lossy().into_owned();
    bundle.verb("checkpoint", &["--image-path", &images]).ok();
    let stopped = count();
    let dir = bundle.dir().to_string_lossy().into_owned();
    bundle.verb("restore", &["--detach", "--image-path", &images, "--bundle", &dir]).ok();
    kelp_tests::until("it goes on", || count() > stopped);
    assert_eq!(bundle.status(), "running");
    bundle.delete();
    assert!(bundle.rootfs().join("bin/busybox").exists());
}
