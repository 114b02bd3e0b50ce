// SPDX-License-Identifier: Apache-2.0
//! Registries that lie, stall, repeat themselves or ask too much: an error, and little disk and time.
//!
//! `harness = false`: work inside an id map starts this very program again, before it has threads.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use flate2::write::GzEncoder;
use kelp_bundles::{
    Credentials, Digest, Error, IdMap, Image, Kind, Limits, Quiet, Rate, Reference, Store, job, pull, push, search,
};
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::{Value, json};

fn main() -> ExitCode {
    if let Some(status) = job::run_if_asked() {
        return status;
    }
    let tests: &[(&str, fn())] = &[
        ("an_honest_registry_is_believed", an_honest_registry_is_believed),
        ("a_blob_that_is_another_is_refused", a_blob_that_is_another_is_refused),
        ("a_blob_of_another_size_is_refused", a_blob_of_another_size_is_refused),
        ("a_blob_without_end_stops_at_its_size", a_blob_without_end_stops_at_its_size),
        ("a_manifest_without_end_is_refused", a_manifest_without_end_is_refused),
        ("a_manifest_that_is_another_is_refused", a_manifest_that_is_another_is_refused),
        ("a_hundred_thousand_layers_are_refused", a_hundred_thousand_layers_are_refused),
        ("a_blob_larger_than_the_disk_is_not_begun", a_blob_larger_than_the_disk_is_not_begun),
        ("a_bomb_is_stopped_and_nothing_is_kept", a_bomb_is_stopped_and_nothing_is_kept),
        ("a_layer_that_is_not_the_configs_is_refused", a_layer_that_is_not_the_configs_is_refused),
        ("lists_that_lead_to_themselves_end", lists_that_lead_to_themselves_end),
        ("redirections_that_lead_in_circles_end", redirections_that_lead_in_circles_end),
        ("what_is_no_image_is_refused_by_name", what_is_no_image_is_refused_by_name),
        ("a_password_goes_to_no_foreign_token_server", a_password_goes_to_no_foreign_token_server),
        ("nobody_else_hears_the_password", nobody_else_hears_the_password),
        ("a_token_server_cannot_send_a_secret_on", a_token_server_cannot_send_a_secret_on),
        ("a_challenge_of_another_host_is_not_answered", a_challenge_of_another_host_is_not_answered),
        ("a_host_that_sends_us_back_brings_no_login_along", a_host_that_sends_us_back_brings_no_login_along),
        ("an_address_with_a_user_name_is_not_followed", an_address_with_a_user_name_is_not_followed),
        (
            "an_upload_that_is_sent_elsewhere_brings_no_login_along",
            an_upload_that_is_sent_elsewhere_brings_no_login_along,
        ),
        ("a_registry_that_trickles_is_given_up_on", a_registry_that_trickles_is_given_up_on),
        ("a_registry_that_takes_a_trickle_is_given_up_on", a_registry_that_takes_a_trickle_is_given_up_on),
        ("a_token_that_runs_out_is_asked_for_again", a_token_that_runs_out_is_asked_for_again),
        ("a_refresh_token_is_posted", a_refresh_token_is_posted),
        ("a_busy_registry_is_asked_again", a_busy_registry_is_asked_again),
        ("a_large_blob_comes_in_parts_at_the_same_time", a_large_blob_comes_in_parts_at_the_same_time),
        ("a_registry_without_ranges_sends_one_stream", a_registry_without_ranges_sends_one_stream),
        ("a_registry_that_stops_giving_ranges_sends_the_rest", a_registry_that_stops_giving_ranges_sends_the_rest),
        ("ranges_that_are_others_are_not_believed", ranges_that_are_others_are_not_believed),
        ("parts_that_arrived_are_not_asked_for_again", parts_that_arrived_are_not_asked_for_again),
        ("a_search_is_answered_by_the_search_api", a_search_is_answered_by_the_search_api),
        ("a_list_of_tags_without_end_is_refused", a_list_of_tags_without_end_is_refused),
        ("who_has_all_layers_waits_for_no_pull", who_has_all_layers_waits_for_no_pull),
    ];
    let trials = tests.iter().map(|(name, test)| {
        Trial::test(*name, move || std::panic::catch_unwind(test).map_err(|_| Failed::from("see above")))
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

/// A request.
struct Asked {
    method: String,
    path: String,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

/// How a server answers: it writes to the stream what it likes.
type Answers = dyn Fn(&Asked, &mut TcpStream) + Send + Sync;

/// A server on this machine that says what a test wants; one answer per connection.
struct Server {
    port: u16,
}

impl Server {
    fn start(answer: impl Fn(&Asked, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let answer: Arc<Answers> = Arc::new(answer);
        thread::spawn(move || {
            for mut client in listener.incoming().map_while(Result::ok) {
                let answer = answer.clone();
                thread::spawn(move || {
                    if let Some(asked) = read_request(&client) {
                        answer(&asked, &mut client);
                    }
                });
            }
        });
        Self { port }
    }

    fn name(&self) -> Reference {
        format!("127.0.0.1:{}/app:1", self.port).parse().unwrap()
    }
}

/// Nothing where it is none: a client that tries TLS first.
fn read_request(client: &TcpStream) -> Option<Asked> {
    let mut lines = BufReader::new(client);
    let mut line = String::new();
    lines.read_line(&mut line).ok()?;
    let mut words = line.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        lines.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    lines.read_exact(&mut body).ok()?;
    Some(Asked { method, path, headers, body })
}

/// Writes an answer; whether the client still listens is his matter.
fn say(to: &mut TcpStream, status: u16, headers: &[(&str, &str)], body: &[u8]) {
    let mut head = format!("HTTP/1.1 {status} Words\r\nconnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "content-length") {
        head += &format!("content-length: {}\r\n", body.len());
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    to.write_all((head + "\r\n").as_bytes()).and_then(|()| to.write_all(body)).ok();
}

/// The same for ever.
fn babble(to: &mut TcpStream, block: &[u8]) {
    to.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").ok();
    while to.write_all(format!("{:x}\r\n", block.len()).as_bytes()).is_ok()
        && to.write_all(block).and_then(|()| to.write_all(b"\r\n")).is_ok()
    {}
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// What an honest registry has.
#[derive(Clone, Default)]
struct Shop {
    manifest: Vec<u8>,
    blobs: HashMap<String, Vec<u8>>,
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(plain).unwrap();
    gzip.finish().unwrap()
}

fn tar_of(name: &str, content: &[u8]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, name, content).unwrap();
    tar.into_inner().unwrap()
}

impl Shop {
    fn of(tar: &[u8]) -> Self {
        Self::with_diff_id(tar, &Digest::of(tar))
    }

    fn with_diff_id(tar: &[u8], diff_id: &Digest) -> Self {
        let host = kelp_bundles::Platform::host();
        let config = json!({
            "os": "linux", "architecture": host.architecture, "config": {},
            "rootfs": {"type": "layers", "diff_ids": [diff_id.to_string()]},
        });
        let mut shop = Self::default();
        let config = shop.add(CONFIG, config.to_string().into_bytes());
        let layer = shop.add(LAYER, gzip(tar));
        shop.say_manifest(&json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]}));
        shop
    }

    fn honest() -> Self {
        Self::of(&tar_of("hello", &b"hello ".repeat(20_000)))
    }

    /// The same with a layer above.
    fn with(mut self, tar: &[u8]) -> Self {
        let mut document = self.document();
        let mut config: Value =
            serde_json::from_slice(&self.blobs[document["config"]["digest"].as_str().unwrap()]).unwrap();
        config["rootfs"]["diff_ids"].as_array_mut().unwrap().push(json!(Digest::of(tar).to_string()));
        document["config"] = self.add(CONFIG, config.to_string().into_bytes());
        let layer = self.add(LAYER, gzip(tar));
        document["layers"].as_array_mut().unwrap().push(layer);
        self.say_manifest(&document);
        self
    }

    fn add(&mut self, media_type: &str, bytes: Vec<u8>) -> Value {
        let digest = Digest::of(&bytes).to_string();
        let descriptor = json!({"mediaType": media_type, "digest": digest, "size": bytes.len()});
        self.blobs.insert(digest, bytes);
        descriptor
    }

    fn document(&self) -> Value {
        serde_json::from_slice(&self.manifest).unwrap()
    }

    fn say_manifest(&mut self, document: &Value) {
        self.manifest = document.to_string().into_bytes();
    }

    fn layer(&self) -> String {
        self.document()["layers"][0]["digest"].as_str().unwrap().to_owned()
    }

    fn answer(&self, asked: &Asked, to: &mut TcpStream) {
        let last = asked.path.rsplit('/').next().unwrap();
        match self.blobs.get(last) {
            Some(blob) => say(to, 200, &[], blob),
            None if asked.path.contains("/manifests/") => say(to, 200, &[("content-type", MANIFEST)], &self.manifest),
            None if asked.path == "/v2/" => say(to, 200, &[], b"{}"),
            None => say(to, 404, &[], b"{}"),
        }
    }

    fn open(self) -> Server {
        Server::start(move |asked, to| self.answer(asked, to))
    }
}

struct World {
    _dir: tempfile::TempDir,
    store: Store,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        Self { _dir: dir, store }
    }

    fn pull(&self, server: &Server) -> Result<Image, Error> {
        let options = pull::Options { unpack: Some(IdMap::of_caller().unwrap()), ..pull::Options::default() };
        pull::pull(&self.store, &server.name(), &options, &Quiet)
    }

    /// A pull that unpacks nothing.
    fn store_only(&self, server: &Server) -> Image {
        pull::pull(&self.store, &server.name(), &pull::Options::default(), &Quiet).unwrap()
    }

    fn pull_as(&self, server: &Server, credentials: Credentials) -> Result<Image, Error> {
        let options = pull::Options { credentials: Some(credentials), ..pull::Options::default() };
        pull::pull(&self.store, &server.name(), &options, &Quiet)
    }

    /// The error of a pull that must leave nothing but what a next one may resume.
    fn refuses(&self, server: &Server, kind: Kind) -> Error {
        let error = self.pull(server).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(self.store.list().unwrap().is_empty(), "nothing has a name");
        for folder in ["layers", "layers/.ingest", "images/ingest", "images/partial"] {
            // What only broke off may be resumed.
            if folder == "images/partial" && kind == Kind::Network {
                continue;
            }
            let left = fs::read_dir(self.store.root().join(folder)).unwrap().flatten();
            let left: Vec<_> = left.map(|e| e.file_name()).filter(|n| !n.to_string_lossy().starts_with('.')).collect();
            assert!(left.is_empty(), "{folder} has {left:?}");
        }
        error
    }

    fn bytes(&self) -> u64 {
        bytes_below(self.store.root())
    }
}

fn bytes_below(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().flatten();
    entries.map(|e| if e.path().is_dir() { bytes_below(&e.path()) } else { e.metadata().unwrap().len() }).sum()
}

/// What an empty store takes, and a little.
const LITTLE: u64 = 2 << 20;

fn password() -> Credentials {
    Credentials::Password { name: "ann".into(), password: "forest".into() }
}

fn an_honest_registry_is_believed() {
    let w = World::new();
    let image = w.pull(&Shop::honest().open()).unwrap();
    let unpacked = w.store.unpacked(&image).unwrap().expect("the pull unpacked it");
    assert_eq!(fs::metadata(unpacked.lower[0].join("hello")).unwrap().len(), 120_000);
}

fn a_blob_that_is_another_is_refused() {
    let w = World::new();
    let mut shop = Shop::honest();
    let layer = shop.layer();
    let other = gzip(&tar_of("hello", &b"HELLO ".repeat(20_000)));
    let size = shop.blobs[&layer].len();
    shop.blobs.insert(layer, [other, vec![0; size]].concat()[..size].to_vec());
    w.refuses(&shop.open(), Kind::BadInput);
    assert!(w.bytes() < LITTLE);
}

fn a_blob_of_another_size_is_refused() {
    let w = World::new();
    let mut shop = Shop::honest();
    let mut document = shop.document();
    let size = document["layers"][0]["size"].as_u64().unwrap();
    document["layers"][0]["size"] = json!(size - 1);
    shop.say_manifest(&document);
    let error = w.refuses(&shop.clone().open(), Kind::BadInput);
    assert!(error.because().contains("longer than"), "{error}");
    document["layers"][0]["size"] = json!(size + 1);
    shop.say_manifest(&document);
    let error = w.refuses(&shop.open(), Kind::Network);
    assert!(error.because().contains("ended before"), "{error}");
}

fn a_blob_without_end_stops_at_its_size() {
    let w = World::new();
    let shop = Shop::honest();
    let layer = shop.layer();
    let server = Server::start(move |asked, to| match asked.path.ends_with(&layer) {
        true => babble(to, &[7; 65536]),
        false => shop.answer(asked, to),
    });
    w.refuses(&server, Kind::BadInput);
    assert!(w.bytes() < LITTLE);
}

fn a_manifest_without_end_is_refused() {
    let w = World::new();
    let server = Server::start(|asked, to| match asked.path.contains("/manifests/") {
        true => babble(to, &[b' '; 65536]),
        false => say(to, 200, &[], b"{}"),
    });
    w.refuses(&server, Kind::TooBig);
    assert!(w.bytes() < LITTLE);
}

fn a_manifest_that_is_another_is_refused() {
    let w = World::new();
    let shop = Shop::honest();
    let server = Server::start(move |asked, to| match asked.path.contains("/manifests/") {
        true => {
            let claim = format!("sha256:{}", "0".repeat(64));
            say(to, 200, &[("content-type", MANIFEST), ("docker-content-digest", &claim)], &shop.manifest);
        }
        false => shop.answer(asked, to),
    });
    w.refuses(&server, Kind::BadInput);
}

fn a_hundred_thousand_layers_are_refused() {
    let w = World::new();
    for (count, because) in [(600, "can be stacked"), (100_000, "larger than")] {
        let mut shop = Shop::honest();
        let mut document = shop.document();
        let layer = document["layers"][0].clone();
        document["layers"] = Value::Array(vec![layer; count]);
        shop.say_manifest(&document);
        let error = w.refuses(&shop.open(), Kind::TooBig);
        assert!(error.because().contains(because), "{error}");
    }
    assert!(w.bytes() < LITTLE);
}

fn a_blob_larger_than_the_disk_is_not_begun() {
    let w = World::new();
    let mut shop = Shop::honest();
    let mut document = shop.document();
    document["layers"][0]["size"] = json!(1_u64 << 60);
    shop.say_manifest(&document);
    w.refuses(&shop.open(), Kind::TooBig);
    assert!(w.bytes() < LITTLE);
}

fn a_bomb_is_stopped_and_nothing_is_kept() {
    let w = World::new();
    let small = Limits { unpacked_floor: 1 << 20, unpacked_ratio: 10, ..Limits::DEFAULT };
    let w = World { store: w.store.clone().with_limits(small), ..w };
    let bomb = Shop::of(&tar_of("bomb", &vec![0; 64 << 20]));
    let error = w.refuses(&bomb.open(), Kind::TooBig);
    assert!(error.because().contains("unpacks to more"), "{error}");
    assert!(w.bytes() < LITTLE + (1 << 20));
}

fn a_layer_that_is_not_the_configs_is_refused() {
    let w = World::new();
    let server = Shop::with_diff_id(&tar_of("hello", b"hello"), &Digest::of(b"something else")).open();
    let error = w.refuses(&server, Kind::BadInput);
    assert!(error.because().contains("the image says"), "{error}");
}

fn lists_that_lead_to_themselves_end() {
    let w = World::new();
    let asked_for = Arc::new(AtomicUsize::new(0));
    let counted = asked_for.clone();
    let server = Server::start(move |asked, to| {
        counted.fetch_add(1, Ordering::Relaxed);
        // Each list is another one, and leads to the next.
        let list = |n: usize| {
            let mut digest = Digest::of(b"end").to_string();
            let mut text = String::new();
            for level in 0..n {
                let platform = json!({"os": "linux", "architecture": kelp_bundles::Platform::host().architecture});
                let kind = "application/vnd.oci.image.index.v1+json";
                let child =
                    json!({"mediaType": kind, "digest": digest, "size": 1, "platform": platform, "level": level});
                text = json!({"schemaVersion": 2, "mediaType": kind, "manifests": [child]}).to_string();
                digest = Digest::of(text.as_bytes()).to_string();
            }
            (digest, text)
        };
        let lists: HashMap<String, String> = (1..=12).map(list).collect();
        let target = asked.path.rsplit('/').next().unwrap();
        let text = lists.get(target).cloned().unwrap_or_else(|| list(12).1);
        say(to, 200, &[], text.as_bytes());
    });
    let error = w.refuses(&server, Kind::BadInput);
    assert!(error.because().contains("without end"), "{error}");
    assert!(asked_for.load(Ordering::Relaxed) < 10);
}

fn redirections_that_lead_in_circles_end() {
    let w = World::new();
    let shop = Shop::honest();
    let layer = shop.layer();
    let followed = Arc::new(AtomicUsize::new(0));
    let counted = followed.clone();
    let server = Server::start(move |asked, to| match asked.path.contains(&layer) {
        true => {
            let n = counted.fetch_add(1, Ordering::Relaxed);
            say(to, 307, &[("location", &format!("{}?again={n}", asked.path))], b"");
        }
        false => shop.answer(asked, to),
    });
    let error = w.refuses(&server, Kind::BadInput);
    assert!(error.because().contains("sent elsewhere"), "{error}");
    assert!(followed.load(Ordering::Relaxed) < 20);
}

fn what_is_no_image_is_refused_by_name() {
    let w = World::new();
    for (key, media_type, because) in [
        ("config", "application/vnd.example.song.v1+json", "an artifact of type application/vnd.example.song"),
        ("layers", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "a foreign layer"),
        ("layers", "application/vnd.example.layer", "the unknown type application/vnd.example.layer"),
    ] {
        let mut shop = Shop::honest();
        let mut document = shop.document();
        let place = if key == "config" { &mut document["config"] } else { &mut document["layers"][0] };
        place["mediaType"] = json!(media_type);
        shop.say_manifest(&document);
        let error = w.refuses(&shop.open(), Kind::Unsupported);
        assert!(error.because().contains(because), "{error}");
    }
}

fn a_password_goes_to_no_foreign_token_server() {
    let w = World::new();
    for realm in ["http://192.0.2.1/token", "file:///etc/passwd", "", "gopher://127.0.0.1/"] {
        let challenge = format!("Bearer realm=\"{realm}\",service=\"s\"");
        let server = Server::start(move |_, to| say(to, 401, &[("www-authenticate", &challenge)], b"{}"));
        let error = w.pull_as(&server, password()).unwrap_err();
        assert!(error.kind() == Kind::BadInput && error.because().contains("token"), "{realm}: {error}");
    }
}

fn nobody_else_hears_the_password() {
    let w = World::new();
    let shop = Shop::honest();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let (elsewhere, listening) = (shop.clone(), heard.clone());
    let elsewhere = Server::start(move |asked, to| {
        listening.lock().unwrap().push(asked.headers.get("authorization").cloned());
        elsewhere.answer(asked, to);
    });
    let layer = shop.layer();
    let server = Server::start(move |asked, to| {
        if !asked.headers.contains_key("authorization") {
            say(to, 401, &[("www-authenticate", "Basic realm=\"r\"")], b"{}");
        } else if asked.path.ends_with(&layer) {
            say(to, 307, &[("location", &format!("http://127.0.0.1:{}{}", elsewhere.port, asked.path))], b"");
        } else {
            shop.answer(asked, to);
        }
    });
    w.pull_as(&server, password()).unwrap();
    assert_eq!(*heard.lock().unwrap(), [None], "the storage server was asked once, without the password");
}

fn an_upload_that_is_sent_elsewhere_brings_no_login_along() {
    let w = World::new();
    let image = w.store_only(&Shop::honest().open());
    let heard = Arc::new(Mutex::new(Vec::new()));
    let listening = heard.clone();
    let storage = Server::start(move |asked, to| {
        listening.lock().unwrap().push((asked.method.clone(), asked.headers.get("authorization").cloned()));
        say(to, 201, &[], b"");
    });
    let place = format!("http://127.0.0.1:{}/up", storage.port);
    let server = Server::start(move |asked, to| match asked.method.as_str() {
        _ if !asked.headers.contains_key("authorization") => {
            say(to, 401, &[("www-authenticate", "Basic realm=\"r\"")], b"{}");
        }
        "HEAD" => say(to, 404, &[], b""),
        "POST" => say(to, 202, &[("location", &place)], b""),
        _ => say(to, 201, &[], b""),
    });
    let options = push::Options { credentials: Some(password()), ..push::Options::default() };
    push::push(&w.store, &image, &server.name(), &options, &Quiet).unwrap();
    let heard = heard.lock().unwrap();
    assert!(heard.len() >= 2 && heard.iter().all(|it| *it == ("PUT".to_owned(), None)), "{heard:?}");
}

/// A host that notes all it hears, and hands out tokens.
fn eavesdropper() -> (Server, Arc<Mutex<Vec<String>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let listening = heard.clone();
    let server = Server::start(move |asked, to| {
        let body = String::from_utf8_lossy(&asked.body);
        listening.lock().unwrap().push(format!("{} {:?} {body}", asked.path, asked.headers.get("authorization")));
        say(to, 200, &[], br#"{"token":"stolen","access_token":"stolen"}"#);
    });
    (server, heard)
}

fn a_token_server_cannot_send_a_secret_on() {
    let w = World::new();
    for (status, who) in [(307, 0), (308, 0), (302, 0), (307, 1), (308, 1), (301, 1)] {
        let (evil, heard) = eavesdropper();
        let to_evil = format!("http://127.0.0.1:{}/stolen", evil.port);
        let port = Arc::new(AtomicUsize::new(0));
        let own = port.clone();
        let server = Server::start(move |asked, to| {
            if asked.path.starts_with("/token") {
                return say(to, status, &[("location", &to_evil)], b"");
            }
            let challenge = format!("Bearer realm=\"http://127.0.0.1:{}/token\"", own.load(Ordering::Relaxed));
            say(to, 401, &[("www-authenticate", &challenge)], b"{}");
        });
        port.store(server.port.into(), Ordering::Relaxed);
        let secret = if who == 0 { Credentials::Identity("refresh".into()) } else { password() };
        let error = w.pull_as(&server, secret).unwrap_err();
        assert!(heard.lock().unwrap().is_empty(), "{status}: {error}");
    }
}

fn a_challenge_of_another_host_is_not_answered() {
    let w = World::new();
    let (evil, heard) = eavesdropper();
    let challenge = format!("Bearer realm=\"http://127.0.0.1:{}/token\"", evil.port);
    let storage = Server::start(move |_, to| say(to, 401, &[("www-authenticate", &challenge)], b"{}"));
    let shop = Shop::honest();
    let layer = shop.layer();
    let server = Server::start(move |asked, to| match asked.path.ends_with(&layer) {
        true => say(to, 307, &[("location", &format!("http://127.0.0.1:{}/blob", storage.port))], b""),
        false => shop.answer(asked, to),
    });
    let error = w.pull_as(&server, password()).unwrap_err();
    assert!(heard.lock().unwrap().is_empty(), "{error}");
}

fn a_host_that_sends_us_back_brings_no_login_along() {
    let w = World::new();
    let port = Arc::new(AtomicUsize::new(0));
    let (own, heard) = (port.clone(), Arc::new(Mutex::new(Vec::new())));
    let storage = Server::start(move |_, to| {
        let back = format!("http://127.0.0.1:{}/v2/secret/delete", own.load(Ordering::Relaxed));
        say(to, 307, &[("location", &back)], b"");
    });
    let shop = Shop::honest();
    let (layer, listening) = (shop.layer(), heard.clone());
    let server = Server::start(move |asked, to| {
        if asked.path.starts_with("/v2/secret") {
            listening.lock().unwrap().push(asked.headers.get("authorization").cloned());
            say(to, 404, &[], b"{}");
        } else if !asked.headers.contains_key("authorization") {
            say(to, 401, &[("www-authenticate", "Basic realm=\"r\"")], b"{}");
        } else if asked.path.ends_with(&layer) {
            say(to, 307, &[("location", &format!("http://127.0.0.1:{}/x", storage.port))], b"");
        } else {
            shop.answer(asked, to);
        }
    });
    port.store(server.port.into(), Ordering::Relaxed);
    let error = w.pull_as(&server, password()).unwrap_err();
    assert_eq!(*heard.lock().unwrap(), [None], "{error}");
}

fn an_address_with_a_user_name_is_not_followed() {
    let w = World::new();
    let (evil, heard) = eavesdropper();
    for realm in ["http://localhost:1@127.0.0.1:PORT/r", "http://ann:forest@127.0.0.1:PORT/r"] {
        let realm = realm.replace("PORT", &evil.port.to_string());
        let challenge = format!("Bearer realm=\"{realm}\"");
        let server = Server::start(move |_, to| say(to, 401, &[("www-authenticate", &challenge)], b"{}"));
        let error = w.pull_as(&server, password()).unwrap_err();
        assert!(error.because().contains("a user name in it") && !error.to_string().contains("forest"), "{error}");
        let location = realm.clone();
        let server = Server::start(move |_, to| say(to, 307, &[("location", &location)], b""));
        let error = w.pull(&server).unwrap_err();
        assert!(error.because().contains("a user name in it"), "{error}");
    }
    assert!(heard.lock().unwrap().is_empty());
}

/// A byte at a time, never the end.
fn trickle(to: &mut TcpStream, head: &[u8]) {
    to.write_all(head).ok();
    while to.write_all(b" ").is_ok() {
        thread::sleep(Duration::from_millis(50));
    }
}

/// 100 bytes in a second of waiting.
fn least() -> Option<Rate> {
    Some(Rate { bytes: 100, over: Duration::from_secs(1) })
}

fn a_registry_that_trickles_is_given_up_on() {
    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n";
    for what in ["headers", "manifest", "layer", "token"] {
        let w = World::new();
        let shop = Shop::honest();
        let layer = shop.layer();
        let port = Arc::new(AtomicUsize::new(0));
        let own = port.clone();
        let server = Server::start(move |asked, to| match what {
            "headers" if asked.path.contains("/manifests/") => trickle(to, b"HTTP/1.1 200 OK\r\nx-y:"),
            "manifest" if asked.path.contains("/manifests/") => trickle(to, HEAD),
            "layer" if asked.path.ends_with(&layer) => trickle(to, HEAD),
            "token" if asked.path.starts_with("/token") => trickle(to, HEAD),
            "token" => {
                let realm = format!("Bearer realm=\"http://127.0.0.1:{}/token\"", own.load(Ordering::Relaxed));
                say(to, 401, &[("www-authenticate", &realm)], b"{}");
            }
            _ => shop.answer(asked, to),
        });
        port.store(server.port.into(), Ordering::Relaxed);
        let start = std::time::Instant::now();
        let options = pull::Options { rate: least(), ..pull::Options::default() };
        let error = pull::pull(&w.store, &server.name(), &options, &Quiet).unwrap_err();
        assert_eq!(error.kind(), Kind::TooSlow, "{what}: {error}");
        assert!(error.advice().unwrap().contains("KELP_LEAST_RATE"), "{what}: {error}");
        assert!(start.elapsed() < Duration::from_secs(20), "{what}: {:?}", start.elapsed());
    }
}

fn a_registry_that_takes_a_trickle_is_given_up_on() {
    let w = World::new();
    let mut state = 1_u64;
    let mut noise = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    let noise: Vec<u8> = (0..16_u32 << 20).map(|_| noise()).collect();
    let shop = Shop::of(&tar_of("noise", &noise));
    let image = w.store_only(&shop.open());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    // A client that tries TLS first begins with 0x16.
                    if client.read(&mut byte).unwrap_or(0) == 0 || byte == [0x16] {
                        return;
                    }
                    head.push(byte[0]);
                }
                let head = String::from_utf8_lossy(&head).to_lowercase();
                let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
                match &head.as_bytes()[..4] {
                    b"post" => say(&mut client, 202, &[("location", "/v2/up")], b""),
                    b"put " if length < Some(1 << 20) => {
                        say(&mut client, 201, &[], b"");
                    }
                    b"put " => {
                        while client.read(&mut [0]).is_ok_and(|n| n > 0) {
                            thread::sleep(Duration::from_millis(100));
                        }
                    }
                    b"get " => say(&mut client, 200, &[], b"{}"),
                    _ => say(&mut client, 404, &[], b""),
                }
            });
        }
    });
    let name: Reference = format!("127.0.0.1:{port}/app:1").parse().unwrap();
    // The kernel takes some megabytes at once, whoever reads them: then nothing.
    let options = push::Options { rate: least(), ..push::Options::default() };
    let error = push::push(&w.store, &image, &name, &options, &Quiet).unwrap_err();
    assert_eq!(error.kind(), Kind::TooSlow, "{error}");
}

