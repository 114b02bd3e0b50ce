// SPDX-License-Identifier: Apache-2.0
//! Layers as large as those of real systems, made of nothing: the same bytes on every machine.
//!
//! Sizes and compressibility are those of a Debian with a compiler: most files are small, most bytes are in large ones,
//! and gzip leaves a third.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::error::{Doing, Result};
use crate::image::architecture;

/// What a layer holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) files: usize,
    pub(crate) bytes: u64,
}

/// Files of one folder.
const PER_FOLDER: usize = 24;

/// Makes an OCI image layout at `dir` of one image named `name`; where `plain` is given, the tar of its first layer too.
pub(crate) fn write_layout(dir: &Path, name: &str, layers: &[Shape], plain: Option<&Path>) -> Result<()> {
    let doing = || format!("cannot make an image at {}", dir.display());
    fs::create_dir_all(dir.join("blobs/sha256")).doing(doing)?;
    let mut descriptors = Vec::new();
    let mut diff_ids = Vec::new();
    for (n, shape) in layers.iter().enumerate() {
        let tee = plain.filter(|_| n == 0);
        let (descriptor, diff_id) = write_layer(dir, n, *shape, tee).doing(doing)?;
        descriptors.push(descriptor);
        diff_ids.push(diff_id);
    }
    let config = json!({
        "architecture": architecture(), "os": "linux", "config": {"Cmd": ["/bin/true"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let manifest = manifest(add(dir, &config, "image.config").doing(doing)?, &descriptors);
    finish(dir, &[(manifest, name.to_owned())])
}

/// Makes an OCI image layout of many images, `NAME:1` and so on, which differ in their configs and share one layer.
pub(crate) fn write_many(dir: &Path, name: &str, count: usize) -> Result<()> {
    let doing = || format!("cannot make images at {}", dir.display());
    fs::create_dir_all(dir.join("blobs/sha256")).doing(doing)?;
    let (layer, diff_id) = write_layer(dir, 0, Shape { files: 10, bytes: 10_000 }, None).doing(doing)?;
    let mut images = Vec::new();
    for n in 1..=count {
        let config = json!({
            "architecture": architecture(), "os": "linux", "created": "2026-01-01T00:00:00Z",
            "config": {"Cmd": ["/bin/true"], "Env": ["PATH=/bin"], "Labels": {"number": n.to_string()}},
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
            "history": [{"created_by": "kelp-bench"}],
        });
        let config = add(dir, &config, "image.config").doing(doing)?;
        images.push((manifest(config, std::slice::from_ref(&layer)), format!("{name}:{n}")));
    }
    finish(dir, &images)
}

/// Inflates a blob, and keeps nothing.
pub(crate) fn inflate(blob: &Path) -> Result<()> {
    let doing = || format!("cannot inflate {}", blob.display());
    let file = io::BufReader::with_capacity(256 << 10, File::open(blob).doing(doing)?);
    let mut plain = flate2::bufread::MultiGzDecoder::new(file);
    let mut buffer = vec![0; 512 << 10];
    while plain.read(&mut buffer).doing(doing)? > 0 {}
    Ok(())
}

fn manifest(config: Value, layers: &[Value]) -> Value {
    json!({"schemaVersion": 2, "mediaType": media_type("image.manifest"), "config": config, "layers": layers})
}

fn media_type(kind: &str) -> String {
    match kind {
        "image.layer" => "application/vnd.oci.image.layer.v1.tar+gzip".into(),
        kind => format!("application/vnd.oci.{kind}.v1+json"),
    }
}

fn finish(dir: &Path, images: &[(Value, String)]) -> Result<()> {
    let doing = || format!("cannot make an image at {}", dir.display());
    let mut manifests = Vec::new();
    for (manifest, name) in images {
        let mut descriptor = add(dir, manifest, "image.manifest").doing(doing)?;
        descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        manifests.push(descriptor);
    }
    let index = json!({"schemaVersion": 2, "mediaType": media_type("image.index"), "manifests": manifests});
    fs::write(dir.join("index.json"), index.to_string()).doing(doing)?;
    fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).doing(doing)
}

/// A document as a blob; its descriptor.
fn add(dir: &Path, document: &Value, kind: &str) -> io::Result<Value> {
    let text = document.to_string();
    let digest = hex(Sha256::digest(&text).as_slice());
    fs::write(dir.join("blobs/sha256").join(&digest), &text)?;
    Ok(json!({"mediaType": media_type(kind), "digest": format!("sha256:{digest}"), "size": text.len()}))
}

fn hex(hash: &[u8]) -> String {
    hash.iter().map(|b| format!("{b:02x}")).collect()
}

/// Writes and hashes on the way.
struct Hashed<W> {
    to: W,
    hash: Sha256,
    count: u64,
}

impl<W: Write> Hashed<W> {
    fn new(to: W) -> Self {
        Self { to, hash: Sha256::new(), count: 0 }
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to.write_all(bytes)?;
        self.hash.update(bytes);
        self.count += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// The plain tar, to the compressor and perhaps to a file of its own.
struct Tee<W> {
    to: W,
    also: Option<BufWriter<File>>,
}

impl<W: Write> Write for Tee<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(also) = &mut self.also {
            also.write_all(bytes)?;
        }
        self.to.write_all(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.also.as_mut().map_or(Ok(()), Write::flush)?;
        self.to.flush()
    }
}

/// One layer; its descriptor and the digest of its tar.
fn write_layer(dir: &Path, number: usize, shape: Shape, plain: Option<&Path>) -> io::Result<(Value, String)> {
    let blobs = dir.join("blobs/sha256");
    let unnamed = blobs.join("unnamed");
    let file = Hashed::new(BufWriter::with_capacity(1 << 20, File::create(&unnamed)?));
    let also = plain.map(File::create).transpose()?.map(|f| BufWriter::with_capacity(1 << 20, f));
    let compress = Tee { to: GzEncoder::new(file, Compression::new(6)), also };
    let mut tar = tar::Builder::new(Hashed::new(compress));
    fill(&mut tar, number, shape)?;
    let mut plain = tar.into_inner()?;
    plain.flush()?;
    let diff_id = format!("sha256:{}", hex(&plain.hash.finalize()));
    let mut file = plain.to.to.finish()?;
    file.flush()?;
    let digest = hex(&file.hash.finalize());
    fs::rename(&unnamed, blobs.join(&digest))?;
    let descriptor =
        json!({"mediaType": media_type("image.layer"), "digest": format!("sha256:{digest}"), "size": file.count});
    Ok((descriptor, diff_id))
}

fn fill(tar: &mut tar::Builder<impl Write>, number: usize, shape: Shape) -> io::Result<()> {
    let mut content = Content::new(number as u64 + 1);
    let sizes = sizes(&mut content.random, shape);
    let header = |kind: tar::EntryType, mode: u32, size: u64| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size);
        header.set_mtime(1_700_000_000);
        header.set_uid(0);
        header.set_gid(0);
        header
    };
    let mut above = String::new();
    for part in ["usr/", "lib/", &format!("part-{number}/")] {
        above += part;
        tar.append_data(&mut header(tar::EntryType::Directory, 0o755, 0), &above, io::empty())?;
    }
    for n in 0..40 {
        tar.append_data(&mut header(tar::EntryType::Directory, 0o755, 0), format!("{above}{n}/"), io::empty())?;
    }
    for (n, size) in sizes.into_iter().enumerate() {
        let folder = format!("{above}{}/{}", n / PER_FOLDER % 40, n / PER_FOLDER);
        if n % PER_FOLDER == 0 {
            tar.append_data(&mut header(tar::EntryType::Directory, 0o755, 0), format!("{folder}/"), io::empty())?;
        }
        let mut file = header(tar::EntryType::Regular, 0o644, size);
        tar.append_data(&mut file, format!("{folder}/file-{n}.so"), (&mut content).take(size))?;
    }
    Ok(())
}

/// Three files of four are below 8 KiB; together all have the bytes asked for.
fn sizes(random: &mut Random, shape: Shape) -> Vec<u64> {
    let weights: Vec<u64> = (0..shape.files)
        .map(|_| match random.below(1000) {
            0..600 => random.below(4 << 10),
            600..800 => random.below(12 << 10),
            800..950 => random.below(64 << 10),
            950..995 => random.below(512 << 10),
            _ => random.below(6 << 20),
        })
        .collect();
    let all: u64 = weights.iter().sum::<u64>().max(1);
    let scaled = |weight: u64| u64::try_from(u128::from(weight) * u128::from(shape.bytes) / u128::from(all));
    weights.into_iter().map(|weight| scaled(weight).unwrap_or(0)).collect()
}

/// xorshift64*: fast, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 33) % bound
    }
}

