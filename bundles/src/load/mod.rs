// SPDX-License-Identifier: Apache-2.0
//! Images from files: what `docker save`, `skopeo copy oci-archive:` and OCI layouts hold.
//!
//! An archive is read once, from front to back, whatever the order of its members: small ones are kept, large ones become
//! blobs at once. Nothing is published before all of it makes sense.

mod archive;
mod docker;
mod layout;

pub(crate) use docker::descriptor;

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use oci_spec::image::Descriptor;

use crate::compression;
use crate::error::{Doing, Error, Kind, Result};
use crate::idmap::IdMap;
use crate::platform::Platform;
use crate::progress::Progress;
use crate::reference::Reference;
use crate::store::{Claims, Image, Store};

/// Where images come from.
pub enum Source<'s> {
    /// An archive, compressed or not; or, by its path, a folder with an OCI layout.
    Path(&'s Path),
    /// An archive that arrives: standard input.
    Stream(&'s mut (dyn Read + Send)),
}

/// An image that was found, not yet in the store.
struct Found {
    name: Option<Reference>,
    descriptor: Descriptor,
}

/// Puts all images of `source` into the store.
///
/// # Errors
/// [`Kind::BadInput`]: it is no archive we know, or it lies. Nothing is added then.
pub fn load(store: &Store, source: Source<'_>, progress: &dyn Progress) -> Result<Vec<Image>> {
    load_with(store, source, None, progress)
}

/// The same, and unpacks what runs on this machine: while it is copied, where the source is a folder.
///
/// # Errors
/// Those of [`load`] and of [`Store::unpack`]. Nothing is added then.
pub fn load_and_unpack(store: &Store, source: Source<'_>, map: &IdMap, progress: &dyn Progress) -> Result<Vec<Image>> {
    let images = load_with(store, source, Some(map), progress)?;
    for image in images.iter().filter(|image| image.check_platform(&Platform::host()).is_ok()) {
        store.unpack(image, map, progress)?;
    }
    Ok(images)
}

fn load_with(store: &Store, source: Source<'_>, unpack: Option<&IdMap>, progress: &dyn Progress) -> Result<Vec<Image>> {
    let (label, found, claims) = match source {
        Source::Path(path) if path.is_dir() => {
            let claims = Claims::begin(store)?;
            let found = layout::load(store, &claims, path, unpack, progress);
            (path.display().to_string(), found, claims)
        }
        Source::Path(path) => {
            let label = path.display().to_string();
            let file = File::open(path).doing(|| format!("opening {label}"))?;
            let claims = Claims::begin(store)?;
            let found = from_stream(store, &claims, file, progress);
            (label, found, claims)
        }
        Source::Stream(stream) => {
            let claims = Claims::begin(store)?;
            let found = from_stream(store, &claims, stream, progress);
            ("standard input".to_owned(), found, claims)
        }
    };
    let found = found.map_err(|error| error.while_doing(format!("loading {label}")))?;
    if found.is_empty() {
        return Err(Error::new(Kind::BadInput, format!("loading {label}"), "it holds no image"));
    }
    finish(store, claims, found)
}

/// Checks every image once more as a whole, then publishes all.
fn finish(store: &Store, claims: Claims<'_>, found: Vec<Found>) -> Result<Vec<Image>> {
    let mut images = Vec::new();
    for Found { name, descriptor } in &found {
        images.push(store.image(descriptor, &Platform::host(), name.clone())?);
    }
    claims.publish(found.into_iter().map(|f| (f.name, f.descriptor)).collect())?;
    Ok(images)
}

fn from_stream(
    store: &Store,
    claims: &Claims<'_>,
    input: impl Read + Send,
    progress: &dyn Progress,
) -> Result<Vec<Found>> {
    let (plain, _) = compression::decoder(input).doing(|| "reading the archive")?;
    let archive = archive::read(store, claims, BufReader::with_capacity(1 << 18, plain), progress)?;
    match (archive.document("oci-layout"), archive.document("manifest.json")) {
        // Docker and we write both: the layout keeps digests, if it has the names too.
        (Ok(_), Ok(_)) if layout::has_whole_names(&archive) => layout::images(store, claims, &archive),
        (_, Ok(manifest)) => docker::images(store, claims, &archive, &manifest),
        (Ok(_), _) => layout::images(store, claims, &archive),
        (_, Err(error)) => Err(error.hint("kelp load reads docker-archive, oci-archive and OCI layout folders")),
    }
}