/// A registry whose token serves for three requests.
fn with_short_tokens(issue: impl Fn(&Asked) -> Option<String> + Send + Sync + 'static) -> (Server, Arc<AtomicUsize>) {
    let shop = Shop::honest();
    let issued = Arc::new(AtomicUsize::new(0));
    let (counted, uses) = (issued.clone(), AtomicUsize::new(0));
    let port = Arc::new(AtomicUsize::new(0));
    let own_port = port.clone();
    let server = Server::start(move |asked, to| {
        let valid = format!("Bearer token-{}", counted.load(Ordering::Relaxed));
        if asked.path.starts_with("/token") {
            let Some(field) = issue(asked) else { return say(to, 403, &[], b"{}") };
            let n = counted.fetch_add(1, Ordering::Relaxed) + 1;
            uses.store(0, Ordering::Relaxed);
            return say(to, 200, &[], json!({field: format!("token-{n}")}).to_string().as_bytes());
        }
        let good = asked.headers.get("authorization") == Some(&valid);
        if good && uses.fetch_add(1, Ordering::Relaxed) < 2 {
            return shop.answer(asked, to);
        }
        let port = own_port.load(Ordering::Relaxed);
        let challenge =
            format!("Bearer realm=\"http://127.0.0.1:{port}/token\",service=\"s\",scope=\"repository:app:pull\"");
        say(to, 401, &[("www-authenticate", &challenge)], b"{}");
    });
    port.store(server.port.into(), Ordering::Relaxed);
    (server, issued)
}

