// SPDX-License-Identifier: Apache-2.0
//! Adding to the store: blobs arrive in a locked folder of their own, and are published together with the names that
//! reach them.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use kelp_sys::rustix;
use oci_spec::image::Descriptor;

use super::{Layer, Store, make_folder, random_name};
use crate::digest::{Digest, Hashing};
use crate::error::{Doing, Error, Kind, Result};
use crate::lock::{Lock, Mode};
use crate::reference::Reference;

/// How much is copied at once.
const BUFFER: usize = 256 << 10;
/// How much is written before the disk is asked to begin.
const WINDOW: u64 = 8 << 20;
/// The mode of a blob that survived a syncfs.
const DURABLE: u32 = 0o444;

/// One load or pull: what it relies on, and what it brings. Dropped without [`Claims::publish`], nothing was added.
#[derive(Debug)]
pub struct Claims<'s> {
    store: &'s Store,
    dir: PathBuf,
    arrived: Mutex<Vec<Digest>>,
    _lock: Lock,
}

impl<'s> Claims<'s> {
    /// A folder of its own below `ingest`, locked before the collector can look at it.
    ///
    /// # Errors
    /// The store's index is damaged, or the folder cannot be made.
    pub fn begin(store: &'s Store) -> Result<Self> {
        store.check_index()?;
        let _no_collector = store.share_with_collector()?;
        let dir = store.images().join("ingest").join(random_name());
        make_folder(&dir)?;
        let lock = Lock::wait(&dir, Mode::Alone)?;
        Ok(Self { store, dir, arrived: Mutex::new(Vec::new()), _lock: lock })
    }

    /// Keeps a blob from the collector and says whether it is here, whole. From now on it can be relied upon.
    pub fn claim(&self, digest: &Digest, size: Option<u64>) -> Result<bool> {
        {
            let _no_collector = self.store.share_with_collector()?;
            self.note(digest)?;
        }
        self.is_whole(digest, size)
    }

    /// Keeps unpacked layers from the collector until the image that reaches them has its name.
    pub(crate) fn claim_layers(&self, layers: &[Layer]) -> Result<()> {
        let _no_collector = self.store.share_with_collector()?;
        layers.iter().try_for_each(|layer| self.note(&layer.chain_id))
    }

    /// A new blob. Its name is what it turns out to be.
    pub fn writer(&self) -> Result<BlobWriter<'_, 's>> {
        let path = self.dir.join(format!("new-{}", random_name()));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = file.doing(|| format!("making {}", path.display()))?;
        let out = Hashing::new(BufWriter::with_capacity(BUFFER, file));
        Ok(BlobWriter { claims: self, path: Some(path), out, written: Writeback::default() })
    }

    /// A blob that is already in memory.
    pub fn add(&self, bytes: &[u8]) -> Result<Digest> {
        let mut writer = self.writer()?;
        writer.write_all(bytes).doing(|| "writing a blob")?;
        Ok(writer.finish(None)?.0)
    }

    /// Puts a finished file under its digest: the caller hashed it.
    pub(crate) fn adopt(&self, path: &Path, digest: &Digest) -> Result<()> {
        {
            let _no_collector = self.store.share_with_collector()?;
            self.note(digest)?;
        }
        let to = self.store.blob(digest);
        fs::rename(path, &to).doing(|| format!("moving a blob to {}", to.display()))?;
        self.arrivals().push(digest.clone());
        Ok(())
    }

    /// Makes everything durable and lets the names reach it: beyond this point the images are there.
    pub fn publish(self, names: Vec<(Option<Reference>, Descriptor)>) -> Result<()> {
        self.make_durable()?;
        self.store.put(names)
    }

    /// One syncfs for all blobs, whatever their number.
    fn make_durable(&self) -> Result<()> {
        let arrived = self.arrivals();
        if arrived.is_empty() {
            return Ok(());
        }
        let images = File::open(self.store.images()).doing(|| "opening the image store")?;
        rustix::fs::syncfs(&images).doing(|| "writing the image store to disk")?;
        for digest in arrived.iter() {
            let path = self.store.blob(digest);
            fs::set_permissions(&path, Permissions::from_mode(DURABLE))
                .doing(|| format!("sealing {}", path.display()))?;
        }
        Ok(())
    }

    fn arrivals(&self) -> std::sync::MutexGuard<'_, Vec<Digest>> {
        // A thread that panicked while pushing left the list as it was.
        self.arrived.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn note(&self, digest: &Digest) -> Result<()> {
        let path = self.dir.join("claims");
        let open = OpenOptions::new().append(true).create(true).mode(0o600).open(&path);
        // One write: O_APPEND keeps lines of several threads apart.
        open.and_then(|mut file| file.write_all(format!("{digest}\n").as_bytes()))
            .doing(|| format!("writing {}", path.display()))
    }

