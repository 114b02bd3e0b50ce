// SPDX-License-Identifier: Apache-2.0
//! The image `hello`: one static program, carried in this binary, so that the first `kelp run` needs no registry.
//!
//! It comes as an archive like those that `skopeo copy … oci-archive:FILE` writes, and goes into the store by the way
//! of every archive (`kelp load`): from then on it is an image like any other.

use kelp_bundles::Digest;
use serde_json::{Value, json};

/// What `kelp run` calls it.
pub const NAME: &str = "hello";
/// Its full name, as the store knows it.
pub const REFERENCE: &str = "docker.io/library/hello:latest";

/// The environment variable from which the program learns which namespaces its caller is in.
pub const CALLER_NAMESPACES: &str = "KELP_CALLER_NS";

/// Compiled by build.rs from engine/hello/main.rs.
static PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hello"));

/// The image as an oci-archive: always the same bytes for one build of Kelp.
/// Spec: image-spec image-layout.md.
pub fn archive() -> Vec<u8> {
    let layer = tar(&[("hello", 0o755, PROGRAM)]);
    let config = text(&config(&Digest::of(&layer)));
    let manifest = text(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
    }));
    let mut listed = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
    listed["annotations"] = json!({
        "io.containerd.image.name": REFERENCE,
        "org.opencontainers.image.ref.name": REFERENCE,
    });
    let index = text(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [listed],
    }));
    let blob = |bytes: &[u8]| format!("blobs/sha256/{}", Digest::of(bytes).hex());
    tar(&[
        ("oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#),
        ("index.json", 0o644, &index),
        (&blob(&manifest), 0o644, &manifest),
        (&blob(&config), 0o644, &config),
        (&blob(&layer), 0o644, &layer),
    ])
}

/// `mnt=4026531841,pid=4026531836,…`: the namespaces of this process, for [`CALLER_NAMESPACES`].
pub fn caller_namespaces() -> String {
    let id = |name: &str| {
        let link = std::fs::read_link(format!("/proc/self/ns/{name}")).ok()?;
        let id = link.to_str()?.split_once('[')?.1.strip_suffix(']')?.to_owned();
        Some(format!("{name}={id}"))
    };
    let names = ["user", "mnt", "pid", "net", "uts", "ipc", "cgroup", "time"];
    names.into_iter().filter_map(id).collect::<Vec<_>>().join(",")
}

/// Spec: image-spec config.md.
fn config(diff_id: &Digest) -> Value {
    json!({
        "architecture": match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        },
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "Cmd": ["/hello"],
            "Env": ["PATH=/"],
            "WorkingDir": "/",
            "Labels": {
                "org.opencontainers.image.title": "hello",
                "org.opencontainers.image.description": "Says what isolates it",
                "org.opencontainers.image.licenses": "Apache-2.0",
                "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
            },
        },
        "rootfs": { "type": "layers", "diff_ids": [diff_id.as_str()] },
        "history": [{ "created": "1970-01-01T00:00:00Z", "created_by": "kelp: embedded program" }],
    })
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": Digest::of(bytes).as_str(), "size": bytes.len() })
}

fn text(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

const BLOCK: usize = 512;

/// A tar archive of regular files: name, mode, content. Owner and times are 0.
fn tar(files: &[(&str, u32, &[u8])]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, mode, content) in files {
        archive.extend_from_slice(&header(name, *mode, content.len()));
        archive.extend_from_slice(content);
        archive.resize(archive.len().next_multiple_of(BLOCK), 0);
    }
    archive.resize(archive.len() + 2 * BLOCK, 0);
    archive
}

/// A header of POSIX ustar, pax(1) "ustar Interchange Format"; names are at most 100 bytes here.
fn header(name: &str, mode: u32, size: usize) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, format!("{mode:07o}\0").as_bytes());
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    // The sum below counts its own field as blanks.
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().copied().map(u32::from).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

#[cfg(test)]
#[path = "../hello/facts.rs"]
#[allow(dead_code, reason = "the program uses all of it; here only its tests run")]
mod facts;

#[cfg(test)]
#[path = "../hello/page.rs"]
#[allow(dead_code, reason = "the program uses all of it; here only its tests run")]
mod page;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_small() {
        assert!(PROGRAM.starts_with(b"\x7fELF"));
        assert!(PROGRAM.len() < 1_300_000, "hello has grown to {} bytes", PROGRAM.len());
    }

    #[test]
    fn the_archive_is_reproducible_and_aligned() {
        let archive = archive();
        assert_eq!(archive.len() % BLOCK, 0);
        assert_eq!(Digest::of(&archive), Digest::of(&super::archive()));
        assert!(archive.starts_with(b"oci-layout\0"));
    }

    #[test]
    fn the_callers_namespaces_are_named_with_their_ids() {
        let told = caller_namespaces();
        let pid = told.split(',').find_map(|pair| pair.strip_prefix("pid=")).unwrap();
        assert!(pid.bytes().all(|byte| byte.is_ascii_digit()), "{told}");
    }
}