fn a_token_that_runs_out_is_asked_for_again() {
    let w = World::new();
    let (server, issued) = with_short_tokens(|asked| {
        let scoped = asked.path.contains("scope=repository%3Aapp%3Apull") && asked.path.contains("service=s");
        let known = asked.headers.get("authorization").is_some_and(|a| a == "Basic YW5uOmZvcmVzdA==");
        (asked.method == "GET" && scoped && known).then(|| "token".to_owned())
    });
    w.pull_as(&server, password()).unwrap();
    assert!(issued.load(Ordering::Relaxed) >= 2);
}

fn a_refresh_token_is_posted() {
    let w = World::new();
    let (server, _) = with_short_tokens(|asked| {
        let form = String::from_utf8_lossy(&asked.body).into_owned();
        let good = form.contains("grant_type=refresh_token") && form.contains("refresh_token=s3cret");
        (asked.method == "POST" && good).then(|| "access_token".to_owned())
    });
    w.pull_as(&server, Credentials::Identity("s3cret".into())).unwrap();
    let error = w.pull_as(&server, Credentials::Identity("old".into())).unwrap_err();
    assert_eq!(error.kind(), Kind::Unauthorized, "{error}");
}

fn a_busy_registry_is_asked_again() {
    let w = World::new();
    let shop = Shop::honest();
    let tries = AtomicUsize::new(0);
    let server = Server::start(move |asked, to| match tries.fetch_add(1, Ordering::Relaxed) % 4 {
        0 => say(to, 503, &[], b"{}"),
        1 => say(to, 429, &[("retry-after", "0")], b"{}"),
        // Half an answer.
        2 if asked.path.contains("/manifests/") => say(to, 200, &[("content-length", "1000")], b"{"),
        _ => shop.answer(asked, to),
    });
    w.pull(&server).unwrap();
    let server = Server::start(|_, to| say(to, 500, &[], b"{}"));
    let error = w.pull(&server).unwrap_err();
    assert!(error.kind() == Kind::Network && error.because().contains("500"), "{error}");
}

