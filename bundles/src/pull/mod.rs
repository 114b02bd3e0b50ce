// SPDX-License-Identifier: Apache-2.0
//! Images from registries.
//!
//! A blob arrives in `images/partial`, where the next pull finds what an interrupted one left; whoever fills a file there
//! holds its lock, so that two pulls of one layer download it once. It becomes a blob when it is whole and hashes right.

mod partial;
mod parts;

use std::collections::HashSet;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use kelp_sys::rustix;
use oci_spec::image::{Descriptor, ImageIndex, ImageManifest, MediaType};

use crate::compose::descriptor;
use crate::config::ImageConfig;
use crate::digest::Digest;
use crate::error::{Doing, Error, Kind, Result};
use crate::idmap::IdMap;
use crate::lock::{Lock, Mode};
use crate::login;
use crate::platform::Platform;
use crate::progress::{Event, Progress, Quiet};
use crate::reference::Reference;
use crate::registries::Registries;
use crate::registry::{self, Access, Credentials, Document, Place, Rate, Repository, Retry};
use crate::store::{Claims, Image, PULLED_DIGEST, Store, check_manifest, digest_of, is_index, is_manifest, layers_of};
use crate::unpack::Origin;
use crate::unpack::feed::{Listener, News, Nobody};
use partial::Partial;

/// Blobs that arrive at the same time, as in Docker.
const AT_ONCE: usize = 3;
/// How many lists may lead to a manifest.
const NESTING: usize = 4;
/// How much is read at once.
const BUFFER: usize = 256 << 10;
/// A part of a large blob that is asked for by itself.
const PART: u64 = 8 << 20;
/// A blob of fewer parts comes as one stream.
const PARTS: u64 = 4;

/// How to pull.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which of a list's images.
    pub platform: Platform,
    /// Whether certificates are checked, and plain HTTP refused except on this machine (`--tls-verify`).
    pub verify: bool,
    /// Unpack layers while they arrive, with the owners of this map. An image for another machine is not unpacked.
    pub unpack: Option<IdMap>,
    /// Who we are to the registry, where that is not what [`crate::login`] knows.
    pub credentials: Option<Credentials>,
    /// Blobs of several times this size are fetched in parts of it, where the registry allows that.
    pub part: u64,
    /// Below which rate a registry is given up on, where that is not what KELP_LEAST_RATE says.
    pub rate: Option<Rate>,
}

impl Default for Options {
    fn default() -> Self {
        Self { platform: Platform::host(), verify: true, unpack: None, credentials: None, part: PART, rate: None }
    }
}

/// What the caller said of us to the registry he named, if this is it; or what is kept.
pub(crate) fn known_at(said: Option<&Credentials>, named: &str, registry: &str) -> Result<Option<Credentials>> {
    known(said.filter(|_| named == registry), registry)
}

/// What the caller said of us, or what is kept.
pub(crate) fn known(said: Option<&Credentials>, registry: &str) -> Result<Option<Credentials>> {
    said.map_or_else(|| login::find(registry), |said| Ok(Some(said.clone())))
}

/// One pull at work.
struct Pull<'p> {
    store: &'p Store,
    claims: &'p Claims<'p>,
    repository: &'p Repository,
    progress: &'p dyn Progress,
    retry: Retry,
    /// Who unpacks meanwhile.
    listener: &'p dyn Listener,
    /// Another blob's thread met an error: no use going on.
    stop: &'p AtomicBool,
    /// Something was put together of several answers, or of what an earlier pull left.
    relied: &'p AtomicBool,
    /// How large a part is; nothing where each blob comes as one stream, from its start.
    part: Option<u64>,
    /// How many blobs come in parts.
    large: usize,
}

/// Gets an image and gives it its name in the store. Layers are unpacked later, or by [`Store::unpack`] right away.
///
/// # Errors
/// [`Kind::NotFound`], [`Kind::Unauthorized`], [`Kind::Network`]; [`Kind::WrongPlatform`] where a list has nothing for this
/// machine; [`Kind::BadInput`] where the registry lies. Nothing is published then.
pub fn pull(store: &Store, reference: &Reference, options: &Options, progress: &dyn Progress) -> Result<Image> {
    let relied = AtomicBool::new(false);
    let mut result = attempt(store, reference, options, progress, (Some(options.part), &relied));
    if let Err(error) = &result
        && matches!(error.kind(), Kind::BadInput | Kind::TooBig)
        && relied.load(Ordering::Relaxed)
    {
        // The pieces may be to blame: a registry that gives other ranges than it says, a disk that lost what it had.
        progress.event(Event::Note(&format!("{}; trying again, each blob in one piece", error.because())));
        result = attempt(store, reference, options, progress, (None, &relied));
    }
    result.map_err(|error| error.while_doing(format!("pulling {}", reference.familiar())))
}

