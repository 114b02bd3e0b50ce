// SPDX-License-Identifier: Apache-2.0
//! Registries: push, login, search, mirrors, certificates, proxies, and pulls that are interrupted.
//!
//! Runs `kelp` as root and as an unprivileged user against Debian's `docker-registry`; `skopeo` says what is true.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use kelp_tests::{Compression, Entry, Kind, LOGIN, Registry, Terminal, World, busybox_image, claims, layer, until};
use rustix::process::Signal;
use serde_json::{Value, json};

claims!(as_root, as_user:
    what_is_pushed_is_what_skopeo_reads_and_only_missing_blobs_travel,
    a_plain_layer_is_packed_once_on_its_way_to_a_registry,
    a_layer_that_the_registry_has_plain_is_not_packed,
    a_killed_push_leaves_no_packed_layer,
    a_guarded_registry_wants_its_certificate_and_a_login,
    a_login_may_be_kept_by_a_helper,
    a_helper_may_be_for_one_registry_and_is_asked_once,
    a_registry_may_want_to_know_whose_certificate_we_have,
    all_tags_are_pushed_at_once,
    each_obstacle_has_its_own_hint,
    a_registry_is_searched_and_its_tags_are_listed,
    all_tags_are_pulled_at_once,
    a_killed_pull_goes_on_where_it_stopped,
    a_killed_pull_in_parts_goes_on_where_it_stopped,
    a_mirror_is_asked_first_and_the_registry_when_it_fails,
    a_registry_may_be_somewhere_else_than_its_name_says,
    a_short_name_may_be_an_alias,
    a_proxy_of_the_environment_is_used_unless_spared,
    a_proxys_password_is_in_no_error,
    an_image_for_another_machine_is_pulled_and_said_not_to_run,
    a_processor_gets_the_best_variant_that_it_can_run,
    a_quiet_pull_prints_the_full_name_and_another_a_line_per_layer,
    what_is_pulled_always_is_not_said_to_be_missing,
    dockers_default_platform_is_taken_unless_another_is_named,
    a_pull_on_a_terminal_draws_a_line_per_layer,
    buildah_runs_what_kelp_pushed_and_kelp_what_buildah_made,
);

/// Or the reason why not, to standard error.
macro_rules! registry {
    ($start:expr, $world:expr) => {
        match $start {
            Ok(registry) => registry,
            Err(reason) => return $world.skip(&reason),
        }
    };
}

fn digest_by_skopeo(w: &World, reference: &str) -> String {
    let flags = ["inspect", "--tls-verify=false", "--no-creds", "--format", "{{.Digest}}"];
    w.command("skopeo").args(flags).arg(&format!("docker://{reference}")).ok().stdout.trim().to_owned()
}

fn what_is_pushed_is_what_skopeo_reads_and_only_missing_blobs_travel(w: &World) {
    let registry = registry!(Registry::start(w), w);
    w.load_busybox();
    let (first, second) = (registry.name("one/app:v1"), registry.name("two/deep/app:v2"));
    w.kelp(["tag", "busybox", &first]).ok();
    w.kelp(["tag", "busybox", &second]).ok();
    let pushed = w.kelp(["push", &first]).ok();
    let digest = digest_by_skopeo(w, &first);
    assert!(pushed.stdout.contains(&digest) && pushed.stderr.contains("Pushed"), "{pushed}");
    let again = w.kelp(["push", &first]).ok();
    assert!(!again.stderr.contains("Pushed") && again.stderr.contains("already exists"), "all was there\n{again}");
    let mounted = w.kelp(["push", &second]).ok();
    let pushed = mounted.stderr.lines().filter(|line| line.contains("Pushed")).count();
    assert!(pushed <= 1, "the layer is taken from the other repository, the config may travel\n{mounted}");
    assert_eq!(digest_by_skopeo(w, &second), digest);
    let elsewhere = w.dir().join("elsewhere").display().to_string();
    w.kelp(["--root", &elsewhere, "pull", "-q", &second]).ok();
    let inspected = w.kelp(["manifest", "inspect", "-v", &second]).ok().json();
    assert_eq!(inspected["Descriptor"]["digest"], json!(digest));
    assert_eq!(inspected["OCIManifest"]["layers"].as_array().map(Vec::len), Some(1));
}

/// The name of an image whose one layer is the plain tar that `kelp import` read.
fn import_busybox(w: &World, name: &str) {
    w.load_busybox();
    w.kelp(["create", "--network", "none", "--name", "c", "busybox", "true"]).ok();
    let tar = w.dir().join("tree.tar").display().to_string();
    w.kelp(["export", "-o", &tar, "c"]).ok();
    w.kelp(["rm", "c"]).ok();
    w.kelp(["import", &tar, name]).ok();
}

fn manifest_by_skopeo(w: &World, reference: &str) -> Value {
    let flags = ["inspect", "--raw", "--tls-verify=false", "--no-creds"];
    w.command("skopeo").args(flags).arg(&format!("docker://{reference}")).ok().json()
}

/// What the registry keeps of this digest.
fn blob_in_registry(w: &World, digest: &Value) -> Vec<u8> {
    let hex = digest.as_str().unwrap().strip_prefix("sha256:").unwrap();
    let blobs = w.dir().join("registry/docker/registry/v2/blobs/sha256");
    fs::read(blobs.join(&hex[..2]).join(hex).join("data")).unwrap()
}

