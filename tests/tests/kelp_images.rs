// SPDX-License-Identifier: Apache-2.0
//! Images: load from every archive, pull from a registry, list, remove; and what unpacking makes of a real system.
//!
//! Runs `kelp` as root and as an unprivileged user, `skopeo` and `docker-registry` where they are installed.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use kelp_tests::{Compression, Entry, Image, Kind, Registry, Who, World, busybox_image, claims, debian_layer, layer};
use serde_json::json;

claims!(as_root, as_user:
    every_archive_and_compression_can_be_loaded,
    what_skopeo_writes_can_be_loaded,
    an_archive_that_is_compressed_whole_can_be_loaded,
    an_import_is_a_layer_that_registries_take,
    an_image_is_pulled_over_http_and_run,
    an_absent_image_is_pulled_by_run,
    a_pull_that_fails_leaves_the_store_usable,
    images_lists_and_rmi_removes,
    rmi_refuses_an_image_in_use_unless_forced,
    an_image_of_another_architecture_is_refused_with_a_hint,
    layers_are_applied_in_order_with_whiteouts,
    a_debian_system_works,
    two_loads_at_once_do_not_disturb_each_other,
    loading_again_changes_nothing,
);

fn prints(w: &World, image: &str, script: &str) -> String {
    w.kelp(["run", "--rm", "--network", "none", image, "/bin/sh", "-c", script]).ok().stdout
}

/// The image's name as `load` tells it.
fn load(w: &World, args: &[&str]) -> String {
    let output = w.kelp(["load"]).args(args).ok();
    let name = output.stdout.lines().find_map(|line| line.trim().strip_prefix("Loaded image: "));
    name.unwrap_or_else(|| panic!("no name\n{output}")).to_owned()
}

fn every_archive_and_compression_can_be_loaded(w: &World) {
    let image = busybox_image(w);
    for compression in [Compression::Plain, Compression::Gzip, Compression::Zstd] {
        let image = image.clone().compression(compression);
        let name = format!("{compression:?}").to_lowercase();
        let docker = image.docker_archive(w, "docker.tar", &format!("docker-{name}:1"));
        let oci = image.oci_archive(w, "oci.tar", &format!("oci-{name}:1"));
        let layout = image.layout(w, &format!("layout-{name}"), &format!("layout-{name}:1"));
        let loaded = load(w, &["-i", &docker.to_string_lossy()]);
        assert!(loaded.contains(&format!("docker-{name}:1")), "{loaded}");
        load(w, &["-i", &oci.to_string_lossy()]);
        load(w, &[&layout.to_string_lossy()]);
        for kind in ["docker", "oci", "layout"] {
            assert_eq!(prints(w, &format!("{kind}-{name}:1"), "echo works"), "works\n", "{kind} {name}");
        }
    }
}

fn what_skopeo_writes_can_be_loaded(w: &World) {
    if !Path::new("/usr/bin/skopeo").exists() {
        return w.skip("skopeo is not installed");
    }
    let layout = busybox_image(w).layout(w, "layout", "latest");
    let source = format!("oci:{}", layout.display());
    for (kind, file) in [("docker-archive", "d.tar"), ("oci-archive", "o.tar"), ("oci", "l")] {
        let file = w.dir().join(file).display().to_string();
        let target = format!("{kind}:{file}:{kind}-of-skopeo:1");
        w.command("skopeo").args(["--insecure-policy", "copy", "--quiet", &source, &target]).ok();
        let args: &[&str] = if kind == "oci" { &[&file] } else { &["-i", &file] };
        let name = load(w, args);
        assert!(name.contains(&format!("{kind}-of-skopeo")), "{name}");
        assert_eq!(prints(w, &name, "echo works"), "works\n");
    }
}

/// What packs archives, and the suffix it adds.
const PACKERS: [(&str, &str); 4] = [("gzip", "gz"), ("zstd", "zst"), ("xz", "xz"), ("bzip2", "bz2")];

/// The file, packed by a program; nothing where that is not installed.
fn packed(w: &World, (program, suffix): (&str, &str), file: &Path) -> Option<String> {
    if !Path::new("/usr/bin").join(program).exists() && !Path::new("/bin").join(program).exists() {
        w.skip(&format!("{program} is not installed"));
        return None;
    }
    let file = file.display().to_string();
    w.command(program).args(["-q", "-f", &file]).ok();
    Some(format!("{file}.{suffix}"))
}