fn attempt(
    store: &Store,
    reference: &Reference,
    options: &Options,
    progress: &dyn Progress,
    (part, relied): (Option<u64>, &AtomicBool),
) -> Result<Image> {
    let claims = Claims::begin(store)?;
    let (repository, found) = source(store, reference, options, progress)?;
    let stop = AtomicBool::new(false);
    let retry = Retry::DEFAULT;
    let mut pull = Pull {
        store,
        claims: &claims,
        repository: &repository,
        progress,
        retry,
        listener: &Nobody,
        stop: &stop,
        relied,
        part,
        large: 0,
    };
    let top = found.digest.clone();
    let document = pull.choose(found, reference, &options.platform)?;
    let manifest: ImageManifest = serde_json::from_slice(&document.bytes).doing(|| "reading the manifest")?;
    check_manifest(&manifest, store.limits().layers)?;
    pull.refuse_what_cannot_fit(&manifest)?;
    pull.large = manifest.layers().iter().filter(|layer| pull.parts_of(layer.size()).is_some()).count();
    pull.blob(manifest.config())?;
    let config: ImageConfig = store.config(&digest_of(manifest.config())?)?;
    let layers = layers_of(&manifest, &config)?;
    claims.claim_layers(&layers)?;
    let brought = match options.unpack.as_ref().filter(|_| config.platform().runs_here()) {
        Some(map) => store.unpack_along(&layers, Origin::Registry, map, progress, |listener| {
            Pull { listener, ..pull }.blobs(manifest.layers())
        }),
        None => pull.blobs(manifest.layers()),
    };
    brought.inspect_err(|error| {
        // Unpacking met a lie before the digest could: what has arrived of it is nothing to go on with.
        if matches!(error.kind(), Kind::BadInput | Kind::TooBig) {
            layers.iter().for_each(|layer| forget_partial(store, &layer.blob));
        }
    })?;
    let media_type = MediaType::from(document.media_type.as_str());
    let mut named = descriptor(media_type, &document.digest, document.bytes.len() as u64)?;
    named.set_annotations(Some([(PULLED_DIGEST.to_owned(), top.to_string())].into()));
    let image = store.image(&named, &options.platform, Some(reference.clone()))?;
    claims.publish(vec![(Some(reference.clone()), named)])?;
    Ok(image)
}

/// What a registry calls this: its digest where the name has one, else its tag.
fn target(reference: &Reference) -> String {
    match (reference.digest(), reference.tag()) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.unwrap_or("latest").to_owned(),
    }
}

/// The first place that has what the name means: a mirror, or the registry itself, whose error is the one that is told.
pub(crate) fn source(
    store: &Store,
    reference: &Reference,
    options: &Options,
    progress: &dyn Progress,
) -> Result<(Repository, Document)> {
    let mut places = Registries::read()?.sources(reference)?;
    let last = places.pop();
    for place in &places {
        match ask(store, place, reference, options) {
            Ok(found) => return Ok(found),
            Err(error) => {
                let text = format!("the mirror {} has it not: {}; asking the next", place.registry, error.because());
                progress.event(Event::Note(&text));
            }
        }
    }
    let own = last.ok_or_else(|| Error::new(Kind::NotFound, "reading registries.conf", "no place is left to ask"))?;
    ask(store, &own, reference, options)
}

fn ask(store: &Store, place: &Place, reference: &Reference, options: &Options) -> Result<(Repository, Document)> {
    let credentials = known_at(options.credentials.as_ref(), reference.registry(), &place.registry)?;
    let speaking = registry::Options { verify: options.verify, credentials, retry: Retry::DEFAULT, rate: options.rate };
    let repository = Repository::open(place, &speaking, Access::Pull, store.limits().document)?;
    let document = repository.manifest(&target(reference))?;
    Ok((repository, document))
}