fn a_plain_layer_is_packed_once_on_its_way_to_a_registry(w: &World) {
    let registry = registry!(Registry::start(w), w);
    let name = registry.name("app:1");
    import_busybox(w, &name);
    let id = w.kelp(["inspect", "-f", "{{.Id}}", &name]).ok().text().to_owned();
    let pushed = w.kelp(["push", &name]).ok();
    let manifest = manifest_by_skopeo(w, &name);
    let layer = &manifest["layers"][0];
    assert_eq!(layer["mediaType"], "application/vnd.oci.image.layer.v1.tar+gzip", "{manifest}");
    assert_eq!(manifest["config"]["digest"], json!(id), "{manifest}");
    let blob = blob_in_registry(w, &layer["digest"]);
    assert_eq!((&blob[..2], json!(blob.len())), (&[0x1f, 0x8b][..], layer["size"].clone()));
    let digest = digest_by_skopeo(w, &name);
    assert!(pushed.stdout.contains(&digest), "{digest}\n{pushed}");
    let known = || w.kelp(["inspect", "-f", "{{json .RepoDigests}}", &name]).ok().json();
    let pinned = format!("{}@{digest}", registry.name("app"));
    assert_eq!(known(), json!([pinned]));
    let again = w.kelp(["push", &name]).ok();
    assert!(!again.stderr.contains("Pushed") && again.stdout.contains(&digest), "nothing travels again\n{again}");
    // Another tag of the repository has the same manifest.
    w.kelp(["tag", &name, &registry.name("app:2")]).ok();
    let tagged = w.kelp(["push", &registry.name("app:2")]).ok();
    assert!(!tagged.stderr.contains("Pushed") && tagged.stdout.contains(&digest), "{tagged}");
    let elsewhere = w.dir().join("elsewhere").display().to_string();
    let run = ["--root", &elsewhere, "run", "--rm", "--network", "none", &name, "echo", "ran"];
    assert_eq!(w.kelp(run).ok().stdout, "ran\n");
    w.kelp(["pull", "-q", &name]).ok();
    assert_eq!((known(), w.kelp(["inspect", "-f", "{{.Id}}", &name]).ok().text()), (json!([pinned]), id.as_str()));
    assert_eq!(w.kelp(["run", "--rm", "--network", "none", &name, "echo", "ran"]).ok().stdout, "ran\n");
    let ingest = w.store().join("images/ingest");
    assert_eq!(fs::read_dir(ingest).map_or(0, Iterator::count), 0, "no packed layer stays here");
}

fn a_layer_that_the_registry_has_plain_is_not_packed(w: &World) {
    let registry = registry!(Registry::start(w), w);
    let (name, other) = (registry.name("app:1"), registry.name("app:2"));
    let image = busybox_image(w).compression(Compression::Plain);
    let layout = format!("oci:{}:latest", image.layout(w, "layout", "latest").display());
    let copy =
        ["copy", "--quiet", "--preserve-digests", "--dest-tls-verify=false", &layout, &format!("docker://{name}")];
    w.command("skopeo").args(copy).ok();
    let digest = digest_by_skopeo(w, &name);
    w.kelp(["pull", "-q", &name]).ok();
    w.kelp(["tag", &name, &other]).ok();
    let pushed = w.kelp(["push", &other]).ok();
    assert!(!pushed.stderr.contains("Pushed") && pushed.stdout.contains(&digest), "{digest}\n{pushed}");
    assert_eq!(digest_by_skopeo(w, &other), digest);
    // What comes upon it is packed, and it stays as it is there.
    w.kelp(["run", "--name", "c", "--network", "none", &name, "touch", "/made"]).ok();
    w.kelp(["commit", "c", &other]).ok();
    w.kelp(["rm", "c"]).ok();
    w.kelp(["push", &other]).ok();
    let manifest = manifest_by_skopeo(w, &other);
    let types: Vec<&str> =
        manifest["layers"].as_array().unwrap().iter().map(|layer| layer["mediaType"].as_str().unwrap()).collect();
    let plain = "application/vnd.oci.image.layer.v1.tar";
    assert_eq!(types, [plain, &format!("{plain}+gzip")], "{manifest}");
    let elsewhere = w.dir().join("elsewhere").display().to_string();
    w.kelp(["--root", &elsewhere, "run", "--rm", "--network", "none", &other, "ls", "/made"]).ok();
}

/// Killed while its layer is on its way: the next command that removes something removes the packed one too.
fn a_killed_push_leaves_no_packed_layer(w: &World) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let nobody_answers = thread::spawn(move || {
        let mut kept = Vec::new();
        for mut client in listener.incoming().map_while(Result::ok) {
            let mut head = [0; 4096];
            let n = client.read(&mut head).unwrap_or(0);
            let answer = match &head[..n.min(4)] {
                b"POST" => {
                    "HTTP/1.1 202 Accepted\r\nlocation: /v2/up\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                }
                b"GET " => "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}",
                b"HEAD" => "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
                b"PUT " => {
                    kept.push(client);
                    continue;
                }
                // Who tries TLS first is told that there is none.
                _ => continue,
            };
            client.write_all(answer.as_bytes()).ok();
        }
    });
    let name = format!("127.0.0.1:{port}/app:1");
    import_busybox(w, &name);
    let push = w.kelp(["push", &name]).spawn();
    let ingest = w.store().join("images/ingest");
    let files = || {
        let folders = fs::read_dir(&ingest).into_iter().flatten().flatten();
        folders.filter_map(|folder| fs::read_dir(folder.path()).ok()).flatten().flatten().count()
    };
    until("a packed layer is there", || files() > 0);
    push.signal(Signal::KILL);
    drop(push.output());
    w.kelp(["rmi", "-f", &name]).ok();
    assert_eq!(files(), 0);
    drop(nobody_answers);
}

