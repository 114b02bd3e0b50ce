// SPDX-License-Identifier: Apache-2.0
//! Names, digests and ids of images, as Docker has them; and who may log in.
//!
//! Runs `kelp` as root and as an unprivileged user against Debian's `docker-registry`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use kelp_tests::{Compression, Entry, Image, Kind, LOGIN, Registry, Terminal, World, busybox_image, claims, layer};

claims!(as_root, as_user:
    a_digest_is_one_more_name,
    an_id_is_one_image_whatever_manifests_it_has,
    what_is_missing_matters_to_who_does_not_force,
    only_names_are_pushed,
    sizes_are_those_of_files,
    what_is_found_is_shown_before_what_is_missing_is_told,
    a_password_is_typed_unseen_and_may_be_interrupted,
    a_login_that_is_kept_is_tried_first,
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

fn listed(w: &World) -> String {
    w.kelp(["images", "--format", "{{.Repository}} {{.Tag}} {{.Digest}}"]).ok().stdout
}

fn a_digest_is_one_more_name(w: &World) {
    let registry = registry!(Registry::start(w), w);
    let layout = busybox_image(w).compression(Compression::Gzip).layout(w, "layout", "latest");
    let name = registry.push(&layout, "app:latest");
    let repository = registry.name("app");
    let pulled = w.kelp(["pull", &repository]).ok();
    let digest = pulled.stdout.lines().find_map(|line| line.strip_prefix("Digest: ")).unwrap().to_owned();
    let pinned = format!("{repository}@{digest}");
    assert!(pulled.stdout.starts_with("Using default tag: latest\n"), "{pulled}");
    assert!(pulled.stdout.contains(&format!("Status: Downloaded newer image for {name}\n{name}\n")), "{pulled}");
    assert!(w.kelp(["pull", &name]).ok().stdout.contains("Status: Image is up to date for "));
    w.kelp(["rmi", &name]).ok();
    assert_eq!(listed(w), "");
    // The tag beside a digest is no name.
    w.kelp(["pull", &format!("{name}@{digest}")]).ok();
    w.kelp(["pull", &pinned]).ok();
    assert_eq!(listed(w), format!("{repository} <none> {digest}\n"));
    w.kelp(["run", "--rm", "--network", "none", "--pull", "never", &format!("{name}@{digest}"), "true"]).ok();
    let pruned = w.kelp(["image", "prune", "-f"]).ok();
    assert!(pruned.stdout.contains(&format!("untagged: {pinned}\ndeleted: sha256:")), "{pruned}");
    w.kelp(["pull", &pinned]).ok();
    w.kelp(["pull", &name]).ok();
    assert_eq!(listed(w), format!("{repository} latest {digest}\n"), "one line, not three");
    // What a registry calls it in one repository says nothing of another.
    w.kelp(["tag", &name, "other:1"]).ok();
    assert!(listed(w).contains("other 1 <none>"), "{}", listed(w));
    let inspected = w.kelp(["inspect", "other:1", "-f", "{{.RepoDigests}} {{.RepoTags}}"]).ok();
    assert_eq!(inspected.text(), format!("[{pinned}] [{name} other:1]"));
    // Who removes the digest keeps the tag.
    assert_eq!(w.kelp(["rmi", &pinned]).ok().text(), format!("Untagged: {pinned}"));
    assert!(listed(w).contains(&format!("{repository} latest <none>")), "{}", listed(w));
    w.kelp(["rmi", &pinned]).output().code(1).explains(&["digest"]).hints("--digests");
    // A tag that moves on leaves the digest.
    w.kelp(["pull", &name]).ok();
    let other = busybox_image(w).with(layer(&[Entry::new("more", Kind::Folder)])).layout(w, "newer", "latest");
    registry.push(&other, "app:latest");
    w.kelp(["pull", &name]).ok();
    assert!(listed(w).contains(&format!("{repository} <none> {digest}\n")), "{}", listed(w));
    w.kelp(["image", "prune", "-f"]).ok();
    assert!(listed(w).contains("other 1 <none>"), "an image that has a tag somewhere stays: {}", listed(w));
    w.kelp(["rmi", &name]).ok();
    w.kelp(["pull", &pinned]).ok();
    // Two repositories know it: an id does not say which one to forget.
    let id = w.kelp(["images", "-q"]).ok().text().to_owned();
    w.kelp(["rmi", &id]).output().code(1).explains(&["2 names"]);
    w.kelp(["rmi", "other:1"]).ok();
    w.kelp(["pull", &pinned]).ok();
    let gone = w.kelp(["rmi", &id]).ok();
    assert_eq!(gone.stdout.matches("Untagged: ").count(), 1, "{gone}");
    assert!(gone.stdout.contains("Deleted: sha256:") && listed(w).is_empty(), "{gone}");
}

fn an_id_is_one_image_whatever_manifests_it_has(w: &World) {
    let plain = busybox_image(w).compression(Compression::Plain).oci_archive(w, "plain.tar", "one:1");
    let packed = busybox_image(w).compression(Compression::Gzip).oci_archive(w, "packed.tar", "two:1");
    for archive in [&plain, &packed] {
        w.kelp(["load", "-i", &archive.display().to_string()]).ok();
    }
    let id = w.kelp(["images", "-q"]).ok().text().to_owned();
    assert_eq!((id.lines().count(), listed(w).lines().count()), (1, 2), "{}", listed(w));
    let saved = w.dir().join("saved.tar").display().to_string();
    w.kelp(["save", "-o", &saved, &id]).ok();
    w.kelp(["rmi", &id]).output().code(1).explains(&["2 names"]);
    // The same image by another manifest takes its own name: nobody is left without one.
    let again = busybox_image(w).compression(Compression::Zstd).oci_archive(w, "again.tar", "two:1");
    w.kelp(["load", "-i", &again.display().to_string()]).ok();
    assert!(!listed(w).contains("<none> <none>"), "{}", listed(w));
    assert!(w.kelp(["system", "df", "--format", "{{.TotalCount}}"]).ok().stdout.starts_with("1\n"));
    let gone = w.kelp(["rmi", "-f", &id]).ok();
    assert_eq!((gone.stdout.lines().count(), listed(w).as_str()), (3, ""), "{gone}");
}

fn what_is_missing_matters_to_who_does_not_force(w: &World) {
    w.kelp(["rmi", "nope"]).output().code(1).explains(&["nope"]);
    let forced = w.kelp(["rmi", "-f", "nope"]).output();
    assert!(forced.status() == 0 && forced.stderr.contains("nope"), "{forced}");
    w.kelp(["rmi", "Nope"]).output().code(1).hints("lower case");
    w.kelp(["images", "--filter", "dangling=maybe"]).output().code(1).explains(&["maybe"]);
    w.kelp(["pull", "--platform", "toaster", "app"]).output().code(1).explains(&["toaster"]).hints("linux/arm64");
}

fn only_names_are_pushed(w: &World) {
    w.load_busybox();
    let id = w.kelp(["images", "-q"]).ok().text().to_owned();
    w.kelp(["push", &id[..6]]).output().code(1).explains(&["no image here has this name"]).hints("kelp tag");
    w.kelp(["push", "--disable-content-trust=false", "busybox"]).output().code(1).explains(&["notary"]);
    w.kelp(["push", "--platform", "linux/s390x", "busybox"]).output().code(1).explains(&["s390x"]);
    for command in [&["history"][..], &["image", "inspect"], &["save", "-o", "/nowhere"]] {
        let asked = command.iter().chain(&["--platform", "linux/s390x", "busybox"]);
        w.kelp(asked).output().code(1).explains(&["wanted is linux/s390x"]);
    }
    let pinned = format!("busybox@sha256:{}", "0".repeat(64));
    w.kelp(["push", &pinned]).output().code(1).explains(&["digest"]);
}

fn sizes_are_those_of_files(w: &World) {
    let image = Image::new(vec![
        layer(&[Entry::new("one", Kind::File(b"123".to_vec())), Entry::new("folder", Kind::Folder)]),
        layer(&[Entry::new("two", Kind::File(vec![7; 4000])), Entry::new("link", Kind::Symlink("one".into()))]),
    ]);
    w.load(&image, "sizes");
    let size = |command: &[&str]| w.kelp(command).ok().text().to_owned();
    assert_eq!(size(&["images", "--format", "{{.Size}}", "sizes"]), "4kB");
    assert_eq!(size(&["history", "--format", "{{.Size}}", "sizes"]), "4kB\n3B");
    assert_eq!(size(&["history", "-H=false", "--format", "{{.Size}}", "sizes"]), "4000\n3");
    assert_eq!(size(&["inspect", "-f", "{{.Size}}{{.Config.User}}{{.Config.Labels}}", "sizes"]), "4003<no value>");
}

fn what_is_found_is_shown_before_what_is_missing_is_told(w: &World) {
    w.load_busybox();
    for command in [&["inspect"][..], &["image", "inspect"]] {
        let output = w.kelp(command.iter().chain(&["nope", "busybox"])).output().code(1).explains(&["nope"]);
        assert_eq!(output.json().as_array().map(Vec::len), Some(1), "{output}");
        assert_eq!(w.kelp(command.iter().chain(&["nope"])).output().code(1).text(), "[]");
    }
}

/// A login at a terminal.
fn login<'w>(w: &'w World, host: &str) -> (Terminal, kelp_tests::Running<'w>) {
    let docker = w.dir().join("docker").display().to_string();
    let command = w.kelp(["login", "--tls-verify=false", host]).env("DOCKER_CONFIG", &docker).env("NO_COLOR", "1");
    Terminal::start(command, 24, 80)
}

