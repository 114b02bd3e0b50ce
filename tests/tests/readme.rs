// SPDX-License-Identifier: Apache-2.0
//! What README.md shows can be typed, and does what stands beside it.
//!
//! Runs its commands as they stand there, but for what a test has not: a registry, a person at a terminal, port 8080.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use kelp_tests::{Output, World, claims, free_port, until};

claims!(as_root, as_user: the_tour_can_be_taken);
claims!(as_user: a_bundle_by_hand_is_planned_and_run);

/// The commands of the block that follows these words, without their comments.
fn commands_after(words: &str) -> Vec<String> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).unwrap();
    let (_, rest) = page.split_once(words).unwrap();
    let block = rest.split("```").nth(1).unwrap();
    let lines = block.lines().skip(1).map(|line| line.split("  #").next().unwrap().trim().to_owned());
    lines.filter(|line| !line.is_empty() && !line.starts_with("PATH=")).collect()
}

fn type_in(w: &World, line: &str) -> Output {
    let programs = w.program("kelp").parent().unwrap().display().to_string();
    let path = format!("{programs}:/usr/sbin:/usr/bin:/sbin:/bin");
    w.command("sh").args(["-c", line]).env("PATH", &path).dir(w.dir()).output()
}

fn the_tour_can_be_taken(w: &World) {
    if !Path::new("/usr/bin/slirp4netns").exists() || fs::File::open("/dev/net/tun").is_err() {
        return w.skip("no network for containers here: slirp4netns or /dev/net/tun is missing");
    }
    w.load_busybox();
    let port = free_port().to_string();
    let tour = commands_after("## A tour");
    assert!(tour.len() >= 10, "{tour:?}");
    for line in tour {
        let line = line.replace("8080", &port).replace(" -it ", " -i ");
        if line.starts_with("kelp pull ") {
            continue;
        }
        if let Some(address) = line.strip_prefix("curl ") {
            let fetch = format!("/bin/busybox wget -q -O - http://{address}");
            until("the page is served", || type_in(w, &fetch).stdout == "grown overnight\n");
            continue;
        }
        let output = type_in(w, &line).ok();
        match line.as_str() {
            "kelp ps" => assert!(output.stdout.contains("web"), "{output}"),
            "kelp run --rm hello" => assert!(!output.stdout.is_empty(), "{output}"),
            _ => {}
        }
    }
    // As the tour says: the container is gone, and what was in the volume has stayed.
    assert!(!w.kelp(["ps", "-a"]).ok().stdout.contains("web"));
    let kept =
        w.kelp(["run", "--rm", "--network", "none", "-v", "pages:/pages", "busybox", "cat", "/pages/index.html"]);
    assert_eq!(kept.ok().stdout, "grown overnight\n");
}

fn a_bundle_by_hand_is_planned_and_run(w: &World) {
    w.load_busybox();
    let demo = w.dir().join("demo").display().to_string();
    for line in commands_after("On a bare bundle") {
        let line = line.replace("/tmp/demo", &demo);
        match line.split(' ').next().unwrap() {
            // Its own tests: under_podman.
            "podman" => continue,
            "kelp-runtime" if line.contains(" run ") => {
                // The example has a terminal, which a test has not.
                let config = fs::read_to_string(w.dir().join("config.json")).unwrap();
                let config = config.replacen("\"terminal\": true", "\"terminal\": false", 1);
                w.write("config.json", config.replacen("\"sh\"", "\"/bin/true\"", 1));
                w.make_dir(&w.dir().join("rootfs/bin"));
                w.copy(Path::new("/bin/busybox"), "rootfs/bin/true");
            }
            "kelp-runtime" => w.make_dir(&w.dir().join("rootfs")),
            _ => {}
        }
        type_in(w, &line).ok();
    }
    assert!(Path::new(&demo).join("config.json").exists());
}
