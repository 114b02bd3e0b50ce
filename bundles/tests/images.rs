// SPDX-License-Identifier: Apache-2.0
//! The library from outside: images made by skopeo and umoci, a real registry, a store that others use meanwhile.
//!
//! `harness = false`: work inside an id map starts this very program again, before it has threads.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kelp_bundles::load::{self, Source};
use kelp_bundles::store::{Force, Partials};
use kelp_bundles::{Event, IdMap, Kind, Platform, Progress, Quiet, Reference, Store, job, pull};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    if let Some(status) = job::run_if_asked() {
        return status;
    }
    let tests: &[(&str, fn())] = &[
        ("a_loaded_image_is_what_skopeo_reads_back", a_loaded_image_is_what_skopeo_reads_back),
        ("archives_of_both_kinds_load_from_a_stream", archives_of_both_kinds_load_from_a_stream),
        ("an_archive_in_a_file_is_unpacked_while_it_is_copied", an_archive_in_a_file_is_unpacked_while_it_is_copied),
        ("an_archive_whose_layer_is_another_leaves_nothing", an_archive_whose_layer_is_another_leaves_nothing),
        ("names_move_and_removal_frees_all", names_move_and_removal_frees_all),
        ("a_pinned_image_is_not_collected", a_pinned_image_is_not_collected),
        ("a_single_id_map_records_owners", a_single_id_map_records_owners),
        ("a_pull_brings_what_skopeo_pushed", a_pull_brings_what_skopeo_pushed),
        ("a_broken_connection_is_resumed", a_broken_connection_is_resumed),
        ("a_lying_registry_leaves_nothing", a_lying_registry_leaves_nothing),
        ("two_pulls_download_once", two_pulls_download_once),
        ("the_collector_spares_a_load_at_work", the_collector_spares_a_load_at_work),
    ];
    let missing = ["skopeo", "umoci", "docker-registry"].into_iter().find(|program| !installed(program));
    let trials = tests.iter().map(|(name, test)| {
        Trial::test(*name, move || std::panic::catch_unwind(test).map_err(|_| Failed::from("see above")))
            .with_ignored_flag(missing.is_some())
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

fn installed(program: &str) -> bool {
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(|dir| dir.join(program).is_file())
}

fn run(program: &str, args: &[&str]) -> String {
    let mut command = Command::new(program);
    // No logins of whoever runs the tests.
    command.args(args).env("REGISTRY_AUTH_FILE", "/nonexistent/auth.json").stdin(Stdio::null());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A folder with an image of two layers in an OCI layout.
struct World {
    dir: tempfile::TempDir,
    store: Store,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        Self { dir, store }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `oci:DIR:image`, of two layers with files of some size and several owners.
    fn layout(&self) -> String {
        self.layout_of("layout", 300_000)
    }

    fn layout_of(&self, name: &str, size: usize) -> String {
        let layout = self.path(name).display().to_string();
        run("umoci", &["init", "--layout", &layout]);
        let image = format!("{layout}:image");
        run("umoci", &["new", "--image", &image]);
        for (i, owner) in [0, 33].into_iter().enumerate() {
            let tree = self.path(&format!("{name}-tree-{i}"));
            fs::create_dir_all(tree.join("etc")).unwrap();
            fs::write(tree.join("etc/passwd"), format!("user{i}:x:{owner}:{owner}::/home:/bin/sh\n")).unwrap();
            fs::write(tree.join(format!("data-{i}")), noise(size, i as u64)).unwrap();
            let tar = self.path(&format!("{name}-{i}.tar")).display().to_string();
            let owner = owner.to_string();
            run("tar", &["-C", &tree.display().to_string(), "--owner", &owner, "--group", &owner, "-cf", &tar, "."]);
            run("umoci", &["raw", "add-layer", "--image", &image, &tar]);
        }
        run("umoci", &["config", "--image", &image, "--config.cmd", "/bin/sh", "--config.user", "user1"]);
        format!("oci:{image}")
    }

    fn load(&self) -> kelp_bundles::Image {
        self.layout();
        load::load(&self.store, Source::Path(&self.path("layout")), &Quiet).unwrap().remove(0)
    }

    fn count(&self, folder: &str) -> usize {
        let entries = fs::read_dir(self.store.root().join(folder)).unwrap().flatten();
        entries.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.')).count()
    }
}

/// Bytes that do not compress.
fn noise(size: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(size).collect()
}

fn skopeo(from: &str, to: &str) {
    run("skopeo", &["--insecure-policy", "copy", "-q", "--dest-tls-verify=false", from, to]);
}

fn a_loaded_image_is_what_skopeo_reads_back() {
    let w = World::new();
    let image = w.load();
    assert_eq!(image.name.as_ref().unwrap().familiar(), "image:latest");
    w.store.tag("image", &"localhost:5000/deep/name:v1".parse().unwrap()).unwrap();
    let place = format!("oci:{}:localhost:5000/deep/name:v1", w.store.images().display());
    let inspected = run("skopeo", &["inspect", &place]);
    assert!(inspected.contains(image.manifest.as_str()), "{inspected}");
    let unpacked = w.store.unpack(&image, &IdMap::of_caller().unwrap(), &Quiet).unwrap();
    assert_eq!(unpacked.lower.len(), 2);
    let layers = kelp_bundles::LayerStack::open(&unpacked.lower).unwrap();
    let defaults = kelp_bundles::process::defaults(&image.config, &layers, &Default::default()).unwrap();
    assert_eq!((defaults.args, defaults.uid, defaults.gid), (vec!["/bin/sh".to_owned()], 33, 33));
}

fn archives_of_both_kinds_load_from_a_stream() {
    let w = World::new();
    let layout = w.layout();
    let loaded = |kind: &str, compress: &[&str]| {
        let file = w.path(kind).display().to_string();
        skopeo(&layout, &format!("{kind}:{file}:app:{kind}"));
        let bytes = if compress.is_empty() {
            fs::read(&file).unwrap()
        } else {
            Command::new(compress[0]).args(&compress[1..]).arg("-c").arg(&file).output().unwrap().stdout
        };
        let mut stream = Trickle(&bytes);
        load::load(&w.store, Source::Stream(&mut stream), &Quiet).unwrap().remove(0)
    };
    let docker = loaded("docker-archive", &["gzip", "-1"]);
    let oci = loaded("oci-archive", &["zstd", "-1", "-q"]);
    assert_eq!(docker.name.as_ref().unwrap().familiar(), "app:docker-archive");
    assert_eq!(oci.name.as_ref().unwrap().familiar(), "app:oci-archive");
    assert_eq!(docker.id, oci.id, "the same config, so the same image");
    let ids = |image: &kelp_bundles::Image| image.layers.iter().map(|l| l.chain_id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&docker), ids(&oci));
}

/// A reader that gives a few bytes at a time, as pipes may.
struct Trickle<'b>(&'b [u8]);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = buffer.len().min(777);
        self.0.read(&mut buffer[..n])
    }
}

