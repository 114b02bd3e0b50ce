// SPDX-License-Identifier: Apache-2.0
//! What is said of Kelp and of this machine (info, version, completion), other names of commands, and rename.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use kelp_tests::{Command, Who, World, claims};
use serde_json::Value;

claims!(as_root, as_user, as_stranger:
    version_is_that_of_client_and_server,
    info_says_what_this_machine_gives,
);
claims!(as_root, as_user:
    info_counts_containers_by_status,
    a_renamed_container_has_its_new_name_everywhere,
    a_name_that_is_taken_or_none_renames_nothing,
    what_runs_is_renamed_too,
    commands_of_containers_and_images_are_also_below_these_words,
);
claims!(as_root: completions_are_scripts_of_their_shells);
claims!(as_root: a_paused_container_stands_still_until_it_is_unpaused);

fn create<'w>(w: &'w World, name: &str) -> Command<'w> {
    w.kelp(["create", "--name", name, "--network", "none", "busybox", "sleep", "1000"])
}

fn names(w: &World) -> String {
    let names = w.kelp(["ps", "-a", "--format", "{{.Names}}"]).ok().stdout;
    let mut names: Vec<&str> = names.lines().collect();
    names.sort_unstable();
    names.join(" ")
}

fn version_is_that_of_client_and_server(w: &World) {
    let own = env!("CARGO_PKG_VERSION");
    let said = w.kelp(["version"]).ok();
    assert!(said.text().starts_with(&format!("kelp {own} on linux ")), "{said}");
    let both = w.kelp(["version", "-f", "{{.Client.Version}} {{.Server.Version}} {{.Server.Os}}"]).ok();
    assert_eq!(both.text(), format!("{own} {own} linux"));
    // Docker's words: Go's name of the architecture here, the kernel's in `info`.
    let go = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let arch = w.kelp(["version", "-f", "{{.Client.Arch}} {{.Server.Arch}}"]).ok();
    assert_eq!(arch.text(), format!("{go} {go}"));
    assert!(said.text().ends_with(&format!(", {go}")), "{said}");
    assert_eq!(w.kelp(["info", "-f", "{{.Architecture}}"]).ok().text(), std::env::consts::ARCH);
    let json = w.kelp(["version", "--format", "json"]).ok().json();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!((&json["Server"]["KernelVersion"], &json["Client"]), (&Value::from(kernel.trim()), &json["Server"]));
    assert_eq!(w.kelp(["--version"]).ok().text(), format!("kelp {own}"));
    w.kelp(["version", "-f", "{{.Server.Nothing"]).output().explains(&["template"]);
}

fn info_says_what_this_machine_gives(w: &World) {
    let info = w.kelp(["info", "--format", "json"]).ok().json();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!((&info["KernelVersion"], &info["OSType"]), (&Value::from(kernel.trim()), &Value::from("linux")));
    assert_eq!(info["DockerRootDir"], w.store().to_string_lossy().as_ref());
    let ids = info["Ids"].as_str().unwrap();
    let wanted = match w.who() {
        Who::Root => "all, no user namespace",
        Who::User => "in a user namespace",
        Who::Stranger => "one: ",
    };
    assert!(ids.contains(wanted), "{ids}");
    for program in ["shim", "runtime"] {
        let path = info["Programs"][program].as_str().unwrap();
        assert_eq!(path, w.program(&format!("kelp-{program}")).to_string_lossy());
    }
    // The same in lines, and by a template.
    let lines = w.kelp(["info"]).ok().stdout;
    assert!(lines.contains(&format!("Ids: {ids}\n")) && lines.contains("\n  runtime: /"), "{lines}");
    assert_eq!(w.kelp(["info", "-f", "{{.Programs.shim}}"]).ok().text(), info["Programs"]["shim"].as_str().unwrap());
    assert_eq!(w.kelp(["system", "info", "--format", "{{.OSType}}"]).ok().text(), "linux");
    // What is not there is said to be missing, wherever it was looked for.
    let missing = w.kelp(["info", "-f", "{{.Programs.shim}}"]).env("KELP_SHIM", "/no/such/shim").ok();
    assert_eq!(missing.text(), "missing");
}

fn info_counts_containers_by_status(w: &World) {
    w.load_busybox();
    let counts = || {
        let counts = "{{.Containers}} {{.ContainersRunning}} {{.ContainersPaused}} {{.ContainersStopped}}";
        w.kelp(["info", "-f", counts]).ok().text().to_owned()
    };
    assert_eq!(counts(), "0 0 0 0");
    create(w, "made").ok();
    w.kelp(["run", "-d", "--name", "runs", "--network", "none", "busybox", "sleep", "1000"]).ok();
    w.kelp(["run", "--name", "ended", "--network", "none", "busybox", "true"]).ok();
    assert_eq!(counts(), "3 1 0 2");
    w.kelp(["rm", "-f", "made", "runs", "ended"]).ok();
    assert_eq!(counts(), "0 0 0 0");
}

fn a_renamed_container_has_its_new_name_everywhere(w: &World) {
    w.load_busybox();
    let id = create(w, "old").ok().text().to_owned();
    assert_eq!(w.kelp(["rename", "old", "new"]).ok().stdout, "");
    assert_eq!(names(w), "new");
    assert_eq!(w.kelp(["inspect", "-f", "{{.Id}} {{.Name}}", "new"]).ok().text(), format!("{id} /new"));
    w.kelp(["inspect", "old"]).output().code(1).explains(&["old"]);
    // The old name is free, and by its id it is found too.
    create(w, "old").ok();
    w.kelp(["rename", &id[..12], "third"]).ok();
    assert_eq!(names(w), "old third");
    w.kelp(["rm", "old", "third"]).ok();
    create(w, "new").ok();
    w.kelp(["rm", "new"]).ok();
}

