// SPDX-License-Identifier: Apache-2.0
//! Taking names from images, and with the last one the image: what `rmi` does.
//!
//! As in Docker an image is its id, a name with a digest is one more of its names, and that one goes with the last tag of
//! its repository.

use oci_spec::image::{Descriptor, ImageIndex};

use super::index::{answers_to, name_of, note_digest, pinned_name, retain};
use super::{Partials, Store};
use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::reference::Reference;

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
        self.collect(Partials::Keep)?;
        Ok(removed)
    }

    fn remove_from(&self, index: &mut ImageIndex, text: &str, force: Force) -> Result<Removed> {
        let found = self.find_in(index, text)?;
        let ids = self.ids_of(&found);
        // One config may be reached by several manifests: compressed otherwise, say.
        let same = |d: &Descriptor| d.digest() == found.digest() || (!ids.is_empty() && self.ids_of(d) == ids);
        let mut left: Vec<Descriptor> = index.manifests().iter().filter(|d| same(d)).cloned().collect();
        let before = names(&left);
        match text.parse::<Reference>().ok().filter(|name| answers_to(&found, name)) {
            Some(name) => take(&mut left, &name, text)?,
            None if force == Force::Yes || is_single(&before) => left.clear(),
            None => {
                let error = Error::new(Kind::InUse, removing(text), format!("it has {} names", before.len()));
                return Err(error.hint("remove them one by one, or all with --force"));
            }
        }
        if left.is_empty() && force == Force::No {
            self.refuse_if_needed(text, &ids)?;
        }
        let after = names(&left);
        let deleted = if left.is_empty() { ids.clone() } else { Vec::new() };
        retain(index, |d| !same(d));
        let mut manifests = index.manifests().clone();
        manifests.extend(left);
        index.set_manifests(manifests);
        // A list may have an image of its own in common with it.
        let kept: Vec<Digest> = index.manifests().iter().flat_map(|d| self.ids_of(d)).collect();
        Ok(Removed {
            untagged: before.into_iter().filter(|name| !after.contains(name)).collect(),
            deleted: deleted.into_iter().filter(|id| !kept.contains(id)).collect(),
        })
    }

    fn refuse_if_needed(&self, text: &str, ids: &[Digest]) -> Result<()> {
        match self.pins()?.into_iter().find(|(_, pin)| ids.contains(&pin.image)) {
            None => Ok(()),
            Some((holder, _)) if holder.starts_with('/') => {
                let error = Error::new(Kind::InUse, removing(text), format!("the bundle {holder} was made from it"));
                Err(error.hint("remove that folder first, or force"))
            }
            Some((container, _)) => {
                let short = container.get(..12).unwrap_or(&container);
                let error = Error::new(Kind::InUse, removing(text), format!("container {short} was made from it"));
                Err(error.hint(format!("remove the container first with kelp rm {short}, or force")))
            }
        }
    }
}

fn removing(text: &str) -> String {
    format!("removing the image {text}")
}

/// All names of an image, those with a digest among them.
pub(super) fn names(entries: &[Descriptor]) -> Vec<Reference> {
    let tags = entries.iter().filter_map(name_of).filter(|name| name.digest().is_none());
    let mut names: Vec<Reference> = tags.chain(entries.iter().filter_map(pinned_name)).collect();
    // Tags before digests, as Docker tells them.
    names.sort_by(|one, other| (one.digest().is_some(), one).cmp(&(other.digest().is_some(), other)));
    names.dedup();
    names
}

/// Whether one tag at most, and one repository, knows the image: who names its id means that one.
fn is_single(names: &[Reference]) -> bool {
    let tags = names.iter().filter(|name| name.tag().is_some()).count();
    tags <= 1 && names.windows(2).all(|pair| same_repository(&pair[0], &pair[1]))
}

fn same_repository(one: &Reference, other: &Reference) -> bool {
    (one.registry(), one.repository()) == (other.registry(), other.repository())
}

/// Takes one name from an image's entries.
fn take(entries: &mut Vec<Descriptor>, name: &Reference, text: &str) -> Result<()> {
    let here = |d: &Descriptor| name_of(d).is_some_and(|it| same_repository(&it, name));
    let has_digest = |d: &Descriptor| here(d) && pinned_name(d).is_some_and(|it| it.digest() == name.digest());
    if name.digest().is_some() {
        if !entries.iter().any(has_digest) {
            let error = Error::new(Kind::NotFound, removing(text), "no registry gave it by this digest");
            return Err(error.hint("kelp images --digests shows the names there are"));
        }
        entries.retain(|d| !(has_digest(d) && name_of(d).is_some_and(|it| it.digest().is_some())));
        entries.iter_mut().filter(|d| has_digest(d)).for_each(|d| note_digest(d, None));
        return Ok(());
    }
    entries.retain(|d| name_of(d).as_ref() != Some(name));
    if !entries.iter().any(|d| here(d) && name_of(d).is_some_and(|it| it.tag().is_some())) {
        entries.retain(|d| !here(d));
    }
    // A list's images without a name were never shown beside it.
    if names(entries).is_empty() {
        entries.clear();
    }
    Ok(())
}
