// SPDX-License-Identifier: Apache-2.0
//! `kelp bundle`: what it writes is run by every OCI runtime there is here, and is what image-spec's chapter on conversion says.
//!
//! Runs `kelp` as root and as an unprivileged user, `kelp-runtime`, and `crun` and `runc` where they are installed.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use kelp_tests::{Entry, Image, Kind, Output, Who, World, busybox_image, claims, layer, schema_errors};
use serde_json::{Value, json};

claims!(as_root, as_user:
    a_bundle_runs_in_every_runtime,
    config_json_is_what_the_chapter_on_conversion_says,
    an_overlay_bundle_keeps_its_layers,
    a_folder_with_something_in_it_is_refused,
    an_image_without_a_program_or_with_an_unknown_user_is_refused,
);

const SCRIPT: &str =
    "id -u; id -g; pwd; echo $A; cat /data/seed; echo x >/data/new && echo written; touch /tmp/x; echo $0";

/// An image that says all an image can say.
fn image(w: &World) -> Image {
    let file = |path: &str, text: &str| Entry::new(path, Kind::File(text.into()));
    let passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:web:/srv/home:/bin/sh\n";
    let files = layer(&[
        file("etc/passwd", passwd),
        file("etc/group", "root:x:0:\nweb:x:34:\ndisk:x:6:web\n"),
        Entry::new("srv/", Kind::Folder),
        Entry::new("srv/work/", Kind::Folder),
        Entry::new("data/", Kind::Folder).owner(33, 34),
        file("data/seed", "seed\n").owner(33, 34),
    ]);
    busybox_image(w)
        .with(files)
        .config("Entrypoint", json!(["/bin/sh", "-c", SCRIPT]))
        .config("Cmd", json!(["from-cmd"]))
        .config("Env", json!(["PATH=/bin", "A=of the image"]))
        .config("User", json!("web"))
        .config("WorkingDir", json!("/srv/work"))
        .config("ExposedPorts", json!({"80/tcp": {}, "53/udp": {}}))
        .config("Volumes", json!({"/data": {}}))
        .config("StopSignal", json!("SIGINT"))
        .config("Labels", json!({"a": "b", "run.oci.hooks.stdout": "/x"}))
}

fn bundle(w: &World, image: &str, name: &str, args: &[&str]) -> PathBuf {
    let dir = w.dir().join(name);
    w.kelp(["bundle"]).args(args).args([image, &dir.to_string_lossy()]).ok();
    dir
}

fn installed(program: &str) -> bool {
    ["/usr/bin", "/usr/sbin", "/usr/local/bin"].iter().any(|dir| Path::new(dir).join(program).exists())
}

/// The runtimes of this machine that run what they themselves write with `spec`.
fn runtimes(w: &World) -> Vec<&'static str> {
    let mut found = vec!["kelp-runtime"];
    for name in ["crun", "runc"] {
        if !installed(name) {
            w.skip(&format!("{name} is not installed"));
            continue;
        }
        let output = run(w, name, &own_bundle(w, name), "own");
        match output.stdout == "works\n" {
            true => found.push(name),
            // Without cgroup v2 alone at /sys/fs/cgroup, without the right to raise limits: see what it says by hand.
            false => w.skip(&format!("{name} does not run its own example here")),
        }
    }
    found
}

/// Runs a bundle.
fn run(w: &World, runtime: &str, bundle: &Path, id: &str) -> Output {
    let id = format!("{}-{id}", w.token());
    let root = w.dir().join("others").display().to_string();
    let command = match runtime {
        "kelp-runtime" => w.runtime(["run", &id]),
        other => w.command(other).args(["--root", &root, "run", &id]),
    };
    command.dir(bundle).output()
}

/// A bundle by the runtime's own example.
fn own_bundle(w: &World, name: &str) -> PathBuf {
    let dir = w.dir().join(format!("own-{name}"));
    w.make_dir(&dir);
    kelp_tests::minimal_rootfs(w, &format!("own-{name}/rootfs"));
    let rootless: &[&str] = if w.who() == Who::Root { &[] } else { &["--rootless"] };
    w.command(name).arg("spec").args(rootless).dir(&dir).ok();
    let mut spec = read(&dir);
    spec["process"]["terminal"] = json!(false);
    spec["process"]["args"] = json!(["/bin/echo", "works"]);
    w.write(dir.join("config.json"), spec.to_string());
    dir
}