/// A folder for the user's configuration of containers.
fn config_folder(w: &World) -> PathBuf {
    let folder = w.dir().join("config");
    w.make_dir(&folder.join("containers"));
    folder
}

fn a_guarded_registry_wants_its_certificate_and_a_login(w: &World) {
    let registry = registry!(Registry::start_guarded(w), w);
    let (config, docker) = (config_folder(w).display().to_string(), w.dir().join("docker").display().to_string());
    let kelp = |words: &[&str]| w.kelp(words).env("XDG_CONFIG_HOME", &config).env("DOCKER_CONFIG", &docker);
    let (host, name) = (registry.host(), registry.name("secret/app:v1"));
    w.load_busybox();
    w.kelp(["tag", "busybox", &name]).ok();
    kelp(&["push", &name]).output().code(1).explains(&["certificate"]).hints("certs.d");
    let login = |password: &str| {
        kelp(&["login", "--username", LOGIN.0, "--password-stdin", &host]).stdin(format!("{password}\n"))
    };
    login(LOGIN.1).output().fails();
    let trusted = config_folder(w).join("containers/certs.d").join(&host);
    w.make_dir(&trusted);
    fs::copy(w.dir().join("ca.crt"), trusted.join("ca.crt")).unwrap();
    kelp(&["push", &name]).output().code(1).explains(&["401"]).hints("kelp login");
    login("wrong").output().fails().explains(&["401"]);
    assert!(!w.dir().join("docker/config.json").exists(), "a login that failed is not kept");
    assert!(login(LOGIN.1).ok().stdout.contains("Login Succeeded"));
    let kept = fs::read_to_string(w.dir().join("docker/config.json")).unwrap();
    assert!(kept.contains(&host) && !kept.contains(LOGIN.1), "{kept}");
    kelp(&["push", &name]).ok();
    kelp(&["rmi", &name]).ok();
    kelp(&["pull", &name]).ok();
    // Without its certificate, if the user says so.
    fs::remove_file(trusted.join("ca.crt")).unwrap();
    kelp(&["pull", "--tls-verify=false", &name]).ok();
    assert!(kelp(&["logout", &host]).ok().stdout.contains("Removing login credentials"));
    assert!(kelp(&["logout", &host]).ok().stdout.contains("Not logged in"));
    kelp(&["pull", "--tls-verify=false", &name]).output().code(1).hints("kelp login");
}

