// SPDX-License-Identifier: Apache-2.0
//! How those who draw hear of what happens. Calls come from several threads.

use crate::digest::Digest;

/// One step forward.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// A blob of this many bytes begins to arrive; so many are here from an earlier try.
    FetchBegins(&'a Digest, u64, u64),
    /// So many more bytes of it arrived.
    Fetched(&'a Digest, u64),
    /// It is here and is what it says.
    FetchDone(&'a Digest),
    /// It was here before.
    FetchSkipped(&'a Digest),
    /// A blob of this many bytes begins to be sent.
    PushBegins(&'a Digest, u64),
    /// So many more bytes of it were sent.
    Pushed(&'a Digest, u64),
    /// The registry has it.
    PushDone(&'a Digest),
    /// The registry had it before, or took it from another repository of its own.
    PushSkipped(&'a Digest),
    /// A layer begins to be unpacked from so many (compressed) bytes.
    UnpackBegins(&'a Digest, u64),
    /// So many more (compressed) bytes of it were read.
    Unpacked(&'a Digest, u64),
    /// The layer is unpacked.
    UnpackDone(&'a Digest),
    /// Something worth a line: a retry, skipped devices.
    Note(&'a str),
}

/// Someone who wants to know.
pub trait Progress: Sync {
    /// One step forward. Must not wait.
    fn event(&self, event: Event<'_>);
}

/// Nobody wants to know.
#[derive(Debug, Clone, Copy)]
pub struct Quiet;

impl Progress for Quiet {
    fn event(&self, _: Event<'_>) {}
}