fn a_bundle_runs_in_every_runtime(w: &World) {
    w.load(&image(w), "full:1");
    for name in runtimes(w) {
        for args in [&[][..], &["--overlay"]] {
            if name == "crun" && !args.is_empty() {
                // It keeps to the folder below what is mounted over its root.
                continue;
            }
            let dir = bundle(w, "full:1", &format!("{name}{}", args.len()), args);
            let output = run(w, name, &dir, &format!("full{}", args.len()));
            let said = "33\n34\n/srv/work\nof the image\nseed\nwritten\nfrom-cmd\n";
            assert_eq!(output.stdout, said, "{name} {args:?}\n{output}");
            assert_eq!(fs::read_to_string(dir.join("volumes/0/new")).unwrap(), "x\n", "the volume is the bundle's");
        }
    }
}

fn read(dir: &Path) -> Value {
    serde_json::from_slice(&fs::read(dir.join("config.json")).unwrap()).unwrap()
}

fn config_json_is_what_the_chapter_on_conversion_says(w: &World) {
    w.load(&image(w), "full:1");
    let dir = w.dir().join("b");
    let told = w.kelp(["bundle", "full:1", &dir.to_string_lossy()]).ok();
    assert!(told.stderr.contains("run.oci.hooks.stdout"), "what is left out is told\n{told}");
    let config = read(&dir);
    let process = &config["process"];
    assert_eq!(process["args"], json!(["/bin/sh", "-c", SCRIPT, "from-cmd"]));
    assert_eq!(
        (&process["cwd"], &process["user"]["uid"], &process["user"]["gid"]),
        (&json!("/srv/work"), &json!(33), &json!(34))
    );
    // runc starts no container of an ordinary user that has any.
    let groups = if w.who() == Who::Root { json!([34, 6]) } else { json!(null) };
    assert_eq!(process["user"]["additionalGids"], groups, "{told}");
    let env = process["env"].as_array().unwrap();
    assert!(env.contains(&json!("A=of the image")) && env.contains(&json!("PATH=/bin")), "{env:?}");
    let annotations = config["annotations"].as_object().unwrap();
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    for (key, value) in [
        ("org.opencontainers.image.os", "linux"),
        ("org.opencontainers.image.architecture", architecture),
        ("org.opencontainers.image.created", "2020-09-13T12:26:40Z"),
        ("org.opencontainers.image.stopSignal", "SIGINT"),
        ("org.opencontainers.image.exposedPorts", "53/udp,80/tcp"),
        ("a", "b"),
    ] {
        assert_eq!(annotations.get(key), Some(&json!(value)), "{key}");
    }
    assert!(!annotations.contains_key("run.oci.hooks.stdout"));
    let volume = config["mounts"].as_array().unwrap().iter().find(|mount| mount["destination"] == "/data").unwrap();
    assert_eq!(volume["source"], "volumes/0");
    match schema_errors("config-schema.json", &config) {
        Ok(errors) => assert_eq!(errors, Vec::<String>::new()),
        Err(reason) => w.skip(&reason),
    }
}

fn an_overlay_bundle_keeps_its_layers(w: &World) {
    w.load(&busybox_image(w).config("Cmd", json!(["echo", "works"])), "one:1");
    let dir = bundle(w, "one:1", "kept", &["--overlay"]);
    w.kelp(["rmi", "one:1"]).output().code(1).explains(&["kept"]);
    w.kelp(["rmi", "-f", "one:1"]).ok();
    w.kelp(["system", "prune", "-a", "-f"]).ok();
    let output = w.runtime(["run", &format!("{}-kept", w.token())]).dir(&dir).ok();
    assert_eq!(output.stdout, "works\n");
    w.command("rm").args(["-rf", &dir.join("layers.json").to_string_lossy()]).ok();
    w.kelp(["system", "prune", "-f"]).ok();
    let layers: Vec<_> = fs::read_dir(w.store().join("layers")).unwrap().flatten().map(|it| it.file_name()).collect();
    assert_eq!(layers.len(), 2, "{layers:?}");
}

fn a_folder_with_something_in_it_is_refused(w: &World) {
    w.load_busybox();
    let file = w.write("taken/file", "x");
    let dir = file.parent().unwrap().display().to_string();
    w.kelp(["bundle", "busybox", &dir]).output().code(1).explains(&["not empty"]);
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
}

fn an_image_without_a_program_or_with_an_unknown_user_is_refused(w: &World) {
    w.load(&busybox_image(w).config("Cmd", json!(null)), "empty:1");
    w.load(&busybox_image(w).config("User", json!("nobody-there")), "unknown:1");
    for (image, named) in [("empty:1", "names none"), ("unknown:1", "nobody-there")] {
        let dir = w.dir().join(image.replace(':', "-"));
        w.kelp(["bundle", image, &dir.to_string_lossy()]).output().code(1).explains(&[named]);
        assert!(!dir.join("config.json").exists());
    }
}
