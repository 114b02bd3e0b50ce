// SPDX-License-Identifier: Apache-2.0
//! How much of a machine one image may take. Whoever made the image is not trusted with more.

use serde::{Deserialize, Serialize};

/// Bounds on what is read from an archive, a registry or a layer.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Limits {
    /// Manifests, indexes, configs: bytes. (Docker and distribution: 4 MiB.)
    pub document: u64,
    /// Layers of one image. (The kernel stacks 500 at most.)
    pub layers: usize,
    /// Files of an archive.
    pub archive_members: usize,
    /// Entries of a layer.
    pub entries: u64,
    /// Bytes a layer may unpack to, whatever its compressed size …
    pub unpacked_floor: u64,
    /// … and beyond that, times its compressed size.
    pub unpacked_ratio: u64,
    /// Long names and extended attributes of one entry of a tar: bytes.
    pub header: u64,
}

impl Limits {
    /// The bounds everybody gets.
    pub const DEFAULT: Self = Self {
        document: 4 << 20,
        layers: 500,
        archive_members: 4096,
        entries: 20_000_000,
        unpacked_floor: 1 << 30,
        unpacked_ratio: 200,
        header: 1 << 20,
    };

    /// The bytes a layer of `compressed` bytes may unpack to.
    pub(crate) fn unpacked(&self, compressed: u64) -> u64 {
        self.unpacked_floor.saturating_add(compressed.saturating_mul(self.unpacked_ratio))
    }
}
