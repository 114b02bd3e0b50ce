// SPDX-License-Identifier: Apache-2.0
//! Deletes what no name, no claim and no container reaches.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use oci_spec::image::Descriptor;

use super::image::{digest_of, is_index, is_manifest};
use super::{Store, random_name};
use crate::config::chain_ids;
use crate::digest::Digest;
use crate::error::{Doing, Result};
use crate::idmap::IdMap;
use crate::job;
use crate::lock::{Lock, Mode};

/// What to do with downloads that were interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partials {
    /// Leave them: the next pull resumes.
    Keep,
    /// Delete those nobody is filling.
    Delete,
}

/// What the collector deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Freed {
    /// Blobs.
    pub blobs: usize,
    /// Bytes on disk, of blobs and layers alike.
    pub bytes: u64,
    /// Unpacked layers.
    pub layers: usize,
}

/// What is reached: names of files in `blobs/sha256` and `layers`.
#[derive(Debug, Default)]
pub(super) struct Reached {
    pub(super) blobs: HashSet<String>,
    pub(super) layers: HashSet<String>,
    /// Manifests and indexes that were followed. Not those in `blobs`: a pin reaches a manifest, and no blob of a layer.
    followed: HashSet<String>,
}

impl Store {
    /// Deletes what is not reached. Files of other owners go inside the caller's id map.
    ///
    /// # Errors
    /// The store cannot be read, or something cannot be deleted; what was deleted before is gone.
    pub fn collect(&self, partials: Partials) -> Result<Freed> {
        let mut freed = {
            // Nobody can claim or pin while we look and delete; readers, and those who work on claims they have, go on.
            let _alone = Lock::wait(&self.images().join("gc.lock"), Mode::Alone)?;
            // Claims before the index: one that is given up between the two has its images in the index by then.
            let mut reached = self.claimed()?;
            self.reach_pins(&mut reached)?;
            self.reach_names(&mut reached)?;
            let mut freed = self.sweep_blobs(&reached)?;
            freed.layers = self.discard_layers(&reached)?;
            freed
        };
        if partials == Partials::Delete {
            freed.bytes += self.sweep_partials()?;
        }
        self.sweep_half_written()?;
        freed.bytes += self.empty_trash()?;
        // It may have been spent on the index that let go of all this.
        self.load_ballast()?;
        Ok(freed)
    }

    /// What loads and pulls rely on; what dead ones left is removed.
    fn claimed(&self) -> Result<Reached> {
        let mut reached = Reached::default();
        for dir in list(&self.images().join("ingest"))? {
            match Lock::try_existing(&dir)? {
                Some(_dead) => fs::remove_dir_all(&dir).doing(|| format!("removing {}", dir.display()))?,
                None => match fs::read_to_string(dir.join("claims")) {
                    // Digests of blobs, and chain ids of layers whose image has no name yet.
                    Ok(text) => text.lines().filter_map(hex_of).for_each(|hex| {
                        reached.layers.insert(hex.clone());
                        reached.blobs.insert(hex);
                    }),
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                    Err(e) => return Err(e).doing(|| format!("reading the claims in {}", dir.display())),
                },
            }
        }
        Ok(reached)
    }

    pub(super) fn reach_pins(&self, reached: &mut Reached) -> Result<()> {
        for (_, pin) in self.pins()? {
            reached.layers.extend(pin.chain_ids.iter().map(|id| id.hex().to_owned()));
            reached.blobs.insert(pin.image.hex().to_owned());
            reached.blobs.insert(pin.manifest.hex().to_owned());
            // An image that lost its name stays whole for its containers: `commit` builds upon it.
            self.reach_manifest(&pin.manifest, reached);
        }
        reached.layers.extend(self.unpinned_layers()?);
        Ok(())
    }

    fn reach_names(&self, reached: &mut Reached) -> Result<()> {
        for descriptor in self.read_index()?.manifests() {
            self.reach(descriptor, reached);
        }
        Ok(())
    }

    /// Marks all a descriptor leads to. What cannot be read leads nowhere, but is itself kept: a broken image is not ours
    /// to delete unasked.
    pub(super) fn reach(&self, descriptor: &Descriptor, reached: &mut Reached) {
        let Ok(digest) = digest_of(descriptor) else { return };
        reached.blobs.insert(digest.hex().to_owned());
        if !reached.followed.insert(digest.hex().to_owned()) {
            return;
        }
        if is_index(descriptor.media_type()) {
            let index = self.index_blob(&digest);
            index.iter().flat_map(|i| i.manifests()).for_each(|child| self.reach(child, reached));
        } else if is_manifest(descriptor.media_type()) {
            self.reach_manifest(&digest, reached);
        }
    }

