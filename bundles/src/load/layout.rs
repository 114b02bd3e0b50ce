// SPDX-License-Identifier: Apache-2.0
//! OCI image layouts: a folder, or the same in an archive.
//!
//! Spec: image-layout.md.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use oci_spec::image::{Descriptor, ImageIndex, ImageManifest};

use super::archive::Archive;
use super::{Bring, Found, Loading};
use crate::at;
use crate::digest::Digest;
use crate::error::{Doing, Error, Kind, Result};
use crate::platform::Platform;
use crate::progress::Event;
use crate::reference::Reference;
use crate::store::{REF_NAME, check_manifest, digest_of, is_index, is_manifest};
use crate::unpack::feed::{Listener, News, Nobody};

use kelp_sys::rustix::fs::OFlags;

/// Where containerd and Docker put the whole name; `ref.name` is a mere tag then.
const WHOLE_NAME: &str = "io.containerd.image.name";
/// How many lists may lead to a manifest.
const NESTING: usize = 4;

/// The images of an archive with an OCI layout. What is not reached is no blob, or collected later.
pub(super) fn images(loading: &Loading<'_>, archive: &Archive) -> Result<Vec<Found>> {
    let bring = |descriptor: &Descriptor, listener: &dyn Listener| {
        let digest = digest_of(descriptor)?;
        let name = archive.name_of(&digest)?;
        let size = archive.size(&name)?;
        match size == descriptor.size() {
            true => archive.bring(loading, &name, &digest, listener),
            false => {
                let because = format!("it has {size} bytes, {} were announced", descriptor.size());
                let error = Error::new(Kind::BadInput, format!("reading {name}"), because);
                Err(error.hint("the archive is broken or lies: nothing of it was kept"))
            }
        }
    };
    let index: ImageIndex = serde_json::from_slice(&archive.document("index.json")?).doing(|| "reading index.json")?;
    Reach { loading, bring: &bring }.all(&index)
}

/// Whether every image of the layout is either named in full or not at all.
pub(super) fn has_whole_names(archive: &Archive) -> bool {
    let index = archive.document("index.json").ok().and_then(|text| serde_json::from_slice::<ImageIndex>(&text).ok());
    index.is_some_and(|index| {
        let mut annotations = index.manifests().iter().map(|d| d.annotations().clone().unwrap_or_default());
        annotations.all(|a| a.contains_key(WHOLE_NAME) || !a.contains_key(REF_NAME))
    })
}

/// The images of a folder with an OCI layout.
pub(super) fn folder(loading: &Loading<'_>, folder: &Path) -> Result<Vec<Found>> {
    let root = at::open_root(folder)?;
    let open =
        |name: &str| at::open_plain(&root, name.as_bytes(), OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK);
    let text = |name: &str| -> Result<Vec<u8>> {
        let file = File::from(open(name).doing(|| format!("opening {name}"))?);
        let mut text = Vec::new();
        file.take(loading.store.limits().document).read_to_end(&mut text).doing(|| format!("reading {name}"))?;
        Ok(text)
    };
    text("oci-layout").map_err(|e| e.hint("a folder must be an OCI image layout: oci-layout, index.json, blobs/"))?;
    let index: ImageIndex = serde_json::from_slice(&text("index.json")?).doing(|| "reading index.json")?;
    let bring = |descriptor: &Descriptor, listener: &dyn Listener| -> Result<()> {
        let digest = digest_of(descriptor)?;
        if loading.claims.claim(&digest, Some(descriptor.size()))? {
            loading.progress.event(Event::FetchSkipped(&digest));
        } else {
            let name = format!("blobs/sha256/{}", digest.hex());
            let mut file = File::from(open(&name).doing(|| format!("opening {name}"))?);
            // It is all there: whoever unpacks need not wait for the copy, only for the check at its end.
            listener.tell(News::Begun(digest.clone(), folder.join(&name), descriptor.size()));
            loading
                .copy(&mut file, descriptor.size(), Some(&digest), &Nobody)
                .map_err(|e| e.while_doing(format!("copying {name}")))?;
        }
        match listener.tell(News::Whole(digest)) {
            true => Ok(()),
            false => Err(Error::stop("copying blobs")),
        }
    };
    Reach { loading, bring: &bring }.all(&index)
}

/// Follows what an index holds.
struct Reach<'r> {
    loading: &'r Loading<'r>,
    bring: &'r Bring<'r>,
}

impl Reach<'_> {
    /// Brings all images of an index that are for this machine, or the only one there is.
    fn all(&self, index: &ImageIndex) -> Result<Vec<Found>> {
        let mut found = Vec::new();
        for descriptor in index.manifests() {
            let name = name_of(descriptor);
            let label = name.as_ref().map_or_else(|| descriptor.digest().to_string(), Reference::familiar);
            let chosen = self.image(descriptor, &label)?;
            found.push(Found { name, descriptor: chosen });
        }
        Ok(found)
    }

    /// Follows lists to a manifest and brings all it speaks of.
    fn image(&self, from: &Descriptor, label: &str) -> Result<Descriptor> {
        let mut descriptor = from.clone();
        for _ in 0..NESTING {
            (self.bring)(&descriptor, &Nobody)?;
            let digest = digest_of(&descriptor)?;
            self.loading.claims.claim(&digest, Some(descriptor.size()))?;
            if is_manifest(descriptor.media_type()) {
                self.manifest(&digest)?;
                return Ok(descriptor);
            }
            if !is_index(descriptor.media_type()) {
                let because = format!("it is of the unknown type {}", descriptor.media_type());
                return Err(Error::new(Kind::Unsupported, format!("opening the image {label}"), because));
            }
            let index = self.loading.store.index_blob(&digest)?;
            descriptor = match (Platform::host().choose(index.manifests()), index.manifests().as_slice()) {
                (Some(chosen), _) => chosen.clone(),
                // One that does not say what it is for may say it in its config.
                (None, [only]) => only.clone(),
                (None, all) => {
                    let offered: Vec<Platform> = all.iter().filter_map(Platform::of).collect();
                    return Err(Platform::host().mismatch(label, &offered));
                }
            };
        }
        Err(Error::new(Kind::BadInput, format!("opening the image {label}"), "its lists lead to lists without end"))
    }

    fn manifest(&self, digest: &Digest) -> Result<()> {
        let manifest: ImageManifest = self.loading.store.manifest(digest)?;
        check_manifest(&manifest, self.loading.store.limits().layers)?;
        (self.bring)(manifest.config(), &Nobody)?;
        self.loading.layers(&manifest, self.bring)
    }
}

/// The name in the annotations. A reader that is given a mere tag takes it for a name, as podman does; what is no name at
/// all names nothing.
fn name_of(descriptor: &Descriptor) -> Option<Reference> {
    let annotations = descriptor.annotations().as_ref()?;
    let name = annotations.get(WHOLE_NAME).or_else(|| annotations.get(REF_NAME))?;
    name.parse().ok()
}
