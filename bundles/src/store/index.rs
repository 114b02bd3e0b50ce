// SPDX-License-Identifier: Apache-2.0
//! index.json: which names reach which images.
//!
//! Spec: image-layout.md "index.json File", annotations.md (`org.opencontainers.image.ref.name`).

use std::collections::HashMap;
use std::fs;
use std::io;

use oci_spec::image::{Descriptor, ImageIndex, ImageIndexBuilder, MediaType};

use super::image::digest_of;
use super::{Image, Store};
use crate::digest::Digest;
use crate::error::{Doing, Error, Kind, Result};
use crate::lock::{Lock, Mode};
use crate::platform::Platform;
use crate::reference::Reference;

/// The annotation that holds a name: the whole, normalised one.
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation that holds the digest a registry knows this by: the list's, where we kept one platform of it.
pub(crate) const PULLED_DIGEST: &str = "dev.kelp.pulled.digest";

/// A line of `kelp images`.
#[derive(Debug)]
pub struct Listed {
    /// Its name; an image without one is dangling.
    pub name: Option<Reference>,
    /// The digest of its manifest, or of the list it is chosen from.
    pub target: Digest,
    /// The digest a registry knows it by.
    pub pulled: Option<Digest>,
    /// The image, where it can be read.
    pub image: Result<Image>,
}

/// Whether to remove what is still of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    /// Refuse.
    No,
    /// Take all names, and leave what containers need to the collector.
    Yes,
}

/// What [`Store::remove`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// Names that are gone.
    pub untagged: Vec<Reference>,
    /// Ids of images that are gone.
    pub deleted: Vec<Digest>,
}

impl Store {
    /// All images, in the order they came. Waits for nobody.
    pub fn list(&self) -> Result<Vec<Listed>> {
        let platform = Platform::host();
        let index = self.read_index()?;
        index.manifests().iter().map(|descriptor| self.listed(descriptor, &platform)).collect()
    }

    pub(super) fn listed(&self, descriptor: &Descriptor, platform: &Platform) -> Result<Listed> {
        let name = name_of(descriptor);
        let image = self.image(descriptor, platform, name.clone());
        Ok(Listed { name, target: digest_of(descriptor)?, pulled: pulled_digest(descriptor), image })
    }

    /// The image a person means, by name, by id, by the start of an id; one that runs on `platform`.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; [`Kind::BadInput`] where several ids start so; [`Kind::WrongPlatform`].
    pub fn find(&self, text: &str, platform: &Platform) -> Result<Image> {
        let index = self.read_index()?;
        let descriptor = self.find_in(&index, text)?;
        let image = self.image(&descriptor, platform, name_of(&descriptor))?;
        image.check_platform(platform)?;
        Ok(image)
    }

    /// The same, for whatever machine it is: to look at it.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; [`Kind::BadInput`] where several ids start so.
    pub fn find_any(&self, text: &str) -> Result<Image> {
        let index = self.read_index()?;
        let descriptor = self.find_in(&index, text)?;
        self.image(&descriptor, &Platform::host(), name_of(&descriptor))
    }

    /// The image of this exact name; one that runs on `platform`.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; [`Kind::WrongPlatform`].
    pub fn resolve(&self, reference: &Reference, platform: &Platform) -> Result<Image> {
        let index = self.read_index()?;
        let found = index.manifests().iter().find(|d| answers_to(d, reference));
        let descriptor = found.ok_or_else(|| not_found(&reference.familiar()))?;
        let image = self.image(descriptor, platform, Some(reference.clone()))?;
        image.check_platform(platform)?;
        Ok(image)
    }

    /// All names of the image with this manifest, also where they mean a list that leads to it.
    pub fn names(&self, image: &Image) -> Result<Vec<Reference>> {
        Ok(self.entries_of(image)?.iter().filter_map(name_of).collect())
    }

