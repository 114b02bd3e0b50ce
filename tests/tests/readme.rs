// SPDX-License-Identifier: Apache-2.0
//! What README.md shows can be typed, and does what stands beside it.
//!
//! Runs its commands as they stand there, but for what a test has not: a registry, a person at a terminal, port 8080.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use kelp_tests::{Output, World, claims, free_port, until};

claims!(as_root, as_user:
    the_tour_can_be_taken,
    each_way_to_install_installs,
    shells_complete_and_pages_are_written,
    skopeo_reads_the_images,
    what_is_missing_says_so,
);
claims!(as_user: a_bundle_by_hand_is_planned_and_run);

/// The commands of the block that follows these words, without their comments.
fn commands_after(words: &str) -> Vec<String> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).unwrap();
    let (_, rest) = page.split_once(words).unwrap();
    let block = rest.split("```").nth(1).unwrap();
    let lines = block.lines().skip(1).map(|line| line.split("  #").next().unwrap().trim().to_owned());
    lines.filter(|line| !line.is_empty() && !line.starts_with("PATH=")).collect()
}

/// A line of the README with the places of this world: no test writes outside of it.
fn at_home(w: &World, line: &str) -> String {
    let dir = w.dir().display();
    line.replace("~/", "$HOME/")
        .replace("sudo ", "")
        .replace("/usr/local/", &format!("{dir}/local/"))
        .replace("target/release", &w.program("kelp").parent().unwrap().display().to_string())
        .replace("$HOME/.local/share/kelp", &w.store().display().to_string())
        .replace("/tmp/busybox.tar", &format!("{dir}/busybox.tar"))
}

fn each_way_to_install_installs(w: &World) {
    let ways = commands_after("There are four ways");
    assert_eq!(ways.len(), 4, "{ways:?}");
    let installed =
        ways.iter().filter(|way| !way.contains("cargo install")).map(|way| type_in(w, &at_home(w, way)).ok());
    assert_eq!(installed.count(), 3);
    let by_cargo = ways.iter().find(|way| way.contains("cargo install")).unwrap();
    for (folder, program) in [("cli", "kelp"), ("shim", "kelp-shim"), ("runtime", "kelp-runtime")] {
        let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder).join("Cargo.toml");
        assert!(by_cargo.contains(folder) && fs::read_to_string(package).unwrap().contains(&format!("\"{program}\"")));
    }
    for place in ["home/.local/bin", "local/bin"] {
        let folder = w.dir().join(place);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 3, "{place}");
        // What is beside it is found: the hello image runs with nothing else in PATH.
        let kelp = folder.join("kelp").display().to_string();
        w.command(&kelp).args(["run", "--rm", "--network", "none", "hello"]).env("PATH", "/usr/bin:/bin").ok();
    }
}

fn shells_complete_and_pages_are_written(w: &World) {
    for line in commands_after("Your shell completes") {
        type_in(w, &at_home(w, &line)).ok();
    }
    let home = w.dir().join("home");
    let script = home.join(".local/share/bash-completion/completions/kelp").display().to_string();
    w.command("bash").args(["-n", &script]).ok();
    for file in [".config/fish/completions/kelp.fish", ".zfunc/_kelp", ".local/share/man/man1/kelp-run.1"] {
        assert!(fs::read_to_string(home.join(file)).unwrap().contains("kelp"), "{file}");
    }
}

fn skopeo_reads_the_images(w: &World) {
    if !Path::new("/usr/bin/skopeo").exists() {
        return w.skip("skopeo is not installed");
    }
    w.load_busybox();
    for line in commands_after("skopeo reads the layout") {
        let said = type_in(w, &at_home(w, &line)).ok();
        assert!(!line.contains("inspect") || said.stdout.contains("\"Layers\""), "{said}");
    }
    let copy = w.dir().join("busybox.tar").display().to_string();
    assert!(w.kelp(["load", "-i", &copy]).ok().stdout.contains("busybox:latest"));
}

/// The words between backticks of the section.
fn what_is_missing_says_so(w: &World) {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).unwrap();
    let (_, rest) = page.split_once("## What is missing").unwrap();
    let section = rest.split("\n## ").next().unwrap();
    let mut judged = 0;
    for word in section.split('`').skip(1).step_by(2) {
        let words: Vec<&str> = word.split(' ').collect();
        match words[..] {
            ["kelp", "load"] => continue,
            ["kelp", command] => w.kelp([command]).output().code(1).explains(&["cannot run kelp"]),
            [flag] if flag.starts_with("--") => {
                w.kelp(["run", flag, "x", "busybox"]).output().code(125).explains(&[flag])
            }
            [flag, value] if flag.starts_with("--") => {
                w.kelp(["run", flag, value, "busybox"]).output().code(125).explains(&["yet"])
            }
            _ => continue,
        };
        judged += 1;
    }
    assert!(judged >= 12, "{judged} of {section}");
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
