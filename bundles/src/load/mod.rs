// SPDX-License-Identifier: Apache-2.0
//! Images from files: what `docker save`, `skopeo copy oci-archive:` and OCI layouts hold.
//!
//! An archive in a file, and a folder, are copied, checked and unpacked in one pass. One that arrives is read from front to
//! back, whatever the order of its members, and unpacked when it has said what its layers are
//! (docs/decisions/1201-archives-in-one-pass.md). Nothing is published before all of it makes sense.

mod archive;
mod docker;
mod layout;

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::os::unix::fs::FileExt;
use std::path::Path;

use oci_spec::image::{Descriptor, ImageManifest};

use crate::compression::{self, Compression, START};
use crate::digest::Digest;
use crate::error::{Doing, Error, Kind, Result};
use crate::idmap::IdMap;
use crate::platform::Platform;
use crate::progress::{Event, Progress};
use crate::reference::Reference;
use crate::store::{Claims, Image, Store, digest_of, layers_of};
use crate::unpack::Origin;
use crate::unpack::feed::{Listener, News, Nobody};

/// Where images come from.
pub enum Source<'s> {
    /// An archive, compressed or not; or, by its path, a folder with an OCI layout.
    Path(&'s Path),
    /// An archive in an open file, from where the file is; or whatever else arrives there: standard input.
    Open(File),
    /// An archive that arrives.
    Stream(&'s mut (dyn Read + Send)),
}

/// An image that was found, not yet in the store.
struct Found {
    name: Option<Reference>,
    descriptor: Descriptor,
}

/// A load at work.
struct Loading<'l> {
    store: &'l Store,
    claims: &'l Claims<'l>,
    /// Layers are unpacked while they come.
    unpack: Option<&'l IdMap>,
    progress: &'l dyn Progress,
}

/// Brings a blob into the store, and tells whoever unpacks it meanwhile.
type Bring<'b> = dyn Fn(&Descriptor, &dyn Listener) -> Result<()> + Sync + 'b;

/// Puts all images of `source` into the store.
///
/// # Errors
/// [`Kind::BadInput`]: it is no archive we know, or it lies. Nothing is added then.
pub fn load(store: &Store, source: Source<'_>, progress: &dyn Progress) -> Result<Vec<Image>> {
    load_with(store, source, None, progress)
}

/// The same, and unpacks what runs on this machine: while it is copied, where all of the source can be looked at first.
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
    let label = match &source {
        Source::Path(path) => path.display().to_string(),
        Source::Open(_) | Source::Stream(_) => "standard input".to_owned(),
    };
    let claims = Claims::begin(store)?;
    let loading = Loading { store, claims: &claims, unpack, progress };
    let found = loading.source(source, &label).map_err(|error| error.while_doing(format!("loading {label}")))?;
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

impl Loading<'_> {
    fn source(&self, source: Source<'_>, label: &str) -> Result<Vec<Found>> {
        match source {
            Source::Path(path) if path.is_dir() => layout::folder(self, path),
            Source::Path(path) => self.file(File::open(path).doing(|| format!("opening {label}"))?),
            Source::Open(file) => self.file(file),
            Source::Stream(stream) => self.stream(stream),
        }
    }

    /// A file can be looked at here and there, unless it is compressed as a whole, or a pipe.
    fn file(&self, mut file: File) -> Result<Vec<Found>> {
        let doing = || "reading the archive";
        if !file.metadata().doing(doing)?.is_file() {
            return self.stream(file);
        }
        let mut start = [0; START];
        let position = file.stream_position().doing(doing)?;
        let length = file.read_at(&mut start, position).doing(doing)?;
        match Compression::of(&start[..length]) {
            Compression::Plain => self.archive(&archive::index(self, file)?),
            _ => self.stream(file),
        }
    }

    fn stream(&self, input: impl Read + Send) -> Result<Vec<Found>> {
        let (plain, _) = compression::archive(input, self.store.limits()).doing(|| "reading the archive")?;
        self.archive(&archive::read(self, BufReader::with_capacity(1 << 18, plain))?)
    }

    fn archive(&self, archive: &archive::Archive) -> Result<Vec<Found>> {
        match (archive.document("oci-layout"), archive.document("manifest.json")) {
            // Docker and we write both: the layout keeps digests, if it has the names too.
            (Ok(_), Ok(_)) if layout::has_whole_names(archive) => layout::images(self, archive),
            (_, Ok(manifest)) => docker::images(self, archive, &manifest),
            (Ok(_), _) => layout::images(self, archive),
            (_, Err(error)) => Err(error.hint("kelp load reads docker-archive, oci-archive and OCI layout folders")),
        }
    }

    /// Brings the layers of a manifest whose config is here; they are unpacked meanwhile, if they are for this machine.
    fn layers(&self, manifest: &ImageManifest, bring: &Bring<'_>) -> Result<()> {
        let bring_all = |listener: &dyn Listener| manifest.layers().iter().try_for_each(|l| bring(l, listener));
        let Some(map) = self.unpack else { return bring_all(&Nobody) };
        let config = self.store.config(&digest_of(manifest.config())?)?;
        if !config.platform().runs_here() {
            return bring_all(&Nobody);
        }
        let layers = layers_of(manifest, &config)?;
        self.claims.claim_layers(&layers)?;
        self.store.unpack_along(&layers, Origin::Here, map, self.progress, bring_all)
    }

    /// Copies a blob, which is checked where a digest is expected; whoever unpacks it hears how it grows.
    fn copy(
        &self,
        input: &mut dyn Read,
        size: u64,
        expected: Option<&Digest>,
        listener: &dyn Listener,
    ) -> Result<Digest> {
        let mut blob = self.claims.writer()?;
        let path = blob.path().to_owned();
        let begin = |digest: &Digest| {
            self.progress.event(Event::FetchBegins(digest, size, 0));
            listener.tell(News::Begun(digest.clone(), path, 0))
        };
        let mut wanted = expected.is_none_or(begin);
        blob.copy_telling(input, size, &mut |piece, all| {
            if let Some(digest) = expected {
                self.progress.event(Event::Fetched(digest, piece));
                wanted = wanted && listener.tell(News::Grown(digest.clone(), all));
            }
            if wanted { Ok(()) } else { Err(Error::stop("copying layers")) }
        })?;
        let (digest, _) = blob.finish(expected)?;
        self.progress.event(Event::FetchDone(&digest));
        Ok(digest)
    }
}