/// A registry with a layer of a megabyte that does not compress.
fn large() -> (Shop, String) {
    let mut state = 1_u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    let noise: Vec<u8> = std::iter::repeat_with(next).take(1 << 20).collect();
    let shop = Shop::of(&tar_of("noise", &noise));
    let layer = shop.layer();
    (shop, layer)
}

const PART: u64 = 64 << 10;

/// The range a request is for; `to` is behind its last byte.
fn range(asked: &Asked) -> Option<(usize, usize)> {
    let (from, last) = asked.headers.get("range")?.strip_prefix("bytes=")?.split_once('-')?;
    Some((from.parse().ok()?, last.parse::<usize>().ok()? + 1))
}

fn say_range(to: &mut TcpStream, blob: &[u8], (from, end): (usize, usize)) {
    let range = format!("bytes {from}-{}/{}", end - 1, blob.len());
    say(to, 206, &[("content-range", &range)], &blob[from..end]);
}

/// Pulls in parts; the image must come out whole.
fn in_parts(w: &World, server: &Server) {
    let options = pull::Options { unpack: Some(IdMap::of_caller().unwrap()), part: PART, ..pull::Options::default() };
    let image = pull::pull(&w.store, &server.name(), &options, &Quiet).unwrap();
    let unpacked = w.store.unpacked(&image).unwrap().expect("the pull unpacked it");
    assert_eq!(fs::metadata(unpacked.lower[0].join("noise")).unwrap().len(), 1 << 20);
    let blob = fs::read(w.store.blob(&image.layers[0].blob)).unwrap();
    assert_eq!(Digest::of(&blob), image.layers[0].blob);
    assert_eq!(fs::read_dir(w.store.images().join("partial")).unwrap().count(), 0);
}