    fn is_whole(&self, digest: &Digest, size: Option<u64>) -> Result<bool> {
        let path = self.store.blob(digest);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(e).doing(|| format!("opening {}", path.display())),
        };
        let metadata = file.metadata().doing(|| format!("looking at {}", path.display()))?;
        if size.is_some_and(|size| size != metadata.len()) {
            return Ok(false);
        }
        if metadata.permissions().mode() & 0o777 == DURABLE {
            return Ok(true);
        }
        // Left by a try that ended before its syncfs: only its content can tell.
        let mut hashing = Hashing::new(&mut file);
        io::copy(&mut hashing, &mut io::sink()).doing(|| format!("reading {}", path.display()))?;
        let whole = hashing.finish().0 == *digest;
        if whole {
            self.arrivals().push(digest.clone());
        }
        Ok(whole)
    }
}

impl Drop for Claims<'_> {
    fn drop(&mut self) {
        // What cannot be removed now is unlocked from here on, and so the collector's.
        if fs::remove_dir_all(&self.dir).is_err() {}
    }
}

impl Store {
    /// Holds off the collector for a moment.
    pub(super) fn share_with_collector(&self) -> Result<Lock> {
        Lock::wait(&self.images().join("gc.lock"), Mode::Shared)
    }
}

/// Has the disk begin while more is to come: the last syncfs finds less to do.
#[derive(Debug, Default)]
pub(crate) struct Writeback {
    waiting: u64,
}

impl Writeback {
    /// So many more bytes went to the file.
    pub(crate) fn account(&mut self, more: usize, file: &File) {
        self.waiting += more as u64;
        if self.waiting >= WINDOW {
            self.waiting = 0;
            // A mere hint: what the disk refuses, syncfs will say.
            if kelp_sys::writeback::begin(file.as_fd(), 0, 0).is_err() {}
        }
    }
}

/// Hears of a piece that was copied, and of all so far; an error ends the copy.
pub(crate) type Telling<'t> = dyn FnMut(u64, u64) -> Result<()> + 't;

/// A blob that is being written. Dropped without [`BlobWriter::finish`], it was never there.
pub struct BlobWriter<'c, 's> {
    claims: &'c Claims<'s>,
    path: Option<PathBuf>,
    out: Hashing<BufWriter<File>>,
    written: Writeback,
}

impl BlobWriter<'_, '_> {
    /// Moves the blob under its digest, which must be the expected one, and tells digest and size.
    ///
    /// # Errors
    /// [`Kind::BadInput`]: it is not what was expected.
    pub fn finish(mut self, expected: Option<&Digest>) -> Result<(Digest, u64)> {
        self.out.flush().doing(|| "writing a blob")?;
        let sink = BufWriter::new(File::open("/dev/null").doing(|| "opening /dev/null")?);
        let (digest, size, _) = std::mem::replace(&mut self.out, Hashing::new(sink)).finish();
        if expected.is_some_and(|e| *e != digest) {
            let expected = expected.map(ToString::to_string).unwrap_or_default();
            return Err(Error::new(
                Kind::BadInput,
                format!("checking the blob {expected}"),
                format!("its content is {digest}"),
            )
            .hint("whoever sent it is broken or lies: nothing of it was kept"));
        }
        if let Some(path) = self.path.take() {
            self.claims.adopt(&path, &digest)?;
        }
        Ok((digest, size))
    }

    /// Finishes the file, which is never a blob of the store: it goes with what is returned.
    pub(crate) fn aside(mut self) -> Result<Aside> {
        self.out.flush().doing(|| "writing a file beside the store's blobs")?;
        let sink = BufWriter::new(File::open("/dev/null").doing(|| "opening /dev/null")?);
        let (digest, size, _) = std::mem::replace(&mut self.out, Hashing::new(sink)).finish();
        Ok(Aside { path: self.path.take().unwrap_or_default(), digest, size })
    }

    /// Where it is until it is finished.
    pub(crate) fn path(&self) -> &Path {
        self.path.as_deref().unwrap_or(&self.claims.dir)
    }

    /// Copies all of `input`, `limit` bytes at most.
    pub fn copy_from(&mut self, input: &mut dyn Read, limit: u64) -> Result<u64> {
        self.copy_telling(input, limit, &mut |_, _| Ok(()))
    }

    /// The same, and tells after each piece how long it is, and how much is in the file by now.
    pub(crate) fn copy_telling(&mut self, input: &mut dyn Read, limit: u64, tell: &mut Telling<'_>) -> Result<u64> {
        let doing = || "copying a blob";
        let mut buffer = vec![0; BUFFER];
        let mut copied = 0;
        loop {
            let n = match input.read(&mut buffer) {
                Ok(0) => return Ok(copied),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                other => other.doing(doing)?,
            };
            copied += n as u64;
            if copied > limit {
                let because = format!("it is longer than the {limit} bytes it may have");
                return Err(Error::new(Kind::TooBig, doing(), because));
            }
            self.out.write_all(&buffer[..n]).doing(doing)?;
            self.out.flush().doing(doing)?;
            self.written.account(n, self.out.get_ref().get_ref());
            tell(n as u64, copied)?;
        }
    }
}

/// A file in the folder of some [`Claims`], which is removed with this, or with the folder, or by the collector.
#[derive(Debug)]
pub(crate) struct Aside {
    pub(crate) path: PathBuf,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

impl Drop for Aside {
    fn drop(&mut self) {
        super::forget_file(&self.path);
    }
}

impl Write for BlobWriter<'_, '_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.out.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Drop for BlobWriter<'_, '_> {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            super::forget_file(path);
        }
    }
}
