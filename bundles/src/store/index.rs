// SPDX-License-Identifier: Apache-2.0
//! index.json: which names reach which images.
//!
//! Spec: image-layout.md "index.json File", annotations.md (`org.opencontainers.image.ref.name`).

use std::collections::{HashMap, HashSet};

use oci_spec::image::{Descriptor, ImageIndex};

use super::image::digest_of;
use super::{Image, Store};
use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
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

    /// The image of this exact name, for whatever machine it is.
    ///
    /// # Errors
    /// [`Kind::NotFound`].
    pub fn find_named(&self, reference: &Reference) -> Result<Image> {
        let index = self.read_index()?;
        self.image(named(&index, reference)?, &Platform::host(), Some(reference.clone()))
    }

    /// The image of this exact name; one that runs on `platform`.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; [`Kind::WrongPlatform`].
    pub fn resolve(&self, reference: &Reference, platform: &Platform) -> Result<Image> {
        let index = self.read_index()?;
        let descriptor = named(&index, reference)?;
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
        let mut names: Vec<Reference> = entries.iter().filter_map(pinned_name).collect();
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
        // What a registry calls it in one repository says nothing of another.
        let pulled = known_there(&index, &descriptor, name);
        note_digest(&mut descriptor, pulled.as_ref());
        self.give(&mut index, Some(name), descriptor);
        self.write_index(&index)
    }

    /// The digest by which a registry knows the image in the repository of `name`.
    pub(crate) fn known_in(&self, image: &Image, name: &Reference) -> Result<Option<Digest>> {
        let entries = self.entries_of(image)?;
        Ok(known_among(entries.iter(), name))
    }

    /// Remembers that a registry has the image under this name, by this digest.
    pub(crate) fn note_pushed(&self, name: &Reference, digest: &Digest) -> Result<()> {
        let _alone = self.lock_index()?;
        let mut index = self.read_index()?;
        let mut manifests = index.manifests().clone();
        let named = manifests.iter_mut().filter(|d| name_of(d).as_ref() == Some(name));
        named.for_each(|descriptor| note_digest(descriptor, Some(digest)));
        index.set_manifests(manifests);
        self.write_index(&index)
    }

    /// Names images that arrived.
    pub(super) fn put(&self, names: Vec<(Option<Reference>, Descriptor)>) -> Result<()> {
        let _alone = self.lock_index()?;
        let mut index = self.index_to_add_to()?;
        for (name, descriptor) in names {
            self.give(&mut index, name.map(kept).as_ref(), descriptor);
        }
        self.write_index(&index)
    }

    /// Enters the image under this name.
    fn give(&self, index: &mut ImageIndex, name: Option<&Reference>, mut descriptor: Descriptor) {
        rename(&mut descriptor, name);
        insert(index, name, descriptor);
        let (named, nameless): (Vec<_>, Vec<_>) = index.manifests().iter().partition(|d| name_of(d).is_some());
        if name.is_some() && !nameless.is_empty() {
            // Another manifest of an image that has a name is the same image.
            let known: HashSet<Vec<Digest>> = named.into_iter().map(|d| self.ids_of(d)).collect();
            retain(index, |d| name_of(d).is_some() || self.ids_of(d).is_empty() || !known.contains(&self.ids_of(d)));
        }
    }

    /// The ids of the image, or of all images of a list. One that cannot be read has none: it must be removable too.
    pub(super) fn ids_of(&self, descriptor: &Descriptor) -> Vec<Digest> {
        let manifests = self.manifests_of(descriptor).unwrap_or_default();
        manifests.iter().filter_map(|d| digest_of(self.manifest(d).ok()?.config()).ok()).collect()
    }

    pub(super) fn find_in(&self, index: &ImageIndex, text: &str) -> Result<Descriptor> {
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
            // What could never be a name is told as such.
            return Err(text.parse::<Reference>().map_or_else(|error| no_name(text, &error), |_| not_found(text)));
        }
        let mut found: Vec<(Vec<Digest>, &Descriptor)> = Vec::new();
        for descriptor in index.manifests() {
            let mut ids = self.ids_of(descriptor);
            ids.push(digest_of(descriptor)?);
            ids.retain(|id| id.hex().starts_with(hex));
            // Two manifests may have one config: they are one image.
            let known = found.iter().any(|(same, other)| other.digest() == descriptor.digest() || *same == ids);
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
}