/// Holds the copy up until the first layer is being unpacked, and remembers that it was.
#[derive(Default)]
struct Together {
    unpacking: AtomicBool,
    copied: AtomicUsize,
}

impl Progress for Together {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::UnpackBegins(..) => self.unpacking.store(true, Ordering::Relaxed),
            Event::Fetched(..) => {
                let until = Instant::now() + Duration::from_secs(20);
                while !self.unpacking.load(Ordering::Relaxed) && Instant::now() < until {
                    std::thread::sleep(Duration::from_millis(1));
                }
                assert!(self.unpacking.load(Ordering::Relaxed), "nothing is unpacked before all is copied");
                self.copied.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
    }
}

/// Archives of either kind, of an image whose second layer is noise, each beside a store of its own.
fn each_archive(claim: impl Fn(&str, &World, &Path)) {
    let layouts = World::new();
    let layout = layouts.layout_of("large", 2_000_000);
    for kind in ["docker-archive", "oci-archive"] {
        let w = World::new();
        let file = w.path("a.tar");
        skopeo(&layout, &format!("{kind}:{}:app:1", file.display()));
        claim(kind, &w, &file);
    }
}

fn an_archive_in_a_file_is_unpacked_while_it_is_copied() {
    each_archive(|kind, w, file| {
        let heard = Together::default();
        let map = IdMap::of_caller().unwrap();
        let image = load::load_and_unpack(&w.store, Source::Path(file), &map, &heard).unwrap().remove(0);
        assert!(heard.copied.into_inner() > 2, "{kind}: both layers came in pieces");
        let lower = w.store.unpacked(&image).unwrap().expect("the load unpacked it").lower;
        assert_eq!(fs::read(lower[1].join("data-1")).unwrap(), noise(2_000_000, 1), "{kind}");
        // Whatever is behind the position of an open file is the archive.
        let again = World::new();
        let shifted = again.path("shifted.tar");
        fs::write(&shifted, [b"head".as_slice(), &fs::read(file).unwrap()].concat()).unwrap();
        let mut open = fs::File::open(&shifted).unwrap();
        open.read_exact(&mut [0; 4]).unwrap();
        let shifted = load::load_and_unpack(&again.store, Source::Open(open), &map, &Quiet).unwrap().remove(0);
        assert_eq!(shifted.id, image.id, "{kind}");
    });
}

