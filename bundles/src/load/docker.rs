// SPDX-License-Identifier: Apache-2.0
//! What `docker save` writes: manifest.json names configs and layers. It becomes an OCI manifest.

use std::collections::HashMap;

use oci_spec::image::{Descriptor, MediaType};
use serde::Deserialize;

use super::archive::Archive;
use super::{Found, Loading};
use crate::compose::{self, descriptor};
use crate::compression::Compression;
use crate::config::ImageConfig;
use crate::digest::Digest;
use crate::error::{Doing, Error, Kind, Result};
use crate::reference::Reference;
use crate::store::digest_of;
use crate::unpack::feed::Listener;

/// One image of manifest.json.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// The images manifest.json speaks of.
pub(super) fn images(loading: &Loading<'_>, archive: &Archive, manifest: &[u8]) -> Result<Vec<Found>> {
    let saved: Vec<Saved> = serde_json::from_slice(manifest).doing(|| "reading manifest.json")?;
    let mut found = Vec::new();
    for image in &saved {
        let descriptor = bring(loading, archive, image)?;
        let names = image.repo_tags.as_deref().unwrap_or_default();
        let names: Vec<Reference> = names.iter().map(|name| name.parse()).collect::<Result<_>>()?;
        if names.is_empty() {
            found.push(Found { name: None, descriptor: descriptor.clone() });
        }
        found.extend(names.into_iter().map(|name| Found { name: Some(name), descriptor: descriptor.clone() }));
    }
    Ok(found)
}

/// Brings an image; the descriptor of its manifest.
fn bring(loading: &Loading<'_>, archive: &Archive, image: &Saved) -> Result<Descriptor> {
    let config_text = archive.document(&image.config)?;
    let config: ImageConfig = serde_json::from_slice(&config_text).doing(|| format!("reading {}", image.config))?;
    if image.layers.len() > loading.store.limits().layers {
        return Err(Error::new(Kind::TooBig, "reading manifest.json", format!("it has {} layers", image.layers.len())));
    }
    if config.rootfs.diff_ids.len() != image.layers.len() {
        let because = format!("it lists {} layers, the config {}", image.layers.len(), config.rootfs.diff_ids.len());
        return Err(Error::new(Kind::BadInput, "reading manifest.json", because));
    }
    let mut layers = Vec::new();
    let mut names = HashMap::new();
    for (name, diff_id) in image.layers.iter().zip(&config.rootfs.diff_ids) {
        let (digest, descriptor) = layer(loading, archive, name, diff_id)?;
        layers.push(descriptor);
        names.insert(digest, name);
    }
    let (digest, size) = archive.blob(loading, &image.config)?;
    let manifest = compose::manifest(loading.claims, descriptor(MediaType::ImageConfig, &digest, size)?, layers)?;
    let bring = |descriptor: &Descriptor, listener: &dyn Listener| {
        let digest = digest_of(descriptor)?;
        match names.get(&digest) {
            Some(name) => archive.bring(loading, name, &digest, listener),
            None => Err(Error::new(Kind::Other, "reading manifest.json", "it has no such layer")),
        }
    };
    loading.layers(&loading.store.manifest(&digest_of(&manifest)?)?, &bring)?;
    Ok(manifest)
}

/// A layer, as its first bytes say: Docker compresses or not, and says so nowhere. What it claims to be is checked when
/// it is copied.
fn layer(loading: &Loading<'_>, archive: &Archive, name: &str, diff_id: &Digest) -> Result<(Digest, Descriptor)> {
    let compression = archive.compression(loading, name)?;
    let media_type = compose::media_type(compression).map_err(|error| error.while_doing(format!("reading {name}")))?;
    let (digest, size) = match (compression, digest_in(name)) {
        (Compression::Plain, _) => (diff_id.clone(), archive.size(name)?),
        (_, Some(digest)) => (digest, archive.size(name)?),
        // Only its content tells its digest.
        (_, None) => archive.blob(loading, name)?,
    };
    let descriptor = descriptor(media_type, &digest, size)?;
    Ok((digest, descriptor))
}

/// The digest a member's name tells: `blobs/sha256/…`, as Docker writes it since 25.
fn digest_in(name: &str) -> Option<Digest> {
    format!("sha256:{}", name.strip_prefix("blobs/sha256/")?).parse().ok()
}