/// What a registry has under this name, as it stands there: a manifest or a list.
///
/// # Errors
/// Those of [`pull`].
pub fn inspect(store: &Store, reference: &Reference, options: &Options) -> Result<(Digest, Vec<u8>)> {
    let (_, document) = source(store, reference, options, &Quiet)
        .map_err(|error| error.while_doing(format!("inspecting {}", reference.familiar())))?;
    Ok((document.digest, document.bytes))
}

impl Pull<'_> {
    /// The manifest for this platform, which may be the document itself.
    fn choose(&self, top: Document, reference: &Reference, platform: &Platform) -> Result<Document> {
        let mut document = top;
        for _ in 0..NESTING {
            self.claims.add(&document.bytes)?;
            let media_type = MediaType::from(document.media_type.as_str());
            if is_manifest(&media_type) {
                return Ok(document);
            }
            if !is_index(&media_type) {
                let because = format!("it is of the type {media_type:?}, which is no image");
                return Err(Error::new(Kind::Unsupported, "reading the manifest", because));
            }
            let index: ImageIndex = serde_json::from_slice(&document.bytes).doing(|| "reading the list of images")?;
            let chosen = platform.choose(index.manifests()).ok_or_else(|| {
                let offered: Vec<Platform> = index.manifests().iter().filter_map(Platform::of).collect();
                platform.mismatch(&reference.familiar(), &offered)
            })?;
            document = self.repository.manifest(&digest_of(chosen)?.to_string())?;
        }
        Err(Error::new(Kind::BadInput, "choosing an image", "lists lead to lists without end"))
    }

    /// All blobs of a manifest, a few at the same time.
    fn blobs(&self, all: &[Descriptor]) -> Result<()> {
        let mut seen = HashSet::new();
        let queue: Vec<&Descriptor> = all.iter().filter(|d| seen.insert(d.digest().to_string())).collect();
        let queue = Mutex::new(queue.into_iter());
        let next = || queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
        let work = || -> Result<()> {
            while let Some(blob) = next() {
                if self.stop.load(Ordering::Relaxed) {
                    break;
                }
                self.blob(blob).inspect_err(|_| self.stop.store(true, Ordering::Relaxed))?;
            }
            Ok(())
        };
        thread::scope(|scope| {
            let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
            let ends = workers.into_iter().map(|worker| {
                worker.join().unwrap_or_else(|_| Err(Error::new(Kind::Other, "fetching blobs", "a thread stopped")))
            });
            // All are waited for; the error that stopped the others is told, not theirs.
            let errors: Vec<Error> = ends.filter_map(Result::err).collect();
            let told = errors.iter().position(|e| !e.is_stop()).unwrap_or(0);
            errors.into_iter().nth(told).map_or(Ok(()), Err)
        })
    }

    /// A registry may announce any size: what is larger than the disk is not begun.
    fn refuse_what_cannot_fit(&self, manifest: &ImageManifest) -> Result<()> {
        if manifest.config().size() > self.store.limits().document {
            return Err(Error::new(Kind::TooBig, "reading the manifest", "the config is larger than any may be"));
        }
        let blobs = std::iter::once(manifest.config()).chain(manifest.layers());
        let missing = blobs.filter(|d| digest_of(d).is_ok_and(|digest| !self.store.blob(&digest).exists()));
        let needed = missing.fold(0u64, |sum, d| sum.saturating_add(d.size()));
        let disk = rustix::fs::statvfs(self.store.images()).doing(|| "asking for the free space of the image store")?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        match needed > free {
            true => {
                Err(Error::new(Kind::TooBig, "fetching blobs", format!("{needed} bytes are to come, {free} are free"))
                    .hint("kelp system prune frees what nothing needs"))
            }
            false => Ok(()),
        }
    }

    fn blob(&self, wanted: &Descriptor) -> Result<()> {
        let (digest, size) = (digest_of(wanted)?, wanted.size());
        if self.claims.claim(&digest, Some(size))? {
            self.progress.event(Event::FetchSkipped(&digest));
            return self.tell(News::Whole(digest));
        }
        let path = self.store.images().join("partial").join(digest.hex());
        let _filling = Lock::wait(&path, Mode::Alone)?;
        // Whoever filled it while we waited is done.
        if self.claims.claim(&digest, Some(size))? {
            crate::store::forget_file(&path);
            self.progress.event(Event::FetchSkipped(&digest));
            return self.tell(News::Whole(digest));
        }
        let mut partial = Partial::open(&path, size)?;
        match self.part {
            None => partial.restart()?,
            Some(_) if partial.total() > 0 => self.relied.store(true, Ordering::Relaxed),
            Some(_) => {}
        }
        self.tell(News::Begun(digest.clone(), path.clone(), partial.have()))?;
        self.progress.event(Event::FetchBegins(&digest, size, partial.total()));
        match self.parts_of(size) {
            Some(part) => parts::fetch(self, &mut partial, &digest, part)?,
            None => partial.join()?,
        }
        self.fill(&mut partial, &digest)?;
        let found = partial.into_digest();
        if found != digest {
            crate::store::forget_file(&path);
            let error = Error::new(
                Kind::BadInput,
                format!("checking the blob {}", digest.short()),
                format!("its content is {found}"),
            );
            return Err(error.hint("the registry is broken or lies: nothing of it was kept"));
        }
        self.claims.adopt(&path, &digest)?;
        self.progress.event(Event::FetchDone(&digest));
        self.tell(News::Whole(digest))
    }

    /// The size of the parts that a blob of this size comes in, if it does.
    fn parts_of(&self, size: u64) -> Option<u64> {
        // The map of a blob has 32 bits for each part.
        self.part.map(|part| part.clamp(1, 1 << 30)).filter(|part| size / part >= PARTS)
    }

    /// How many requests for parts of one blob may be under way, if so many may be of all.
    fn lanes(&self, all: usize) -> usize {
        (all / self.large.clamp(1, AT_ONCE)).max(1)
    }

    /// Tells whoever unpacks; an error where he met one, so that the rest is not wanted.
    fn tell(&self, news: News) -> Result<()> {
        match self.listener.tell(news) {
            true => Ok(()),
            false => Err(Error::stop("fetching blobs")),
        }
    }

    /// Reads until the blob is whole; a connection that breaks is made again.
    fn fill(&self, partial: &mut Partial, digest: &Digest) -> Result<()> {
        let mut tries = 0;
        while partial.have() < partial.size {
            let before = partial.have();
            let error = match self.stream(partial, digest) {
                Ok(()) => continue,
                Err(error) => error,
            };
            tries = if partial.have() > before { 1 } else { tries + 1 };
            if error.kind() != Kind::Network || tries >= self.retry.tries {
                return Err(error);
            }
            registry::note_retry(self.progress, digest.short(), &error);
            self.retry.wait(tries, None);
        }
        Ok(())
    }

    /// One answer of the registry.
    fn stream(&self, partial: &mut Partial, digest: &Digest) -> Result<()> {
        let doing = || format!("fetching the blob {}", digest.short());
        let mut arriving = self.repository.blob(digest, partial.have())?;
        if arriving.offset != partial.have() {
            partial.restart()?;
            self.tell(News::Grown(digest.clone(), 0))?;
        }
        let mut buffer = vec![0; BUFFER];
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Error::stop(doing()));
            }
            let n = arriving.body.read(&mut buffer).map_err(|e| registry::broken(doing(), &e))?;
            if n == 0 {
                return match partial.have() == partial.size {
                    true => Ok(()),
                    false => Err(Error::new(Kind::Network, doing(), "the connection ended before the blob did")),
                };
            }
            if !partial.add(&buffer[..n])? {
                let because = format!("it is longer than the {} bytes announced", partial.size);
                return Err(Error::new(Kind::BadInput, doing(), because).hint("the registry is broken or lies"));
            }
            self.progress.event(Event::Fetched(digest, n as u64));
            self.tell(News::Grown(digest.clone(), partial.have()))?;
        }
    }
}

/// Removes what is there of a blob, unless somebody else is filling it.
fn forget_partial(store: &Store, blob: &Digest) {
    let path = store.images().join("partial").join(blob.hex());
    if let Ok(Some(_alone)) = Lock::try_existing(&path) {
        crate::store::forget_file(&path);
    }
}

/// How much of an image's blobs interrupted pulls left: for `system df`.
pub fn partial_bytes(store: &Store) -> Result<u64> {
    let dir = store.images().join("partial");
    let mut bytes = 0;
    for entry in fs::read_dir(&dir).doing(|| format!("listing {}", dir.display()))? {
        // What came in parts has holes.
        bytes += entry.and_then(|e| e.metadata()).map_or(0, |m| m.blocks() * 512);
    }
    Ok(bytes)
}
