// SPDX-License-Identifier: Apache-2.0
//! Archives for `kelp load`: docker-archive, oci-archive, compressed or not, with their manifests and indexes.

use kelp_bundles::{Quiet, Store, load};

/// See the module.
pub fn run(bytes: &[u8]) {
    let folder = crate::scratch::empty("archive");
    let store = Store::open(&folder).expect("a store");
    let mut stream = bytes;
    let loaded = load::load(&store, load::Source::Stream(&mut stream), &Quiet);
    let listed = store.list().expect("a store that can be listed whatever was loaded");
    if loaded.is_err() {
        assert!(listed.is_empty(), "a load that failed added images");
    }
}
