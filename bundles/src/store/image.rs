// SPDX-License-Identifier: Apache-2.0
//! From a descriptor to an image: manifest, config and layers, checked against each other.

use oci_spec::image::{Descriptor, ImageIndex, ImageManifest, MediaType};

use super::Store;
use crate::config::{ImageConfig, chain_ids};
use crate::digest::Digest;
use crate::error::{Doing, Error, Kind, Result};
use crate::platform::Platform;
use crate::reference::Reference;

/// How many lists may lead to a manifest.
const NESTING: usize = 4;

/// An image that is in the store.
#[derive(Debug, Clone)]
pub struct Image {
    /// The name it was found by, where it has one.
    pub name: Option<Reference>,
    /// The digest of its manifest.
    pub manifest: Digest,
    /// Its id: the digest of its config, as Docker counts.
    pub id: Digest,
    /// What it asks of those who run it.
    pub config: ImageConfig,
    /// Its layers, lowest first.
    pub layers: Vec<Layer>,
}

/// A layer of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The blob, compressed or not.
    pub blob: Digest,
    /// Its size.
    pub size: u64,
    /// The digest of the tar in it.
    pub diff_id: Digest,
    /// The name of this layer upon all those below it.
    pub chain_id: Digest,
}

impl Image {
    /// The bytes of all blobs of layers.
    pub fn size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size).sum()
    }

    /// Refuses an image that does not run on `platform`. One that does not say what it is for is taken at its word.
    ///
    /// # Errors
    /// [`Kind::WrongPlatform`], with a hint.
    pub fn check_platform(&self, platform: &Platform) -> Result<()> {
        let own = self.config.platform();
        match own.architecture.is_empty() || platform.accepts(&own) {
            true => Ok(()),
            false => Err(platform.mismatch(&self.label(), &[own])),
        }
    }

    /// What people call it: its name, or the start of its id.
    pub fn label(&self) -> String {
        self.name.as_ref().map_or_else(|| self.id.short().to_owned(), Reference::familiar)
    }
}

/// Whether this media type is a list of images for several platforms.
pub(crate) fn is_index(media_type: &MediaType) -> bool {
    matches!(media_type, MediaType::ImageIndex)
        || media_type.as_ref() == "application/vnd.docker.distribution.manifest.list.v2+json"
}

/// Whether this media type is the manifest of one image.
pub(crate) fn is_manifest(media_type: &MediaType) -> bool {
    matches!(media_type, MediaType::ImageManifest)
        || media_type.as_ref() == "application/vnd.docker.distribution.manifest.v2+json"
}

/// The digest of a descriptor, of a kind we can check.
pub(crate) fn digest_of(descriptor: &Descriptor) -> Result<Digest> {
    descriptor.digest().to_string().parse()
}

/// Refuses what a manifest holds when it is no image we can unpack.
pub(crate) fn check_manifest(manifest: &ImageManifest, layer_limit: usize) -> Result<()> {
    let doing = || "reading the manifest".to_owned();
    let config_type = manifest.config().media_type();
    let is_config = matches!(config_type, MediaType::ImageConfig)
        || config_type.as_ref() == "application/vnd.docker.container.image.v1+json";
    if !is_config {
        return Err(Error::new(
            Kind::Unsupported,
            doing(),
            format!("it is an artifact of type {config_type}, not a container image"),
        ));
    }
    if manifest.layers().len() > layer_limit {
        let because = format!("it has {} layers; {layer_limit} can be stacked", manifest.layers().len());
        return Err(Error::new(Kind::TooBig, doing(), because));
    }
    manifest.layers().iter().try_for_each(|layer| check_layer_type(layer.media_type()))
}

