// SPDX-License-Identifier: Apache-2.0
//! A container's files leave it: `diff`, `commit`, `export`, and `import` of what was exported.
//!
//! Runs `kelp` as root, as an unprivileged user, and as a user with a single id.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use kelp_tests::{Entry, Image, Kind, World, busybox_image, claims, layer};
use serde_json::json;

claims!(as_root, as_user:
    diff_tells_what_was_added_changed_and_deleted,
    a_committed_image_shows_what_the_container_showed,
    a_committed_image_runs_what_the_container_ran,
    commit_needs_the_blobs_and_keeps_them,
    an_export_is_what_the_container_shows,
    what_the_engine_made_in_a_container_is_no_change_of_it,
);
claims!(as_user, as_stranger:
    owners_survive_an_export,
);
claims!(as_root, as_user, as_stranger: folders_that_nobody_may_list_are_read_all_the_same);

const SCRIPT: &str = "cd /d && echo new >added && echo more >>changed && rm deleted && rm -r folder && mkdir folder && echo x >folder/fresh \
     && ln added tied && ln -s added soft && chmod 4755 added && mkfifo pipe && rm -r gone";

fn image(w: &World) -> Image {
    let file = |path: &str| Entry::new(path, Kind::File(b"old\n".to_vec()));
    let folder = |path: &str| Entry::new(path, Kind::Folder);
    let files = [
        folder("d/"),
        file("d/kept"),
        file("d/changed"),
        file("d/deleted"),
        folder("d/folder/"),
        file("d/folder/old"),
        folder("d/gone/"),
        file("d/gone/old"),
    ];
    busybox_image(w).with(layer(&files))
}

/// A container that ended and changed its files.
fn changed(w: &World) {
    w.load(&image(w), "base:1");
    w.kelp(["run", "--network", "none", "--name", "c", "base:1", "sh", "-c", SCRIPT]).ok();
}

/// What a shell in a new container sees of `/d`.
fn seen(w: &World, image: &str) -> String {
    let script =
        "cd /d; find . | sort; cat added changed folder/fresh soft; stat -c '%a %h' added; test -p pipe && echo pipe";
    w.kelp(["run", "--rm", "--network", "none", image, "sh", "-c", script]).ok().stdout
}

const SEEN: &str = ".\n./added\n./changed\n./folder\n./folder/fresh\n./kept\n./pipe\n./soft\n./tied\nnew\nold\nmore\nx\nnew\n4755 2\npipe\n";

fn diff_tells_what_was_added_changed_and_deleted(w: &World) {
    changed(w);
    let told = w.kelp(["diff", "c"]).ok().stdout;
    let told: Vec<&str> = told.lines().filter(|line| line.contains(" /d")).collect();
    let expected = "C /d|A /d/added|C /d/changed|D /d/deleted|C /d/folder|A /d/folder/fresh|D /d/folder/old|D /d/gone|A /d/pipe|A /d/soft|A /d/tied";
    assert_eq!(told.join("|"), expected);
    w.kelp(["diff", "absent"]).output().code(1).explains(&["absent"]);
    w.kelp(["rm", "c"]).ok();
}

fn a_committed_image_shows_what_the_container_showed(w: &World) {
    changed(w);
    let id = w.kelp(["commit", "-m", "a line", "-a", "somebody", "c", "made:1"]).ok();
    assert!(id.stdout.starts_with("sha256:"), "{id}");
    w.kelp(["rm", "c"]).ok();
    assert_eq!(seen(w, "made:1"), SEEN);
    let history = w.kelp(["history", "--no-trunc", "made:1"]).ok();
    assert!(history.stdout.contains("a line") && history.stdout.contains("rm deleted"), "{history}");
    assert_eq!(w.kelp(["image", "inspect", "-f", "{{.Author}}", "made:1"]).ok().text(), "somebody");
    // Upon the committed image another one.
    w.kelp(["run", "--network", "none", "--name", "c2", "made:1", "sh", "-c", "rm /d/added"]).ok();
    w.kelp(["commit", "c2", "made:2"]).ok();
    w.kelp(["rm", "c2"]).ok();
    let left = w
        .kelp(["run", "--rm", "--network", "none", "made:2", "sh", "-c", "ls /d/added /d/tied 2>/dev/null; true"])
        .ok();
    assert_eq!(left.stdout, "/d/tied\n");
}

