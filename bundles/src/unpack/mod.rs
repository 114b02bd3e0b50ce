// SPDX-License-Identifier: Apache-2.0
//! Layers onto disk: `layers/CHAIN/fs`, as overlayfs wants its lower folders.
//!
//! Runs where owners can be given: as root, or in a child inside the caller's id map ([`crate::job`]).
//! A layer is unpacked in `layers/.ingest/CHAIN`, whose lock one process holds; all layers of an image are made durable by
//! one syncfs, then renamed to where others look. Others wait for the lock, then find it done: but nobody waits for a
//! registry ([`Origin`]). Layers are unpacked side by side, and while they arrive ([`feed`]).
//!
//! Spec: image-spec layer.md. Kernel: overlayfs.rst "whiteouts and opaque directories", "user xattr".

mod crew;
mod extract;
pub(crate) mod feed;
mod pipeline;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};

use kelp_sys::rustix;
use serde::{Deserialize, Serialize};

pub(crate) use extract::write_content_of;

use crate::digest::Digest;
use crate::error::{Doing, Error, Kind, Result};
use crate::idmap::IdMap;
use crate::job::{self, Job, Outcome};
use crate::limits::Limits;
use crate::lock::{Lock, Mode};
use crate::progress::{Event, Progress};
use crate::store::{Image, Layer, Store, make_folder};
use crate::tree;
use crew::{Below, Crew};
use feed::{Arriving, Feed, Listener, News};

/// What happens to owners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Owners {
    /// Files get them.
    Exact,
    /// There is one id only: all files are the caller's, and `user.kelp.owner` says whose they should be.
    Recorded,
}

/// Where the blobs come from: who needs nothing but this machine waits only for his like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Origin {
    /// They are on this machine: in the store, or in a folder that is copied.
    Here,
    /// They come over the network, which may take for ever. Such a layer is unpacked in `CHAIN-pull`, under a lock of its
    /// own; where somebody else needs the layer before all of the image is here, the first to publish it wins.
    Registry,
}

/// A job: unpack these layers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Unpack {
    /// The folder `layers` of the store.
    folder: PathBuf,
    /// Lowest first.
    layers: Vec<Source>,
    origin: Origin,
    owners: Owners,
    limits: Limits,
}

/// A layer to unpack.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Source {
    blob: PathBuf,
    digest: Digest,
    size: u64,
    diff_id: Digest,
    chain_id: Digest,
}

/// Where an image's layers are, for overlayfs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unpacked {
    /// Folders, lowest first.
    pub lower: Vec<PathBuf>,
    /// Device nodes the kernel did not let us make.
    pub skipped_devices: u64,
    /// Extended attributes the kernel did not let us set.
    pub skipped_attributes: u64,
}

/// What `done` in a layer's folder says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Done {
    /// Entries of the tar.
    pub(crate) entries: u64,
    /// Bytes of its files, as Docker counts the size of an image.
    pub(crate) bytes: u64,
    /// Device nodes the kernel did not let us make.
    pub(crate) skipped_devices: u64,
    /// Extended attributes the kernel did not let us set.
    pub(crate) skipped_attributes: u64,
}

impl Store {
    /// The image's layers, unpacked; what is missing is unpacked now.
    ///
    /// # Errors
    /// A layer is malformed or lies about its digest; the disk is full; the id map cannot be had. Nothing is published then.
    pub fn unpack(&self, image: &Image, map: &IdMap, progress: &dyn Progress) -> Result<Unpacked> {
        if let Some(unpacked) = self.unpacked(image)? {
            return Ok(unpacked);
        }
        let job = self.job(&image.layers, Origin::Here, map);
        match job::run(Job::Unpack(job), map, progress) {
            Ok(Outcome::Unpacked(unpacked)) => Ok(unpacked),
            Ok(_) => Err(Error::new(Kind::Other, "unpacking layers", job::SOMETHING_ELSE)),
            Err(error) => Err(error.while_doing(format!("unpacking the image {}", image.label()))),
        }
    }

    /// The same while the blobs arrive: `bring` gets them, and tells of each of them; it runs in a thread of its own.
    pub(crate) fn unpack_along<T: Send>(
        &self,
        layers: &[Layer],
        origin: Origin,
        map: &IdMap,
        progress: &dyn Progress,
        bring: impl FnOnce(&dyn Listener) -> Result<T> + Send,
    ) -> Result<T> {
        let mut published = layers.iter().map(|layer| Done::read(&self.layer(&layer.chain_id)));
        if published.try_fold(true, |all, done| Ok::<_, Error>(all && done?.is_some()))? {
            return bring(&feed::Nobody);
        }
        job::unpack_along(&self.job(layers, origin, map), map, progress, bring)
    }