fn an_archive_whose_layer_is_another_leaves_nothing() {
    each_archive(|kind, w, file| {
        let mut bytes = fs::read(file).unwrap();
        // The noise of the second layer is nowhere else; compressed it is as it was.
        let piece = &noise(2_000_000, 1)[1_000_000..1_000_032];
        let place = bytes.windows(32).position(|window| window == piece).expect("the layer is in the archive");
        bytes[place] ^= 1;
        fs::write(file, &bytes).unwrap();
        let map = IdMap::of_caller().unwrap();
        let refused = |w: &World, source: Source<'_>| {
            let error = load::load_and_unpack(&w.store, source, &map, &Quiet).unwrap_err();
            assert_eq!(error.kind(), Kind::BadInput, "{kind}: {error}");
            assert!(w.store.list().unwrap().is_empty());
            assert_eq!((w.count("images/ingest"), w.count("layers"), w.count("layers/.ingest")), (0, 0, 0));
        };
        refused(w, Source::Path(file));
        refused(w, Source::Stream(&mut Trickle(&bytes)));
        bytes.truncate(place);
        fs::write(file, &bytes).unwrap();
        refused(w, Source::Path(file));
    });
}

fn names_move_and_removal_frees_all() {
    let w = World::new();
    let image = w.load();
    w.store.unpack(&image, &IdMap::of_caller().unwrap(), &Quiet).unwrap();
    let other: Reference = "other:1".parse().unwrap();
    w.store.tag(image.id.as_str(), &other).unwrap();
    assert_eq!(w.store.remove(image.id.short(), Force::No).unwrap_err().kind(), Kind::InUse);
    let removed = w.store.remove("image", Force::No).unwrap();
    assert_eq!((removed.untagged.len(), removed.deleted.len()), (1, 0));
    assert_eq!(w.store.find("image", &Platform::host()).unwrap_err().kind(), Kind::NotFound);
    assert_eq!(w.store.find(&image.id.hex()[..8], &Platform::host()).unwrap().name, Some(other));
    // Another image takes the name: the old one stays, without one.
    w.layout_of("second", 1000);
    load::load(&w.store, Source::Path(&w.path("second")), &Quiet).unwrap();
    w.store.tag("image", &"other:1".parse().unwrap()).unwrap();
    let listed = w.store.list().unwrap();
    assert_eq!(listed.iter().filter(|l| l.name.is_none()).count(), 1);
    for listed in &listed {
        let id = &listed.image.as_ref().unwrap().id;
        if w.store.find(id.as_str(), &Platform::host()).is_ok() {
            w.store.remove(id.as_str(), Force::Yes).unwrap();
        }
    }
    assert_eq!((w.count("images/blobs/sha256"), w.count("layers"), w.count("layers/.trash")), (0, 0, 0));
}

fn a_pinned_image_is_not_collected() {
    let w = World::new();
    let image = w.load();
    let container = w.store.root().join("containers/c1");
    fs::create_dir_all(&container).unwrap();
    w.store.pin(&container, &image).unwrap();
    let lower = w.store.unpack(&image, &IdMap::of_caller().unwrap(), &Quiet).unwrap().lower;
    let error = w.store.remove("image", Force::No).unwrap_err();
    assert!(error.kind() == Kind::InUse && error.because().contains("c1"), "{error}");
    w.store.remove("image", Force::Yes).unwrap();
    assert!(lower.iter().all(|layer| layer.exists()));
    fs::remove_dir_all(&container).unwrap();
    let freed = w.store.collect(Partials::Keep).unwrap();
    assert_eq!((freed.layers, lower[0].exists(), w.count("images/blobs/sha256")), (2, false, 0));
}

