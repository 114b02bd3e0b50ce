// SPDX-License-Identifier: Apache-2.0
//! Removing many images at once: those without a tag, or those without a container.

use std::collections::HashSet;

use oci_spec::image::Descriptor;

use super::index::name_of;
use super::remove::names;
use super::{Freed, Listed, Partials, Removed, Store};
use crate::digest::Digest;
use crate::error::Result;
use crate::platform::Platform;

/// Which images [`Store::prune`] removes; never one that a container was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prune {
    /// Those without a tag: as in Docker, a digest alone keeps nothing.
    Dangling,
    /// All.
    Unused,
}

impl Store {
    /// Removes images but those that `spare` wants kept, and all that nothing reaches then.
    ///
    /// # Errors
    /// The store cannot be read or written; what was removed before is gone, and what is listed is whole.
    pub fn prune(&self, which: Prune, partials: Partials, spare: &dyn Fn(&Listed) -> bool) -> Result<(Removed, Freed)> {
        let removed = {
            let _alone = self.lock_index()?;
            self.prune_index(which, spare)?
        };
        Ok((removed, self.collect(partials)?))
    }

    fn prune_index(&self, which: Prune, spare: &dyn Fn(&Listed) -> bool) -> Result<Removed> {
        let mut index = self.read_index()?;
        let used: HashSet<Digest> = self.pins()?.into_iter().map(|(_, pin)| pin.image).collect();
        let has_tag = |d: &&Descriptor| name_of(d).is_some_and(|name| name.tag().is_some());
        let tagged: HashSet<Digest> = index.manifests().iter().filter(has_tag).flat_map(|d| self.ids_of(d)).collect();
        let platform = Platform::host();
        let mut removed = Removed::default();
        let mut kept: Vec<Descriptor> = Vec::new();
        let mut gone: Vec<Descriptor> = Vec::new();
        for descriptor in index.manifests() {
            let listed = self.listed(descriptor, &platform)?;
            let ids = self.ids_of(descriptor);
            let is_dangling = match &listed.name {
                None => true,
                Some(name) => name.tag().is_none() && !ids.iter().any(|id| tagged.contains(id)),
            };
            let wanted = which == Prune::Unused || is_dangling;
            let in_use = ids.iter().any(|id| used.contains(id));
            match wanted && !in_use && !spare(&listed) {
                true => gone.push(descriptor.clone()),
                false => kept.push(descriptor.clone()),
            }
        }
        if gone.is_empty() {
            return Ok(removed);
        }
        let left: HashSet<Digest> = kept.iter().flat_map(|d| self.ids_of(d)).collect();
        let names_left = names(&kept);
        removed.untagged = names(&gone).into_iter().filter(|name| !names_left.contains(name)).collect();
        let mut ids: Vec<Digest> = gone.iter().flat_map(|d| self.ids_of(d)).filter(|id| !left.contains(id)).collect();
        ids.sort();
        ids.dedup();
        removed.deleted = ids;
        index.set_manifests(kept);
        self.write_index(&index)?;
        Ok(removed)
    }
}