fn an_archive_that_is_compressed_whole_can_be_loaded(w: &World) {
    for (program, suffix) in PACKERS {
        let image = busybox_image(w).compression(Compression::Plain);
        let file = image.docker_archive(w, &format!("{program}.tar"), &format!("{program}:1"));
        let Some(file) = packed(w, (program, suffix), &file) else { continue };
        load(w, &["-i", &file]);
        assert_eq!(prints(w, &format!("{program}:1"), "echo works"), "works\n");
        let whole = fs::read(&file).unwrap();
        let cut = w.write("cut", &whole[..whole.len() / 2]).display().to_string();
        w.kelp(["load", "-i", &cut]).output().code(1).explains(&["cut off", program]);
        w.kelp(["import", &cut]).output().code(1);
    }
}

/// Registries know no layer that xz or bzip2 packed.
fn an_import_is_a_layer_that_registries_take(w: &World) {
    for (program, suffix) in PACKERS {
        let file = w.write("files.tar", layer(&[Entry::new("file", Kind::File(b"content".to_vec()))]));
        let Some(file) = packed(w, (program, suffix), &file) else { continue };
        w.kelp(["import", &file, "imported:1"]).ok();
        let saved = w.dir().join("saved").display().to_string();
        w.kelp(["save", "--format", "oci-dir", "-o", &saved, "imported:1"]).ok();
        let blob = |digest: &serde_json::Value| {
            let hex = digest.as_str().unwrap().trim_start_matches("sha256:");
            fs::read(format!("{saved}/blobs/sha256/{hex}")).unwrap()
        };
        let index: serde_json::Value =
            serde_json::from_slice(&fs::read(format!("{saved}/index.json")).unwrap()).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&blob(&index["manifests"][0]["digest"])).unwrap();
        let expected = match program {
            "gzip" => "application/vnd.oci.image.layer.v1.tar+gzip",
            "zstd" => "application/vnd.oci.image.layer.v1.tar+zstd",
            _ => "application/vnd.oci.image.layer.v1.tar",
        };
        assert_eq!(manifest["layers"][0]["mediaType"], expected, "{program}");
        let is_plain = blob(&manifest["layers"][0]["digest"]).starts_with(b"file\0");
        assert_eq!(is_plain, !expected.contains('+'), "{program}");
        fs::remove_dir_all(saved).unwrap();
    }
}

fn an_image_is_pulled_over_http_and_run(w: &World) {
    let registry = match Registry::start(w) {
        Ok(registry) => registry,
        Err(reason) => return w.skip(&reason),
    };
    let layout = busybox_image(w).config("Env", json!(["PATH=/bin", "FROM=registry"])).layout(w, "layout", "latest");
    let reference = registry.push(&layout, "forest/busybox:tagged");
    w.kelp(["pull", &reference]).ok();
    assert_eq!(prints(w, &reference, "echo $FROM"), "registry\n");
    // A second pull finds everything there.
    w.kelp(["pull", &reference]).ok();
    let absent = registry.name("forest/absent:latest");
    w.kelp(["pull", &absent]).output().code(1).explains(&["forest/absent"]);
    let absent = registry.name("forest/busybox:no-such-tag");
    w.kelp(["pull", &absent]).output().code(1).explains(&["no-such-tag"]);
}

fn an_absent_image_is_pulled_by_run(w: &World) {
    let registry = match Registry::start(w) {
        Ok(registry) => registry,
        Err(reason) => return w.skip(&reason),
    };
    let reference = registry.push(&busybox_image(w).layout(w, "layout", "latest"), "busybox:latest");
    let never = w.kelp(["run", "--rm", "--pull", "never", &reference, "true"]).output();
    never.code(125).explains(&[&reference]);
    let output = w.kelp(["run", "--rm", "--network", "none", &reference, "echo", "works"]).ok();
    assert_eq!(output.stdout, "works\n", "the progress goes to standard error");
}