fn a_single_id_map_records_owners() {
    let w = World::new();
    let image = w.load();
    let map = IdMap::Single {
        uid: kelp_sys::rustix::process::geteuid().as_raw(),
        gid: kelp_sys::rustix::process::getegid().as_raw(),
        because: "the test wants so".into(),
    };
    let heard = Heard::default();
    let lower = w.store.unpack(&image, &map, &heard).unwrap().lower;
    assert_eq!(heard.unpacked.load(Ordering::Relaxed), 2);
    let mut value = [0u8; 16];
    let n = kelp_sys::rustix::fs::getxattr(lower[1].join("data-1"), "user.kelp.owner", &mut value).unwrap();
    assert_eq!(&value[..n], b"33:33");
    assert!(kelp_sys::rustix::fs::getxattr(lower[0].join("data-0"), "user.kelp.owner", &mut value).is_err());
    let copy = w.path("copy");
    fs::create_dir(&copy).unwrap();
    job::copy_tree(&lower, &copy, &map).unwrap();
    assert!(copy.join("data-0").exists() && copy.join("data-1").exists());
    assert!(fs::read_to_string(copy.join("etc/passwd")).unwrap().starts_with("user1"));
    job::remove_tree(&copy, &map).unwrap();
    assert!(!copy.exists());
    let error = job::copy_tree(&lower, &copy, &map).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound, "an error keeps its kind on the way: {error}");
}

#[derive(Default)]
struct Heard {
    unpacked: AtomicUsize,
    bytes: AtomicUsize,
    skipped: AtomicUsize,
    notes: AtomicUsize,
}

impl Progress for Heard {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::UnpackDone(_) => self.unpacked.fetch_add(1, Ordering::Relaxed),
            Event::Fetched(_, n) => self.bytes.fetch_add(n as usize, Ordering::Relaxed),
            Event::FetchSkipped(_) => self.skipped.fetch_add(1, Ordering::Relaxed),
            Event::Note(_) => self.notes.fetch_add(1, Ordering::Relaxed),
            _ => 0,
        };
    }
}

/// Debian's docker-registry on a port of its own.
struct Registry {
    child: Child,
    port: u16,
    dir: tempfile::TempDir,
}