fn a_login_may_be_kept_by_a_helper(w: &World) {
    let registry = registry!(Registry::start_guarded(w), w);
    let docker = w.dir().join("docker");
    w.make_dir(&docker);
    w.make_dir(&w.dir().join("bin"));
    let kept = w.dir().join("kept").display().to_string();
    let body = format!(
        "case $1 in store) cat >{kept};; get) test -s {kept} && cat {kept} || {{ echo credentials not found in native keychain; exit 1; }};; erase) rm -f {kept};; esac"
    );
    w.script("bin/docker-credential-fake", &body);
    w.write("docker/config.json", r#"{"credsStore": "fake", "detachKeys": "ctrl-q"}"#);
    let path = format!("{}:{}", w.dir().join("bin").display(), std::env::var("PATH").unwrap());
    let docker_config = docker.display().to_string();
    let kelp = |words: &[&str]| w.kelp(words).env("PATH", &path).env("DOCKER_CONFIG", &docker_config);
    let (host, name) = (registry.host(), registry.name("secret/app:v1"));
    kelp(&["login", "--tls-verify=false", "-u", LOGIN.0, "--password-stdin", &host]).stdin(LOGIN.1).ok();
    assert!(fs::read_to_string(&kept).unwrap().contains(LOGIN.1));
    let config = fs::read_to_string(docker.join("config.json")).unwrap();
    assert!(config.contains("ctrl-q") && !config.contains("\"auth\""), "{config}");
    w.load_busybox();
    w.kelp(["tag", "busybox", &name]).ok();
    kelp(&["push", "--tls-verify=false", &name]).ok();
    kelp(&["logout", &host]).ok();
    kelp(&["push", "--tls-verify=false", &name]).output().code(1).hints("kelp login");
}

/// `credHelpers` names a helper for one registry, whatever else `auths` says of it.
fn a_helper_may_be_for_one_registry_and_is_asked_once(w: &World) {
    let registry = registry!(Registry::start_guarded(w), w);
    let (host, name) = (registry.host(), registry.name("secret/app:v1"));
    let asked = w.dir().join("asked").display().to_string();
    w.make_dir(&w.dir().join("bin"));
    let body = format!(
        r#"read host; echo "$1 $host" >>{asked}; echo '{{"ServerURL":"'"$host"'","Username":"{}","Secret":"{}"}}'"#,
        LOGIN.0, LOGIN.1
    );
    w.script("bin/docker-credential-one", &body);
    let config =
        json!({"credHelpers": {&host: "one"}, "credsStore": "nobody", "auths": {&host: {"auth": "d3Jvbmc6d3Jvbmc="}}});
    w.write("docker/config.json", config.to_string());
    let path = format!("{}:{}", w.dir().join("bin").display(), std::env::var("PATH").unwrap());
    let docker = w.dir().join("docker").display().to_string();
    w.load_busybox();
    w.kelp(["tag", "busybox", &name]).ok();
    w.kelp(["push", "--tls-verify=false", &name]).env("PATH", &path).env("DOCKER_CONFIG", &docker).ok();
    assert_eq!(fs::read_to_string(&asked).unwrap(), format!("get {host}\n"));
    // A helper that is not there is named.
    let missing = w.kelp(["push", "--tls-verify=false", &name]).env("DOCKER_CONFIG", &docker).output();
    missing.code(1).explains(&["docker-credential-one"]).hints("credHelpers");
}

fn a_registry_may_want_to_know_whose_certificate_we_have(w: &World) {
    let registry = registry!(Registry::start_for_known_clients(w), w);
    let config = config_folder(w);
    let (folder, xdg) = (config.join("containers/certs.d").join(registry.host()), config.display().to_string());
    w.make_dir(&folder);
    fs::copy(w.dir().join("ca.crt"), folder.join("ca.crt")).unwrap();
    let name = registry.name("app:v1");
    w.load_busybox();
    w.kelp(["tag", "busybox", &name]).ok();
    let push = || w.kelp(["push", &name]).env("XDG_CONFIG_HOME", &xdg);
    push().output().code(1).explains(&["certificate"]);
    fs::copy(w.dir().join("client.crt"), folder.join("client.cert")).unwrap();
    push().output().code(1).explains(&["client.key"]).hints("needs its key");
    fs::copy(w.dir().join("client.key"), folder.join("client.key")).unwrap();
    fs::set_permissions(folder.join("client.key"), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    push().ok();
    w.kelp(["pull", "-q", &name]).env("XDG_CONFIG_HOME", &xdg).ok();
}

fn all_tags_are_pushed_at_once(w: &World) {
    let registry = registry!(Registry::start(w), w);
    w.load_busybox();
    for tag in ["app:1", "app:2", "apple:1"] {
        w.kelp(["tag", "busybox", &registry.name(tag)]).ok();
    }
    let pushed = w.kelp(["push", "-a", &registry.name("app")]).ok();
    let lines: Vec<&str> = pushed.stdout.lines().collect();
    assert!(lines.len() == 2 && lines[0].starts_with("1: digest: sha256:") && lines[1].contains(" size: "), "{pushed}");
    assert_eq!(w.kelp(["tags", &registry.name("app")]).ok().stdout, "1\n2\n");
    w.kelp(["tags", &registry.name("apple")]).output().code(1);
    w.kelp(["push", "-a", &registry.name("app:1")]).output().code(1).explains(&["takes no tag"]);
    w.kelp(["push", "-a", &registry.name("none")]).output().code(1).explains(&["no image here"]);
}

/// No name, nothing that listens, no TLS, nothing of that name, no login: whoever reads the hint knows which.
fn each_obstacle_has_its_own_hint(w: &World) {
    let registry = registry!(Registry::start(w), w);
    let pull = |name: &str| w.kelp(["pull", name]).output().code(1);
    let nobody = kelp_tests::free_port();
    pull("no-such-host.invalid/app").explains(&["no-such-host.invalid"]).hints("name");
    pull(&format!("127.0.0.1:{nobody}/app")).explains(&["refused"]).hints("nothing listens");
    pull(&format!("0.0.0.0:{}/app", registry.port())).hints("speaks no TLS");
    pull(&registry.name("none:1")).explains(&["unknown"]).hints("check the name");
}

fn a_registry_is_searched_and_its_tags_are_listed(w: &World) {
    let registry = registry!(Registry::start(w), w);
    let layout = busybox_image(w).layout(w, "layout", "latest");
    for name in ["forest/kelp:1", "forest/kelp:2", "forest/fern:1", "desert/cactus:1"] {
        registry.push(&layout, name);
    }
    let table = w.kelp(["search", &registry.name("forest")]).ok();
    assert!(table.stdout.starts_with("NAME"), "{table}");
    for text in [registry.name("forest/kelp"), registry.name("forest/fern"), "tags: 1, 2".to_owned()] {
        assert!(table.stdout.contains(&text), "{text}\n{table}");
    }
    assert!(!table.stdout.contains("cactus"), "{table}");
    assert_eq!(w.kelp(["tags", &registry.name("forest/kelp")]).ok().stdout, "1\n2\n");
    let listed = w.kelp(["search", "--list-tags", &registry.name("forest/kelp")]).ok();
    assert_eq!(listed.stdout.lines().count(), 3, "{listed}");
    w.kelp(["tags", &registry.name("forest/none")]).output().code(1).explains(&["forest/none"]);
}

fn all_tags_are_pulled_at_once(w: &World) {
    let registry = registry!(Registry::start(w), w);
    let layout = busybox_image(w).layout(w, "layout", "latest");
    for tag in ["app:1", "app:2", "app:3"] {
        registry.push(&layout, tag);
    }
    let pulled = w.kelp(["pull", "-a", &registry.name("app")]).ok();
    assert_eq!(pulled.stdout.matches("Status: Downloaded newer image for ").count(), 3, "{pulled}");
    w.kelp(["run", "--rm", "--network", "none", "--pull", "never", &registry.name("app:2"), "true"]).ok();
    w.kelp(["pull", "-a", &registry.name("app:2")]).output().code(1).explains(&["takes no tag"]);
}

/// Between client and server: counts what comes back, and holds it up after `hold` bytes.
struct Between {
    port: u16,
    passed: Arc<AtomicUsize>,
}

impl Between {
    fn start(to: u16, hold: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let passed = Arc::new(AtomicUsize::new(0));
        let counted = passed.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let counted = counted.clone();
                thread::spawn(move || relay(client, TcpStream::connect(("127.0.0.1", to)).unwrap(), &counted, hold));
            }
        });
        Self { port, passed }
    }
}

