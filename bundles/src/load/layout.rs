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
use crate::platform::Platform;
use crate::progress::{Event, Progress};
use crate::reference::Reference;
use crate::store::{Claims, REF_NAME, Store, check_manifest, digest_of, is_index, is_manifest};

use kelp_sys::rustix::fs::OFlags;

/// Where containerd and Docker put the whole name; `ref.name` is a mere tag then.
const WHOLE_NAME: &str = "io.containerd.image.name";
/// How many lists may lead to a manifest.
const NESTING: usize = 4;

/// The images of an archive with an OCI layout. Its blobs are in the store; what is not reached is collected later.
pub(super) fn images(store: &Store, claims: &Claims<'_>, archive: &Archive) -> Result<Vec<Found>> {
    let blobs = |descriptor: &Descriptor| archive.blob_of(&digest_of(descriptor)?).map(drop);
    let index: ImageIndex = serde_json::from_slice(&archive.document("index.json")?).doing(|| "reading index.json")?;
    reach_all(store, claims, &index, &blobs)
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
pub(super) fn load(store: &Store, claims: &Claims<'_>, folder: &Path, progress: &dyn Progress) -> Result<Vec<Found>> {
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
    let blobs = |descriptor: &Descriptor| -> Result<()> {
        let digest = digest_of(descriptor)?;
        if claims.claim(&digest, Some(descriptor.size()))? {
            progress.event(Event::FetchSkipped(&digest));
            return Ok(());
        }
        let name = format!("blobs/sha256/{}", digest.hex());
        let mut file = File::from(open(&name).doing(|| format!("opening {name}"))?);
        copy(claims, &mut file, &digest, descriptor.size(), progress)
            .map_err(|e| e.while_doing(format!("copying {name}")))
    };
    reach_all(store, claims, &index, &blobs)
}

fn copy(claims: &Claims<'_>, file: &mut File, digest: &Digest, size: u64, progress: &dyn Progress) -> Result<()> {
    progress.event(Event::FetchBegins(digest, size, 0));
    let mut blob = claims.writer()?;
    blob.copy_from(file, size)?;
    blob.finish(Some(digest))?;
    progress.event(Event::FetchDone(digest));
    Ok(())
}

/// Brings a blob into the store.
type Bring<'b> = dyn Fn(&Descriptor) -> Result<()> + 'b;

/// Brings all images of an index that are for this machine, or the only one there is.
fn reach_all(store: &Store, claims: &Claims<'_>, index: &ImageIndex, bring: &Bring<'_>) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    for descriptor in index.manifests() {
        let name = name_of(descriptor);
        let label = name.as_ref().map_or_else(|| descriptor.digest().to_string(), Reference::familiar);
        let chosen = reach(store, claims, descriptor, bring, &label)?;
        found.push(Found { name, descriptor: chosen });
    }
    Ok(found)
}

/// Follows lists to a manifest and brings all it speaks of.
fn reach(store: &Store, claims: &Claims<'_>, from: &Descriptor, bring: &Bring<'_>, label: &str) -> Result<Descriptor> {
    let mut descriptor = from.clone();
    for _ in 0..NESTING {
        bring(&descriptor)?;
        let digest = digest_of(&descriptor)?;
        claims.claim(&digest, Some(descriptor.size()))?;
        if is_manifest(descriptor.media_type()) {
            reach_manifest(store, &digest, bring)?;
            return Ok(descriptor);
        }
        if !is_index(descriptor.media_type()) {
            let because = format!("it is of the unknown type {}", descriptor.media_type());
            return Err(Error::new(Kind::Unsupported, format!("opening the image {label}"), because));
        }
        let index = store.index_blob(&digest)?;
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

fn reach_manifest(store: &Store, digest: &Digest, bring: &Bring<'_>) -> Result<()> {
    let manifest: ImageManifest = store.manifest(digest)?;
    check_manifest(&manifest, store.limits().layers)?;
    bring(manifest.config())?;
    manifest.layers().iter().try_for_each(bring)
}

/// The name in the annotations. A reader that is given a mere tag takes it for a name, as podman does; what is no name at
/// all names nothing.
fn name_of(descriptor: &Descriptor) -> Option<Reference> {
    let annotations = descriptor.annotations().as_ref()?;
    let name = annotations.get(WHOLE_NAME).or_else(|| annotations.get(REF_NAME))?;
    name.parse().ok()
}
