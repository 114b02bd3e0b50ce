// SPDX-License-Identifier: Apache-2.0
//! Reading and writing index.json: also where it is damaged, or missing though images are here.
//!
//! Nothing overwrites a damaged index, and nothing is deleted beside one, or without one.
//! Spec: image-layout.md "index.json File".

use std::fs;
use std::io;
use std::path::Path;

use oci_spec::image::{Descriptor, ImageIndex, ImageIndexBuilder, MediaType};

use super::collect::{file_name, list};
use super::image::digest_of;
use super::{Store, replace_file};
use crate::compose::descriptor;
use crate::digest::Digest;
use crate::error::{Doing, Error, Kind, Result};
use crate::lock::{Lock, Mode};

/// How a person gets an index again.
const ANEW: &str = "kelp pull or kelp load an image: that writes a new one, which has all images that are whole by their \
                    ids, and kelp tag names them. Containers go on as they are";

impl Store {
    /// The index; an error where it is damaged, and where it is missing though there are blobs: nobody may take their
    /// images for removed.
    pub(super) fn read_index(&self) -> Result<ImageIndex> {
        match self.index_if_there()? {
            Some(index) => Ok(index),
            None if self.has_blobs()? => {
                let error =
                    Error::new(Kind::Other, self.reading_index(), "it is missing, and there are blobs of images");
                Err(error.hint(format!("put a copy of it back, or {ANEW}")))
            }
            None => empty_index(),
        }
    }

    /// The index that an image is added to. A missing one is made anew.
    pub(super) fn index_to_add_to(&self) -> Result<ImageIndex> {
        self.index_if_there()?.map_or_else(|| self.index_of_blobs(), Ok)
    }

    /// Refuses to add to a store whose index is damaged: nothing could reach what would be added.
    pub(super) fn check_index(&self) -> Result<()> {
        self.index_if_there().map(drop)
    }

    fn index_if_there(&self) -> Result<Option<ImageIndex>> {
        let text = match fs::read(self.index_file()) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e).doing(|| self.reading_index()),
        };
        let parsed = match text.is_empty() {
            true => Err("it is empty".to_owned()),
            false => serde_json::from_slice(&text).map_err(|e| format!("it is damaged: {e}")),
        };
        parsed.map(Some).map_err(|because| {
            let error = Error::new(Kind::Other, self.reading_index(), because);
            error.hint(format!("put a copy of it back, or move it away; then {ANEW}"))
        })
    }

    /// An index of the images whose blobs are all here. Their names are lost.
    fn index_of_blobs(&self) -> Result<ImageIndex> {
        let blobs = list(&self.blobs())?;
        let mut index = empty_index()?;
        index.set_manifests(blobs.iter().filter_map(|path| self.manifest_at(path)).collect());
        Ok(index)
    }

    /// The blob at this path, if it is the manifest of an image that is whole.
    fn manifest_at(&self, path: &Path) -> Option<Descriptor> {
        let digest: Digest = format!("sha256:{}", file_name(path)?).parse().ok()?;
        let size = fs::metadata(path).ok().map(|metadata| metadata.len())?;
        if size > self.limits().document {
            return None;
        }
        let manifest = self.manifest(&digest).ok()?;
        let is_here = |part: &Descriptor| {
            digest_of(part).is_ok_and(|it| fs::metadata(self.blob(&it)).is_ok_and(|blob| blob.len() == part.size()))
        };
        let is_whole = std::iter::once(manifest.config()).chain(manifest.layers()).all(is_here);
        let media_type = manifest.media_type().clone().unwrap_or(MediaType::ImageManifest);
        is_whole.then(|| descriptor(media_type, &digest, size).ok()).flatten()
    }

    /// Gives a new store its index: one that is missing later was lost.
    pub(super) fn begin_index(&self) -> Result<()> {
        match self.index_file().exists() || self.has_blobs()? {
            true => Ok(()),
            false => {
                let text = serde_json::to_vec(&empty_index()?).doing(|| "writing index.json")?;
                replace_file(&self.index_file(), &text)
            }
        }
    }

    fn has_blobs(&self) -> Result<bool> {
        let blobs = self.blobs();
        Ok(fs::read_dir(&blobs).doing(|| format!("listing {}", blobs.display()))?.next().is_some())
    }

    fn reading_index(&self) -> String {
        format!("reading {}", self.index_file().display())
    }

    pub(super) fn write_index(&self, index: &ImageIndex) -> Result<()> {
        let text = serde_json::to_vec(index).doing(|| "writing index.json")?;
        self.write_with_ballast(&text)
    }

    pub(super) fn lock_index(&self) -> Result<Lock> {
        Lock::wait(&self.images().join("index.lock"), Mode::Alone)
    }
}

fn empty_index() -> Result<ImageIndex> {
    ImageIndexBuilder::default()
        .schema_version(2u32)
        .media_type(MediaType::ImageIndex)
        .manifests(Vec::new())
        .build()
        .map_err(|e| Error::new(Kind::Other, "making an empty index", e))
}