fn named<'i>(index: &'i ImageIndex, name: &Reference) -> Result<&'i Descriptor> {
    index.manifests().iter().find(|d| answers_to(d, name)).ok_or_else(|| not_found(&name.familiar()))
}

fn not_found(name: &str) -> Error {
    Error::new(Kind::NotFound, format!("looking for the image {name}"), "it is not in the store")
        .hint(format!("get it with kelp pull {name} or kelp load; kelp images lists what is here"))
}

/// There is no image of a name that none could have.
fn no_name(text: &str, error: &Error) -> Error {
    Error::new(Kind::NotFound, format!("looking for the image {text}"), error.because())
        .hint("a name looks like debian, user/app:1.0 or localhost:5000/app@sha256:…, in lower case")
}

pub(super) fn name_of(descriptor: &Descriptor) -> Option<Reference> {
    descriptor.annotations().as_ref()?.get(REF_NAME)?.parse().ok().map(kept)
}

/// The name as the store keeps it: where a digest decides, a tag beside it is no name of the image. As in Docker.
fn kept(name: Reference) -> Reference {
    name.digest().map(|digest| name.with_digest(digest)).unwrap_or(name)
}

/// The name by which a registry knows the entry: `repository@digest`.
pub(super) fn pinned_name(entry: &Descriptor) -> Option<Reference> {
    let name = name_of(entry)?;
    let digest = pulled_digest(entry).or_else(|| name.digest().cloned())?;
    Some(name.with_digest(&digest))
}

pub(super) fn pulled_digest(descriptor: &Descriptor) -> Option<Digest> {
    descriptor.annotations().as_ref()?.get(PULLED_DIGEST)?.parse().ok()
}

/// Whether a person who says `reference` means this entry.
pub(super) fn answers_to(descriptor: &Descriptor, reference: &Reference) -> bool {
    let Some(name) = name_of(descriptor) else { return false };
    let Some(digest) = reference.digest() else { return name == *reference };
    // A digest decides; the tag beside it is for people.
    name.registry() == reference.registry()
        && name.repository() == reference.repository()
        && (descriptor.digest().to_string() == digest.as_str()
            || pulled_digest(descriptor).as_ref() == Some(digest)
            || name.digest() == Some(digest))
}

/// The digest by which a registry knows the image in the repository of `name`.
fn known_there(index: &ImageIndex, image: &Descriptor, name: &Reference) -> Option<Digest> {
    known_among(index.manifests().iter().filter(|d| d.digest() == image.digest()), name)
}

fn known_among<'i>(mut entries: impl Iterator<Item = &'i Descriptor>, name: &Reference) -> Option<Digest> {
    let there = |it: &Reference| (it.registry(), it.repository()) == (name.registry(), name.repository());
    entries.find_map(|entry| pinned_name(entry).filter(&there))?.digest().cloned()
}

pub(super) fn note_digest(descriptor: &mut Descriptor, digest: Option<&Digest>) {
    let mut annotations = descriptor.annotations().clone().unwrap_or_default();
    annotations.remove(PULLED_DIGEST);
    annotations.extend(digest.map(|digest| (PULLED_DIGEST.to_owned(), digest.to_string())));
    descriptor.set_annotations(Some(annotations).filter(|a| !a.is_empty()));
}

fn rename(descriptor: &mut Descriptor, name: Option<&Reference>) {
    let mut annotations: HashMap<String, String> = descriptor.annotations().clone().unwrap_or_default();
    annotations.remove(REF_NAME);
    if let Some(name) = name {
        annotations.insert(REF_NAME.to_owned(), name.to_string());
    }
    descriptor.set_annotations(Some(annotations).filter(|a| !a.is_empty()));
}

/// Adds an entry. Who had the name before keeps the digest that a registry knows him by; without one he stays nameless,
/// unless other names keep him. An image that gets its first name is no longer listed without.
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
            let pinned = pinned_name(&old).filter(|pinned| pinned_name(&descriptor).as_ref() != Some(pinned));
            rename(&mut old, pinned.as_ref());
            if pinned.is_some() {
                kept.push(old)
            } else {
                nameless.push(old)
            }
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

pub(super) fn retain(index: &mut ImageIndex, keep: impl FnMut(&Descriptor) -> bool) {
    let mut manifests = index.manifests().clone();
    manifests.retain(keep);
    index.set_manifests(manifests);
}