    fn job(&self, layers: &[Layer], origin: Origin, map: &IdMap) -> Unpack {
        let owners = if matches!(map, IdMap::Single { .. }) { Owners::Recorded } else { Owners::Exact };
        let source = |layer: &Layer| Source {
            blob: self.blob(&layer.blob),
            digest: layer.blob.clone(),
            size: layer.size,
            diff_id: layer.diff_id.clone(),
            chain_id: layer.chain_id.clone(),
        };
        let layers = layers.iter().map(source).collect();
        Unpack { folder: self.layers(), layers, origin, owners, limits: *self.limits() }
    }

    /// The bytes of the files of the image's layers, for those that are unpacked; the others count as their blobs.
    pub fn size(&self, image: &Image) -> u64 {
        image.layers.iter().map(|layer| self.layer_size(layer)).sum()
    }

    /// The same of one layer.
    pub fn layer_size(&self, layer: &Layer) -> u64 {
        Done::read(&self.layer(&layer.chain_id)).ok().flatten().map_or(layer.size, |done| done.bytes)
    }

    /// The image's layers if all of them are unpacked. Takes no lock.
    pub fn unpacked(&self, image: &Image) -> Result<Option<Unpacked>> {
        let mut unpacked = Unpacked::default();
        for layer in &image.layers {
            let folder = self.layer(&layer.chain_id);
            match Done::read(&folder)? {
                Some(done) => unpacked.add(folder.join("fs"), done),
                None => return Ok(None),
            }
        }
        Ok(Some(unpacked))
    }
}

impl Unpacked {
    fn add(&mut self, folder: PathBuf, done: Done) {
        self.lower.push(folder);
        self.skipped_devices += done.skipped_devices;
        self.skipped_attributes += done.skipped_attributes;
    }
}

impl Done {
    fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join("done");
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map(Some).doing(|| format!("reading {}", path.display())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e).doing(|| format!("reading {}", path.display())),
        }
    }
}

/// A layer that is unpacked but not published. Dropped, it is deleted, and then unlocked.
struct Staged {
    from: PathBuf,
    to: PathBuf,
    lock_path: PathBuf,
    _lock: Lock,
}

impl Drop for Staged {
    fn drop(&mut self) {
        // What cannot be deleted now is deleted by the collector, or by the next one who unpacks this layer.
        if self.from.exists() {
            drop(tree::remove(&self.from));
        }
        crate::store::forget_file(&self.lock_path);
    }
}

/// Does the job: all blobs are in the store.
pub(crate) fn run(job: &Unpack, progress: &dyn Progress) -> Result<Unpacked> {
    let feed = Feed::default();
    for source in &job.layers {
        feed.tell(News::Whole(source.digest.clone()));
    }
    run_along(job, &feed, progress)
}

/// Does the job while the blobs arrive. Nothing appears below `layers` until every layer is there.
pub(crate) fn run_along(job: &Unpack, feed: &Feed, progress: &dyn Progress) -> Result<Unpacked> {
    let result = attempt(job, feed, progress);
    if result.is_err() {
        feed.tell(News::Failed);
    }
    result
}

fn attempt(job: &Unpack, feed: &Feed, progress: &dyn Progress) -> Result<Unpacked> {
    let published = |source: &Source| job.folder.join(source.chain_id.hex());
    let mut staged = Vec::new();
    for source in &job.layers {
        staged.push(match Done::read(&published(source))? {
            Some(_) => None,
            None => stage(job, source, &published(source))?,
        });
    }
    let folder = File::open(&job.folder).doing(|| format!("opening {}", job.folder.display()))?;
    let folders = job.layers.iter().zip(&staged).map(|(source, stage)| match stage {
        Some(stage) => (stage.from.join("fs"), false),
        None => (published(source).join("fs"), true),
    });
    let crew = Crew::new(folders.collect(), feed);
    crew.work(|layer, below| match &staged[layer] {
        Some(stage) => unpack_layer(job, &job.layers[layer], &stage.from, below, feed, progress),
        None => Ok(()),
    })?;
    let staged: Vec<Staged> = staged.into_iter().flatten().collect();
    publish(&folder, &staged)?;
    let mut unpacked = Unpacked::default();
    for source in &job.layers {
        let folder = published(source);
        unpacked.add(folder.join("fs"), Done::read(&folder)?.unwrap_or_default());
    }
    if unpacked.skipped_devices > 0 && !staged.is_empty() {
        let text = format!("{} device nodes are left out: the kernel lets no user make them", unpacked.skipped_devices);
        progress.event(Event::Note(&text));
    }
    Ok(unpacked)
}

