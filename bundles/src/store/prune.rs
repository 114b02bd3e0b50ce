// SPDX-License-Identifier: Apache-2.0
//! Removing many images at once: those without a name, or those without a container.

use std::collections::HashSet;

use oci_spec::image::Descriptor;

use super::index::name_of;
use super::{Freed, Listed, Partials, Removed, Store};
use crate::digest::Digest;
use crate::error::Result;
use crate::platform::Platform;

/// Which images [`Store::prune`] removes; never one that a container was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prune {
    /// Those without a name.
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
        let platform = Platform::host();
        let mut removed = Removed::default();
        let mut kept: Vec<Descriptor> = Vec::new();
        let mut gone: Vec<Descriptor> = Vec::new();
        for descriptor in index.manifests() {
            let listed = self.listed(descriptor, &platform)?;
            let wanted = which == Prune::Unused || listed.name.is_none();
            let in_use = self.ids_of(descriptor).iter().any(|id| used.contains(id));
            match wanted && !in_use && !spare(&listed) {
                true => gone.push(descriptor.clone()),
                false => kept.push(descriptor.clone()),
            }
        }
        if gone.is_empty() {
            return Ok(removed);
        }
        let left: HashSet<Digest> = kept.iter().flat_map(|d| self.ids_of(d)).collect();
        removed.untagged = gone.iter().filter_map(name_of).collect();
        let mut ids: Vec<Digest> = gone.iter().flat_map(|d| self.ids_of(d)).filter(|id| !left.contains(id)).collect();
        ids.sort();
        ids.dedup();
        removed.deleted = ids;
        index.set_manifests(kept);
        self.write_index(&index)?;
        Ok(removed)
    }
}