    /// The names by which registries know the image: `repository@digest`.
    pub fn digests(&self, image: &Image) -> Result<Vec<Reference>> {
        let entries = self.entries_of(image)?;
        let pinned = |entry: &Descriptor| Some(name_of(entry)?.with_digest(&pulled_digest(entry)?));
        let mut names: Vec<Reference> = entries.iter().filter_map(pinned).collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    fn entries_of(&self, image: &Image) -> Result<Vec<Descriptor>> {
        let index = self.read_index()?;
        let leads_there = |d: &&Descriptor| self.manifests_of(d).is_ok_and(|all| all.contains(&image.manifest));
        Ok(index.manifests().iter().filter(leads_there).cloned().collect())
    }

    /// Gives an image another name; takes the name from the image that had it.
    pub fn tag(&self, source: &str, name: &Reference) -> Result<()> {
        if name.digest().is_some() {
            let error = Error::new(Kind::BadInput, format!("tagging {source}"), "a new name cannot have a digest");
            return Err(error.hint("give the name with a tag, as in app:1.0"));
        }
        let _alone = self.lock_index()?;
        let mut index = self.read_index()?;
        let mut descriptor = self.find_in(&index, source)?;
        rename(&mut descriptor, Some(name));
        insert(&mut index, Some(name), descriptor);
        self.write_index(&index)
    }

    /// Remembers that a registry has the image under this name, by this digest.
    pub(crate) fn note_pushed(&self, name: &Reference, digest: &Digest) -> Result<()> {
        let _alone = self.lock_index()?;
        let mut index = self.read_index()?;
        let mut manifests = index.manifests().clone();
        for descriptor in manifests.iter_mut().filter(|d| name_of(d).as_ref() == Some(name)) {
            let mut annotations = descriptor.annotations().clone().unwrap_or_default();
            annotations.insert(PULLED_DIGEST.to_owned(), digest.to_string());
            descriptor.set_annotations(Some(annotations));
        }
        index.set_manifests(manifests);
        self.write_index(&index)
    }

    /// Names images that arrived.
    pub(super) fn put(&self, names: Vec<(Option<Reference>, Descriptor)>) -> Result<()> {
        let _alone = self.lock_index()?;
        let mut index = self.read_index()?;
        for (name, mut descriptor) in names {
            rename(&mut descriptor, name.as_ref());
            insert(&mut index, name.as_ref(), descriptor);
        }
        self.write_index(&index)
    }

    /// Takes a name, or by id all names, and with the last one the image. What nothing reaches any more is deleted.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; [`Kind::InUse`] where a container needs it, or an id has several names, and not forced.
    pub fn remove(&self, text: &str, force: Force) -> Result<Removed> {
        let removed = {
            let _alone = self.lock_index()?;
            let mut index = self.read_index()?;
            let removed = self.remove_from(&mut index, text, force)?;
            self.write_index(&index)?;
            removed
        };
        self.collect(super::Partials::Keep)?;
        Ok(removed)
    }

    fn remove_from(&self, index: &mut ImageIndex, text: &str, force: Force) -> Result<Removed> {
        let found = self.find_in(index, text)?;
        let digest = found.digest().clone();
        let by_name = text.parse::<Reference>().is_ok_and(|r| answers_to(&found, &r));
        let same = |d: &Descriptor| *d.digest() == digest;
        let names: Vec<Reference> = index.manifests().iter().filter(|d| same(d)).filter_map(name_of).collect();
        if by_name && names.len() > 1 {
            let name = name_of(&found);
            retain(index, |d| !(same(d) && name_of(d) == name));
            return Ok(Removed { untagged: name.into_iter().collect(), deleted: Vec::new() });
        }
        let ids = self.ids_of(&found);
        if force == Force::No {
            self.refuse_if_needed(text, &ids, &names, by_name)?;
        }
        retain(index, |d| !same(d));
        // The same config may be reached by another manifest: compressed otherwise, say.
        let kept: Vec<Digest> = index.manifests().iter().flat_map(|d| self.ids_of(d)).collect();
        Ok(Removed { untagged: names, deleted: ids.into_iter().filter(|id| !kept.contains(id)).collect() })
    }

    /// The ids of the image, or of all images of a list. One that cannot be read has none: it must be removable too.
    pub(super) fn ids_of(&self, descriptor: &Descriptor) -> Vec<Digest> {
        let manifests = self.manifests_of(descriptor).unwrap_or_default();
        manifests.iter().filter_map(|d| digest_of(self.manifest(d).ok()?.config()).ok()).collect()
    }

    fn refuse_if_needed(&self, text: &str, ids: &[Digest], names: &[Reference], by_name: bool) -> Result<()> {
        let doing = || format!("removing the image {text}");
        if !by_name && names.len() > 1 {
            let error = Error::new(Kind::InUse, doing(), format!("it has {} names", names.len()));
            return Err(error.hint("remove them one by one, or all with --force"));
        }
        match self.pins()?.into_iter().find(|(_, pin)| ids.contains(&pin.image)) {
            None => Ok(()),
            Some((holder, _)) if holder.starts_with('/') => {
                let error = Error::new(Kind::InUse, doing(), format!("the bundle {holder} was made from it"));
                Err(error.hint("remove that folder first, or force"))
            }
            Some((container, _)) => {
                let short = container.get(..12).unwrap_or(&container);
                let error = Error::new(Kind::InUse, doing(), format!("container {short} was made from it"));
                Err(error.hint(format!("remove the container first with kelp rm {short}, or force")))
            }
        }
    }

    fn find_in(&self, index: &ImageIndex, text: &str) -> Result<Descriptor> {
        if let Ok(reference) = text.parse::<Reference>()
            && let Some(found) = index.manifests().iter().find(|d| answers_to(d, &reference))
        {
            return Ok(found.clone());
        }
        self.find_by_id(index, text)
    }

    fn find_by_id(&self, index: &ImageIndex, text: &str) -> Result<Descriptor> {
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        if hex.is_empty() || !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(not_found(text));
        }
        let mut found: Vec<(Vec<Digest>, &Descriptor)> = Vec::new();
        for descriptor in index.manifests() {
            let mut ids = self.ids_of(descriptor);
            ids.push(digest_of(descriptor)?);
            ids.retain(|id| id.hex().starts_with(hex));
            let known = found.iter().any(|(_, other)| other.digest() == descriptor.digest());
            if !ids.is_empty() && !known {
                found.push((ids, descriptor));
            }
        }
        match found.as_slice() {
            [] => Err(not_found(text)),
            [(_, only)] => Ok((*only).clone()),
            _ => Err(Error::new(Kind::BadInput, format!("looking for the image {text}"), "several ids start so")
                .hint("give more digits")),
        }
    }