/// Phrases that come again, the first ones often, and bytes between them that do not: what machine code and text are to
/// a compressor.
struct Content {
    random: Random,
    phrases: Vec<Vec<u8>>,
    left: Vec<u8>,
    at: usize,
}

impl Content {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let phrase = |random: &mut Random| {
            let length = 6 + random.below(24);
            (0..length).map(|_| u8::try_from(random.below(96) + 32).unwrap_or(b' ')).collect()
        };
        let phrases = (0..1200).map(|_| phrase(&mut random)).collect();
        Self { random, phrases, left: Vec::new(), at: 0 }
    }

    fn refill(&mut self) {
        self.left.clear();
        self.at = 0;
        while self.left.len() < 1 << 16 {
            let count = self.phrases.len() as u64;
            let bound = self.random.below(count) + 1;
            let which = self.random.below(bound);
            let phrase = usize::try_from(which).ok().and_then(|which| self.phrases.get(which));
            self.left.extend_from_slice(phrase.map_or(&[], Vec::as_slice));
            let noise = self.random.next().to_le_bytes();
            let length = usize::try_from(self.random.below(4)).unwrap_or(0);
            self.left.extend_from_slice(&noise[..length]);
        }
    }
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.left.len() {
            self.refill();
        }
        let n = buffer.len().min(self.left.len() - self.at);
        buffer[..n].copy_from_slice(&self.left[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_is_left_by_gzip_and_every_machine_makes_the_same() {
        let dir = std::env::temp_dir().join(format!("kelp-bench-layer-{}", std::process::id()));
        write_layout(&dir, "test:1", &[Shape { files: 300, bytes: 10_000_000 }], None).unwrap();
        let sizes = fs::read_dir(dir.join("blobs/sha256")).unwrap().map(|e| e.unwrap().metadata().unwrap().len());
        let largest = sizes.max().unwrap();
        fs::remove_dir_all(&dir).unwrap();
        assert!((3_000_000..4_000_000).contains(&largest), "{largest} bytes of ten million");
    }
}
