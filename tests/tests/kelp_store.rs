// SPDX-License-Identifier: Apache-2.0
//! The image store: what is kept, what is freed, what others read of it; killed at any moment, and on a full disk.
//!
//! Runs `kelp` as root and as an unprivileged user. Random means a generator with a seed that a failure prints
//! (`KELP_SEED` repeats it).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kelp_tests::{Chance, Compression, Entry, Image, Kind, Registry, World, busybox_image, claims, layer};
use rustix::process::Signal;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

claims!(as_root, as_user:
    two_hundred_kills_leave_every_listed_image_usable,
    a_full_disk_can_be_pruned,
    system_df_says_what_du_says,
    prune_takes_what_nothing_uses_and_nothing_else,
    what_save_writes_is_read_by_skopeo_and_by_load,
    import_makes_an_image_of_a_tar,
    inspect_and_history_tell_what_docker_tells,
    artifacts_and_foreign_layers_are_refused_by_name,
    the_store_is_a_layout_that_skopeo_reads,
    nobody_waits_for_a_pull,
    a_list_shows_what_is_there_now,
    a_damaged_index_is_named_and_nothing_overwrites_it,
    containers_and_volumes_do_not_need_the_index,
    no_image_goes_because_the_index_is_lost,
    a_new_store_has_an_index,
);