fn a_pull_that_fails_leaves_the_store_usable(w: &World) {
    let registry = match Registry::start(w) {
        Ok(registry) => registry,
        Err(reason) => return w.skip(&reason),
    };
    let reference = registry.push(&busybox_image(w).layout(w, "layout", "latest"), "busybox:latest");
    // The registry loses the largest blob's content: the digest no longer fits.
    let blobs = w.dir().join("registry/docker/registry/v2/blobs/sha256");
    let data = files(&blobs).into_iter().filter(|path| path.ends_with("data"));
    let largest = data.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let good = fs::read(&largest).unwrap();
    let mut bad = good.clone();
    let middle = bad.len() / 2;
    bad[middle] ^= 0xff;
    fs::write(&largest, &bad).unwrap();
    w.kelp(["pull", &reference]).output().code(1).explains(&[]);
    assert_eq!(w.kelp(["images", "-q"]).ok().text(), "");
    fs::write(&largest, good).unwrap();
    w.kelp(["pull", &reference]).ok();
    assert_eq!(prints(w, &reference, "echo works"), "works\n");
}

fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        match entry.path() {
            path if path.is_dir() => found.extend(files(&path)),
            path => found.push(path),
        }
    }
    found
}

fn images_lists_and_rmi_removes(w: &World) {
    assert_eq!(w.kelp(["images", "-q"]).ok().stdout, "");
    w.load_busybox();
    w.load(&busybox_image(w).config("Cmd", json!(["other"])), "other.example/deep/name:v2");
    let table = w.kelp(["images"]).ok();
    assert!(table.stdout.contains("busybox") && table.stdout.contains("latest"), "{table}");
    assert!(table.stdout.contains("other.example/deep/name") && table.stdout.contains("v2"), "{table}");
    assert_eq!(w.kelp(["images", "-q"]).ok().stdout.lines().count(), 2);
    w.kelp(["rmi", "busybox"]).ok();
    assert!(!w.kelp(["images"]).ok().stdout.contains("busybox"));
    w.kelp(["run", "--rm", "--pull", "never", "busybox", "true"]).output().code(125).explains(&["busybox"]);
    assert_eq!(prints(w, "other.example/deep/name:v2", "echo works"), "works\n");
    w.kelp(["rmi", "other.example/deep/name:v2"]).ok();
    w.kelp(["rmi", "busybox"]).output().explains(&["busybox"]);
    // Nothing refers to anything any more.
    let blobs = fs::read_dir(w.store().join("images/blobs/sha256")).map_or(0, Iterator::count);
    assert_eq!(blobs, 0, "blobs are left in the store");
}

fn rmi_refuses_an_image_in_use_unless_forced(w: &World) {
    w.load_busybox();
    w.kelp(["run", "-d", "--network", "none", "--name", "c", "busybox", "sleep", "1000"]).ok();
    w.kelp(["rmi", "busybox"]).output().explains(&["busybox"]);
    w.kelp(["exec", "c", "true"]).ok();
    w.kelp(["rm", "-f", "c"]).ok();
    w.kelp(["rmi", "busybox"]).ok();
}

fn an_image_of_another_architecture_is_refused_with_a_hint(w: &World) {
    let foreign = if cfg!(target_arch = "x86_64") { "arm64" } else { "amd64" };
    let file = busybox_image(w).architecture(foreign).docker_archive(w, "foreign.tar", "foreign:latest");
    let loaded = w.kelp(["load", "-i", &file.to_string_lossy()]).output();
    let refused = if loaded.status() == 0 {
        w.kelp(["run", "--rm", "--network", "none", "foreign", "true"]).output().code(125)
    } else {
        loaded
    };
    refused.explains(&[foreign]).hints("");
}

/// Two layers: a tree, then what a second build step does to it.
fn layered() -> Vec<Vec<u8>> {
    let file = |path: &str, text: &str| Entry::new(path, Kind::File(text.into()));
    let first = layer(&[
        Entry::new("d/", Kind::Folder),
        file("d/kept", "kept"),
        file("d/deleted", "x"),
        file("d/replaced", "old"),
        Entry::new("opaque/", Kind::Folder),
        file("opaque/old", "x"),
        Entry::new("gone/", Kind::Folder),
        file("gone/inner", "x"),
        file("was-file", "x"),
        Entry::new("was-folder/", Kind::Folder),
        file("was-folder/inner", "x"),
    ]);
    let second = layer(&[
        file("d/.wh.deleted", ""),
        file("d/replaced", "new"),
        file("opaque/.wh..wh..opq", ""),
        file("opaque/new", "x"),
        file(".wh.gone", ""),
        Entry::new("was-file/", Kind::Folder),
        file("was-file/inner", "x"),
        file(".wh.was-folder", ""),
        file("linked", "one content"),
        Entry::new("link", Kind::HardLink("linked".into())),
        Entry::new("soft", Kind::Symlink("linked".into())),
        Entry::new("setuid", Kind::File("x".into())).mode(0o4755),
        Entry::new("setgid/", Kind::Folder).mode(0o2775),
        Entry::new("sticky/", Kind::Folder).mode(0o1777),
        Entry::new("pipe", Kind::Fifo),
    ]);
    vec![first, second]
}