fn a_committed_image_runs_what_the_container_ran(w: &World) {
    w.load(&busybox_image(w).config("Entrypoint", json!(["echo", "entry"])).config("Cmd", json!(["cmd"])), "base:1");
    w.kelp(["run", "--network", "none", "--name", "c", "-e", "A=1", "-w", "/tmp", "--label", "l=x", "base:1", "mine"])
        .ok();
    w.kelp(["commit", "-c", "ENV B=2", "-c", "EXPOSE 80", "c", "made:1"]).ok();
    w.kelp(["rm", "c"]).ok();
    assert_eq!(w.kelp(["run", "--rm", "--network", "none", "made:1"]).ok().stdout, "entry mine\n");
    let config = w.kelp(["image", "inspect", "made:1"]).ok().json()[0]["Config"].clone();
    let env = config["Env"].as_array().unwrap().clone();
    assert!(env.contains(&json!("A=1")) && env.contains(&json!("B=2")), "{env:?}");
    assert_eq!((&config["WorkingDir"], &config["Labels"]["l"]), (&json!("/tmp"), &json!("x")));
    assert!(config["ExposedPorts"]["80/tcp"].is_object(), "{config}");
    // A container that runs is frozen meanwhile, and goes on.
    w.kelp(["run", "-d", "--network", "none", "--name", "alive", "--entrypoint", "sleep", "base:1", "1000"]).ok();
    w.kelp(["commit", "alive", "alive:1"]).ok();
    assert_eq!(w.kelp(["inspect", "-f", "{{.State.Status}}", "alive"]).ok().text(), "running");
    w.kelp(["rm", "-f", "alive"]).ok();
    w.kelp(["commit", "-c", "RUN x", "absent", "x:1"]).output().code(1).explains(&["absent"]);
}

fn commit_needs_the_blobs_and_keeps_them(w: &World) {
    changed(w);
    w.kelp(["rmi", "-f", "base:1"]).ok();
    w.kelp(["system", "prune", "-f", "--filter", "until=2000-01-01"]).ok();
    w.kelp(["commit", "c", "made:1"]).ok();
    w.kelp(["rm", "c"]).ok();
    assert_eq!(seen(w, "made:1"), SEEN);
    w.kelp(["rmi", "made:1"]).ok();
    let blobs = fs::read_dir(w.store().join("images/blobs/sha256")).unwrap().count();
    assert_eq!(blobs, 0, "blobs are left in the store");
}

fn an_export_is_what_the_container_shows(w: &World) {
    changed(w);
    let tar = w.dir().join("exported.tar").display().to_string();
    w.kelp(["export", "-o", &tar, "c"]).ok();
    w.kelp(["import", &tar, "imported:1"]).ok();
    assert_eq!(seen(w, "imported:1"), SEEN);
    let listed = w.command("tar").args(["-tf", &tar]).ok().stdout;
    assert!(!listed.contains(".wh.") && listed.lines().any(|line| line == "bin/busybox"), "{listed}");
    let line = "\"$0\" container export c | \"$0\" import - piped:1";
    w.command("sh").args(["-c", line]).arg(&w.program("kelp").to_string_lossy()).ok();
    assert_eq!(seen(w, "piped:1"), SEEN);
    w.kelp(["rm", "c"]).ok();
}

fn what_the_engine_made_in_a_container_is_no_change_of_it(w: &World) {
    w.load(&busybox_image(w), "base:1");
    w.write("mounted/x", "x");
    let mounted = w.dir().join("mounted");
    let bind = format!("{}:/deep/er/place", mounted.display());
    let script = "echo x >/tmp/mine && mkdir /srv && echo mine >/.dockerenv";
    w.kelp(["run", "--network", "none", "--name", "c", "-v", &bind, "base:1", "sh", "-c", script]).ok();
    let told = w.kelp(["diff", "c"]).ok().stdout;
    // A copy of an image does not tell that its folder has new content: the content does.
    let told: Vec<&str> = told.lines().filter(|line| *line != "C /tmp").collect();
    assert_eq!(told, ["A /.dockerenv", "A /srv", "A /tmp/mine"]);
    w.kelp(["commit", "c", "made:1"]).ok();
    w.kelp(["create", "--network", "none", "--name", "d", "made:1"]).ok();
    for container in ["c", "d"] {
        let tar = w.dir().join("exported.tar").display().to_string();
        w.kelp(["export", "-o", &tar, container]).ok();
        let listed = w.command("tar").args(["-tf", &tar]).ok().stdout;
        let has = |name: &str| listed.lines().any(|line| line == name);
        assert!(has(".dockerenv") && has("srv/") && has("tmp/mine") && has("etc/passwd"), "{listed}");
        let ours = ["deep/", "etc/hosts", "etc/hostname", "etc/resolv.conf"];
        assert_eq!(ours.map(has), [false; 4], "{container}: {listed}");
    }
    w.kelp(["rm", "c", "d"]).ok();
}