/// Takes the lock of a layer and makes its folder; `None` where it was published meanwhile. Locks are taken from the
/// lowest layer up, those of one origin only, and a chain id names all layers below it: nobody can wait in a circle.
fn stage(job: &Unpack, source: &Source, published: &Path) -> Result<Option<Staged>> {
    let chain = source.chain_id.hex();
    let from = job.folder.join(".ingest").join(match job.origin {
        Origin::Here => chain.to_owned(),
        Origin::Registry => format!("{chain}-pull"),
    });
    let lock_path = from.with_extension("lock");
    let lock = Lock::wait(&lock_path, Mode::Alone)?;
    if Done::read(published)?.is_some() {
        crate::store::forget_file(&lock_path);
        return Ok(None);
    }
    // What somebody left who was killed.
    tree::remove(&from)?;
    make_folder(&from.join("fs"))?;
    Ok(Some(Staged { from, to: published.to_owned(), lock_path, _lock: lock }))
}

fn publish(folder: &File, staged: &[Staged]) -> Result<()> {
    if staged.is_empty() {
        return Ok(());
    }
    rustix::fs::syncfs(folder).doing(|| "writing layers to disk")?;
    for stage in staged {
        stage.publish()?;
    }
    Ok(())
}

impl Staged {
    /// Moves the layer to where all look, unless somebody of the other [`Origin`] was first: then his is as good.
    fn publish(&self) -> Result<()> {
        match fs::rename(&self.from, &self.to) {
            Err(e) if matches!(e.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists) => Ok(()),
            renamed => renamed.doing(|| format!("publishing {}", self.to.display())),
        }
    }
}

/// One layer: read, inflate, hash and write, each at its own pace.
fn unpack_layer(
    job: &Unpack,
    source: &Source,
    to: &Path,
    below: &Below<'_>,
    feed: &Feed,
    progress: &dyn Progress,
) -> Result<()> {
    let doing = || format!("unpacking the layer {}", source.digest.short());
    progress.event(Event::UnpackBegins(&source.digest, source.size));
    let limits = job.limits;
    let blob = Arriving::new(feed, &source.digest, &source.blob);
    let counted = Counted { inner: blob, layer: &source.digest, progress, unsaid: 0 };
    let (done, diff_id) = pipeline::run(counted, limits.unpacked(source.size), |tar| {
        let mut tar = crate::tar::Reader::new(tar, limits.header);
        let mut extract = extract::Extract::new(&to.join("fs"), below, job.owners)?;
        let counts = extract.all(&mut tar, limits.entries).map_err(|e| e.while_doing(doing()))?;
        drain(tar.into_inner()).doing(doing)?;
        Ok(counts)
    })?;
    if diff_id != source.diff_id {
        let because = format!("its content is {diff_id}, the image says {}", source.diff_id);
        let error = Error::new(Kind::BadInput, doing(), because);
        return Err(error.hint("the image is broken, or whoever sent it lies: nothing of it was kept"));
    }
    let text = serde_json::to_vec(&done).doing(doing)?;
    fs::write(to.join("done"), text).doing(doing)?;
    progress.event(Event::UnpackDone(&source.digest));
    Ok(())
}

/// Reads what follows the archive's end: it counts in the digest.
fn drain(mut rest: pipeline::Chunks) -> io::Result<()> {
    loop {
        let n = rest.fill_buf()?.len();
        if n == 0 {
            return Ok(());
        }
        rest.consume(n);
    }
}

/// Tells how much of the blob was read, a megabyte at a time.
struct Counted<'p> {
    inner: Arriving<'p>,
    layer: &'p Digest,
    progress: &'p dyn Progress,
    unsaid: u64,
}

impl io::Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.unsaid += n as u64;
        if self.unsaid >= 1 << 20 || (n == 0 && self.unsaid > 0) {
            self.progress.event(Event::Unpacked(self.layer, self.unsaid));
            self.unsaid = 0;
        }
        Ok(n)
    }
}
