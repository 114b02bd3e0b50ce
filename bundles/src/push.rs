// SPDX-License-Identifier: Apache-2.0
//! Images to registries. Only what the registry lacks travels; what is sent is what is stored, so that digests stay.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::digest::Digest;
use crate::error::{Doing, Error, Kind, Result};
use crate::progress::{Event, Progress};
use crate::pull;
use crate::reference::Reference;
use crate::registries::Registries;
use crate::registry::{self, Access, Credentials, Rate, Repository, Retry};
use crate::store::{Image, Store};

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
    repository: &'p Repository,
    progress: &'p dyn Progress,
    /// Another repository of this registry that may have the same blobs.
    siblings: Vec<(Digest, String)>,
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
    let push = Push { store, repository: &repository, progress, siblings };
    push.blobs(image)?;
    let manifest = store.document(&image.manifest)?;
    let media_type = registry::media_type_of(&manifest, "application/vnd.oci.image.manifest.v1+json");
    repository.send_manifest(&target, &media_type, &manifest)?;
    store.note_pushed(to, &image.manifest)?;
    Ok(Pushed { digest: image.manifest.clone(), size: manifest.len() as u64 })
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
    fn blobs(&self, image: &Image) -> Result<()> {
        let mut seen = HashSet::new();
        let all = image.layers.iter().map(|layer| &layer.blob).chain([&image.id]);
        let queue: Vec<&Digest> = all.filter(|digest| seen.insert((*digest).clone())).collect();
        let queue = Mutex::new(queue.into_iter());
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        let work = || -> Result<()> {
            while let Some(digest) = next() {
                self.blob(digest)?;
            }
            Ok(())
        };
        thread::scope(|scope| {
            let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
            let mut result = Ok(());
            for worker in workers {
                let end =
                    worker.join().unwrap_or_else(|_| Err(Error::new(Kind::Other, "sending blobs", "a thread stopped")));
                result = result.and(end);
            }
            result
        })
    }

    fn blob(&self, digest: &Digest) -> Result<()> {
        if self.repository.has_blob(digest)? {
            self.progress.event(Event::PushSkipped(digest));
            return Ok(());
        }
        let path = self.store.blob(digest);
        let doing = || format!("opening the blob {}", digest.short());
        let size = std::fs::metadata(&path).doing(doing)?.len();
        self.progress.event(Event::PushBegins(digest, size));
        let open = || -> io::Result<Box<dyn Read + '_>> {
            Ok(Box::new(Counted { inner: File::open(&path)?, digest, progress: self.progress }))
        };
        let from = self.siblings.iter().find(|(blob, _)| blob == digest).map(|(_, name)| name.as_str());
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