fn a_name_that_is_taken_or_none_renames_nothing(w: &World) {
    w.load_busybox();
    create(w, "one").ok();
    create(w, "two").ok();
    w.kelp(["rename", "one", "two"]).output().code(1).explains(&["two", "in use"]);
    w.kelp(["rename", "one", "a/b"]).output().explains(&["a/b"]);
    w.kelp(["rename", "absent", "three"]).output().code(1).explains(&["absent"]);
    assert_eq!(names(w), "one two");
    // What was refused has taken no name away.
    create(w, "three").ok();
    w.kelp(["rm", "one", "two", "three"]).ok();
    assert_eq!(names(w), "");
}

fn what_runs_is_renamed_too(w: &World) {
    w.load_busybox();
    w.kelp(["run", "-d", "--name", "old", "--network", "none", "busybox", "sleep", "1000"]).ok();
    w.kelp(["rename", "old", "new"]).ok();
    assert_eq!(w.kelp(["exec", "new", "echo", "inside"]).ok().text(), "inside");
    w.kelp(["exec", "old", "true"]).output().explains(&["old"]);
    w.kelp(["stop", "-t", "0", "new"]).ok();
    w.kelp(["start", "new"]).ok();
    assert_eq!(names(w), "new");
    w.kelp(["rm", "-f", "new"]).ok();
    assert_eq!(names(w), "");
}

fn commands_of_containers_and_images_are_also_below_these_words(w: &World) {
    w.load_busybox();
    let container = |words: &[&str]| w.kelp(["container"]).args(words).ok().text().to_owned();
    let image = |words: &[&str]| w.kelp(["image"]).args(words).ok().text().to_owned();
    image(&["tag", "busybox", "other:1"]);
    assert!(image(&["ls", "-q"]).lines().count() >= 1 && !image(&["history", "-q", "other:1"]).is_empty());
    let script = "echo said >/file; echo said; exec sleep 1000";
    container(&["create", "--name", "c", "--network", "none", "other:1", "sh", "-c", script]);
    assert_eq!(container(&["start", "c"]), "c");
    kelp_tests::until("it has written", || container(&["logs", "c"]) == "said");
    assert_eq!(container(&["exec", "c", "cat", "/file"]), "said");
    assert!(container(&["top", "c"]).contains("sleep 1000") && container(&["port", "c"]).is_empty());
    assert!(container(&["diff", "c"]).contains("A /file"));
    assert_eq!(container(&["inspect", "-f", "{{.State.Status}}", "c"]), "running");
    container(&["rename", "c", "d"]);
    assert_eq!(container(&["update", "--restart", "no", "d"]), "d");
    container(&["cp", "d:/file", "-"]);
    assert_eq!(container(&["restart", "-t", "0", "d"]), "d");
    assert_eq!((container(&["kill", "d"]), container(&["wait", "d"])), ("d".into(), "137".into()));
    assert!(!container(&["commit", "d", "kept:1"]).is_empty());
    assert_eq!(container(&["rm", "d"]), "d");
    image(&["rm", "kept:1", "other:1"]);
    assert_eq!(names(w), "");
}

fn completions_are_scripts_of_their_shells(w: &World) {
    for shell in ["bash", "zsh", "fish"] {
        let script = w.kelp(["completion", shell]).ok().stdout;
        for word in ["rename", "unpause", "cap-add"] {
            assert!(script.contains(word), "{shell}: no {word}");
        }
    }
    let script = w.kelp(["completion", "bash"]).ok().stdout;
    let asked = "COMP_WORDS=(kelp unp) COMP_CWORD=1; _kelp kelp unp kelp; echo ${COMPREPLY[*]}";
    let line = format!("{script}\n{asked}");
    assert_eq!(w.command("bash").args(["-euc", &line]).ok().text(), "unpause");
    w.kelp(["completion", "cmd.exe"]).output().fails();
}

fn a_paused_container_stands_still_until_it_is_unpaused(w: &World) {
    w.load_busybox();
    let script = "while :; do echo x; sleep 0.01; done";
    w.kelp(["run", "-d", "--name", "c", "--network", "none", "busybox", "sh", "-c", script]).ok();
    let lines = || w.kelp(["logs", "c"]).ok().stdout.lines().count();
    kelp_tests::until("it writes", || lines() > 2);
    assert_eq!(w.kelp(["pause", "c"]).ok().text(), "c");
    assert_eq!(w.kelp(["inspect", "-f", "{{.State.Status}} {{.State.Paused}}", "c"]).ok().text(), "paused true");
    assert_eq!(w.kelp(["ps", "-q", "--filter", "status=paused"]).ok().stdout.lines().count(), 1);
    w.kelp(["exec", "c", "true"]).output().explains(&["paused"]);
    assert_eq!(w.kelp(["unpause", "c"]).ok().text(), "c");
    let before = lines();
    kelp_tests::until("it writes again", || lines() > before);
    w.kelp(["unpause", "c"]).output().code(1).explains(&["running"]);
    w.kelp(["rm", "-f", "c"]).ok();
}