fn relay(mut client: TcpStream, mut server: TcpStream, passed: &AtomicUsize, hold: usize) {
    let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || {
        std::io::copy(&mut from_client, &mut to_server).ok();
        to_server.shutdown(Shutdown::Write).ok();
    });
    let mut buffer = [0; 16384];
    while let Ok(n @ 1..) = server.read(&mut buffer) {
        while passed.load(Ordering::Relaxed) > hold {
            // Until the client is killed, and this process ends.
            thread::sleep(std::time::Duration::from_millis(20));
        }
        if client.write_all(&buffer[..n]).is_err() {
            break;
        }
        passed.fetch_add(n, Ordering::Relaxed);
    }
    client.shutdown(Shutdown::Both).ok();
}

fn a_killed_pull_goes_on_where_it_stopped(w: &World) {
    killed_pull(w, 8_000_000);
}

/// From 32 MiB on.
fn a_killed_pull_in_parts_goes_on_where_it_stopped(w: &World) {
    killed_pull(w, 40_000_000);
}

fn killed_pull(w: &World, size: usize) {
    let registry = registry!(Registry::start(w), w);
    let mut state = 1_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    })
    .take(size)
    .collect();
    let image = busybox_image(w).with(layer(&[Entry::new("noise", Kind::File(noise))]));
    registry.push(&image.layout(w, "layout", "latest"), "app:large");
    let slow = Between::start(registry.port(), size / 2);
    let pull = w.kelp(["pull", &format!("127.0.0.1:{}/app:large", slow.port)]).spawn();
    let partial = w.store().join("images/partial");
    let arrived = || {
        fs::read_dir(&partial).into_iter().flatten().flatten().filter_map(|e| Some(e.metadata().ok()?.blocks() * 512))
    };
    until("a third is here", || arrived().sum::<u64>() > size as u64 / 3);
    pull.signal(Signal::KILL);
    drop(pull.output());
    let kept = usize::try_from(arrived().sum::<u64>()).unwrap();
    assert_eq!(w.kelp(["images", "-q"]).ok().text(), "", "half an image is none");
    let rest = Between::start(registry.port(), usize::MAX);
    let name = format!("127.0.0.1:{}/app:large", rest.port);
    w.kelp(["pull", &name]).ok();
    let travelled = rest.passed.swap(0, Ordering::Relaxed);
    let elsewhere = w.dir().join("elsewhere").display().to_string();
    w.kelp(["--root", &elsewhere, "pull", "-q", &name]).ok();
    let whole = rest.passed.load(Ordering::Relaxed);
    assert!(travelled + kept * 9 / 10 < whole, "{kept} of {whole} bytes were here, and {travelled} came again");
    let found = w.kelp(["run", "--rm", "--network", "none", &name, "/bin/sh", "-c", "wc -c < /noise"]).ok();
    assert_eq!(found.text(), size.to_string());
}

fn a_mirror_is_asked_first_and_the_registry_when_it_fails(w: &World) {
    let registry = registry!(Registry::start(w), w);
    let layout = busybox_image(w).layout(w, "layout", "latest");
    registry.push(&layout, "mirrored/app:1");
    registry.push(&layout, "origin/only:1");
    let conf = w.write(
        "registries.conf",
        format!(
            "[[registry]]\nprefix = 'far.example/app'\nlocation = '{0}/origin'\n[[registry.mirror]]\nlocation = '{0}/mirrored'\n\
             [[registry]]\nlocation = 'blocked.example'\nblocked = true\n",
            registry.host()
        ),
    );
    let conf = conf.display().to_string();
    let kelp = |words: &[&str]| w.kelp(words).env("CONTAINERS_REGISTRIES_CONF", &conf);
    kelp(&["pull", "far.example/app/app:1"]).ok();
    let fallen = kelp(&["pull", "far.example/app/only:1"]).ok();
    assert!(fallen.stderr.contains("mirror"), "{fallen}");
    let names = w.kelp(["images", "--format", "{{.Repository}}"]).ok().stdout;
    assert!(names.contains("far.example/app/app") && names.contains("far.example/app/only"), "{names}");
    kelp(&["pull", "blocked.example/app"]).output().code(1).explains(&["registries.conf blocks"]);
    w.write("registries.conf", "[[registry");
    kelp(&["pull", "far.example/app/app:1"]).output().code(1).explains(&["registries.conf"]);
}