    fn reach_manifest(&self, digest: &Digest, reached: &mut Reached) {
        let Ok(manifest) = self.manifest(digest) else { return };
        let parts = std::iter::once(manifest.config()).chain(manifest.layers());
        reached.blobs.extend(parts.filter_map(|d| Some(digest_of(d).ok()?.hex().to_owned())));
        let config = digest_of(manifest.config()).and_then(|id| self.config(&id));
        let chain = config.map(|c| chain_ids(&c.rootfs.diff_ids)).unwrap_or_default();
        reached.layers.extend(chain.iter().map(|id| id.hex().to_owned()));
    }

    /// The manifests a descriptor leads to.
    pub(super) fn manifests_of(&self, descriptor: &Descriptor) -> Result<Vec<Digest>> {
        let digest = digest_of(descriptor)?;
        if !is_index(descriptor.media_type()) {
            return Ok(vec![digest]);
        }
        let index = self.index_blob(&digest)?;
        let children = index.manifests().iter().filter(|d| is_manifest(d.media_type()));
        children.map(digest_of).collect()
    }

    fn sweep_blobs(&self, reached: &Reached) -> Result<Freed> {
        let mut freed = Freed::default();
        for path in list(&self.blobs())? {
            if file_name(&path).is_some_and(|name| reached.blobs.contains(name)) {
                continue;
            }
            freed.bytes += bytes_of(&path);
            freed.blobs += 1;
            fs::remove_file(&path).doing(|| format!("deleting {}", path.display()))?;
        }
        Ok(freed)
    }

    /// Moves unreached layers to the trash: at once, so that nobody can find one half deleted.
    fn discard_layers(&self, reached: &Reached) -> Result<usize> {
        let mut count = 0;
        for path in list(&self.layers())? {
            let Some(name) = file_name(&path) else { continue };
            if name.starts_with('.') || reached.layers.contains(name) {
                continue;
            }
            self.discard(&path)?;
            count += 1;
        }
        self.discard_abandoned_unpacks()?;
        Ok(count)
    }

    /// Layers whose unpacking ended midway: their lock is free.
    fn discard_abandoned_unpacks(&self) -> Result<()> {
        for path in list(&self.layers().join(".ingest"))? {
            // A lock without a folder is what is left of someone who was killed between making the two.
            let (path, lock_path) = (path.with_extension(""), path.with_extension("lock"));
            if let Some(_lock) = Lock::try_alone(&lock_path)? {
                // It may have been published since we listed it.
                if path.exists() {
                    self.discard(&path)?;
                }
                super::forget_file(&lock_path);
            }
        }
        Ok(())
    }

    /// Files that were to replace others, by someone who was killed before: `index.new-…`.
    fn sweep_half_written(&self) -> Result<()> {
        let _nobody_writes = self.lock_index()?;
        for path in list(&self.images())? {
            if path.extension().and_then(|e| e.to_str()).is_some_and(|e| e.starts_with("new-")) {
                super::forget_file(&path);
            }
        }
        Ok(())
    }

    fn discard(&self, path: &Path) -> Result<()> {
        let to = self.layers().join(".trash").join(random_name());
        fs::rename(path, &to).doing(|| format!("moving {} to the trash", path.display()))
    }

    fn sweep_partials(&self) -> Result<u64> {
        let mut bytes = 0;
        for path in list(&self.images().join("partial"))? {
            if let Some(_lock) = Lock::try_existing(&path)? {
                bytes += bytes_of(&path);
                super::forget_file(&path);
            }
        }
        Ok(bytes)
    }

    /// Deletes what is in the trash, without any lock: nothing leads there. Two may do it at once. Says how much it was.
    fn empty_trash(&self) -> Result<u64> {
        let trash = list(&self.layers().join(".trash"))?;
        if trash.is_empty() {
            return Ok(0);
        }
        let map = IdMap::of_caller()?;
        let bytes = job::measure(&trash, &map)?.iter().sum();
        job::remove_trees(&trash, &map)?;
        Ok(bytes)
    }
}

fn hex_of(line: &str) -> Option<String> {
    Some(line.parse::<Digest>().ok()?.hex().to_owned())
}

fn bytes_of(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |m| m.blocks() * 512)
}

pub(super) fn file_name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

pub(super) fn list(dir: &Path) -> Result<Vec<std::path::PathBuf>> {
    let doing = || format!("listing {}", dir.display());
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).doing(doing)? {
        paths.push(entry.doing(doing)?.path());
    }
    Ok(paths)
}