fn a_large_blob_comes_in_parts_at_the_same_time() {
    let w = World::new();
    let (shop, layer) = large();
    let (now, most, ranges) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
    let (highest, asked_for) = (most.clone(), ranges.clone());
    let server = Server::start(move |asked, to| match range(asked) {
        Some(range) if asked.path.ends_with(&layer) => {
            highest.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            let is_first = asked_for.lock().unwrap().is_empty();
            asked_for.lock().unwrap().push(range);
            // The first comes alone. The second waits for a third, for as long as a pull that asks one by one would stand out.
            let until = Instant::now() + Duration::from_secs(20);
            while !is_first && highest.load(Ordering::Relaxed) < 2 && Instant::now() < until {
                thread::sleep(Duration::from_millis(5));
            }
            say_range(to, &shop.blobs[&layer], range);
            now.fetch_sub(1, Ordering::Relaxed);
        }
        _ => shop.answer(asked, to),
    });
    in_parts(&w, &server);
    let mut ranges = ranges.lock().unwrap().clone();
    ranges.sort_unstable();
    assert!(ranges.len() >= 16 && ranges.windows(2).all(|two| two[0].1 == two[1].0), "each byte once: {ranges:?}");
    let most = most.load(Ordering::Relaxed);
    assert!((2..=6).contains(&most), "{most} requests at the same time");
}