impl Registry {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = dir.path().join("config.yml");
        let text = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n",
            dir.path().join("data").display()
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new("docker-registry");
        let child = command.arg("serve").arg(&config).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let registry = Self { child, port, dir };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "the registry does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        registry
    }

    fn name(&self, name: &str) -> Reference {
        format!("127.0.0.1:{}/{name}", self.port).parse().unwrap()
    }

    fn push(&self, layout: &str, name: &str) -> Reference {
        let name = self.name(name);
        skopeo(layout, &format!("docker://{name}"));
        name
    }

    /// The largest blob's file.
    fn largest_blob(&self) -> PathBuf {
        let found = run("find", &[&self.dir.path().display().to_string(), "-name", "data", "-type", "f"]);
        let files = found.lines().map(PathBuf::from);
        files.max_by_key(|file| fs::metadata(file).unwrap().len()).unwrap()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn a_pull_brings_what_skopeo_pushed() {
    let w = World::new();
    let registry = Registry::start();
    let name = registry.push(&w.layout(), "deep/app:v1");
    let image = pull::pull(&w.store, &name, &pull::Options::default(), &Quiet).unwrap();
    let remote = run("skopeo", &["inspect", "--tls-verify=false", &format!("docker://{name}")]);
    assert!(remote.contains(image.manifest.as_str()), "{remote}");
    let again = Heard::default();
    pull::pull(&w.store, &name, &pull::Options::default(), &again).unwrap();
    assert_eq!((again.bytes.into_inner(), again.skipped.into_inner()), (0, 3), "all was there");
    let pinned = name.with_digest(&image.manifest);
    assert_eq!(w.store.resolve(&pinned, &Platform::host()).unwrap().id, image.id);
    pull::pull(&w.store, &pinned, &pull::Options::default(), &Quiet).unwrap();
    let absent = registry.name("deep/app:none");
    let error = pull::pull(&w.store, &absent, &pull::Options::default(), &Quiet).unwrap_err();
    assert!(error.kind() == Kind::NotFound && error.advice().is_some(), "{error}");
    w.store.unpack(&image, &IdMap::of_caller().unwrap(), &Quiet).unwrap();
}

/// Between client and registry; does to the stream what the test wants.
struct Between {
    port: u16,
}

impl Between {
    /// `spoil(answer number, bytes so far)` says how many more bytes may pass before the line is cut.
    fn start(to: u16, spoil: impl Fn(usize, usize) -> Option<usize> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let spoil = std::sync::Arc::new(spoil);
        std::thread::spawn(move || {
            for (number, client) in listener.incoming().enumerate() {
                let (client, spoil) = (client.unwrap(), spoil.clone());
                std::thread::spawn(move || relay(client, to, |sent| spoil(number, sent)));
            }
        });
        Self { port }
    }
}

fn relay(mut client: TcpStream, to: u16, spoil: impl Fn(usize) -> Option<usize>) {
    let mut server = TcpStream::connect(("127.0.0.1", to)).unwrap();
    let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    std::thread::spawn(move || std::io::copy(&mut from_client, &mut to_server));
    let (mut sent, mut buffer) = (0, [0; 16384]);
    while let Ok(n @ 1..) = server.read(&mut buffer) {
        let may = spoil(sent).map_or(n, |left| left.min(n));
        if client.write_all(&buffer[..may]).is_err() || may < n {
            break;
        }
        sent += n;
    }
    let ended = (client.shutdown(std::net::Shutdown::Both), server.shutdown(std::net::Shutdown::Both));
    drop(ended);
}

fn a_broken_connection_is_resumed() {
    let w = World::new();
    let registry = Registry::start();
    let name = registry.push(&w.layout_of("large", 3_000_000), "app:v1");
    let cuts = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = cuts.clone();
    let between = Between::start(registry.port, move |_, sent| {
        // Every line that carries a large blob is cut after a while, five times in all.
        let cut = sent > 600_000 && counted.load(Ordering::Relaxed) < 5;
        cut.then(|| {
            counted.fetch_add(1, Ordering::Relaxed);
            100
        })
    });
    let name: Reference =
        name.to_string().replace(&registry.port.to_string(), &between.port.to_string()).parse().unwrap();
    let heard = Heard::default();
    let image = pull::pull(&w.store, &name, &pull::Options::default(), &heard).unwrap();
    assert!(cuts.load(Ordering::Relaxed) == 5 && heard.notes.into_inner() >= 5);
    let size = image.size() as usize;
    let bytes = heard.bytes.into_inner();
    assert!(bytes < size + size / 10, "{bytes} bytes travelled for {size}: it began anew");
}

fn a_lying_registry_leaves_nothing() {
    let w = World::new();
    let registry = Registry::start();
    let name = registry.push(&w.layout(), "app:v1");
    let blob = registry.largest_blob();
    let good = fs::read(&blob).unwrap();
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;
    fs::write(&blob, &bad).unwrap();
    let error = pull::pull(&w.store, &name, &pull::Options::default(), &Quiet).unwrap_err();
    assert_eq!(error.kind(), Kind::BadInput, "{error}");
    assert!(w.store.list().unwrap().is_empty());
    fs::write(&blob, &good).unwrap();
    pull::pull(&w.store, &name, &pull::Options::default(), &Quiet).unwrap();
    assert_eq!((w.count("images/partial"), w.count("images/ingest")), (0, 0));
}

fn two_pulls_download_once() {
    let w = World::new();
    let registry = Registry::start();
    let name = registry.push(&w.layout_of("large", 2_000_000), "app:v1");
    let heard = Heard::default();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| pull::pull(&w.store, &name, &pull::Options::default(), &heard).unwrap());
        }
    });
    let image = w.store.resolve(&name, &Platform::host()).unwrap();
    let config = fs::metadata(w.store.blob(&image.id)).unwrap().len();
    assert_eq!(heard.bytes.into_inner() as u64, image.size() + config);
}

/// Says so when it goes, also by a panic: nobody waits for ever for what failed.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn the_collector_spares_a_load_at_work() {
    let w = World::new();
    let file = w.path("a.tar").display().to_string();
    skopeo(&w.layout_of("large", 2_000_000), &format!("docker-archive:{file}:app:1"));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                w.store.collect(Partials::Delete).unwrap();
            }
        });
        let _done = Done(&done);
        for _ in 0..10 {
            load::load(&w.store, Source::Path(Path::new(&file)), &Quiet).unwrap();
            let image = w.store.find("app:1", &Platform::host()).unwrap();
            assert!(image.layers.iter().all(|layer| w.store.blob(&layer.blob).exists()));
            w.store.unpack(&image, &IdMap::of_caller().unwrap(), &Quiet).unwrap();
            w.store.remove("app:1", Force::No).unwrap();
        }
    });
    assert_eq!((w.count("images/blobs/sha256"), w.count("layers"), w.count("layers/.ingest")), (0, 0, 0));
}
