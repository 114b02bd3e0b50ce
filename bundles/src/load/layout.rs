// SPDX-License-Identifier: Apache-2.0
//! OCI image layouts: a folder, or the same in an archive.
//!
//! Spec: image-layout.md.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use oci_spec::image::{Descriptor, ImageIndex, ImageManifest};

use super::Found;
use super::archive::Archive;
use crate::at;
use crate::digest::Digest;
use crate::error::{Doing, Error, Kind, Result};
use crate::idmap::IdMap;
use crate::platform::Platform;
use crate::progress::{Event, Progress, Quiet};
use crate::reference::Reference;
use crate::store::{Claims, REF_NAME, Store, check_manifest, digest_of, is_index, is_manifest, layers_of};
use crate::unpack::Origin;
use crate::unpack::feed::{Listener, News, Nobody};

use kelp_sys::rustix::fs::OFlags;

/// Where containerd and Docker put the whole name; `ref.name` is a mere tag then.
const WHOLE_NAME: &str = "io.containerd.image.name";
/// How many lists may lead to a manifest.
const NESTING: usize = 4;

/// The images of an archive with an OCI layout. Its blobs are in the store; what is not reached is collected later.
pub(super) fn images(store: &Store, claims: &Claims<'_>, archive: &Archive) -> Result<Vec<Found>> {
    let blobs = |descriptor: &Descriptor, _: &dyn Listener| archive.blob_of(claims, &digest_of(descriptor)?).map(drop);
    let index: ImageIndex = serde_json::from_slice(&archive.document("index.json")?).doing(|| "reading index.json")?;
    Reach { store, claims, unpack: None, progress: &Quiet, bring: &blobs }.all(&index)
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
pub(super) fn load(
    store: &Store,
    claims: &Claims<'_>,
    folder: &Path,
    unpack: Option<&IdMap>,
    progress: &dyn Progress,
) -> Result<Vec<Found>> {
    let root = at::open_root(folder)?;
    let open =
        |name: &str| at::open_plain(&root, name.as_bytes(), OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK);
    let text = |name: &str| -> Result<Vec<u8>> {
        let file = File::from(open(name).doing(|| format!("opening {name}"))?);
        let mut text = Vec::new();
        file.take(store.limits().document).read_to_end(&mut text).doing(|| format!("reading {name}"))?;
        Ok(text)
    };
    text("oci-layout").map_err(|e| e.hint("a folder must be an OCI image layout: oci-layout, index.json, blobs/"))?;
    let index: ImageIndex = serde_json::from_slice(&text("index.json")?).doing(|| "reading index.json")?;
    let bring = |descriptor: &Descriptor, listener: &dyn Listener| -> Result<()> {
        let digest = digest_of(descriptor)?;
        if claims.claim(&digest, Some(descriptor.size()))? {
            progress.event(Event::FetchSkipped(&digest));
        } else {
            let name = format!("blobs/sha256/{}", digest.hex());
            let mut file = File::from(open(&name).doing(|| format!("opening {name}"))?);
            // It is all there: whoever unpacks need not wait for the copy, only for the check at its end.
            listener.tell(News::Begun(digest.clone(), folder.join(&name), descriptor.size()));
            copy(claims, &mut file, &digest, descriptor.size(), progress)
                .map_err(|e| e.while_doing(format!("copying {name}")))?;
        }
        match listener.tell(News::Whole(digest)) {
            true => Ok(()),
            false => Err(Error::stop("copying blobs")),
        }
    };
    Reach { store, claims, unpack, progress, bring: &bring }.all(&index)
}

fn copy(claims: &Claims<'_>, file: &mut File, digest: &Digest, size: u64, progress: &dyn Progress) -> Result<()> {
    progress.event(Event::FetchBegins(digest, size, 0));
    let mut blob = claims.writer()?;
    blob.copy_from(file, size)?;
    blob.finish(Some(digest))?;
    progress.event(Event::FetchDone(digest));
    Ok(())
}

/// Brings a blob into the store, and tells whoever unpacks it meanwhile.
type Bring<'b> = dyn Fn(&Descriptor, &dyn Listener) -> Result<()> + Sync + 'b;

/// Follows what an index holds.
struct Reach<'r> {
    store: &'r Store,
    claims: &'r Claims<'r>,
    /// Layers are unpacked while they come.
    unpack: Option<&'r IdMap>,
    progress: &'r dyn Progress,
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
            self.claims.claim(&digest, Some(descriptor.size()))?;
            if is_manifest(descriptor.media_type()) {
                self.manifest(&digest)?;
                return Ok(descriptor);
            }
            if !is_index(descriptor.media_type()) {
                let because = format!("it is of the unknown type {}", descriptor.media_type());
                return Err(Error::new(Kind::Unsupported, format!("opening the image {label}"), because));
            }
            let index = self.store.index_blob(&digest)?;
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
        let manifest: ImageManifest = self.store.manifest(digest)?;
        check_manifest(&manifest, self.store.limits().layers)?;
        (self.bring)(manifest.config(), &Nobody)?;
        let bring_all = |listener: &dyn Listener| manifest.layers().iter().try_for_each(|l| (self.bring)(l, listener));
        let Some(map) = self.unpack else { return bring_all(&Nobody) };
        let config = self.store.config(&digest_of(manifest.config())?)?;
        if !config.platform().runs_here() {
            return bring_all(&Nobody);
        }
        let layers = layers_of(&manifest, &config)?;
        self.claims.claim_layers(&layers)?;
        self.store.unpack_along(&layers, Origin::Here, map, self.progress, bring_all)
    }
}

/// The name in the annotations. A reader that is given a mere tag takes it for a name, as podman does; what is no name at
/// all names nothing.
fn name_of(descriptor: &Descriptor) -> Option<Reference> {
    let annotations = descriptor.annotations().as_ref()?;
    let name = annotations.get(WHOLE_NAME).or_else(|| annotations.get(REF_NAME))?;
    name.parse().ok()
}
