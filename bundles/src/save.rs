// SPDX-License-Identifier: Apache-2.0
//! Images to files: archives and OCI layouts that kelp, docker, podman and skopeo read.
//!
//! An archive is an OCI layout with Docker's manifest.json beside it, as `docker save` has written them since version 25: one
//! file for all readers. Blobs go out as they are, so that digests stay.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use kelp_sys::rustix::process::{getegid, geteuid};
use oci_spec::image::{Descriptor, ImageIndexBuilder, MediaType};
use serde_json::json;

use crate::compose::descriptor;
use crate::digest::Digest;
use crate::error::{Doing, Error, Kind, Result};
use crate::store::{Image, REF_NAME, Store, make_folder, replace_file};
use crate::tar::write::Writer;

/// How much is copied at once.
const BUFFER: usize = 256 << 10;

/// What an archive holds beside the blobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Docker's manifest.json and an OCI layout.
    Docker,
    /// An OCI layout alone.
    Oci,
}

/// Writes an archive of images, each with the names it was asked for by.
///
/// # Errors
/// A blob is missing in the store; `out` cannot be written.
pub fn archive(store: &Store, images: &[Image], format: Format, out: impl Write) -> Result<()> {
    let doing = || "writing the archive";
    // The caller's: skopeo gives files to those whom the archive names, and a user can give to himself alone.
    let mut tar = Writer::new(out).owned_by(geteuid().as_raw(), getegid().as_raw());
    tar.folder("blobs/").doing(doing)?;
    tar.folder("blobs/sha256/").doing(doing)?;
    tar.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#).doing(doing)?;
    let mut written = HashSet::new();
    for digest in images.iter().flat_map(blobs) {
        if written.insert(digest.clone()) {
            blob(store, &mut tar, digest)?;
        }
    }
    tar.file("index.json", &index(store, images)?).doing(doing)?;
    if format == Format::Docker {
        tar.file("manifest.json", &docker_manifest(images)?).doing(doing)?;
    }
    tar.finish().map(drop).doing(doing)
}

/// Writes an OCI layout into a folder that is empty or missing.
///
/// # Errors
/// There is something in the folder; it cannot be written.
pub fn layout(store: &Store, images: &[Image], folder: &Path) -> Result<()> {
    let doing = || format!("writing the layout {}", folder.display());
    if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Error::new(Kind::AlreadyExists, doing(), "the folder is not empty"));
    }
    make_folder(&folder.join("blobs/sha256"))?;
    for digest in images.iter().flat_map(blobs) {
        let to = folder.join("blobs/sha256").join(digest.hex());
        fs::copy(store.blob(digest), &to).doing(doing)?;
    }
    replace_file(&folder.join("index.json"), &index(store, images)?)?;
    replace_file(&folder.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#)
}

/// All an image consists of.
fn blobs(image: &Image) -> impl Iterator<Item = &Digest> {
    [&image.manifest, &image.id].into_iter().chain(image.layers.iter().map(|layer| &layer.blob))
}

fn blob<W: Write>(store: &Store, tar: &mut Writer<W>, digest: &Digest) -> Result<()> {
    let doing = || format!("writing the blob {} into the archive", digest.short());
    let mut file = File::open(store.blob(digest)).doing(doing)?;
    let size = file.metadata().doing(doing)?.len();
    tar.begin_file(&format!("blobs/sha256/{}", digest.hex()), size).doing(doing)?;
    let mut buffer = vec![0; BUFFER];
    loop {
        match file.read(&mut buffer).doing(doing)? {
            0 => break,
            n => tar.content(&buffer[..n]).doing(doing)?,
        }
    }
    tar.pad(size).doing(doing)
}

fn index(store: &Store, images: &[Image]) -> Result<Vec<u8>> {
    let manifests = images.iter().map(|image| entry(store, image)).collect::<Result<Vec<_>>>()?;
    let index = ImageIndexBuilder::default()
        .schema_version(2u32)
        .media_type(MediaType::ImageIndex)
        .manifests(manifests)
        .build()
        .map_err(|e| Error::new(Kind::Other, "writing index.json", e))?;
    serde_json::to_vec(&index).doing(|| "writing index.json")
}

fn entry(store: &Store, image: &Image) -> Result<Descriptor> {
    let manifest = store.manifest(&image.manifest)?;
    let media_type = manifest.media_type().clone().unwrap_or(MediaType::ImageManifest);
    let size = fs::metadata(store.blob(&image.manifest)).doing(|| "looking at a manifest")?.len();
    let mut entry = descriptor(media_type, &image.manifest, size)?;
    if let Some(name) = &image.name {
        // Both places where readers look for the whole name.
        let keys = [REF_NAME, "io.containerd.image.name"];
        entry.set_annotations(Some(keys.map(|key| (key.to_owned(), name.to_string())).into()));
    }
    Ok(entry)
}

/// Docker's own list; an image with several names is there once.
fn docker_manifest(images: &[Image]) -> Result<Vec<u8>> {
    let path = |digest: &Digest| format!("blobs/sha256/{}", digest.hex());
    let mut seen = HashSet::new();
    let once = images.iter().filter(|image| seen.insert(image.manifest.clone()));
    let list: Vec<_> = once
        .map(|image| {
            let same = images.iter().filter(|other| other.manifest == image.manifest);
            let tags: Vec<String> =
                same.filter_map(|i| i.name.as_ref()).filter(|n| n.tag().is_some()).map(|n| n.familiar()).collect();
            let layers: Vec<String> = image.layers.iter().map(|layer| path(&layer.blob)).collect();
            json!({ "Config": path(&image.id), "RepoTags": tags, "Layers": layers })
        })
        .collect();
    serde_json::to_vec(&list).doing(|| "writing manifest.json")
}
