// SPDX-License-Identifier: Apache-2.0
//! Bad input: archives, layers and bundles made to break out or to break down. Nothing panics, nothing escapes.
//!
//! Runs `kelp load` and `kelp-runtime create` on what no honest tool writes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use kelp_tests::{Compression, Entry, Image, Kind, World, busybox_image, claims, layer};
use serde_json::{Value, json};

claims!(as_root, as_user:
    layers_cannot_write_outside_the_root,
    layers_cannot_read_the_host_by_links,
    whiteouts_cannot_delete_outside_the_root,
    truncated_archives_are_refused,
    archives_with_wrong_digests_are_refused,
    malformed_archive_metadata_is_refused,
    truncated_config_json_never_panics,
    mutated_config_json_never_panics_and_leaves_nothing,
    a_bind_target_that_is_a_symlink_stays_inside,
    dev_of_the_image_as_a_symlink_stays_inside,
    proc_of_the_image_as_a_symlink_stays_inside,
    cwd_cannot_be_a_descriptor_of_the_host,
    masked_paths_as_symlinks_stay_inside,
    the_runtimes_own_binary_cannot_be_written,
    names_in_flags_cannot_be_paths,
    a_passwd_file_that_is_a_symlink_is_read_inside,
    a_layer_that_unpacks_to_more_than_it_says_is_refused,
    nobody_else_can_pass_through_the_store,
);

/// A file on the host that must never change, be read or go.
fn treasure(w: &World) -> PathBuf {
    w.write("treasure/file", "of the host")
}

fn assert_untouched(w: &World) {
    let dir = w.dir().join("treasure");
    assert_eq!(fs::read_to_string(dir.join("file")).unwrap(), "of the host");
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "something was added to {}", dir.display());
    for stray in ["/tmp/kelp-escaped", "/kelp-escaped", "/etc/kelp-escaped"] {
        assert!(!std::path::Path::new(stray).exists(), "{stray} was made");
    }
    let strays = fs::read_dir(w.store()).into_iter().flatten().flatten();
    assert!(!strays.into_iter().any(|entry| entry.file_name() == "kelp-escaped"));
}

/// Loads and, if that is accepted, runs the image; neither may panic or hang.
fn try_image(w: &World, name: &str, hostile: Vec<u8>) -> Option<String> {
    let image = busybox_image(w).compression(Compression::Plain).with(hostile);
    let archive = image.docker_archive(w, &format!("{name}.tar"), &format!("{name}:latest"));
    let loaded = w.kelp(["load", "-i", &archive.to_string_lossy()]).output();
    assert!(!loaded.stderr.contains("panicked"), "{name}: {loaded}");
    if loaded.status() != 0 {
        loaded.explains(&[]);
        return None;
    }
    let image = format!("{name}:latest");
    let script = "cat /link /hard 2>/dev/null; ls -a /out 2>/dev/null; true";
    let ran = w.kelp(["run", "--rm", "--network", "none", &image, "/bin/sh", "-c", script]).output();
    assert!(!ran.stderr.contains("panicked"), "{name}: {ran}");
    Some(ran.stdout)
}

fn file(path: &str) -> Entry {
    Entry::new(path, Kind::File(b"escaped".to_vec()))
}

fn layers_cannot_write_outside_the_root(w: &World) {
    let treasure = treasure(w);
    let dir = treasure.parent().unwrap().display().to_string();
    let up = "../".repeat(12);
    let link = |path: &str, target: &str| Entry::new(path, Kind::Symlink(target.into()));
    let cases: Vec<(&str, Vec<Entry>)> = vec![
        ("dots", vec![file(&format!("{up}tmp/kelp-escaped"))]),
        ("inner-dots", vec![file("etc/../../../../../../../../tmp/kelp-escaped")]),
        ("absolute", vec![file("/tmp/kelp-escaped")]),
        ("sibling", vec![file("../kelp-escaped")]),
        ("through-link", vec![link("out", &dir), file("out/new")]),
        ("through-relative-link", vec![link("out", &format!("{up}{}", &dir[1..])), file("out/new")]),
        ("link-chain", vec![link("one", "two"), link("two", &dir), file("one/new")]),
        ("link-replaced", vec![Entry::new("out/", Kind::Folder), link("out", &dir), file("out/new")]),
        ("overwrite-link", vec![link("link", &treasure.to_string_lossy()), file("link")]),
        ("hard-then-write", vec![Entry::new("hard", Kind::HardLink(treasure.display().to_string())), file("hard")]),
        ("folder-over-link", vec![link("out", &dir), Entry::new("out/sub/", Kind::Folder)]),
        (
            "hard-to-link",
            vec![link("l", &treasure.to_string_lossy()), Entry::new("hard", Kind::HardLink("l".into())), file("hard")],
        ),
    ];
    for (name, entries) in cases {
        try_image(w, name, layer(&entries));
        assert_untouched(w);
    }
}

