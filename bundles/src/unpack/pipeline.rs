// SPDX-License-Identifier: Apache-2.0
//! Inflating, hashing and writing at the same time: three threads that hand on a few buffers.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::compression::{self, Sums};
use crate::digest::{Digest, Sha256};
use crate::error::{Error, Kind, Result};

/// Bytes of a buffer.
const CHUNK: usize = 256 << 10;
/// Buffers that may wait for each of the two who read them.
const WAITING: usize = 6;

/// Empty buffers.
type Pool = Arc<Mutex<Vec<Vec<u8>>>>;

/// A buffer both readers share; the last one gives it back.
struct Chunk {
    bytes: Vec<u8>,
    pool: Pool,
}

impl Drop for Chunk {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.pool.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
    }
}

/// The plain bytes, for the one who writes files.
pub(super) struct Chunks {
    from: Receiver<io::Result<Arc<Chunk>>>,
    current: Option<Arc<Chunk>>,
    position: usize,
}

impl BufRead for Chunks {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.current.as_ref().is_none_or(|chunk| self.position == chunk.bytes.len()) {
            self.current = None;
            match self.from.recv() {
                Ok(next) => self.current = Some(next?),
                // The sender is done.
                Err(_) => return Ok(&[]),
            }
            self.position = 0;
        }
        Ok(self.current.as_ref().map_or(&[], |chunk| &chunk.bytes[self.position..]))
    }

    fn consume(&mut self, n: usize) {
        self.position += n;
    }
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let n = available.len().min(buffer.len());
        buffer[..n].copy_from_slice(&available[..n]);
        self.consume(n);
        Ok(n)
    }
}

/// Inflates `input` (`limit` bytes at most) for `write`, and hashes all of it.
pub(super) fn run<T>(
    input: impl Read + Send,
    limit: u64,
    write: impl FnOnce(Chunks) -> Result<T>,
) -> Result<(T, Digest)> {
    let (to_hash, from_inflate) = sync_channel(WAITING);
    let (to_write, plain) = sync_channel(WAITING);
    thread::scope(|scope| {
        scope.spawn(move || inflate(input, limit, &to_hash, &to_write));
        let hash = scope.spawn(move || hash(&from_inflate));
        let written = write(Chunks { from: plain, current: None, position: 0 });
        let digest = hash.join().map_err(|_| Error::new(Kind::Other, "hashing a layer", "a thread stopped"))?;
        Ok((written?, digest))
    })
}

fn hash(from: &Receiver<Arc<Chunk>>) -> Digest {
    let mut hash = Sha256::new();
    while let Ok(chunk) = from.recv() {
        hash.update(&chunk.bytes);
    }
    hash.finish()
}

/// Ends when the input does, fails, or the writer has gone away.
fn inflate(
    input: impl Read + Send,
    limit: u64,
    to_hash: &SyncSender<Arc<Chunk>>,
    to_write: &SyncSender<io::Result<Arc<Chunk>>>,
) {
    let pool = Pool::default();
    let mut total = 0;
    let sent = compression::decoder(input, Sums::Ignored).map(|(mut plain, _)| {
        loop {
            let chunk = next_chunk(&mut plain, &pool, &mut total, limit);
            match chunk {
                Ok(None) => return,
                Err(e) => return fail(to_write, e),
                Ok(Some(chunk)) => {
                    // The hasher ends after us; the writer may have found an error of his own.
                    if to_hash.send(chunk.clone()).is_err() || to_write.send(Ok(chunk)).is_err() {
                        return;
                    }
                }
            }
        }
    });
    if let Err(e) = sent {
        fail(to_write, e);
    }
}

fn fail(to_write: &SyncSender<io::Result<Arc<Chunk>>>, error: io::Error) {
    // Nobody listens: the writer has an error of his own.
    if to_write.send(Err(error)).is_err() {}
}

fn next_chunk(plain: &mut dyn Read, pool: &Pool, total: &mut u64, limit: u64) -> io::Result<Option<Arc<Chunk>>> {
    let mut bytes = pool.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
    bytes.resize(CHUNK, 0);
    let mut filled = 0;
    while filled < CHUNK {
        match plain.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    *total += filled as u64;
    if *total > limit {
        let text = format!("it unpacks to more than the {limit} bytes a layer of its size may have");
        return Err(io::Error::new(io::ErrorKind::QuotaExceeded, text));
    }
    bytes.truncate(filled);
    let chunk = Arc::new(Chunk { bytes, pool: pool.clone() });
    Ok((filled > 0).then_some(chunk))
}