fn layers_are_applied_in_order_with_whiteouts(w: &World) {
    let mut image = busybox_image(w);
    for layer in layered() {
        image = image.with(layer);
    }
    let owners: Vec<Entry> = (1..=12_u64)
        .map(|number| {
            Entry::new(&format!("owned-{number}"), Kind::File(Vec::new())).owner(number * 100, number * 100 + 1)
        })
        .collect();
    w.load(&image.with(layer(&owners)), "layered:latest");
    let all = prints(
        w,
        "layered",
        "cd /; cat d/kept d/replaced; for f in d/deleted opaque/old gone was-folder; do test -e $f && echo $f is there; done; ls opaque was-file; stat -c %h linked; cat link soft; echo; stat -c %a setuid setgid sticky; test -p pipe && echo pipe",
    );
    assert_eq!(all, "keptnewopaque:\nnew\n\nwas-file:\ninner\n2\none contentone content\n4755\n2775\n1777\npipe\n");
    let owners: String = (1..=12).map(|number| format!("{}:{}\n", number * 100, number * 100 + 1)).collect();
    let seen = prints(w, "layered", "for n in 1 2 3 4 5 6 7 8 9 10 11 12; do stat -c %u:%g /owned-$n; done");
    assert_eq!(seen, owners);
}

fn a_debian_system_works(w: &World) {
    let base = match debian_layer() {
        Ok(base) => base,
        Err(reason) => return w.skip(&reason),
    };
    let second = layer(&[
        Entry::new("etc/.wh.debian_version", Kind::File(Vec::new())),
        Entry::new("etc/motd", Kind::File(b"layered\n".to_vec())),
        Entry::new("srv/device", Kind::Device(1, 3)).mode(0o666),
        Entry::new("srv/owned", Kind::File(Vec::new())).owner(33, 33),
    ]);
    w.load(&Image::new(vec![base, second]).compression(Compression::Plain), "debian:bookworm");
    let script = "ls --version | head -1; test ! -e /etc/debian_version; cat /etc/motd; stat -c %a /bin/su; perl -e 'print 6*7, \"\\n\"'; stat -c '%U:%G' /srv/owned /var/mail; dpkg --audit && echo whole";
    let output = w.kelp(["run", "--rm", "--network", "none", "debian:bookworm", "sh", "-c", script]).limit(120).ok();
    for text in ["ls (GNU coreutils)", "layered\n", "4755\n", "42\n", "www-data:www-data\nroot:mail\n", "whole\n"] {
        assert!(output.stdout.contains(text), "{text:?} is missing\n{output}");
    }
    let device = prints(w, "debian:bookworm", "test -c /srv/device && echo device; true");
    assert_eq!(device, if w.who() == Who::Root { "device\n" } else { "" });
    let su = "id -u; su nobody -s /bin/sh -c 'id -un; exec su root -c true </dev/null' 2>&1 | head -1";
    assert_eq!(prints(w, "debian:bookworm", su), "0\nnobody\n");
}

fn two_loads_at_once_do_not_disturb_each_other(w: &World) {
    let file = busybox_image(w).docker_archive(w, "same.tar", "same:latest").display().to_string();
    let other = busybox_image(w).with(layer(&[Entry::new("more", Kind::File(b"x".to_vec()))]));
    let other = other.docker_archive(w, "other.tar", "other:latest").display().to_string();
    let loads: Vec<_> =
        [&file, &file, &other, &other].iter().map(|file| w.kelp(["load", "-i", file]).spawn()).collect();
    for load in loads {
        load.output().ok();
    }
    assert_eq!(prints(w, "same", "test -e /more || echo none"), "none\n");
    assert_eq!(prints(w, "other", "test -e /more && echo more"), "more\n");
}

fn loading_again_changes_nothing(w: &World) {
    w.load_busybox();
    let before = w.kelp(["images"]).ok().stdout;
    w.load_busybox();
    let after = w.kelp(["images"]).ok().stdout;
    assert_eq!(before.lines().count(), after.lines().count());
    assert_eq!(prints(w, "busybox", "echo works"), "works\n");
}