fn a_registry_without_ranges_sends_one_stream() {
    let w = World::new();
    let (shop, layer) = large();
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = requests.clone();
    let server = Server::start(move |asked, to| {
        counted.fetch_add(usize::from(asked.path.ends_with(&layer)), Ordering::Relaxed);
        shop.answer(asked, to);
    });
    in_parts(&w, &server);
    assert_eq!(requests.load(Ordering::Relaxed), 2, "it is asked for a range once, and then for all");
}

fn a_registry_that_stops_giving_ranges_sends_the_rest() {
    let w = World::new();
    let (shop, layer) = large();
    let given = AtomicUsize::new(0);
    let server = Server::start(move |asked, to| match range(asked) {
        Some(range) if asked.path.ends_with(&layer) && given.fetch_add(1, Ordering::Relaxed) < 5 => {
            say_range(to, &shop.blobs[&layer], range);
        }
        _ => shop.answer(asked, to),
    });
    in_parts(&w, &server);
}

fn ranges_that_are_others_are_not_believed() {
    // It says another range; it says this one and sends another; it sends this one and says nothing of it.
    type Lie = fn(&mut TcpStream, &[u8], (usize, usize));
    let lies: [Lie; 3] = [
        |to, blob, (from, end)| say_range(to, blob, (from + 1, end)),
        |to, blob, (from, end)| {
            let range = format!("bytes {from}-{}/{}", end - 1, blob.len());
            say(to, 206, &[("content-range", &range)], &blob[..end - from]);
        },
        |to, blob, (from, end)| say(to, 206, &[], &blob[from..end]),
    ];
    for lie in lies {
        let w = World::new();
        let (shop, layer) = large();
        let server = Server::start(move |asked, to| match range(asked) {
            Some(range) if asked.path.ends_with(&layer) => lie(to, &shop.blobs[&layer], range),
            _ => shop.answer(asked, to),
        });
        in_parts(&w, &server);
    }
}

