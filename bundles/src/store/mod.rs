// SPDX-License-Identifier: Apache-2.0
//! The image store: an OCI image layout, beside layers that are already unpacked.
//!
//! ```text
//! ROOT/images/          an OCI image layout: oci-layout, index.json, blobs/sha256/HEX
//!      images/ingest/   what is being added: one locked folder per load or pull; unlocked ones are leftovers
//!      images/partial/  downloads that may be resumed
//!      images/listing   what `kelp images` shows, remembered
//!      images/ballast   space for the next index.json, should the disk be full
//!      layers/HEX/      an unpacked layer by its chain id: fs/, done
//!      layers/.ingest/  layers being unpacked
//!      layers/.trash/   layers being deleted
//!      containers/ID/layers.json    what a container needs kept
//!      bundles/HEX      the path of a bundle elsewhere, which has such a file
//! ```
//!
//! Readers take no lock: index.json changes by rename, a blob never changes. Writers of index.json hold `index.lock`.
//! Whoever relies on a blob that no name reaches yet says so in his folder below `ingest` (a *claim*), briefly sharing
//! `gc.lock`, which the collector holds alone. So what neither a name, a claim nor a container reaches may go at any instant.
//!
//! A blob is written with mode 0600, and becomes 0444 once a syncfs has made it durable; one that is not is hashed again
//! before it is relied upon. That takes the place of an fsync per file.

mod ballast;
mod claim;
mod collect;
mod image;
mod index;
mod index_file;
mod listing;
mod pin;
mod prune;
mod remove;
mod usage;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use kelp_sys::rustix;

use crate::digest::Digest;
use crate::error::{Doing, Error, Kind, Result};
use crate::limits::Limits;

pub(crate) use claim::Writeback;
pub use claim::{BlobWriter, Claims};
pub use collect::{Freed, Partials};
pub use image::{Image, Layer};
pub(crate) use image::{check_manifest, digest_of, is_index, is_manifest, layers_of};
pub use index::Listed;
pub(crate) use index::{PULLED_DIGEST, REF_NAME};
pub use listing::{About, Summary};
pub use prune::Prune;
pub use remove::{Force, Removed};
pub use usage::{ImageUsage, Usage};

/// The store below one folder.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
    limits: Limits,
}

impl Store {
    /// The store below `root`, made where it is missing.
    ///
    /// # Errors
    /// The folder cannot be made or written.
    pub fn open(root: &Path) -> Result<Self> {
        let store = Self { root: root.to_owned(), limits: Limits::DEFAULT };
        if ["images/oci-layout", "images/index.json", "layers/.trash"].iter().all(|it| root.join(it).exists()) {
            return Ok(store);
        }
        for dir in ["images/blobs/sha256", "images/ingest", "images/partial", "layers/.ingest", "layers/.trash"] {
            make_folder(&root.join(dir))?;
        }
        store.begin_layout()?;
        Ok(store)
    }

    /// The same with other bounds on what images may take.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// The folder of everything.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The OCI image layout.
    pub fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    /// The unpacked layers.
    pub fn layers(&self) -> PathBuf {
        self.root.join("layers")
    }

    /// The bounds on what images may take.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The file that names images.
    fn index_file(&self) -> PathBuf {
        self.images().join("index.json")
    }

    fn blobs(&self) -> PathBuf {
        self.images().join("blobs/sha256")
    }

    /// Where the blob of this digest is, if it is here.
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    /// The folder of an unpacked layer.
    pub fn layer(&self, chain_id: &Digest) -> PathBuf {
        self.layers().join(chain_id.hex())
    }

    /// A manifest, index or config: small, and hashed on every reading.
    pub fn document(&self, digest: &Digest) -> Result<Vec<u8>> {
        let doing = || format!("reading {} from the image store", digest.as_str());
        let file = File::open(self.blob(digest)).doing(doing)?;
        let size = file.metadata().doing(doing)?.len().min(self.limits.document);
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default() + 1);
        file.take(self.limits.document + 1).read_to_end(&mut bytes).doing(doing)?;
        if bytes.len() as u64 > self.limits.document {
            return Err(Error::new(Kind::TooBig, doing(), "it is larger than any manifest or config may be"));
        }
        match Digest::of(&bytes) == *digest {
            true => Ok(bytes),
            false => Err(Error::new(Kind::BadInput, doing(), "its content does not have this digest")
                .hint("the disk or somebody changed it: remove the image with kelp rmi and get it again")),
        }
    }

    fn begin_layout(&self) -> Result<()> {
        // The collector removes half-written files here, and holds this lock for it.
        let _alone = self.lock_index()?;
        self.begin_index()?;
        let marker = self.images().join("oci-layout");
        if !marker.exists() {
            replace_file(&marker, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        }
        Ok(())
    }
}

/// Makes a folder and those above it, for the owner alone: whoever could pass through could execute an image's setuid
/// programs outside of any container, as the owner of the store.
pub(crate) fn make_folder(dir: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).doing(|| format!("making {}", dir.display()))
}

/// Puts `content` at `path`, durably and at once: whoever reads sees the old or the new.
pub(crate) fn replace_file(path: &Path, content: &[u8]) -> Result<()> {
    replace(path, content, 0o644, Durable::Yes)
}

/// The same at once, but not durably: for what is of no use after a power cut.
pub(crate) fn publish_file(path: &Path, content: &[u8]) -> Result<()> {
    replace(path, content, 0o644, Durable::No)
}

/// Whether a file must survive a power cut.
#[derive(PartialEq, Eq)]
enum Durable {
    Yes,
    No,
}

/// The same for what is its owner's alone.
pub(crate) fn replace_secret(path: &Path, content: &[u8]) -> Result<()> {
    replace(path, content, 0o600, Durable::Yes)
}

fn replace(path: &Path, content: &[u8], mode: u32, durable: Durable) -> Result<()> {
    let doing = || format!("writing {}", path.display());
    let temporary = path.with_extension(format!("new-{}", random_name()));
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        file.write_all(content)?;
        if durable == Durable::Yes {
            file.sync_all()?;
        }
        fs::rename(&temporary, path)
    };
    write().inspect_err(|_| forget_file(&temporary)).doing(doing)
}

/// Removes a file that is of no use any more. One that stays is garbage for the collector, no harm.
pub(crate) fn forget_file(path: &Path) {
    if fs::remove_file(path).is_err() {
        // Already gone, or for the collector.
    }
}

/// Sixteen hex digits nobody else has.
pub(crate) fn random_name() -> String {
    let mut bytes = [0u8; 8];
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) {
        Ok(8) => format!("{:016x}", u64::from_ne_bytes(bytes)),
        // Without randomness the clock and the pid are as good: names must differ, not be secret.
        _ => {
            let now = std::time::UNIX_EPOCH.elapsed().map_or(0, |d| d.as_nanos());
            format!("{:08x}{:08x}", std::process::id(), now as u32)
        }
    }
}
