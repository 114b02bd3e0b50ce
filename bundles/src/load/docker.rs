// SPDX-License-Identifier: Apache-2.0
//! What `docker save` writes: manifest.json names configs and layers. It becomes an OCI manifest.

use oci_spec::image::{Descriptor, DescriptorBuilder, MediaType};
use serde::Deserialize;

use super::Found;
use super::archive::Archive;
use crate::compose;
use crate::compression::Compression;
use crate::config::ImageConfig;
use crate::digest::Digest;
use crate::error::{Doing, Error, Kind, Result};
use crate::import::media_type;
use crate::reference::Reference;
use crate::store::{Claims, Store};

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
pub(super) fn images(store: &Store, claims: &Claims<'_>, archive: &Archive, manifest: &[u8]) -> Result<Vec<Found>> {
    let saved: Vec<Saved> = serde_json::from_slice(manifest).doing(|| "reading manifest.json")?;
    let mut found = Vec::new();
    for image in &saved {
        let descriptor = manifest_of(store, claims, archive, image)?;
        let names = image.repo_tags.as_deref().unwrap_or_default();
        let names: Vec<Reference> = names.iter().map(|name| name.parse()).collect::<Result<_>>()?;
        if names.is_empty() {
            found.push(Found { name: None, descriptor: descriptor.clone() });
        }
        found.extend(names.into_iter().map(|name| Found { name: Some(name), descriptor: descriptor.clone() }));
    }
    Ok(found)
}

fn manifest_of(store: &Store, claims: &Claims<'_>, archive: &Archive, image: &Saved) -> Result<Descriptor> {
    let config_text = archive.document(&image.config)?;
    let config: ImageConfig = serde_json::from_slice(&config_text).doing(|| format!("reading {}", image.config))?;
    if image.layers.len() > store.limits().layers {
        return Err(Error::new(Kind::TooBig, "reading manifest.json", format!("it has {} layers", image.layers.len())));
    }
    if config.rootfs.diff_ids.len() != image.layers.len() {
        let because = format!("it lists {} layers, the config {}", image.layers.len(), config.rootfs.diff_ids.len());
        return Err(Error::new(Kind::BadInput, "reading manifest.json", because));
    }
    let mut layers = Vec::new();
    for (name, diff_id) in image.layers.iter().zip(&config.rootfs.diff_ids) {
        layers.push(layer(store, claims, archive, name, diff_id)?);
    }
    let (digest, size) = archive.blob(claims, &image.config)?;
    compose::manifest(claims, descriptor(MediaType::ImageConfig, &digest, size)?, layers)
}

/// A layer, as its first bytes say: Docker compresses or not, and says so nowhere.
fn layer(store: &Store, claims: &Claims<'_>, archive: &Archive, name: &str, diff_id: &Digest) -> Result<Descriptor> {
    let (digest, size) = archive.blob(claims, name)?;
    let compression = Compression::of_file(&store.blob(&digest)).doing(|| format!("reading {name}"))?;
    if compression == Compression::Plain && digest != *diff_id {
        let because = format!("its content is {digest}, the config says {diff_id}");
        return Err(Error::new(Kind::BadInput, format!("checking the layer {name}"), because)
            .hint("the archive is broken or lies: nothing of it was kept"));
    }
    descriptor(media_type(compression), &digest, size)
}

/// A descriptor of a blob.
pub(crate) fn descriptor(media_type: MediaType, digest: &Digest, size: u64) -> Result<Descriptor> {
    let doing = || "describing a blob".to_owned();
    let digest = digest.as_str().parse::<oci_spec::image::Digest>().map_err(|e| Error::new(Kind::Other, doing(), e))?;
    let builder = DescriptorBuilder::default().media_type(media_type).digest(digest).size(size);
    builder.build().map_err(|e| Error::new(Kind::Other, doing(), e))
}
