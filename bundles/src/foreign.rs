// SPDX-License-Identifier: Apache-2.0
//! The readers of what is not ours, as functions of bytes: for the fuzz targets, which have no other way to them.
//!
//! No part of the library's interface. What cannot be read is refused, which is as good as an answer here.

use oci_spec::image::ImageIndex;

use crate::idmap::Range;
use crate::{Platform, login, registries, registry};

/// Reads `bytes` as whatever a registry may answer: a challenge, a token, a list, a manifest.
pub fn registry(bytes: &[u8]) {
    registry::read_foreign(bytes);
    drop(registry::media_type_of(bytes, &String::from_utf8_lossy(bytes)));
    if let Ok(index) = serde_json::from_slice::<ImageIndex>(bytes) {
        let offered: Vec<Platform> = index.manifests().iter().filter_map(Platform::of).collect();
        drop(Platform::host().mismatch("fuzz", &offered));
        Platform::host().choose(index.manifests());
    }
}

/// Reads `bytes` as what a registry and its token server say to have us log in: a challenge, a line, then an answer.
pub fn token(bytes: &[u8]) {
    registry::read_foreign_login(bytes);
}

/// Reads `text` as `registries.conf`, and asks it where to find images of several registries.
pub fn registries(text: &str) {
    registries::read_foreign(text);
}

/// Reads `bytes` as Docker's file of logins, and calls no helper that it names.
pub fn logins(bytes: &[u8]) {
    login::read_foreign(bytes);
}

/// The user namespace of the user `ann`, 1000, where `text` is /etc/subuid.
pub fn subordinate(text: &str) -> Vec<Range> {
    crate::idmap::read_foreign(text, 1000, &["1000".to_owned(), "ann".to_owned()])
}