fn layers_cannot_read_the_host_by_links(w: &World) {
    let treasure = treasure(w).display().to_string();
    let up = "../".repeat(12);
    for (name, target) in [
        ("abs", treasure.clone()),
        ("rel", format!("{up}{}", &treasure[1..])),
        ("proc", format!("/proc/1/root{treasure}")),
    ] {
        let printed =
            try_image(w, &format!("hard-{name}"), layer(&[Entry::new("hard", Kind::HardLink(target.clone()))]));
        assert!(!printed.unwrap_or_default().contains("of the host"), "a hard link to {target} was followed");
        let printed =
            try_image(w, &format!("soft-{name}"), layer(&[Entry::new("link", Kind::Symlink(target.clone()))]));
        assert!(!printed.unwrap_or_default().contains("of the host"), "a symlink to {target} was followed");
    }
    assert_untouched(w);
}

fn whiteouts_cannot_delete_outside_the_root(w: &World) {
    let treasure = treasure(w);
    let dir = treasure.parent().unwrap().display().to_string();
    let up = "../".repeat(12);
    for (name, entries) in [
        ("dots", vec![file(&format!("{up}{}/.wh.file", &dir[1..]))]),
        ("link", vec![Entry::new("out", Kind::Symlink(dir.clone())), file("out/.wh.file")]),
        ("opaque", vec![Entry::new("out", Kind::Symlink(dir.clone())), file("out/.wh..wh..opq")]),
        ("dotdot", vec![file("etc/.wh...")]),
        ("nothing", vec![file("etc/.wh.")]),
        ("dot", vec![file("etc/.wh..")]),
    ] {
        try_image(w, name, layer(&entries));
        assert_untouched(w);
    }
}

fn truncated_archives_are_refused(w: &World) {
    let image = Image::new(vec![layer(&[file("a"), file("b")])]).compression(Compression::Gzip);
    for (kind, path) in [
        ("docker", image.docker_archive(w, "whole-docker.tar", "whole:1")),
        ("oci", image.oci_archive(w, "whole-oci.tar", "whole:2")),
    ] {
        let whole = fs::read(path).unwrap();
        for part in 1..12 {
            // The last two blocks of an archive are empty: without them it is still whole.
            let length = (whole.len() - 2048) * part / 12;
            let cut = w.write(format!("cut-{kind}-{part}.tar"), &whole[..length]);
            let loaded = w.kelp(["load", "-i", &cut.to_string_lossy()]).output();
            loaded.code(1).explains(&[]);
        }
    }
    assert_eq!(w.kelp(["images", "-q"]).ok().text(), "");
}

fn archives_with_wrong_digests_are_refused(w: &World) {
    let image = Image::new(vec![layer(&[file("a")])]).compression(Compression::Plain);
    let layout = image.layout(w, "layout", "wrong:latest");
    for blob in fs::read_dir(layout.join("blobs/sha256")).unwrap().flatten() {
        let good = fs::read(blob.path()).unwrap();
        let mut bad = good.clone();
        // A change that keeps JSON valid and the length the same.
        let at = bad.iter().rposition(|byte| byte.is_ascii_digit()).unwrap_or(0);
        bad[at] = if bad[at] == b'1' { b'2' } else { b'1' };
        fs::write(blob.path(), &bad).unwrap();
        w.kelp(["load", &layout.to_string_lossy()]).output().code(1).explains(&[]);
        fs::write(blob.path(), &good).unwrap();
        // What is here already would not be read again.
        w.kelp(["image", "prune", "-f"]).ok();
    }
    w.kelp(["load", &layout.to_string_lossy()]).ok();
}