fn parts_that_arrived_are_not_asked_for_again() {
    let w = World::new();
    let (shop, layer) = large();
    let sent = Arc::new(AtomicUsize::new(0));
    let (counted, ends) = (sent.clone(), AtomicUsize::new(0));
    let broken = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let is_broken = broken.clone();
    let server = Server::start(move |asked, to| match range(asked) {
        Some((from, end)) if asked.path.ends_with(&layer) => {
            let breaks = is_broken.load(Ordering::Relaxed) && from > 4 * PART as usize;
            // Four more parts behind the first ones, and then no more.
            if breaks && ends.fetch_add(1, Ordering::Relaxed) > 3 {
                return say(to, 403, &[], b"{}");
            }
            counted.fetch_add(end - from, Ordering::Relaxed);
            say_range(to, &shop.blobs[&layer], (from, end));
        }
        _ => shop.answer(asked, to),
    });
    let options = pull::Options { part: PART, ..pull::Options::default() };
    let error = pull::pull(&w.store, &server.name(), &options, &Quiet).unwrap_err();
    assert_eq!(error.kind(), Kind::Unauthorized, "{error}");
    let first = sent.swap(0, Ordering::Relaxed);
    assert!(first > 6 * PART as usize, "{first} bytes were sent before it broke");
    let kept = pull::partial_bytes(&w.store).unwrap();
    assert!(kept > 4 * PART && kept < 14 * PART, "{kept} bytes are on the disk");
    broken.store(false, Ordering::Relaxed);
    in_parts(&w, &server);
    let second = sent.load(Ordering::Relaxed);
    assert!(first + second < (1 << 20) + 6 * PART as usize, "{first} bytes were here, {second} came again");
}