/// `prefix` and `location`: what is pulled and pushed goes there, and keeps its name here. The longest prefix decides.
fn a_registry_may_be_somewhere_else_than_its_name_says(w: &World) {
    let registry = registry!(Registry::start(w), w);
    registry.push(&busybox_image(w).layout(w, "layout", "latest"), "inside/team/app:1");
    registry.push(
        &busybox_image(w).with(layer(&[Entry::new("other", Kind::Folder)])).layout(w, "o", "latest"),
        "deep/app:1",
    );
    let conf = format!(
        "[[registry]]\nprefix = 'far.example'\nlocation = '{0}/inside'\n\
         [[registry]]\nprefix = 'far.example/team/deep'\nlocation = '{0}/deep'\n\
         [[registry]]\nprefix = '*.wild.example'\nlocation = '{0}/inside'\n",
        registry.host()
    );
    let conf = w.write("registries.conf", conf).display().to_string();
    let kelp = |words: &[&str]| w.kelp(words).env("CONTAINERS_REGISTRIES_CONF", &conf);
    let layers = |name: &str| w.kelp(["inspect", "-f", "{{len .RootFS.Layers}}", name]).ok().text().to_owned();
    for (name, count) in [("far.example/team/app:1", "1"), ("far.example/team/deep/app:1", "2")] {
        assert_eq!(kelp(&["pull", "-q", name]).ok().text(), name);
        assert_eq!(layers(name), count, "{name}");
    }
    kelp(&["pull", "-q", "a.wild.example/team/app:1"]).ok();
    kelp(&["pull", "far.example/team/none:1"]).output().code(1).explains(&[&registry.host(), "inside/team/none"]);
    let pushed = "far.example/new/app:2";
    kelp(&["tag", "far.example/team/app:1", pushed]).ok();
    kelp(&["push", pushed]).ok();
    assert_eq!(w.kelp(["tags", &registry.name("inside/new/app")]).ok().stdout, "2\n");
}

fn a_short_name_may_be_an_alias(w: &World) {
    let registry = registry!(Registry::start(w), w);
    registry.push(&busybox_image(w).layout(w, "layout", "latest"), "long/way/app:latest");
    let folder = config_folder(w).join("containers/registries.conf.d");
    w.make_dir(&folder);
    w.write(
        "config/containers/registries.conf.d/a.conf",
        format!("[aliases]\nnear = '{}'\n", registry.name("long/way/app")),
    );
    let config = config_folder(w).display().to_string();
    let kelp = |words: &[&str]| w.kelp(words).env("XDG_CONFIG_HOME", &config);
    assert!(kelp(&["pull", "near"]).ok().stdout.contains("long/way/app:latest"));
    kelp(&["run", "--rm", "--network", "none", "--pull", "never", "near", "true"]).ok();
}

/// A proxy that knows CONNECT and absolute addresses, and counts.
fn proxy(asked: Arc<AtomicUsize>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let asked = asked.clone();
            thread::spawn(move || through(client, &asked));
        }
    });
    port
}

fn through(mut client: TcpStream, asked: &AtomicUsize) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && matches!(client.read(&mut byte), Ok(1)) {
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let target = text.split(' ').nth(1).unwrap_or_default().trim_start_matches("http://");
    let port = target.split('/').next().and_then(|host| host.rsplit(':').next()?.parse::<u16>().ok());
    let Some(Ok(mut server)) = port.map(|port| TcpStream::connect(("127.0.0.1", port))) else { return };
    asked.fetch_add(1, Ordering::Relaxed);
    match text.starts_with("CONNECT ") {
        true => client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap(),
        false => server.write_all(&head).unwrap(),
    }
    relay(client, server, &AtomicUsize::new(0), usize::MAX);
}

fn a_proxy_of_the_environment_is_used_unless_spared(w: &World) {
    let registry = registry!(Registry::start(w), w);
    registry.push(&busybox_image(w).layout(w, "layout", "latest"), "app:1");
    let asked = Arc::new(AtomicUsize::new(0));
    let proxy = format!("http://127.0.0.1:{}", proxy(asked.clone()));
    // A name that is not this machine's: that one is never asked for elsewhere.
    let far = format!("0.0.0.0:{}/app:1", registry.port());
    let pull = |name: &str| w.kelp(["pull", "--tls-verify=false", name]).env("http_proxy", &proxy);
    pull(&far).ok();
    assert!(asked.swap(0, Ordering::Relaxed) > 0, "the proxy was asked");
    pull(&far).env("NO_PROXY", "example.tld,0.0.0.0/32").ok();
    pull(&registry.name("app:1")).ok();
    assert_eq!(asked.load(Ordering::Relaxed), 0, "the proxy was spared");
}

fn a_proxys_password_is_in_no_error(w: &World) {
    w.load_busybox();
    let far = "far.invalid/app:1";
    w.kelp(["tag", "busybox", far]).ok();
    let nobody = kelp_tests::free_port();
    let proxies = ["http://user:s3cret@127.0.0.1", "https://user:s3cret@127.0.0.1", "user:s3cret@127.0.0.1"];
    // Good ones that nobody serves, and what is no address at all.
    let good = proxies.map(|proxy| format!("{proxy}:{nobody}"));
    let bad = ["http://user:s3cret@a b:1", "gopher://user:s3cret@127.0.0.1:1", "http://user:s3cret@:x"];
    for proxy in good.iter().map(String::as_str).chain(bad) {
        for words in
            [&["pull", far][..], &["pull", "--tls-verify=false", far], &["push", far], &["search", "far.invalid/x"]]
        {
            let proxied = w.kelp(words).env("HTTP_PROXY", proxy).env("HTTPS_PROXY", proxy);
            let output = proxied.output().code(1);
            assert!(!format!("{output}").contains("s3cret"), "{proxy} {words:?}\n{output}");
        }
    }
}

