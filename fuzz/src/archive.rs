// SPDX-License-Identifier: Apache-2.0
//! Archives for `kelp load`: docker-archive, oci-archive, compressed or not, with their manifests and indexes.

use kelp_bundles::{Quiet, Store, load};

/// See the module.
pub fn run(bytes: &[u8]) {
    let mut stream = bytes;
    loaded(load::Source::Stream(&mut stream));
    // A file is not read from front to back.
    let folder = crate::scratch::empty("archive-file");
    let file = folder.join("archive");
    std::fs::write(&file, bytes).expect("a file in /dev/shm");
    loaded(load::Source::Path(&file));
}

fn loaded(source: load::Source<'_>) {
    let folder = crate::scratch::empty("archive");
    let store = Store::open(&folder).expect("a store");
    let loaded = load::load(&store, source, &Quiet);
    let listed = store.list().expect("a store that can be listed whatever was loaded");
    if loaded.is_err() {
        assert!(listed.is_empty(), "a load that failed added images");
    }
}
