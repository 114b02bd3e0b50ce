// SPDX-License-Identifier: Apache-2.0
//! Images to registries. Only what the registry lacks travels. A layer that is a plain tar is packed by gzip on the way,
//! as Docker does, unless the registry has it plain; all else is sent as it is stored, so that digests stay.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;

use oci_spec::image::{Descriptor, ImageManifest, MediaType};
use serde_json::{Value, json};

use crate::compose::descriptor;
use crate::compression::{self, Compression};
use crate::digest::Digest;
use crate::error::{Doing, Error, Kind, Result};
use crate::progress::{Event, Progress};
use crate::pull;
use crate::reference::Reference;
use crate::registries::Registries;
use crate::registry::{self, Access, Credentials, Rate, Repository, Retry};
use crate::store::{Claims, Image, Store, digest_of};

/// Blobs that are sent at the same time.
const AT_ONCE: usize = 3;

/// How to push.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether certificates are checked, and plain HTTP refused except on this machine.
    pub verify: bool,
    /// Who we are to the registry.
    pub credentials: Option<Credentials>,
    /// Below which rate a registry is given up on, where that is not what KELP_LEAST_RATE says.
    pub rate: Option<Rate>,
}

impl Default for Options {
    fn default() -> Self {
        Self { verify: true, credentials: None, rate: None }
    }
}

/// One push at work.
struct Push<'p> {
    store: &'p Store,
    /// Where layers are packed.
    claims: &'p Claims<'p>,
    repository: &'p Repository,
    progress: &'p dyn Progress,
    /// Another repository of this registry that may have the same blobs.
    siblings: Vec<(Digest, String)>,
    /// Plain layers, and what they were packed to when the image was sent to this repository before.
    known: HashMap<Digest, Descriptor>,
}

/// What the registry has now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The manifest's.
    pub digest: Digest,
    /// The manifest's, in bytes.
    pub size: u64,
}