/// A small image of two layers, the lower one shared by all.
fn small(number: u8) -> Image {
    let file = |path: &str, byte: u8, size: usize| Entry::new(path, Kind::File(vec![byte; size]));
    let base = layer(&[Entry::new("etc/", Kind::Folder), file("etc/base", 1, 20_000), file("etc/more", 2, 9000)]);
    let own = layer(&[file("etc/own", number, 30_000), file("etc/.wh.more", 0, 0)]);
    Image::new(vec![base, own])
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read_json(path: &Path) -> Value {
    let text = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_slice(&text).unwrap()
}

/// A blob of the store, which must be what its name says.
fn blob(store: &Path, descriptor: &Value) -> Vec<u8> {
    let name = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap().to_owned();
    let path = store.join("images/blobs/sha256").join(&name);
    let bytes = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert_eq!(digest(&bytes), name, "the blob of {descriptor} is damaged");
    bytes
}

/// The listed images by name, each of them whole.
fn whole_images(store: &Path) -> BTreeMap<String, String> {
    let index = store.join("images/index.json");
    if !index.exists() {
        return BTreeMap::new();
    }
    let mut names = BTreeMap::new();
    for entry in read_json(&index)["manifests"].as_array().unwrap() {
        let manifest: Value = serde_json::from_slice(&blob(store, entry)).unwrap();
        blob(store, &manifest["config"]);
        manifest["layers"].as_array().unwrap().iter().for_each(|layer| drop(blob(store, layer)));
        let name = entry["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap_or("<none>");
        names.insert(name.to_owned(), entry["digest"].as_str().unwrap().to_owned());
    }
    names
}

fn entries(dir: &Path) -> Vec<String> {
    let listed = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = listed.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Nothing but the store itself.
fn assert_empty(store: &Path) {
    for dir in [
        "images/blobs/sha256",
        "images/ingest",
        "images/partial",
        "layers/.ingest",
        "layers/.trash",
        "containers",
        "names",
        "volumes",
    ] {
        assert_eq!(entries(&store.join(dir)), Vec::<String>::new(), "{dir}");
    }
    assert_eq!(entries(&store.join("layers")), [".ingest", ".trash"]);
    let own = ["ballast", "blobs", "gc.lock", "index.json", "index.lock", "ingest", "listing", "oci-layout", "partial"];
    let others: Vec<String> =
        entries(&store.join("images")).into_iter().filter(|it| !own.contains(&it.as_str())).collect();
    assert_eq!(others, Vec::<String>::new());
}

fn two_hundred_kills_leave_every_listed_image_usable(w: &World) {
    let registry = match Registry::start(w) {
        Ok(registry) => registry,
        Err(reason) => return w.skip(&reason),
    };
    let chance = Chance::new();
    let archive =
        |n: u8| small(n).docker_archive(w, &format!("{n}.tar"), &format!("image-{n}:1")).display().to_string();
    let archives: Vec<String> = (0..3).map(archive).collect();
    let pulled = registry.push(&small(9).layout(w, "layout", "latest"), "pulled:1");
    let normal = |name: &str| if name.contains('/') { name.to_owned() } else { format!("docker.io/library/{name}") };
    for round in 0..200 {
        let before = whole_images(&w.store());
        let names: Vec<&String> = before.keys().collect();
        let any = || names.get(chance.below(names.len().max(1) as u64) as usize).map_or("none", |name| name.as_str());
        // What is done, and the name it may take away or move.
        let (line, touched): (Vec<&str>, String) = match chance.below(8) {
            0..3 => {
                let n = chance.below(3) as usize;
                (vec!["load", "-q", "-i", &archives[n]], format!("docker.io/library/image-{n}:1"))
            }
            3 => (vec!["pull", "-q", &pulled], normal(&pulled)),
            4 | 5 => (vec!["tag", any(), "tagged:1"], "docker.io/library/tagged:1".to_owned()),
            6 => (vec!["rmi", any()], any().to_owned()),
            _ => (vec!["system", "prune", "-f"], "<none>".to_owned()),
        };
        let touched = if line[0] == "rmi" { line[1].to_owned() } else { touched };
        let command = w.kelp(&line).spawn();
        std::thread::sleep(Duration::from_micros(chance.below(60_000)));
        command.signal(Signal::KILL);
        command.output();
        let after = whole_images(&w.store());
        for (name, image) in before.iter().filter(|(name, _)| **name != touched && *name != "<none>") {
            assert_eq!(after.get(name), Some(image), "round {round}: {line:?} took {name} away");
        }
        if round % 40 == 39 {
            usable(w, after.keys().filter(|name| *name != "<none>"));
        }
    }
    drop(registry);
    w.kelp(["system", "prune", "-a", "-f"]).ok();
    assert_eq!(w.kelp(["images", "-q"]).ok().stdout, "");
    kelp_tests::until("helpers of killed commands are gone", || {
        w.kelp(["system", "prune", "-a", "-f"]).ok().stdout == "Total reclaimed space: 0B\n"
    });
    assert_empty(&w.store());
}

/// Makes a bundle of each.
fn usable<'n>(w: &World, names: impl Iterator<Item = &'n String>) {
    for name in names {
        let bundle = w.dir().join("bundle").display().to_string();
        w.kelp(["bundle", "--overlay", name, &bundle]).ok();
        w.command("rm").args(["-rf", &bundle]).ok();
    }
}

/// A small disk of its own for the store; nothing where this suite may not mount.
fn small_disk(w: &World, size: &str) -> Option<PathBuf> {
    let disk = w.dir().join("disk");
    w.make_dir(&disk);
    let options = format!("size={size},uid={},gid={},mode=755", w.uid(), w.gid());
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
        .arg(&disk)
        .status()
        .is_ok_and(|status| status.success());
    mounted.then_some(disk)
}

fn fill(file: &Path) {
    let mut file = fs::OpenOptions::new().append(true).create(true).open(file).unwrap();
    for size in [1 << 16, 4096, 1] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
}

fn a_full_disk_can_be_pruned(w: &World) {
    let Some(disk) = small_disk(w, "4m") else { return w.skip("mounting a tmpfs is not allowed here") };
    let store = disk.join("store");
    let root = store.display().to_string();
    let kelp = |line: &[&str]| w.kelp(line).env("KELP_ROOT", &root);
    for n in 0..3 {
        let archive = small(n).docker_archive(w, "image.tar", &format!("image-{n}:1")).display().to_string();
        kelp(&["load", "-i", &archive]).ok();
    }
    fill(&disk.join("filler"));
    let archive = small(7).docker_archive(w, "image.tar", "image-7:1").display().to_string();
    kelp(&["load", "-i", &archive]).output().code(1).explains(&["no space left"]).hints("kelp system prune");
    assert_eq!(whole_images(&store).len(), 3);
    kelp(&["rmi", "image-0:1"]).ok();
    assert_eq!(whole_images(&store).len(), 2);
    fill(&disk.join("filler"));
    let pruned = kelp(&["system", "prune", "-a", "-f"]).ok();
    assert!(pruned.stdout.contains("untagged: image-1:1"), "{pruned}");
    assert_empty(&store);
    // What was freed can be used again.
    kelp(&["load", "-i", &archive]).ok();
    assert_eq!(whole_images(&store).len(), 1);
    assert!(std::process::Command::new("umount").arg(&disk).status().unwrap().success());
}

fn du(path: &Path) -> u64 {
    let output = std::process::Command::new("du").args(["-s", "--block-size=1"]).arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split('\t').next().unwrap().parse().unwrap()
}

fn system_df_says_what_du_says(w: &World) {
    w.load_busybox();
    let rows = w.kelp(["system", "df", "--format", "{{.Type}} {{.Size}}"]).ok();
    assert!(rows.stdout.contains("Leftovers 0B\n"), "loading leaves nothing\n{rows}");
    w.load(&small(1), "small:1");
    w.load(&small(2), "small:2");
    // An image with two names is one.
    w.kelp(["tag", "small:2", "again:2"]).ok();
    let script = "dd if=/dev/zero of=/big bs=1000 count=700; chown 33:33 /big; chmod 600 /big; echo x >/v/file";
    w.kelp(["run", "--network", "none", "--name", "c", "-v", "data:/v", "busybox", "sh", "-c", script]).ok();
    w.kelp(["volume", "create", "unused"]).ok();
    w.write("store/images/partial/left", vec![1; 50_000]);
    let rows = w.kelp(["system", "df", "--format", "json"]).ok().stdout;
    let rows: Vec<Value> = rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let row = |kind: &str| rows.iter().find(|row| row["Type"] == kind).unwrap_or_else(|| panic!("no row {kind}"));
    let bytes = |kind: &str| row(kind)["SizeBytes"].as_u64().unwrap();
    let sum: u64 = rows.iter().map(|row| row["SizeBytes"].as_u64().unwrap()).sum();
    let truth = du(&w.store());
    assert!(truth.abs_diff(sum) <= 65536, "du says {truth}, df {sum}: {rows:?}");
    assert!(bytes("Containers") > 700_000 && bytes("Leftovers") >= 50_000, "{rows:?}");
    assert_eq!((&row("Images")["TotalCount"], &row("Images")["Active"]), (&json!("3"), &json!("1")));
    assert_eq!((&row("Local Volumes")["TotalCount"], &row("Local Volumes")["Active"]), (&json!("2"), &json!("1")));
    let table = w.kelp(["system", "df"]).ok();
    assert!(table.stdout.starts_with("TYPE            TOTAL     ACTIVE    SIZE"), "{table}");
    let details = w.kelp(["system", "df", "-v"]).ok();
    assert!(details.stdout.contains("SHARED SIZE") && details.stdout.contains("unused"), "{details}");
    // Two of the three images share their lower layer.
    w.kelp(["rm", "c"]).ok();
    w.kelp(["system", "prune", "-a", "-f"]).ok();
    w.kelp(["volume", "prune", "-a", "-f"]).ok();
    let left = du(&w.store());
    assert!(left <= 300_000, "{left} bytes are left of {truth}");
}

fn prune_takes_what_nothing_uses_and_nothing_else(w: &World) {
    w.load_busybox();
    w.load(&small(1), "used:1");
    w.load(&small(2), "moved:1");
    w.load(&small(3).config("Labels", json!({"keep": "yes"})), "moved:1");
    w.kelp(["run", "-d", "--network", "none", "--name", "alive", "busybox", "sleep", "1000"]).ok();
    w.kelp(["create", "--name", "made", "-v", "/anonymous", "used:1", "/bin/none"]).ok();
    w.kelp(["volume", "create", "named"]).ok();
    let names = |w: &World| whole_images(&w.store()).into_keys().collect::<Vec<_>>();
    assert!(names(w).contains(&"<none>".to_owned()), "the name moved: {:?}", names(w));
    // Without -f it asks, and no answer means no.
    let before = names(w);
    let asked = w.kelp(["image", "prune"]).ok();
    assert!(asked.stderr.contains("[y/N]") && asked.stdout.is_empty(), "{asked}");
    assert_eq!(names(w), before);
    let pruned = w.kelp(["image", "prune", "-f"]).ok().stdout;
    assert!(
        pruned.starts_with("Deleted Images:\ndeleted: sha256:") && pruned.contains("\n\nTotal reclaimed space: "),
        "{pruned}"
    );
    assert_eq!(names(w).len(), 3);
    w.kelp(["image", "prune", "-a", "-f", "--filter", "label!=keep"]).ok();
    assert!(names(w).iter().any(|name| name.ends_with("moved:1")), "{:?}", names(w));
    w.kelp(["image", "prune", "-a", "-f", "--filter", "until=2000-01-01"]).ok();
    assert_eq!(names(w).len(), 3);
    w.kelp(["image", "prune", "-a", "-f"]).ok();
    let all = names(w);
    assert!(all.len() == 2 && !all.iter().any(|name| name.contains("moved")), "{all:?}");
    let pruned = w.kelp(["container", "prune", "-f"]).ok().stdout;
    assert!(pruned.starts_with("Deleted Containers:\n"), "{pruned}");
    assert_eq!(w.kelp(["ps", "-a", "--format", "{{.Names}}"]).ok().stdout, "alive\n");
    let pruned = w.kelp(["volume", "prune", "-f"]).ok().stdout;
    assert!(pruned.starts_with("Deleted Volumes:\n") && !pruned.contains("named"), "{pruned}");
    assert_eq!(w.kelp(["volume", "ls", "-q"]).ok().stdout, "named\n");
    w.kelp(["system", "prune", "-a", "-f", "--volumes"]).ok();
    assert_eq!(names(w), ["docker.io/library/busybox:latest"]);
    assert_eq!(w.kelp(["exec", "alive", "echo", "works"]).ok().stdout, "works\n");
    w.kelp(["rm", "-f", "alive"]).ok();
}

fn what_save_writes_is_read_by_skopeo_and_by_load(w: &World) {
    w.load(&small(1), "one:1");
    w.load(&small(2), "two:1");
    w.kelp(["tag", "one:1", "one:other"]).ok();
    let before = whole_images(&w.store());
    let path = |name: &str| w.dir().join(name).display().to_string();
    w.kelp(["save", "-o", &path("docker.tar"), "one:1", "one:other", "two:1"]).ok();
    w.kelp(["image", "save", "--format", "oci-archive", "-o", &path("oci.tar"), "one:1"]).ok();
    w.kelp(["save", "--format", "oci-dir", "-o", &path("layout"), "two:1"]).ok();
    w.command("sh")
        .args(["-c", "\"$0\" save one:1 >\"$1\""])
        .arg(&w.program("kelp").to_string_lossy())
        .arg(&path("stdout.tar"))
        .ok();
    w.kelp(["save", "--format", "oci-dir", "-o", &path("layout"), "two:1"]).output().code(1).explains(&["not empty"]);
    w.kelp(["save", "absent:1"]).output().code(1).explains(&["absent:1"]);
    if Path::new("/usr/bin/skopeo").exists() {
        let id = w.kelp(["images", "-q", "--no-trunc", "one:1"]).ok().text().to_owned();
        for (kind, file) in [
            ("docker-archive", "docker.tar:one:1"),
            ("oci-archive", "oci.tar"),
            ("oci", "layout"),
            ("docker-archive", "stdout.tar"),
        ] {
            let config =
                w.command("skopeo").args(["inspect", "--config", "--raw", &format!("{kind}:{}", path(file))]).ok();
            let of_one = file != "layout";
            assert_eq!(format!("sha256:{}", digest(config.stdout.as_bytes())) == id, of_one, "{kind}:{file}\n{config}");
        }
    }
    w.kelp(["rmi", "one:1", "one:other", "two:1"]).ok();
    for file in ["docker.tar", "oci.tar", "layout"] {
        w.kelp(["load", &path(file)]).ok();
    }
    assert_eq!(whole_images(&w.store()), before, "digests and names stay");
    let stdin = fs::read(path("stdout.tar")).unwrap();
    w.kelp(["rmi", "-f", "one:1", "one:other"]).ok();
    assert!(w.kelp(["load"]).stdin(stdin).ok().stdout.contains("Loaded image: one:1"));
}

fn import_makes_an_image_of_a_tar(w: &World) {
    let tree = busybox_image(w);
    drop(tree);
    let root = w.dir().join("image-root").display().to_string();
    let tar = w.dir().join("root.tar").display().to_string();
    w.command("tar").args(["-C", &root, "-czf", &tar, "."]).ok();
    let change = ["-c", "CMD [\"sh\", \"-c\", \"echo $WHO\"]", "-c", "ENV WHO=imported"];
    w.kelp(["import", "-m", "by hand"]).args(change).args([&tar, "made:1"]).ok();
    assert_eq!(w.kelp(["run", "--rm", "--network", "none", "made:1"]).ok().stdout, "imported\n");
    assert!(w.kelp(["history", "made:1"]).ok().stdout.contains("by hand"));
    let id = w.kelp(["import", "-"]).stdin(fs::read(&tar).unwrap()).ok();
    assert!(id.stdout.starts_with("sha256:"), "{id}");
    w.kelp(["import", "-"]).stdin("no tar at all").output().code(1).explains(&["archive"]);
    w.kelp(["import", "-c", "RUN x", &tar]).output().code(1).explains(&["RUN"]);
}

fn inspect_and_history_tell_what_docker_tells(w: &World) {
    let image = busybox_image(w).config("Labels", json!({"a": "b"})).config("Shell", json!(["/bin/x"]));
    w.load(&image, "told:1");
    w.kelp(["tag", "told:1", "told:2"]).ok();
    let inspected = w.kelp(["image", "inspect", "told:1"]).ok().json();
    let image = &inspected[0];
    assert_eq!(image["RepoTags"], json!(["told:1", "told:2"]));
    assert_eq!((&image["Config"]["Labels"]["a"], &image["Config"]["Shell"][0]), (&json!("b"), &json!("/bin/x")));
    assert!(image["Size"].as_u64().unwrap() > 1_000_000 && image["RootFS"]["Layers"].as_array().unwrap().len() == 1);
    assert_eq!(w.kelp(["inspect", "--type", "image", "told:1"]).ok().json(), inspected);
    let id = w.kelp(["image", "inspect", "-f", "{{.Id}}", "told:1"]).ok();
    assert_eq!(w.kelp(["images", "-q", "--no-trunc", "told:2"]).ok().text(), id.text());
    w.kelp(["image", "inspect", "absent:1"]).output().code(1).explains(&["absent:1"]);
    let foreign = if cfg!(target_arch = "x86_64") { "arm64" } else { "amd64" };
    w.load(&small(1).architecture(foreign), "foreign:1");
    assert_eq!(w.kelp(["image", "inspect", "-f", "{{.Architecture}}", "foreign:1"]).ok().text(), foreign);
    let history = w.kelp(["history", "told:1"]).ok();
    assert!(history.stdout.starts_with("IMAGE") && history.stdout.contains("CREATED BY"), "{history}");
    assert_eq!(w.kelp(["history", "-q", "told:1"]).ok().text().len(), 12);
}

/// An image layout whose manifest and layer claim to be of these types.
fn layout_of_types(w: &World, name: &str, config_type: &str, layer_type: &str) -> PathBuf {
    let dir = small(1).compression(Compression::Plain).layout(w, name, "strange:1");
    let index = read_json(&dir.join("index.json"));
    let old =
        dir.join("blobs/sha256").join(index["manifests"][0]["digest"].as_str().unwrap().trim_start_matches("sha256:"));
    let mut manifest = read_json(&old);
    manifest["config"]["mediaType"] = json!(config_type);
    manifest["layers"][0]["mediaType"] = json!(layer_type);
    let text = manifest.to_string();
    w.write(format!("{name}/blobs/sha256/{}", digest(text.as_bytes())), &text);
    let mut index = index;
    index["manifests"][0]["digest"] = json!(format!("sha256:{}", digest(text.as_bytes())));
    index["manifests"][0]["size"] = json!(text.len());
    w.write(format!("{name}/index.json"), index.to_string());
    dir
}

fn artifacts_and_foreign_layers_are_refused_by_name(w: &World) {
    let config = "application/vnd.oci.image.config.v1+json";
    let layer = "application/vnd.oci.image.layer.v1.tar";
    for (number, (config_type, layer_type, named)) in [
        ("application/vnd.cncf.helm.config.v1+json", layer, "application/vnd.cncf.helm.config.v1+json"),
        ("application/vnd.oci.empty.v1+json", layer, "artifact"),
        (config, "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "foreign"),
        (config, "application/vnd.oci.image.layer.nondistributable.v1.tar", "nondistributable"),
        (config, "application/vnd.oci.image.layer.v1.tar+gzip+encrypted", "encrypted"),
        (config, "application/wasm", "application/wasm"),
    ]
    .into_iter()
    .enumerate()
    {
        let dir = layout_of_types(w, &format!("layout-{number}"), config_type, layer_type);
        w.kelp(["load", &dir.to_string_lossy()]).output().code(1).explains(&[named]);
    }
    assert_eq!(w.kelp(["images", "-q"]).ok().stdout, "");
    let dir = layout_of_types(
        w,
        "layout-docker",
        "application/vnd.docker.container.image.v1+json",
        "application/vnd.docker.image.rootfs.diff.tar",
    );
    w.kelp(["load", &dir.to_string_lossy()]).ok();
}

fn the_store_is_a_layout_that_skopeo_reads(w: &World) {
    if !Path::new("/usr/bin/skopeo").exists() {
        return w.skip("skopeo is not installed");
    }
    w.load(&small(1), "example.org/deep/one:1");
    w.load(&small(2), "two:2");
    let store = w.store().join("images").display().to_string();
    for (name, image) in whole_images(&w.store()) {
        let told = w.command("skopeo").args(["inspect", &format!("oci:{store}:{name}")]).ok();
        assert!(told.stdout.contains(&image), "{told}");
        let copy = w.dir().join("copy").display().to_string();
        w.command("skopeo")
            .args(["--insecure-policy", "copy", "-q", &format!("oci:{store}:{name}"), &format!("dir:{copy}")])
            .ok();
    }
}

/// Bytes that do not compress.
fn noise(size: usize) -> Vec<u8> {
    let chance = Chance::new();
    (0..size / 4).flat_map(|_| chance.below(1 << 32).to_le_bytes().into_iter().take(4)).collect()
}

fn nobody_waits_for_a_pull(w: &World) {
    let registry = match Registry::start(w) {
        Ok(registry) => registry,
        Err(reason) => return w.skip(&reason),
    };
    // It shares a layer with the image that is run meanwhile.
    let large = busybox_image(w).with(layer(&[Entry::new("large", Kind::File(noise(40 << 20)))]));
    let name = registry.push(&large.layout(w, "layout", "latest"), "large:1");
    let archive = small(1).docker_archive(w, "small.tar", "small:1").display().to_string();
    let mut pull = w.kelp(["pull", "-q", &name]).limit(120).spawn();
    let arriving = || {
        let files = fs::read_dir(w.store().join("images/partial")).into_iter().flatten().flatten();
        files.filter_map(|file| file.metadata().ok()).any(|it| it.len() > 1 << 20)
    };
    kelp_tests::until("the layer arrives", || arriving() || !pull.runs());
    // It holds now whatever it holds on the way.
    pull.signal(Signal::STOP);
    if !pull.runs() {
        return w.skip("the pull was faster than the test");
    }
    w.load_busybox();
    w.kelp(["images"]).limit(20).ok();
    w.kelp(["ps", "-a"]).limit(20).ok();
    let output = w.kelp(["run", "--rm", "--network", "none", "busybox", "echo", "works"]).limit(20).ok();
    assert_eq!(output.stdout, "works\n");
    w.kelp(["load", "-q", "-i", &archive]).limit(20).ok();
    w.kelp(["image", "inspect", "small:1"]).limit(20).ok();
    pull.signal(Signal::CONT);
    pull.output().ok();
    assert_eq!(whole_images(&w.store()).len(), 3);
}

fn a_list_shows_what_is_there_now(w: &World) {
    w.load(&small(1), "one:1");
    let shown = |w: &World| w.kelp(["images", "--format", "{{.Repository}} {{.ID}} {{.Size}}"]).ok().stdout;
    let before = shown(w);
    assert_eq!(shown(w), before, "the second list is the remembered one");
    w.load(&small(2), "one:1");
    let after = shown(w);
    assert!(after.lines().count() == 2 && after.contains("<none> "), "{after}");
    // Nothing depends on what is remembered.
    for content in ["", "no json", "{}"] {
        w.write("store/images/listing", content);
        assert_eq!(shown(w), after);
    }
    w.kelp(["image", "prune", "-f"]).ok();
    assert_eq!(shown(w).lines().count(), 1);
    let id = w.kelp(["images", "-q", "--no-trunc"]).ok().text().to_owned();
    let config = w.store().join("images/blobs/sha256").join(id.trim_start_matches("sha256:"));
    fs::remove_file(config).unwrap();
    w.kelp(["image", "inspect", "one:1"]).output().code(1).explains(&[]);
}

/// Names and sizes of all blobs.
fn blobs(w: &World) -> Vec<(String, u64)> {
    let dir = w.store().join("images/blobs/sha256");
    let size = |name: String| (name.clone(), fs::metadata(dir.join(name)).unwrap().len());
    entries(&dir).into_iter().map(size).collect()
}

fn a_damaged_index_is_named_and_nothing_overwrites_it(w: &World) {
    let archive = small(2).docker_archive(w, "two.tar", "two:1").display().to_string();
    let tar = w.write("root.tar", layer(&[Entry::new("etc/", Kind::Folder)])).display().to_string();
    w.load(&small(1), "one:1");
    let index = w.store().join("images/index.json");
    let (good, all) = (fs::read_to_string(&index).unwrap(), blobs(w));
    let lines: [&[&str]; 12] = [
        &["images"],
        &["image", "inspect", "one:1"],
        &["history", "one:1"],
        &["tag", "one:1", "three:1"],
        &["rmi", "-f", "one:1"],
        &["save", "-o", "/dev/null", "one:1"],
        &["load", "-i", &archive],
        &["import", &tar, "four:1"],
        &["create", "one:1", "true"],
        &["image", "prune", "-af"],
        &["system", "prune", "-af"],
        &["system", "df"],
    ];
    for content in ["", "junk", "{}", &good[..good.len() / 2]] {
        w.write("store/images/index.json", content);
        for line in lines {
            let failed = w.kelp(line).output().explains(&["images/index.json", "it is"]).hints("put a copy of it back");
            assert_eq!(fs::read_to_string(&index).unwrap(), content, "{failed}");
        }
        assert_eq!(blobs(w), all);
    }
    w.write("store/images/index.json", good);
    w.kelp(["load", "-q", "-i", &archive]).ok();
    assert_eq!(whole_images(&w.store()).len(), 2);
}

fn containers_and_volumes_do_not_need_the_index(w: &World) {
    w.load_busybox();
    let run = ["run", "-d", "--network", "none", "--name"];
    w.kelp(run).args(["up", "busybox", "sh", "-c", "echo said; sleep 1000"]).ok();
    w.kelp(run).args(["ended", "-v", "/data", "busybox", "true"]).ok();
    w.kelp(["wait", "ended"]).ok();
    w.kelp(["volume", "create", "kept"]).ok();
    let index = w.store().join("images/index.json");
    let good = fs::read(&index).unwrap();
    w.write("store/images/index.json", "junk");
    assert_eq!(w.kelp(["exec", "up", "echo", "in"]).ok().stdout, "in\n");
    assert_eq!(w.kelp(["logs", "up"]).ok().stdout, "said\n");
    assert_eq!(w.kelp(["ps", "-aq"]).ok().stdout.lines().count(), 2);
    w.kelp(["inspect", "up"]).ok();
    w.kelp(["inspect", "kept"]).ok();
    w.kelp(["inspect", "absent"]).output().explains(&["images/index.json"]);
    w.kelp(["restart", "-t", "0", "up"]).ok();
    w.kelp(["start", "-a", "ended"]).ok();
    let pruned = w.kelp(["system", "prune", "-f", "--volumes"]).output();
    let pruned = pruned.code(1).explains(&["images/index.json"]).says("Deleted Containers").says("Deleted Volumes");
    assert!(pruned.stdout.contains("Total reclaimed space"), "{pruned}");
    assert_eq!(w.kelp(["ps", "-a", "--format", "{{.Names}}"]).ok().text(), "up");
    assert_eq!(w.kelp(["volume", "ls", "-q"]).ok().text(), "kept");
    w.kelp(["rm", "-f", "up"]).ok();
    w.write("store/images/index.json", good);
    w.kelp(["run", "--rm", "--network", "none", "busybox", "true"]).ok();
}

fn no_image_goes_because_the_index_is_lost(w: &World) {
    w.load(&small(1), "one:1");
    w.load_busybox();
    let id = w.kelp(["images", "-q", "busybox"]).ok().text().to_owned();
    let all = blobs(w);
    fs::remove_file(w.store().join("images/index.json")).unwrap();
    let lines: [&[&str]; 6] = [
        &["images"],
        &["run", "--rm", "busybox", "true"],
        &["rmi", "one:1"],
        &["image", "prune", "-af"],
        &["system", "prune", "-af"],
        &["tag", "one:1", "two:1"],
    ];
    for line in lines {
        w.kelp(line).output().explains(&["images/index.json", "missing"]).hints("kelp load");
    }
    assert_eq!(blobs(w), all);
    // What comes next brings an index that has the others, too.
    w.load(&small(2), "two:1");
    let shown = w.kelp(["images", "--format", "{{.Repository}}"]).ok().stdout;
    assert_eq!(shown.lines().filter(|name| *name == "<none>").count(), 2, "{shown}");
    assert!(shown.contains("two"), "{shown}");
    w.kelp(["tag", &id, "busybox:found"]).ok();
    assert_eq!(w.kelp(["run", "--rm", "--network", "none", "busybox:found", "echo", "ran"]).ok().stdout, "ran\n");
    w.load(&small(1), "one:1");
    let shown = w.kelp(["images", "--format", "{{.Repository}}"]).ok().stdout;
    assert!(!shown.contains("<none>"), "{shown}");
    w.kelp(["system", "prune", "-f"]).ok();
    assert_eq!(whole_images(&w.store()).len(), 3);
}

fn a_new_store_has_an_index(w: &World) {
    assert_eq!(w.kelp(["images", "-q"]).ok().stdout, "");
    let index = w.store().join("images/index.json");
    assert_eq!(read_json(&index)["manifests"], json!([]));
    // Without an image nothing is lost with it.
    fs::remove_file(&index).unwrap();
    w.kelp(["system", "prune", "-af"]).ok();
    assert_eq!(read_json(&index)["manifests"], json!([]));
}