fn a_search_is_answered_by_the_search_api() {
    let server = Server::start(|asked, to| match asked.path.as_str() {
        "/v1/search?q=sea%20weed&n=25" => {
            let one = json!({"name": "ocean/kelp", "description": "holds fast", "star_count": 7, "is_official": false});
            let other = json!({"name": "kelp", "description": null, "star_count": 1, "is_official": true});
            say(to, 200, &[], json!({"num_results": 2, "results": [one, other]}).to_string().as_bytes());
        }
        "/v2/" => say(to, 200, &[], b"{}"),
        _ => say(to, 404, &[], b"{}"),
    });
    let term = format!("127.0.0.1:{}/sea weed", server.port);
    let found = search::search(&term, &search::Options::default()).unwrap();
    let prefix = format!("127.0.0.1:{}", server.port);
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].name.as_str(), found[0].stars), (format!("{prefix}/ocean/kelp").as_str(), 7));
    assert_eq!((found[0].description.as_str(), found[0].official, found[1].official), ("holds fast", false, true));
}

fn a_list_of_tags_without_end_is_refused() {
    let pages = AtomicUsize::new(0);
    let server = Server::start(move |asked, to| {
        let n = pages.fetch_add(1, Ordering::Relaxed);
        let path = asked.path.split('?').next().unwrap();
        let next = format!("<{path}?last={n}>; rel=\"next\"");
        say(to, 200, &[("link", &next)], br#"{"tags": ["a"]}"#);
    });
    let error = search::tags(&server.name(), &search::Options::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::TooBig, "{error}");
}

fn who_has_all_layers_waits_for_no_pull() {
    let w = World::new();
    let base = Shop::honest();
    let lower = w.store_only(&base.clone().open());
    let shop = base.with(&tar_of("upper", b"upper"));
    let upper = shop.document()["layers"][1]["digest"].as_str().unwrap().to_owned();
    // The registry has said half of the upper layer, and thinks about the rest.
    let (go_on, waits) = mpsc::channel::<()>();
    let (says_half, half_said) = mpsc::channel();
    let gate = Mutex::new((waits, says_half));
    let asked_for = Arc::new(AtomicUsize::new(0));
    let counted = asked_for.clone();
    let server = Server::start(move |asked, to| match asked.path.ends_with(&upper) {
        true => {
            counted.fetch_add(1, Ordering::Relaxed);
            let blob = &shop.blobs[&upper];
            let (half, rest) = blob.split_at(blob.len() / 2);
            say(to, 200, &[("content-length", &blob.len().to_string())], half);
            let gate = gate.lock().unwrap();
            gate.1.send(()).unwrap();
            gate.0.recv().ok();
            to.write_all(rest).ok();
        }
        false => shop.answer(asked, to),
    });
    thread::scope(|scope| {
        let pull = scope.spawn(|| w.pull(&server).unwrap());
        half_said.recv().unwrap();
        assert!(w.store.unpacked(&lower).unwrap().is_none(), "the pull publishes all layers or none");
        let (done, is_done) = mpsc::channel();
        let (store, image) = (w.store.clone(), lower.clone());
        thread::spawn(move || done.send(store.unpack(&image, &IdMap::of_caller().unwrap(), &Quiet)).ok());
        let unpacked = is_done.recv_timeout(Duration::from_secs(20)).expect("it waits for the pull").unwrap();
        assert!(unpacked.lower[0].join("hello").exists());
        assert!(!pull.is_finished());
        go_on.send(()).unwrap();
        let whole = w.store.unpacked(&pull.join().unwrap()).unwrap().expect("the pull unpacked it");
        assert_eq!(whole.lower[0], unpacked.lower[0]);
        assert!(whole.lower[1].join("upper").exists());
    });
    assert_eq!(asked_for.load(Ordering::Relaxed), 1);
    assert_eq!(fs::read_dir(w.store.layers().join(".ingest")).unwrap().count(), 0, "what came second is gone");
}