/// Sends the image under this name. Tells of the manifest.
///
/// # Errors
/// [`Kind::Unauthorized`], [`Kind::Network`]; [`Kind::BadInput`] for a name without a tag.
pub fn push(
    store: &Store,
    image: &Image,
    to: &Reference,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Pushed> {
    let result = attempt(store, image, to, options, progress);
    result.map_err(|error| error.while_doing(format!("pushing {}", to.familiar())))
}

fn attempt(store: &Store, image: &Image, to: &Reference, options: &Options, progress: &dyn Progress) -> Result<Pushed> {
    let target = match (to.tag(), to.digest()) {
        (Some(tag), _) => tag.to_owned(),
        (None, Some(digest)) if *digest == image.manifest => digest.to_string(),
        _ => return Err(Error::new(Kind::BadInput, "choosing a tag", "the digest is not this image's")),
    };
    let place = Registries::read()?.target(to)?;
    let speaking = registry::Options {
        verify: options.verify,
        credentials: pull::known_at(options.credentials.as_ref(), to.registry(), &place.registry)?,
        retry: Retry::DEFAULT,
        rate: options.rate,
    };
    let siblings = siblings(store, image, to)?;
    let mut others: Vec<String> = siblings.iter().map(|(_, name)| name.clone()).collect();
    others.sort();
    others.dedup();
    let repository = Repository::open(&place, &speaking, Access::Push(&others), store.limits().document)?;
    let claims = Claims::begin(store)?;
    let mut push = Push { store, claims: &claims, repository: &repository, progress, siblings, known: HashMap::new() };
    let stored = store.manifest(&image.manifest)?;
    // A digest means the manifest that is here, and no other.
    let pack = to.tag().is_some() && push.would_pack(&stored)? && !repository.has_manifest(&image.manifest)?;
    if pack {
        push.known = push.packed_before(image, to, &stored)?;
    }
    let packed = push.blobs(&stored, pack)?;
    let manifest = with_layers(store.document(&image.manifest)?, &packed)?;
    let media_type = registry::media_type_of(&manifest, "application/vnd.oci.image.manifest.v1+json");
    repository.send_manifest(&target, &media_type, &manifest)?;
    let digest = Digest::of(&manifest);
    store.note_pushed(to, &digest)?;
    Ok(Pushed { digest, size: manifest.len() as u64 })
}

/// The manifest with these layers in the place of those they were packed from.
fn with_layers(manifest: Vec<u8>, packed: &HashMap<Digest, Descriptor>) -> Result<Vec<u8>> {
    if packed.is_empty() {
        return Ok(manifest);
    }
    let doing = || "writing the manifest";
    // All else that it says stays, also what we do not know.
    let mut manifest: Value = serde_json::from_slice(&manifest).doing(doing)?;
    for layer in manifest["layers"].as_array_mut().into_iter().flatten() {
        let digest = layer["digest"].as_str().and_then(|digest| digest.parse::<Digest>().ok());
        if let Some(to) = digest.and_then(|digest| packed.get(&digest)) {
            layer["mediaType"] = json!(to.media_type());
            layer["digest"] = json!(to.digest());
            layer["size"] = json!(to.size());
        }
    }
    serde_json::to_vec(&manifest).doing(doing)
}

/// What a plain layer is called once it is packed by gzip; nothing for all else.
fn gzip_type(media_type: &MediaType) -> Option<MediaType> {
    match media_type {
        MediaType::ImageLayer => Some(MediaType::ImageLayerGzip),
        MediaType::Other(text) if text == "application/vnd.docker.image.rootfs.diff.tar" => {
            Some(MediaType::Other(format!("{text}.gzip")))
        }
        _ => None,
    }
}

/// Blobs we know in other repositories of the same registry: it can take them from there.
fn siblings(store: &Store, image: &Image, to: &Reference) -> Result<Vec<(Digest, String)>> {
    let wanted: HashSet<&Digest> = image.layers.iter().map(|layer| &layer.blob).collect();
    let mut siblings: Vec<(Digest, String)> = Vec::new();
    for listed in store.list()? {
        let (Some(name), Ok(other)) = (listed.name, listed.image) else { continue };
        // Only what came from there, or went there, is there: a mere name says nothing.
        if listed.pulled.is_some() && name.registry() == to.registry() && name.repository() != to.repository() {
            let shared = other.layers.into_iter().filter(|layer| wanted.contains(&layer.blob));
            siblings.extend(shared.map(|layer| (layer.blob, name.repository().to_owned())));
        }
    }
    Ok(siblings)
}

impl Push<'_> {
    /// Whether a layer of the image is a plain tar.
    fn would_pack(&self, manifest: &ImageManifest) -> Result<bool> {
        for layer in manifest.layers() {
            if self.packed_type(layer)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The media type that this blob is to have, if it is a layer that is plain.
    fn packed_type(&self, blob: &Descriptor) -> Result<Option<MediaType>> {
        let Some(media_type) = gzip_type(blob.media_type()) else { return Ok(None) };
        let digest = digest_of(blob)?;
        let compression = Compression::of_file(&self.store.blob(&digest));
        let compression = compression.doing(|| format!("opening the blob {}", digest.short()))?;
        Ok(Some(media_type).filter(|_| compression == Compression::Plain))
    }

    /// What the plain layers were packed to when the image was last sent to this repository, by the manifest of then.
    fn packed_before(
        &self,
        image: &Image,
        to: &Reference,
        stored: &ImageManifest,
    ) -> Result<HashMap<Digest, Descriptor>> {
        let none = HashMap::new();
        let Some(digest) = self.store.known_in(image, to)?.filter(|digest| *digest != image.manifest) else {
            return Ok(none);
        };
        let document = match self.repository.manifest(&digest.to_string()) {
            Err(error) if error.kind() == Kind::NotFound => return Ok(none),
            other => other?,
        };
        // A list is no manifest: the image came from one, and was not sent.
        let Ok(sent) = serde_json::from_slice::<ImageManifest>(&document.bytes) else { return Ok(none) };
        let same = sent.config().digest() == stored.config().digest() && sent.layers().len() == stored.layers().len();
        let pairs = stored.layers().iter().zip(sent.layers()).filter(|_| same);
        pairs.map(|(plain, sent)| Ok((digest_of(plain)?, sent.clone()))).collect()
    }

    /// Sends all that the manifest names, and tells which layers were packed to what.
    fn blobs(&self, manifest: &ImageManifest, pack: bool) -> Result<HashMap<Digest, Descriptor>> {
        let mut seen = HashSet::new();
        let all = manifest.layers().iter().chain([manifest.config()]);
        let queue: Vec<&Descriptor> = all.filter(|blob| seen.insert(blob.digest().clone())).collect();
        let queue = Mutex::new(queue.into_iter());
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        let work = || -> Result<Vec<(Digest, Descriptor)>> {
            let mut packed = Vec::new();
            while let Some(blob) = next() {
                packed.extend(self.blob(blob, pack)?);
            }
            Ok(packed)
        };
        thread::scope(|scope| {
            let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
            let mut result = Ok(HashMap::new());
            for worker in workers {
                let end =
                    worker.join().unwrap_or_else(|_| Err(Error::new(Kind::Other, "sending blobs", "a thread stopped")));
                result = result.and_then(|mut all: HashMap<_, _>| {
                    all.extend(end?);
                    Ok(all)
                });
            }
            result
        })
    }

    /// Sends a blob that the registry lacks, and tells what it was packed to, if it was.
    fn blob(&self, blob: &Descriptor, pack: bool) -> Result<Option<(Digest, Descriptor)>> {
        let digest = digest_of(blob)?;
        if self.has(&digest)? {
            return Ok(None);
        }
        match self.packed_type(blob)?.filter(|_| pack) {
            Some(media_type) => self.packed(&digest, media_type).map(|packed| Some((digest, packed))),
            None => {
                let path = self.store.blob(&digest);
                let size = path.metadata().doing(|| format!("opening the blob {}", digest.short()))?.len();
                self.send(&digest, &digest, size, &path)?;
                Ok(None)
            }
        }
    }

    /// Packs a layer into a file beside the store's blobs and sends that.
    fn packed(&self, plain: &Digest, media_type: MediaType) -> Result<Descriptor> {
        if let Some(known) = self.known.get(plain).filter(|known| *known.media_type() == media_type)
            && self.has(&digest_of(known)?)?
        {
            return Ok(known.clone());
        }
        let doing = || format!("packing the layer {}", plain.short());
        let mut out = self.claims.writer()?;
        let input = File::open(self.store.blob(plain)).doing(doing)?;
        compression::gzip(input, &mut out).doing(doing)?;
        let file = out.aside()?;
        if !self.has(&file.digest)? {
            self.send(&file.digest, plain, file.size, &file.path)?;
        }
        descriptor(media_type, &file.digest, file.size)
    }

    /// Whether the registry has the blob in this repository; says so if it has.
    fn has(&self, digest: &Digest) -> Result<bool> {
        let has = self.repository.has_blob(digest)?;
        if has {
            self.progress.event(Event::PushSkipped(digest));
        }
        Ok(has)
    }

    /// Sends the file at `path`, which is the blob `stored` here.
    fn send(&self, digest: &Digest, stored: &Digest, size: u64, path: &Path) -> Result<()> {
        self.progress.event(Event::PushBegins(digest, size));
        let open = || -> io::Result<Box<dyn Read + '_>> {
            Ok(Box::new(Counted { inner: File::open(path)?, digest, progress: self.progress }))
        };
        let from = self.siblings.iter().find(|(blob, _)| blob == stored).map(|(_, name)| name.as_str());
        let travelled = self.repository.send_blob(digest, from, size, &open)?;
        self.progress.event(if travelled { Event::PushDone(digest) } else { Event::PushSkipped(digest) });
        Ok(())
    }
}

/// Tells how much of a blob was sent.
struct Counted<'p> {
    inner: File,
    digest: &'p Digest,
    progress: &'p dyn Progress,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.progress.event(Event::Pushed(self.digest, n as u64));
        Ok(n)
    }
}
