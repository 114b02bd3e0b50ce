// SPDX-License-Identifier: Apache-2.0
//! Deletes what no name, no claim and no container reaches.

use std::collections::HashSet;
use std::fs;
use std::io;
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
    /// Bytes of those blobs.
    pub bytes: u64,
    /// Unpacked layers.
    pub layers: usize,
}

/// What is reached.
#[derive(Debug, Default)]
struct Reached {
    blobs: HashSet<String>,
    layers: HashSet<String>,
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
        self.empty_trash()?;
        Ok(freed)
    }

    /// What loads and pulls rely on; what dead ones left is removed.
    fn claimed(&self) -> Result<Reached> {
        let mut reached = Reached::default();
        for dir in list(&self.images().join("ingest"))? {
            match Lock::try_existing(&dir)? {
                Some(_dead) => fs::remove_dir_all(&dir).doing(|| format!("removing {}", dir.display()))?,
                None => match fs::read_to_string(dir.join("claims")) {
                    Ok(text) => reached.blobs.extend(text.lines().filter_map(hex_of)),
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                    Err(e) => return Err(e).doing(|| format!("reading the claims in {}", dir.display())),
                },
            }
        }
        Ok(reached)
    }

    fn reach_pins(&self, reached: &mut Reached) -> Result<()> {
        for (_, pin) in self.pins()? {
            reached.layers.extend(pin.chain_ids.iter().map(|id| id.hex().to_owned()));
            reached.blobs.insert(pin.image.hex().to_owned());
            reached.blobs.insert(pin.manifest.hex().to_owned());
        }
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
    fn reach(&self, descriptor: &Descriptor, reached: &mut Reached) {
        let Ok(digest) = digest_of(descriptor) else { return };
        if !reached.blobs.insert(digest.hex().to_owned()) {
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
        for path in list(&self.images().join("blobs/sha256"))? {
            if file_name(&path).is_some_and(|name| reached.blobs.contains(name)) {
                continue;
            }
            freed.bytes += fs::metadata(&path).map_or(0, |m| m.len());
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
            if path.extension().is_some_and(|e| e == "lock") {
                continue;
            }
            let lock_path = path.with_extension("lock");
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

    fn discard(&self, path: &Path) -> Result<()> {
        let to = self.layers().join(".trash").join(random_name());
        fs::rename(path, &to).doing(|| format!("moving {} to the trash", path.display()))
    }

    fn sweep_partials(&self) -> Result<u64> {
        let mut bytes = 0;
        for path in list(&self.images().join("partial"))? {
            if let Some(_lock) = Lock::try_existing(&path)? {
                bytes += fs::metadata(&path).map_or(0, |m| m.len());
                super::forget_file(&path);
            }
        }
        Ok(bytes)
    }

    /// Deletes what is in the trash, without any lock: nothing leads there. Two may do it at once.
    fn empty_trash(&self) -> Result<()> {
        let trash = list(&self.layers().join(".trash"))?;
        if trash.is_empty() {
            return Ok(());
        }
        job::remove_trees(&trash, &IdMap::of_caller()?)
    }
}

fn hex_of(line: &str) -> Option<String> {
    Some(line.parse::<Digest>().ok()?.hex().to_owned())
}

fn file_name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

fn list(dir: &Path) -> Result<Vec<std::path::PathBuf>> {
    let doing = || format!("listing {}", dir.display());
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).doing(doing)? {
        paths.push(entry.doing(doing)?.path());
    }
    Ok(paths)
}
