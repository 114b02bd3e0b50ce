// SPDX-License-Identifier: Apache-2.0
//! What a list of images shows, without reading a thousand manifests and configs each time.
//!
//! A blob never changes, so what a list shows of it does not either: `images/listing` remembers it by digest. It is a cache:
//! nobody needs it, whoever finds it wanting writes it anew, and what is in it is shown and never acted upon.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::PathBuf;

use oci_spec::image::Descriptor;
use serde::{Deserialize, Serialize};

use super::index::{name_of, pulled_digest};
use super::{Image, Store, digest_of, publish_file};
use crate::digest::Digest;
use crate::error::Result;
use crate::platform::Platform;
use crate::reference::Reference;

/// A line of a list.
#[derive(Debug)]
pub struct Summary {
    /// Its name; an image without one is dangling.
    pub name: Option<Reference>,
    /// The digest a registry knows it by.
    pub pulled: Option<Digest>,
    /// What there is to show, where the image can be read.
    pub about: Result<About>,
}

/// What a list shows of an image.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct About {
    /// Its id.
    pub id: Digest,
    /// When it was made: RFC 3339.
    pub created: Option<String>,
    /// The bytes of its files; of its blobs where it is not unpacked.
    pub size: u64,
    /// What it runs on.
    pub platform: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its uppermost layer, where that was not unpacked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    waiting_for: Option<Digest>,
}

/// The file.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Listing {
    /// For which machine images were chosen from lists.
    platform: String,
    images: HashMap<Digest, About>,
}

impl Store {
    /// All images, in the order they came. Waits for nobody.
    ///
    /// # Errors
    /// index.json cannot be read.
    pub fn summaries(&self) -> Result<Vec<Summary>> {
        let platform = Platform::host();
        let index = self.read_index()?;
        let mut before = self.read_listing(&platform);
        let mut listing = Listing { platform: platform.to_string(), images: HashMap::new() };
        let mut news = false;
        let mut summaries = Vec::with_capacity(index.manifests().len());
        for descriptor in index.manifests() {
            let target = digest_of(descriptor)?;
            let known = listing.images.get(&target).cloned();
            let known =
                known.or_else(|| before.images.remove(&target)).filter(|about| self.still_holds(&target, about));
            let about = match known {
                Some(about) => Ok(about),
                None => {
                    news = true;
                    self.look(descriptor, &platform)
                }
            };
            if let Ok(about) = &about {
                listing.images.insert(target, about.clone());
            }
            summaries.push(Summary { name: name_of(descriptor), pulled: pulled_digest(descriptor), about });
        }
        if news || !before.images.is_empty() {
            self.write_listing(&listing);
        }
        Ok(summaries)
    }

    /// Whether what is remembered is what would be found: its first blob is there, and nothing was unpacked since.
    fn still_holds(&self, target: &Digest, about: &About) -> bool {
        let unpacked_since = |top: &Digest| self.layer(top).join("done").exists();
        self.blob(target).exists() && !about.waiting_for.as_ref().is_some_and(unpacked_since)
    }

    fn look(&self, descriptor: &Descriptor, platform: &Platform) -> Result<About> {
        let image: Image = self.image(descriptor, platform, name_of(descriptor))?;
        let top = image.layers.last().map(|layer| layer.chain_id.clone());
        let unpacked = self.unpacked(&image)?.is_some();
        Ok(About {
            id: image.id.clone(),
            created: image.config.created.clone(),
            size: self.size(&image),
            platform: image.config.platform().to_string(),
            labels: image.config.run().labels.unwrap_or_default(),
            waiting_for: top.filter(|_| !unpacked),
        })
    }

    /// What was remembered; nothing where that is for another machine, or no listing at all.
    fn read_listing(&self, platform: &Platform) -> Listing {
        let text = fs::read(self.listing_file()).unwrap_or_default();
        let listing: Listing = serde_json::from_slice(&text).unwrap_or_default();
        if listing.platform == platform.to_string() { listing } else { Listing::default() }
    }

    /// Where it cannot be written (a full disk, another's store) the next one reads the blobs again.
    fn write_listing(&self, listing: &Listing) {
        if let Ok(text) = serde_json::to_vec(listing)
            && publish_file(&self.listing_file(), &text).is_err()
        {}
    }

    fn listing_file(&self) -> PathBuf {
        self.images().join("listing")
    }
}