fn malformed_archive_metadata_is_refused(w: &World) {
    let json = |text: &str| Entry::new("manifest.json", Kind::File(text.into()));
    for (name, entries) in [
        ("no-array", vec![json("{}")]),
        ("empty", vec![json("[]")]),
        ("no-json", vec![json("[{")]),
        ("dots", vec![json(r#"[{"Config":"../../etc/passwd","RepoTags":["x:1"],"Layers":["../../etc/passwd"]}]"#)]),
        ("absolute", vec![json(r#"[{"Config":"/etc/passwd","RepoTags":["x:1"],"Layers":[]}]"#)]),
        ("missing", vec![json(r#"[{"Config":"nothing.json","RepoTags":["x:1"],"Layers":["nothing.tar"]}]"#)]),
        (
            "bad-name",
            vec![
                json(r#"[{"Config":"c","RepoTags":["../../x"],"Layers":[]}]"#),
                Entry::new("c", Kind::File(b"{}".to_vec())),
            ],
        ),
        ("deep", vec![json(&format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)))]),
        ("link", vec![Entry::new("manifest.json", Kind::Symlink("/etc/passwd".into()))]),
    ] {
        let path = w.write(format!("{name}.tar"), layer(&entries));
        w.kelp(["load", "-i", &path.to_string_lossy()]).output().code(1).explains(&[]);
    }
    let digest = r#"{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:../../../../etc/passwd","size":10}]}"#;
    w.write("evil/oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);
    w.write("evil/index.json", digest);
    let evil = w.dir().join("evil").display().to_string();
    w.kelp(["load", &evil]).output().code(1).explains(&[]);
}

fn truncated_config_json_never_panics(w: &World) {
    let bundle = w.bundle("b");
    let whole = bundle.spec().to_string();
    for part in 0..24 {
        let cut = &whole[..whole.len() * part / 24];
        fs::write(bundle.dir().join("config.json"), cut).unwrap();
        bundle.create().output().explains(&["config.json"]);
    }
    fs::write(bundle.dir().join("config.json"), b"\xff\xfe\x00").unwrap();
    bundle.create().output().explains(&["config.json"]);
}

/// Every value of the document once replaced by something of another kind.
fn mutated_config_json_never_panics_and_leaves_nothing(w: &World) {
    let bundle = w.bundle("b");
    let good = bundle.spec();
    let mut pointers = Vec::new();
    collect(&good, String::new(), &mut pointers);
    let strange = [json!(null), json!(-1), json!(""), json!([]), json!({}), json!("\u{0}/../x"), json!(1e300)];
    // Each pointer with one strange value, in turn: all pairs would take an hour and find little more.
    for (number, pointer) in pointers.iter().enumerate() {
        let mut spec = good.clone();
        *spec.pointer_mut(pointer).unwrap() = strange[number % strange.len()].clone();
        fs::write(bundle.dir().join("config.json"), spec.to_string()).unwrap();
        let output = bundle.create().limit(20).output();
        let context = format!("{pointer} = {}: {output}", strange[number % strange.len()]);
        assert!(!output.stderr.contains("panicked") && output.status() < 128, "{context}");
        if output.status() == 0 {
            bundle.delete();
        } else {
            assert!(output.stderr.contains("error: "), "{context}");
        }
    }
    assert_eq!(w.leaks(), Vec::<String>::new());
}

fn collect(value: &Value, at: String, pointers: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (name, member) in object {
                collect(member, format!("{at}/{name}"), pointers);
            }
        }
        Value::Array(values) => {
            for (index, member) in values.iter().enumerate() {
                collect(member, format!("{at}/{index}"), pointers);
            }
        }
        _ => {}
    }
    if !at.is_empty() {
        pointers.push(at);
    }
}

fn a_bind_target_that_is_a_symlink_stays_inside(w: &World) {
    let treasure = treasure(w);
    let dir = treasure.parent().unwrap();
    let source = w.write("source/file", "bound");
    let up = format!("{}{}", "../".repeat(12), &dir.display().to_string()[1..]);
    for (number, target) in
        [dir.display().to_string(), up, format!("/proc/self/root{}", dir.display())].iter().enumerate()
    {
        let bundle = w.bundle(&format!("b{number}"));
        bundle.set("/root/readonly", json!(false));
        symlink(target, bundle.rootfs().join("out")).unwrap();
        bundle.mount(json!({"destination": "/out", "source": source.parent(), "options": ["bind", "rw"]}));
        bundle.mount(json!({"destination": "/out/deeper/still", "type": "tmpfs", "source": "tmpfs"}));
        let output = bundle.shell("echo x >/out/new; cat /out/file").run().output();
        assert!(!output.stderr.contains("panicked"), "{output}");
        assert!(!output.stdout.contains("of the host"), "{output}");
        assert_untouched(w);
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(&dir.display().to_string()), "mounted over the host");
    }
}

/// An image whose folder of this name is a link to the host's treasure.
fn linked_folder(w: &World, name: &str) {
    let treasure = treasure(w);
    let dir = treasure.parent().unwrap();
    let bundle = w.bundle("b");
    bundle.set("/root/readonly", json!(false));
    let inner = bundle.rootfs().join(name);
    fs::remove_dir(&inner).unwrap();
    symlink(dir, &inner).unwrap();
    let output = bundle.args(&["/bin/probe", "see"]).run().output();
    assert!(!output.stderr.contains("panicked"), "{output}");
    assert_untouched(w);
    if output.status() == 0 {
        assert!(!output.json()["dev"].to_string().contains("file"), "{output}");
    }
}

fn dev_of_the_image_as_a_symlink_stays_inside(w: &World) {
    linked_folder(w, "dev");
}

fn proc_of_the_image_as_a_symlink_stays_inside(w: &World) {
    linked_folder(w, "proc");
}

fn cwd_cannot_be_a_descriptor_of_the_host(w: &World) {
    let treasure = treasure(w);
    let bundle = w.bundle("b");
    // CVE-2024-21626: a descriptor of the host that is open while the working folder is entered.
    for fd in 3..20 {
        bundle.set("/process/cwd", json!(format!("/proc/self/fd/{fd}")));
        let output = bundle.shell("cat file ../../../../../../etc/shadow; ls").run();
        let output = output.descriptor(7, treasure.parent().unwrap()).output();
        assert!(!output.stdout.contains("of the host") && !output.stdout.contains("root:"), "fd {fd}: {output}");
        assert!(!output.stderr.contains("panicked"), "{output}");
    }
}

fn masked_paths_as_symlinks_stay_inside(w: &World) {
    let treasure = treasure(w);
    let bundle = w.bundle("b");
    symlink(&treasure, bundle.rootfs().join("mask")).unwrap();
    symlink(treasure.parent().unwrap(), bundle.rootfs().join("ro")).unwrap();
    bundle.set("/linux/maskedPaths", json!(["/mask"])).set("/linux/readonlyPaths", json!(["/ro"]));
    let output = bundle.run().output();
    assert!(!output.stderr.contains("panicked"), "{output}");
    assert_untouched(w);
    fs::write(&treasure, "of the host").unwrap();
}

/// CVE-2019-5736: the program is a link to the runtime itself, which waits for a configuration in a pipe. A shell beside it
/// takes hold of what it executes, lets it end, and writes: nothing is busy then.
fn the_runtimes_own_binary_cannot_be_written(w: &World) {
    // It belongs to the world's user, so that root inside may write it, if he can only open it.
    let program = w.copy(&w.program("kelp-runtime"), "own/kelp-runtime");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let (path, root) = (program.to_string_lossy().into_owned(), w.runtime_root().to_string_lossy().into_owned());
    let runtime = |args: &[&str]| w.command(&path).args(["--root", &root]).args(args);
    let bundle = w.bundle("b");
    bundle.set("/root/readonly", json!(false)).args(&["/bin/sleep", "1000"]);
    fs::remove_file(bundle.rootfs().join("bin/true")).unwrap();
    symlink("/proc/self/exe", bundle.rootfs().join("bin/true")).unwrap();
    w.script(
        "b/rootfs/bin/exploit",
        "mkdir -p /snare; exec >/said 2>&1; mknod /snare/config.json p; echo ready
        while :; do for p in /proc/[0-9]*; do
            if grep -q snar[e] $p/cmdline 2>/dev/null && exec 3<$p/exe; then break 2; fi
        done; done
        echo open; echo '{}' >/snare/config.json
        for try in $(seq 20); do echo pwned >>/proc/self/fd/3 && echo written; sleep 0.05; done; echo end",
    );
    runtime(&["run", "--detach", "--bundle", &bundle.dir().to_string_lossy(), bundle.id()]).ok();
    // Detached: a runtime that waits for the attacker would be busy.
    runtime(&["exec", "--detach", bundle.id(), "/bin/sh", "/bin/exploit"]).ok();
    let said = || fs::read_to_string(bundle.rootfs().join("said")).unwrap_or_default();
    kelp_tests::until("the attacker is ready", || said().contains("ready"));
    runtime(&["exec", bundle.id(), "/bin/true", "run", "-b", "/snare", "x"]).limit(30).output().fails();
    kelp_tests::until("the attacker has tried all", || said().contains("end"));
    assert!(said().contains("open"), "it got hold of nothing: {}", said());
    assert!(!said().contains("written"), "{}", said());
    bundle.delete();
    assert!(fs::read(&program).unwrap() == fs::read(w.program("kelp-runtime")).unwrap(), "the runtime was overwritten");
}

fn names_in_flags_cannot_be_paths(w: &World) {
    w.load_busybox();
    for name in ["../x", "a/b", "/abs", "..", "", "a\nb", "-x"] {
        let run = w.kelp(["run", "--rm", "--network", "none", &format!("--name={name}"), "busybox", "true"]).output();
        run.code(125).fails();
    }
    // What begins with a dot is a path of the caller's, as for Docker; any other slash makes no name of a volume.
    for volume in ["a/b:/v", "a/../b:/v", "x y:/v"] {
        w.kelp(["run", "--rm", "--network", "none", "-v", volume, "busybox", "true"]).output().code(125).fails();
    }
    for id in ["../../etc", "..", "/"] {
        // With -f it would be no error that there is none, as for Docker.
        w.kelp(["rm", id]).output().fails();
        w.kelp(["inspect", id]).output().fails();
    }
    for hostname in ["", "a\nb", &"x".repeat(65)] {
        let hostname = format!("--hostname={hostname}");
        let run = w.kelp(["run", "--rm", "--network", "none", &hostname, "busybox", "true"]).output();
        assert!(!run.stderr.contains("panicked"), "{run}");
    }
}

fn a_passwd_file_that_is_a_symlink_is_read_inside(w: &World) {
    let fake = w.write("treasure/file", "of the host");
    let passwd = w.write("outside/passwd", "intruder:x:0:0::/:/bin/sh\n");
    let up = format!("{}{}", "../".repeat(12), &passwd.display().to_string()[1..]);
    let link = Entry::new("etc/passwd", Kind::Symlink(up));
    let image = busybox_image(w).with(layer(&[Entry::new("etc/.wh.passwd", Kind::File(Vec::new())), link]));
    w.load(&image, "linked:latest");
    let run = w.kelp(["run", "--rm", "--network", "none", "-u", "intruder", "linked", "id"]).output();
    run.code(125).explains(&["intruder"]);
    assert!(fake.exists());
}

fn a_layer_that_unpacks_to_more_than_it_says_is_refused(w: &World) {
    let image = Image::new(vec![layer(&[file("a")])]).compression(Compression::Gzip);
    let layout = image.layout(w, "layout", "liar:latest");
    // The index claims another size for the manifest.
    let index = layout.join("index.json");
    let mut claimed: Value = serde_json::from_str(&fs::read_to_string(&index).unwrap()).unwrap();
    claimed["manifests"][0]["size"] = json!(7);
    fs::write(&index, claimed.to_string()).unwrap();
    w.kelp(["load", &layout.to_string_lossy()]).output().code(1).explains(&[]);
}

/// Whoever could pass could execute an image's setuid programs outside of any container, as the owner of the store.
fn nobody_else_can_pass_through_the_store(w: &World) {
    w.load_busybox();
    w.kelp(["run", "--network", "none", "-v", "data:/data", "busybox", "true"]).ok();
    let containers = fs::read_dir(w.store().join("containers")).unwrap().map(|entry| entry.unwrap().path());
    let others = ["images", "layers", "volumes"].map(|name| w.store().join(name));
    for folder in containers.chain(others) {
        let mode = fs::metadata(&folder).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", folder.display());
    }
    let all = w.kelp(["ps", "-a", "-q"]).ok().text().to_owned();
    w.kelp(["rm", "-f", &all]).ok();
}
