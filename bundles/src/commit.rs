// SPDX-License-Identifier: Apache-2.0
//! A container becomes an image: its image's layers, and one of what it changed.

use std::io::{self, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread;

use flate2::write::GzEncoder;
use oci_spec::image::{Descriptor, MediaType};

use crate::change;
use crate::changes::{Change, Files};
use crate::compose;
use crate::compose::descriptor;
use crate::config::{History, ImageConfig};
use crate::digest::{Digest, Hashing};
use crate::error::{Doing, Error, Kind, Result};
use crate::idmap::IdMap;
use crate::job;
use crate::reference::Reference;
use crate::store::{Claims, Image, Store, digest_of};

/// What the container's files do not say.
pub struct Commit<'c> {
    /// The image's name, if it gets one.
    pub name: Option<Reference>,
    /// When it was made: RFC 3339.
    pub created: String,
    /// The program that made the changes.
    pub created_by: String,
    /// Who says so.
    pub author: Option<String>,
    /// A line for its history.
    pub comment: Option<String>,
    /// How the image is to be run, from what the one before says.
    pub configure: &'c dyn Fn(&mut ImageConfig),
    /// Further changes, in the words of a Dockerfile.
    pub changes: Vec<String>,
}

/// What the container in `folder`, which was pinned, changed of its image.
///
/// # Errors
/// Its image's layers are gone; its files cannot be read.
pub fn changes(store: &Store, folder: &Path, files: &Files, map: &IdMap) -> Result<Vec<Change>> {
    job::changes(&store.pinned_layers(folder)?, files, map)
}

/// Writes all files of the container in `folder` as a tar.
///
/// # Errors
/// Its image's layers are gone; its files cannot be read; `out` cannot be written.
pub fn export(store: &Store, folder: &Path, files: &Files, out: OwnedFd, map: &IdMap) -> Result<()> {
    job::pack_tree(&store.pinned_layers(folder)?, files, out, map)
}

/// Makes an image of the container in `folder`.
///
/// # Errors
/// The blobs of its image are gone; a change is none. Nothing is added then.
pub fn commit(store: &Store, folder: &Path, files: &Files, map: &IdMap, wanted: &Commit<'_>) -> Result<Image> {
    let lower = store.pinned_layers(folder)?;
    let base = store.pinned_manifest(folder)?;
    let claims = Claims::begin(store)?;
    let mut layers: Vec<Descriptor> = base.layers().clone();
    for layer in &layers {
        if !claims.claim(&digest_of(layer)?, Some(layer.size()))? {
            let because = format!("the blob {} of its image is not in the store", digest_of(layer)?.short());
            return Err(Error::new(Kind::NotFound, "making an image of the container", because)
                .hint("pull or load the image again"));
        }
    }
    let mut config = store.config(&digest_of(base.config())?)?;
    (wanted.configure)(&mut config);
    let mut run = config.run();
    wanted.changes.iter().try_for_each(|line| change::apply(&mut run, line))?;
    let (blob, size, diff_id) = pack(&claims, &lower, files, map)?;
    layers.push(descriptor(MediaType::ImageLayerGzip, &blob, size)?);
    config.config = Some(run);
    config.created = Some(wanted.created.clone());
    if let Some(author) = &wanted.author {
        config.rest.insert("author".to_owned(), author.clone().into());
    }
    config.rootfs.diff_ids.push(diff_id);
    config.history.get_or_insert_default().push(History {
        created: Some(wanted.created.clone()),
        created_by: Some(wanted.created_by.clone()),
        author: wanted.author.clone(),
        comment: wanted.comment.clone(),
        ..History::default()
    });
    compose::publish(store, claims, &config, layers, wanted.name.clone())
}

/// The changes as a compressed blob: its digest, its size, and the digest of the tar.
fn pack(claims: &Claims<'_>, lower: &[PathBuf], files: &Files, map: &IdMap) -> Result<(Digest, u64, Digest)> {
    let doing = || "compressing the container's changes";
    let (from_packer, to_us) = io::pipe().doing(doing)?;
    let mut gzip = GzEncoder::new(claims.writer()?, flate2::Compression::fast());
    let diff_id = thread::scope(|scope| {
        let packer = scope.spawn(|| job::pack_layer(lower, files, to_us.into(), map));
        let mut tar = Hashing::new(BufReader::with_capacity(1 << 18, from_packer));
        let copied = copy(&mut tar, &mut gzip).doing(doing);
        // Its end of the pipe is closed before: a packer that still writes would wait for ever.
        let (diff_id, ..) = tar.finish();
        match packer.join() {
            Ok(packed) => copied.and(packed).map(|()| diff_id),
            Err(_) => Err(Error::new(Kind::Other, doing(), "a thread stopped")),
        }
    })?;
    let blob = gzip.finish().doing(doing)?;
    let (digest, size) = blob.finish(None)?;
    Ok((digest, size, diff_id))
}

fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    io::copy(from, to).map(drop)
}