fn a_password_is_typed_unseen_and_may_be_interrupted(w: &World) {
    let registry = registry!(Registry::start_guarded(w), w);
    let (mut terminal, running) = login(w, &registry.host());
    terminal.shows("Username: ");
    terminal.types(format!("{}\n", LOGIN.0).as_bytes());
    terminal.shows("Password: ");
    assert!(!terminal.echoes());
    terminal.types(b"secret\x03");
    terminal.ends();
    assert!(terminal.echoes() && !terminal.screen().contains("secret"), "{}", terminal.screen());
    assert_eq!(running.output().status(), 130);
    let (mut terminal, running) = login(w, &registry.host());
    terminal.shows("Username: ");
    terminal.types(format!("{}\n", LOGIN.0).as_bytes());
    terminal.shows("Password: ");
    // Slips of the fingers can be taken back.
    terminal.types(format!("wrong\x15{}x\x7f\n", LOGIN.1).as_bytes());
    terminal.shows("Login Succeeded");
    terminal.ends();
    assert!(terminal.echoes() && !terminal.screen().contains(LOGIN.1), "{}", terminal.screen());
    assert_eq!(running.output().status(), 0);
    let piped = |words: &[&str], text: &str| w.kelp(words).stdin(text).output().code(1);
    let host = registry.host();
    piped(&["login", "--password-stdin", &host], "x\n").explains(&["--username"]);
    piped(&["login", "-u", "ann", "--password-stdin", &host], "").explains(&["empty"]);
    piped(&["login", "-u", "ann", &host], "x\n").explains(&["no terminal"]).hints("--password-stdin");
}