fn an_image_for_another_machine_is_pulled_and_said_not_to_run(w: &World) {
    let registry = registry!(Registry::start(w), w);
    // Nobody has an interpreter for these.
    let image = busybox_image(w).architecture("loong64").compression(Compression::Gzip);
    let name = registry.push(&image.layout(w, "layout", "latest"), "foreign:1");
    let pulled = w.kelp(["pull", "--platform", "linux/loong64", &name]).ok();
    assert!(pulled.stderr.contains("cannot run it") && pulled.stderr.contains("linux/loong64"), "{pulled}");
    let run = w.kelp(["run", "--rm", "--network", "none", &name, "true"]).output();
    run.code(125).explains(&["loong64"]);
    // A registry that has nothing else gives this one again.
    let run = w.kelp(["run", "--rm", "--platform", "linux/s390x", &name, "true"]).output();
    run.code(125).explains(&["loong64", "s390x"]);
    w.kelp(["run", "--rm", "--pull", "never", "--platform", "linux/s390x", &name, "true"]).output().code(125);
}

/// The level of this machine's processor by the kernel's words for what it has.
fn level_by_kernel() -> usize {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap();
    let flags = text.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    let has = |wanted: &&str| wanted.split(' ').all(|flag| flags.split_whitespace().any(|it| it == flag));
    let levels = [
        "pni ssse3 sse4_1 sse4_2 popcnt cx16",
        "avx avx2 bmi1 bmi2 f16c fma abm movbe",
        "avx512f avx512bw avx512cd avx512dq avx512vl",
    ];
    1 + levels.iter().take_while(|it| has(it)).count()
}

fn a_processor_gets_the_best_variant_that_it_can_run(w: &World) {
    if !cfg!(target_arch = "x86_64") {
        return w.skip("this machine's processor has no x86-64 level");
    }
    let registry = registry!(Registry::start(w), w);
    let image = busybox_image(w);
    let images = ["v2", "v3", "v4"].map(|variant| image.clone().variant(variant));
    let images: Vec<_> = std::iter::once(image).chain(images).collect();
    let layout = kelp_tests::Image::list(&images, w, "layout", "latest");
    let name = registry.push(&layout, "app:1");
    let expected = [Value::Null, json!("v2"), json!("v3"), json!("v4")][level_by_kernel() - 1].clone();
    let variant = |name: &str| w.kelp(["image", "inspect", name]).ok().json()[0]["Variant"].clone();
    let run = |options: &[&str]| {
        w.kelp(["run", "--rm", "--network", "none"]).args(options).args([name.as_str(), "echo", "ran"]).output()
    };
    assert_eq!(run(&[]).ok().stdout, "ran\n");
    assert_eq!(variant(&name), expected);
    // What is here is for a better machine: the one that was asked for is fetched.
    assert_eq!(run(&["--platform", "linux/amd64"]).ok().stdout, "ran\n");
    assert_eq!(variant(&name), Value::Null, "who names amd64 gets what runs on every such machine");
    assert_eq!(run(&[]).ok().stdout, "ran\n");
    w.kelp(["load", "-q", &layout.display().to_string()]).ok();
    assert_eq!(variant("latest"), expected);
}

fn a_quiet_pull_prints_the_full_name_and_another_a_line_per_layer(w: &World) {
    let registry = registry!(Registry::start(w), w);
    let image = busybox_image(w).with(layer(&[Entry::new("more", Kind::File(b"x".to_vec()))]));
    let name = registry.push(&image.layout(w, "layout", "latest"), "app:1");
    let loud = w.kelp(["pull", &name]).ok();
    let complete = loud.stderr.lines().filter(|line| line.ends_with(": Pull complete")).count();
    assert_eq!(complete, 2, "{loud}");
    let quiet = w.kelp(["pull", "-q", &name]).ok();
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), (format!("{name}\n").as_str(), ""));
    // A name that is completed is printed as a whole.
    let untagged = name.strip_suffix(":1").unwrap();
    registry.push(&image.layout(w, "layout", "latest"), "app:latest");
    assert_eq!(w.kelp(["pull", "-q", untagged]).ok().text(), format!("{untagged}:latest"));
    let digest = digest_by_skopeo(w, &name);
    let pinned = format!("{untagged}@{digest}");
    assert_eq!(w.kelp(["pull", "-q", &pinned]).ok().text(), pinned);
}

fn what_is_pulled_always_is_not_said_to_be_missing(w: &World) {
    let registry = registry!(Registry::start(w), w);
    let name = registry.push(&busybox_image(w).layout(w, "layout", "latest"), "app:1");
    let run = |when: &str| {
        let output = w.kelp(["run", "--rm", "--network", "none", "--pull", when, &name, "echo", "ran"]).ok();
        assert_eq!(output.stdout, "ran\n");
        output.stderr
    };
    assert!(run("missing").contains("is not here"));
    let always = run("always");
    assert!(!always.contains("is not here"), "{always}");
    w.kelp(["rmi", &name]).ok();
    let always = run("always");
    assert!(!always.contains("is not here"), "nobody looked: {always}");
}