fn check_layer_type(media_type: &MediaType) -> Result<()> {
    let name = media_type.as_ref();
    let doing = "reading the manifest";
    if name.contains("nondistributable") || name.contains(".foreign.") {
        let error = Error::new(
            Kind::Unsupported,
            doing,
            format!("it has a foreign layer ({name}), which registries do not hold"),
        );
        return Err(error.hint("such layers are for Windows"));
    }
    // The bytes tell how it is compressed; the name only has to say that it is a tar.
    let known = name.starts_with("application/vnd.oci.image.layer.v1.tar")
        || name.starts_with("application/vnd.docker.image.rootfs.diff.tar");
    match known && !name.contains("encrypted") {
        true => Ok(()),
        false => Err(Error::new(Kind::Unsupported, doing, format!("it has a layer of the unknown type {name}"))),
    }
}

impl Store {
    /// The image `descriptor` leads to, for `platform` where there is a choice.
    pub(crate) fn image(&self, descriptor: &Descriptor, platform: &Platform, name: Option<Reference>) -> Result<Image> {
        let label = name.as_ref().map_or_else(|| descriptor.digest().to_string(), Reference::familiar);
        let chosen = self.choose(descriptor, platform, &label)?;
        let manifest_digest = digest_of(&chosen)?;
        let manifest = self.manifest(&manifest_digest)?;
        check_manifest(&manifest, self.limits().layers)
            .map_err(|e| e.while_doing(format!("opening the image {label}")))?;
        let id = digest_of(manifest.config())?;
        let config = self.config(&id)?;
        let layers = layers_of(&manifest, &config).map_err(|e| e.while_doing(format!("opening the image {label}")))?;
        Ok(Image { name, manifest: manifest_digest, id, config, layers })
    }

    /// Follows lists to the manifest for `platform`.
    fn choose(&self, descriptor: &Descriptor, platform: &Platform, label: &str) -> Result<Descriptor> {
        let mut descriptor = descriptor.clone();
        for _ in 0..NESTING {
            if !is_index(descriptor.media_type()) {
                return Ok(descriptor);
            }
            let index = self.index_blob(&digest_of(&descriptor)?)?;
            descriptor = match platform.choose(index.manifests()) {
                Some(chosen) => chosen.clone(),
                None => {
                    let offered: Vec<Platform> = index.manifests().iter().filter_map(Platform::of).collect();
                    return Err(platform.mismatch(label, &offered));
                }
            };
        }
        Err(Error::new(Kind::BadInput, format!("opening the image {label}"), "its lists lead to lists without end"))
    }

    /// A manifest, by its digest.
    pub(crate) fn manifest(&self, digest: &Digest) -> Result<ImageManifest> {
        serde_json::from_slice(&self.document(digest)?).doing(|| format!("reading the manifest {}", digest.short()))
    }

    /// An index that is a blob, by its digest.
    pub(crate) fn index_blob(&self, digest: &Digest) -> Result<ImageIndex> {
        serde_json::from_slice(&self.document(digest)?).doing(|| format!("reading the index {}", digest.short()))
    }

    /// An image's config, by its digest.
    pub(crate) fn config(&self, digest: &Digest) -> Result<ImageConfig> {
        serde_json::from_slice(&self.document(digest)?).doing(|| format!("reading the image config {}", digest.short()))
    }
}

/// Pairs the blobs of the manifest with the layers of the config.
pub(crate) fn layers_of(manifest: &ImageManifest, config: &ImageConfig) -> Result<Vec<Layer>> {
    let diff_ids = &config.rootfs.diff_ids;
    if diff_ids.len() != manifest.layers().len() {
        let because = format!("its manifest has {} layers, its config {}", manifest.layers().len(), diff_ids.len());
        return Err(Error::new(Kind::BadInput, "pairing layers", because));
    }
    let pairs = manifest.layers().iter().zip(diff_ids).zip(chain_ids(diff_ids));
    pairs
        .map(|((blob, diff_id), chain_id)| {
            Ok(Layer { blob: digest_of(blob)?, size: blob.size(), diff_id: diff_id.clone(), chain_id })
        })
        .collect()
}