fn a_login_that_is_kept_is_tried_first(w: &World) {
    let registry = registry!(Registry::start_guarded(w), w);
    let host = registry.host();
    let docker = w.dir().join("docker").display().to_string();
    let kelp = |words: &[&str]| w.kelp(words).env("DOCKER_CONFIG", &docker);
    let address = format!("https://{host}/v1/");
    kelp(&["login", "--tls-verify=false", "-u", LOGIN.0, "--password-stdin", &address]).stdin(LOGIN.1).ok();
    let kept = fs::read_to_string(w.dir().join("docker/config.json")).unwrap();
    assert!(kept.contains(&format!("\"{host}\"")), "{kept}");
    let again = kelp(&["login", "--tls-verify=false", &host]).ok();
    assert!(again.stderr.contains("of ann") && again.text() == "Login Succeeded", "{again}");
    // One that is not taken any more is asked for again, with the name that was good.
    let spoilt = serde_json::json!({ "auths": { &host: { "username": "ann", "password": "old" } } });
    w.write("docker/config.json", spoilt.to_string());
    let (mut terminal, running) = login(w, &host);
    terminal.shows("not taken");
    terminal.shows("Username (ann): ");
    terminal.types(format!("\n{}\n", LOGIN.1).as_bytes());
    terminal.shows("Login Succeeded");
    terminal.ends();
    assert_eq!(running.output().status(), 0);
    assert!(kelp(&["logout", &address]).ok().stdout.contains("Removing login credentials"));
}