fn owners_survive_an_export(w: &World) {
    let owned = layer(&[Entry::new("owned", Kind::File(b"x".to_vec())).owner(33, 34)]);
    w.load(&busybox_image(w).with(owned), "base:1");
    w.kelp(["create", "--network", "none", "--name", "c", "base:1"]).ok();
    let tar = w.dir().join("exported.tar").display().to_string();
    w.kelp(["export", "-o", &tar, "c"]).ok();
    let listed = w.command("tar").args(["--numeric-owner", "-tvf", &tar, "owned"]).ok().stdout;
    assert!(listed.contains(" 33/34 "), "{listed}");
    w.kelp(["rm", "c"]).ok();
}

/// Modes as those of mail queues (0311) and worse: their owner himself may not list or enter them; in the container root may.
fn folders_that_nobody_may_list_are_read_all_the_same(w: &World) {
    let file = |path: &str| Entry::new(path, Kind::File(b"old\n".to_vec()));
    let folder = |path: &str, mode| Entry::new(path, Kind::Folder).mode(mode);
    let below = [
        folder("shut/", 0o311),
        file("shut/below"),
        folder("shut/deep/", 0),
        file("shut/deep/file").mode(0),
        folder("hidden/", 0o311),
        file("hidden/below"),
    ];
    let above = [
        folder("shut/", 0o311),
        file("shut/above"),
        folder("hidden/", 0o311),
        file("hidden/.wh..wh..opq"),
        file("hidden/above"),
    ];
    w.load(&busybox_image(w).with(layer(&below)).with(layer(&above)), "base:1");
    let look = "find shut hidden | sort; stat -c '%a %n' shut shut/deep shut/deep/file hidden; cat shut/deep/file";
    let script = format!("echo new >shut/new; rm shut/below; chmod 700 shut/deep; chmod 0 shut/deep; {look}");
    let ran = w.kelp(["run", "--network", "none", "--name", "c", "-w", "/", "base:1", "sh", "-c", &script]).ok();
    let seen = "hidden\nhidden/above\nshut\nshut/above\nshut/deep\nshut/deep/file\nshut/new\n\
                311 shut\n0 shut/deep\n0 shut/deep/file\n311 hidden\nold\n";
    assert_eq!(ran.stdout, seen);
    let told = w.kelp(["diff", "c"]).ok().stdout;
    let mut lines: Vec<&str> = told.lines().filter(|line| line.contains("shut") || line.contains("hidden")).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["A /shut/new", "C /shut", "C /shut/deep", "D /shut/below"]);
    w.kelp(["commit", "c", "committed:1"]).ok();
    let tar = w.dir().join("export.tar").to_string_lossy().into_owned();
    w.kelp(["export", "-o", &tar, "c"]).ok();
    w.kelp(["import", &tar, "imported:1"]).ok();
    for image in ["committed:1", "imported:1"] {
        let again = w.kelp(["run", "--rm", "--network", "none", "-w", "/", image, "sh", "-c", look]).ok();
        assert_eq!(again.stdout, seen, "{image}");
    }
    w.kelp(["cp", "c:/shut", &w.dir().join("copied").to_string_lossy()]).ok();
    w.kelp(["rm", "c"]).ok();
    w.kelp(["rmi", "-f", "committed:1", "imported:1", "base:1"]).ok();
    w.kelp(["system", "prune", "-af"]).ok();
    w.command("/bin/chmod").args(["-R", "u+rwx", &w.dir().join("copied").to_string_lossy()]).ok();
}
