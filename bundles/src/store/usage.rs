// SPDX-License-Identifier: Apache-2.0
//! What the store takes on disk, and why: for `system df`.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use kelp_sys::rustix::fs::{self as rfs, AtFlags};
use kelp_sys::rustix::io::Errno;

use super::collect::{Reached, file_name, list};
use super::{Listed, Store};
use crate::digest::Digest;
use crate::error::{Doing, Result};
use crate::idmap::IdMap;
use crate::job;
use crate::measure;
use crate::platform::Platform;

/// What images take on disk, in bytes as du(1) counts them.
#[derive(Debug)]
pub struct Usage {
    /// The images, as [`Store::list`] has them.
    pub images: Vec<ImageUsage>,
    /// All that images and the containers made from them need, what they share once; and the store's own records.
    pub bytes: u64,
    /// The part of it that no container needs.
    pub reclaimable: u64,
    /// Downloads that were interrupted, layers that were not unpacked to the end, and what nothing reaches.
    pub leftovers: u64,
}

/// What one image takes.
#[derive(Debug)]
pub struct ImageUsage {
    /// The image.
    pub listed: Listed,
    /// Its blobs and its unpacked layers.
    pub bytes: u64,
    /// Those that no other image has.
    pub unique: u64,
    /// How many containers were made from it.
    pub containers: usize,
}

/// A blob or an unpacked layer, by its file's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Part {
    Blob(String),
    Layer(String),
}

impl Store {
    /// Measures everything images take.
    ///
    /// # Errors
    /// The store cannot be read; the id map cannot be had.
    pub fn usage(&self, map: &IdMap) -> Result<Usage> {
        let (sizes, mut leftovers) = self.sizes(map)?;
        let size = |part: &Part| sizes.get(part).copied().unwrap_or_default();
        let pins = self.pins()?;
        let mut needed = Reached::default();
        self.reach_pins(&mut needed)?;
        let mut needed = parts(&needed);
        let index = self.read_index()?;
        let mut holders: HashMap<Part, HashSet<Digest>> = HashMap::new();
        let mut images = Vec::new();
        for descriptor in index.manifests() {
            let mut reached = Reached::default();
            self.reach(descriptor, &mut reached);
            let reached = parts(&reached);
            let listed = self.listed(descriptor, &Platform::host())?;
            let ids = self.ids_of(descriptor);
            let containers = pins.iter().filter(|(_, pin)| ids.contains(&pin.image)).count();
            if containers > 0 {
                needed.extend(reached.iter().cloned());
            }
            for part in &reached {
                holders.entry(part.clone()).or_default().insert(listed.target.clone());
            }
            images.push((listed, reached, containers));
        }
        let known = |part: &&Part| holders.contains_key(*part) || needed.contains(*part);
        leftovers += sizes.keys().filter(|part| !known(part)).map(size).sum::<u64>();
        let bytes = sizes.keys().filter(known).map(size).sum::<u64>();
        let reclaimable = sizes.keys().filter(|p| known(p) && !needed.contains(*p)).map(size).sum::<u64>();
        let own = self.own_files()?;
        let sum = |parts: &HashSet<Part>| parts.iter().map(size).sum::<u64>();
        let images = images.into_iter().map(|(listed, reached, containers)| {
            let alone = |part: &&Part| holders.get(*part).is_none_or(|holders| holders.len() == 1);
            let unique = reached.iter().filter(alone).map(size).sum();
            ImageUsage { listed, bytes: sum(&reached), unique, containers }
        });
        Ok(Usage { images: images.collect(), bytes: bytes + own, reclaimable, leftovers })
    }

    /// The bytes of each blob and unpacked layer, and of all that is neither yet, or no more.
    fn sizes(&self, map: &IdMap) -> Result<(HashMap<Part, u64>, u64)> {
        let mut sizes = HashMap::new();
        for path in list(&self.blobs())? {
            if let Some(name) = file_name(&path) {
                sizes.insert(Part::Blob(name.to_owned()), blocks(&path)?);
            }
        }
        let layers: Vec<PathBuf> = list(&self.layers())?;
        let unfinished = ["images/ingest", "images/partial"].map(|name| self.root().join(name));
        let paths: Vec<PathBuf> = layers.into_iter().chain(unfinished).collect();
        let mut leftovers = 0;
        for (path, bytes) in paths.iter().zip(job::measure(&paths, map)?) {
            match file_name(path) {
                Some(name) if name.len() == 64 => drop(sizes.insert(Part::Layer(name.to_owned()), bytes)),
                // The empty folders that are always there are the store's own.
                _ => leftovers += bytes.saturating_sub(blocks(path)?),
            }
        }
        Ok((sizes, leftovers))
    }

    /// What the store needs to be one: records, locks, folders.
    fn own_files(&self) -> Result<u64> {
        let folders = ["images", "images/blobs", "images/blobs/sha256", "images/ingest", "images/partial", "layers"];
        let folders = folders.iter().chain(&["layers/.ingest", "layers/.trash"]).map(|name| self.root().join(name));
        let files = list(&self.images())?.into_iter().filter(|path| !path.is_dir());
        files.chain(folders).map(|path| blocks(&path)).sum()
    }
}

fn parts(reached: &Reached) -> HashSet<Part> {
    let blobs = reached.blobs.iter().map(|name| Part::Blob(name.clone()));
    blobs.chain(reached.layers.iter().map(|name| Part::Layer(name.clone()))).collect()
}

/// The blocks of one file or folder; none where it is gone meanwhile.
fn blocks(path: &Path) -> Result<u64> {
    match rfs::statat(rfs::CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(measure::blocks(&stat)),
        Err(Errno::NOENT) => Ok(0),
        Err(e) => Err(e).doing(|| format!("measuring {}", path.display())),
    }
}
