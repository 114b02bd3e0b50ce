// SPDX-License-Identifier: Apache-2.0
//! A tar of files becomes an image of one layer.

use std::fs::File;
use std::io::{self, BufReader, Read};

use crate::change;
use crate::compose::{self, descriptor, media_type};
use crate::compression::{self, Compression, Sums};
use crate::config::{History, ImageConfig, RootFs, RunConfig};
use crate::digest::{Digest, Hashing};
use crate::error::{Doing, Error, Kind, Result};
use crate::limits::Limits;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::store::{BlobWriter, Claims, Image, Store};
use crate::tar::Reader;

/// Where a layer may be any size: nobody needs a larger one.
const BLOB: u64 = 1 << 40;

/// What the files do not say.
#[derive(Debug, Clone)]
pub struct Import {
    /// The image's name, if it gets one.
    pub name: Option<Reference>,
    /// When it was made: RFC 3339.
    pub created: String,
    /// A line for its history.
    pub comment: String,
    /// What it runs on.
    pub platform: Platform,
    /// Changes to its config, in the words of a Dockerfile.
    pub changes: Vec<String>,
}

/// Makes an image of the files in `input`: a tar, compressed or not.
///
/// # Errors
/// [`Kind::BadInput`]: it is no tar, or a change is none. Nothing is added then.
pub fn import(store: &Store, input: &mut (dyn Read + Send), wanted: &Import) -> Result<Image> {
    let mut run = RunConfig::default();
    wanted.changes.iter().try_for_each(|line| change::apply(&mut run, line))?;
    let claims = Claims::begin(store)?;
    let mut blob = claims.writer()?;
    copy(input, &mut blob, store.limits())?;
    let (digest, size) = blob.finish(None)?;
    let (diff_id, compression) = diff_id(store, &digest, size)?;
    let layer = descriptor(media_type(compression)?, &digest, size)?;
    let history = History {
        created: Some(wanted.created.clone()),
        comment: Some(wanted.comment.clone()).filter(|text| !text.is_empty()),
        ..History::default()
    };
    let config = ImageConfig {
        created: Some(wanted.created.clone()),
        architecture: wanted.platform.architecture.clone(),
        os: wanted.platform.os.clone(),
        variant: wanted.platform.variant.clone(),
        config: Some(run),
        rootfs: RootFs { kind: "layers".to_owned(), diff_ids: vec![diff_id] },
        history: Some(vec![history]),
        ..ImageConfig::default()
    };
    compose::publish(store, claims, &config, vec![layer], wanted.name.clone())
}

/// Stores the archive as it is, or unpacked where no registry takes a layer that is packed so.
fn copy(input: &mut (dyn Read + Send), blob: &mut BlobWriter<'_, '_>, limits: &Limits) -> Result<()> {
    let doing = || "reading the archive";
    let (compression, mut input) = compression::peek(input).doing(doing)?;
    let copied = match compression.is_for_layers() {
        true => blob.copy_from(&mut input, BLOB),
        false => blob.copy_from(&mut compression::archive(input, limits).doing(doing)?.0, BLOB),
    };
    copied.map(drop)
}

/// The digest of the tar in a blob, which must be one.
fn diff_id(store: &Store, digest: &Digest, size: u64) -> Result<(Digest, Compression)> {
    let doing = || "reading the archive";
    let limits = store.limits();
    let blob = File::open(store.blob(digest)).doing(doing)?;
    let (plain, compression) = compression::decoder(blob, Sums::Checked).doing(doing)?;
    let limit = limits.unpacked(size);
    let mut hashing = Hashing::new(plain.take(limit + 1));
    let mut tar = Reader::new(BufReader::with_capacity(1 << 18, &mut hashing), limits.header);
    let mut entries = 0;
    while tar.next().doing(doing)?.is_some() {
        entries += 1;
        if entries > limits.entries {
            return Err(Error::new(Kind::TooBig, doing(), format!("it has more than {} entries", limits.entries)));
        }
    }
    io::copy(&mut tar.into_inner(), &mut io::sink()).doing(doing)?;
    if entries == 0 {
        return Err(Error::new(Kind::BadInput, doing(), "it holds no file")
            .hint("kelp import reads the tar of a root filesystem; kelp load reads images"));
    }
    let (diff_id, bytes, _) = hashing.finish();
    match bytes > limit {
        true => Err(Error::new(Kind::TooBig, doing(), format!("it unpacks to more than {limit} bytes"))),
        false => Ok((diff_id, compression)),
    }
}