    pub(super) fn read_index(&self) -> Result<ImageIndex> {
        let path = self.images().join("index.json");
        let doing = || format!("reading {}", path.display());
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).doing(doing),
            Err(e) if e.kind() == io::ErrorKind::NotFound => empty_index(),
            Err(e) => Err(e).doing(doing),
        }
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

fn not_found(name: &str) -> Error {
    Error::new(Kind::NotFound, format!("looking for the image {name}"), "it is not in the store")
        .hint(format!("get it with kelp pull {name} or kelp load; kelp images lists what is here"))
}

pub(super) fn name_of(descriptor: &Descriptor) -> Option<Reference> {
    descriptor.annotations().as_ref()?.get(REF_NAME)?.parse().ok()
}

pub(super) fn pulled_digest(descriptor: &Descriptor) -> Option<Digest> {
    descriptor.annotations().as_ref()?.get(PULLED_DIGEST)?.parse().ok()
}

/// Whether a person who says `reference` means this entry.
fn answers_to(descriptor: &Descriptor, reference: &Reference) -> bool {
    let Some(name) = name_of(descriptor) else { return false };
    let Some(digest) = reference.digest() else { return name == *reference };
    // A digest decides; the tag beside it is for people.
    name.registry() == reference.registry()
        && name.repository() == reference.repository()
        && (descriptor.digest().to_string() == digest.as_str()
            || pulled_digest(descriptor).as_ref() == Some(digest)
            || name == *reference)
}

fn rename(descriptor: &mut Descriptor, name: Option<&Reference>) {
    let mut annotations: HashMap<String, String> = descriptor.annotations().clone().unwrap_or_default();
    annotations.remove(REF_NAME);
    if let Some(name) = name {
        annotations.insert(REF_NAME.to_owned(), name.to_string());
    }
    descriptor.set_annotations(Some(annotations).filter(|a| !a.is_empty()));
}

/// Adds an entry. Who had the name before stays without one, unless other names keep him; an image that gets its first
/// name is no longer listed without.
fn insert(index: &mut ImageIndex, name: Option<&Reference>, descriptor: Descriptor) {
    let target = descriptor.digest().clone();
    let mut nameless = Vec::new();
    let mut kept: Vec<Descriptor> = Vec::new();
    for mut old in index.manifests().clone() {
        let old_name = name_of(&old);
        if *old.digest() == target && (old_name.is_none() || name.is_none() || old_name.as_ref() == name) {
            if name.is_none() && old_name.is_some() {
                kept.push(old);
            }
            continue;
        }
        if old_name.is_some() && old_name.as_ref() == name {
            rename(&mut old, None);
            nameless.push(old);
            continue;
        }
        kept.push(old);
    }
    nameless.retain(|old| !kept.iter().any(|other| other.digest() == old.digest()));
    kept.extend(nameless);
    let listed_already = name.is_none() && kept.iter().any(|d| *d.digest() == target);
    if !listed_already {
        kept.push(descriptor);
    }
    index.set_manifests(kept);
}

fn retain(index: &mut ImageIndex, keep: impl FnMut(&Descriptor) -> bool) {
    let mut manifests = index.manifests().clone();
    manifests.retain(keep);
    index.set_manifests(manifests);
}