fn dockers_default_platform_is_taken_unless_another_is_named(w: &World) {
    let registry = registry!(Registry::start(w), w);
    let image = busybox_image(w);
    let foreign = ["loong64", "s390x"].map(|architecture| image.clone().architecture(architecture));
    let images: Vec<_> = foreign.into_iter().chain([image]).collect();
    let name = registry.push(&kelp_tests::Image::list(&images, w, "layout", "latest"), "app:1");
    let kelp = |words: &[&str]| w.kelp(words).env("DOCKER_DEFAULT_PLATFORM", "linux/loong64");
    let architecture =
        |name: &str| w.kelp(["image", "inspect", "-f", "{{.Architecture}}", name]).ok().text().to_owned();
    let forget = || drop(w.kelp(["rmi", "-f", &name]).ok());
    kelp(&["pull", "-q", &name]).ok();
    assert_eq!(architecture(&name), "loong64");
    kelp(&["pull", "-q", "--platform", "linux/s390x", &name]).ok();
    assert_eq!(architecture(&name), "s390x", "the flag wins");
    forget();
    let platforms: [(&[&str], &str); 2] = [(&[], "loong64"), (&["--platform", "linux/s390x"], "s390x")];
    for verb in ["create", "run"] {
        for (flag, expected) in platforms {
            // Nobody runs it here; what counts is what was taken.
            drop(kelp(&[&[verb, "--network", "none", "--name", "c"], flag, &[&name, "true"]].concat()).output());
            assert_eq!(architecture(&name), expected, "{verb} {flag:?}");
            drop(w.kelp(["rm", "-f", "c"]).output());
            forget();
        }
    }
    w.kelp(["run", "--rm", "--network", "none", &name, "true"]).env("DOCKER_DEFAULT_PLATFORM", "").ok();
    let nonsense = w.kelp(["run", "--rm", &name, "true"]).env("DOCKER_DEFAULT_PLATFORM", "a/b/c/d").output();
    nonsense.code(125).explains(&["a/b/c/d", "platform"]);
    let tar = w.write("empty.tar", layer(&[Entry::new("etc/", Kind::Folder)])).display().to_string();
    kelp(&["import", &tar, "imported"]).ok();
    assert_eq!(architecture("imported"), "loong64");
}

fn a_pull_on_a_terminal_draws_a_line_per_layer(w: &World) {
    let registry = registry!(Registry::start(w), w);
    let image = busybox_image(w).with(layer(&[Entry::new("noise", Kind::File(vec![7; 3_000_000]))]));
    let name = registry.push(&image.layout(w, "layout", "latest"), "app:1");
    let (mut terminal, running) = Terminal::start(w.kelp(["pull", &name]).env("TERM", "xterm"), 40, 90);
    terminal.ends();
    let screen = terminal.screen();
    for text in ["fetching", " / ", "/s", "done"] {
        assert!(screen.contains(text), "{text}: {screen}");
    }
    assert!(screen.trim_end().ends_with(&name), "{screen}");
    assert_eq!(running.output().status(), 0);
    // One that cannot move its cursor gets what a pipe gets.
    w.kelp(["rmi", &name]).ok();
    let (mut terminal, running) = Terminal::start(w.kelp(["pull", &name]).env("TERM", "dumb"), 40, 90);
    terminal.shows("Download complete");
    terminal.ends();
    assert_eq!(running.output().status(), 0);
}

fn buildah_runs_what_kelp_pushed_and_kelp_what_buildah_made(w: &World) {
    let registry = registry!(Registry::start(w), w);
    if !std::path::Path::new("/usr/bin/buildah").exists() {
        return w.skip("buildah is not installed");
    }
    let at = |name: &str| w.dir().join(name).display().to_string();
    let (root, runroot) = (at("buildah"), at("buildah-run"));
    let buildah = |words: &[&str]| {
        let places = ["--root", &root, "--runroot", &runroot, "--storage-driver", "vfs"];
        w.command("buildah").args(places).args(words).env("BUILDAH_ISOLATION", "chroot")
    };
    let (ours, theirs) = (registry.name("kelp:1"), registry.name("buildah:1"));
    w.load_busybox();
    w.kelp(["tag", "busybox", &ours]).ok();
    let pushed = w.kelp(["push", &ours]).ok();
    let container = buildah(&["from", "--quiet", "--tls-verify=false", &ours]).ok().text().to_owned();
    let seen = buildah(&["inspect", "--format", "{{.FromImageDigest}}", &container]).ok();
    assert!(pushed.stdout.contains(seen.text()), "{pushed}\n{seen}");
    buildah(&["run", &container, "--", "sh", "-c", "echo made >/made"]).ok();
    buildah(&["config", "--cmd", "cat /made", &container]).ok();
    buildah(&["commit", "--quiet", &container, &theirs]).ok();
    let file = at("digest");
    buildah(&["push", "--quiet", "--tls-verify=false", "--digestfile", &file, &theirs]).ok();
    let pulled = w.kelp(["pull", &theirs]).ok();
    let digest = fs::read_to_string(&file).unwrap();
    assert!(pulled.stdout.contains(&format!("Digest: {digest}")), "{digest}\n{pulled}");
    assert_eq!(w.kelp(["run", "--rm", "--network", "none", &theirs]).ok().text(), "made");
    // Its files belong to users of the id map: only there they can be removed.
    buildah(&["rm", "--all"]).ok();
    buildah(&["rmi", "--all", "--force"]).ok();
    match w.uid() {
        0 => fs::remove_dir_all(&root).unwrap(),
        _ => drop(buildah(&["unshare", "rm", "-rf", &root]).ok()),
    }
}
