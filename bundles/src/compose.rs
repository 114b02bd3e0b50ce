// SPDX-License-Identifier: Apache-2.0
//! Images of our own making: a manifest over a config and layers.

use oci_spec::image::{Descriptor, DescriptorBuilder, ImageManifestBuilder, MediaType};

use crate::compression::{self, Compression};
use crate::config::ImageConfig;
use crate::digest::Digest;
use crate::error::{Doing, Error, Kind, Result};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::store::{Claims, Image, Store};

/// A descriptor of a blob.
pub(crate) fn descriptor(media_type: MediaType, digest: &Digest, size: u64) -> Result<Descriptor> {
    let doing = || "describing a blob".to_owned();
    let digest = digest.as_str().parse::<oci_spec::image::Digest>().map_err(|e| Error::new(Kind::Other, doing(), e))?;
    let builder = DescriptorBuilder::default().media_type(media_type).digest(digest).size(size);
    builder.build().map_err(|e| Error::new(Kind::Other, doing(), e))
}

/// What manifests call a layer that is wrapped so.
pub(crate) fn media_type(compression: Compression) -> Result<MediaType> {
    match compression {
        Compression::Plain => Ok(MediaType::ImageLayer),
        Compression::Gzip => Ok(MediaType::ImageLayerGzip),
        Compression::Zstd => Ok(MediaType::ImageLayerZstd),
        Compression::Xz | Compression::Bzip2 => {
            Err(Error::new(Kind::Unsupported, "describing a layer", compression::not_for_layers(compression)))
        }
    }
}

/// Adds a manifest over blobs that are there.
pub(crate) fn manifest(claims: &Claims<'_>, config: Descriptor, layers: Vec<Descriptor>) -> Result<Descriptor> {
    let manifest = ImageManifestBuilder::default()
        .schema_version(2u32)
        .media_type(MediaType::ImageManifest)
        .config(config)
        .layers(layers)
        .build()
        .map_err(|e| Error::new(Kind::Other, "making a manifest", e))?;
    let text = serde_json::to_vec(&manifest).doing(|| "making a manifest")?;
    let digest = claims.add(&text)?;
    descriptor(MediaType::ImageManifest, &digest, text.len() as u64)
}

/// Publishes an image of this config and these layers, whose blobs are there, under a name or none.
pub(crate) fn publish(
    store: &Store,
    claims: Claims<'_>,
    config: &ImageConfig,
    layers: Vec<Descriptor>,
    name: Option<Reference>,
) -> Result<Image> {
    let text = serde_json::to_vec(config).doing(|| "making an image's config")?;
    let digest = claims.add(&text)?;
    let config = descriptor(MediaType::ImageConfig, &digest, text.len() as u64)?;
    let manifest = manifest(&claims, config, layers)?;
    let image = store.image(&manifest, &Platform::host(), name.clone())?;
    claims.publish(vec![(name, manifest)])?;
    Ok(image)
}
