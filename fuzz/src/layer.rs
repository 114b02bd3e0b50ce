// SPDX-License-Identifier: Apache-2.0
//! A layer's tar: nothing of it lands outside of its folder.

use kelp_bundles::{IdMap, Quiet, Store, load};
use sha2::{Digest, Sha256};

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// A docker-archive whose only layer is `layer`, with digests that are true.
fn archive(layer: &[u8]) -> Vec<u8> {
    let config = format!(
        r#"{{"architecture":"{}","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":["sha256:{}"]}}}}"#,
        if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        hex(layer)
    );
    let name = format!("{}.json", hex(config.as_bytes()));
    let manifest = format!(r#"[{{"Config":"{name}","RepoTags":["fuzz:latest"],"Layers":["layer.tar"]}}]"#);
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in [("manifest.json", manifest.as_bytes()), (&name, config.as_bytes()), ("layer.tar", layer)] {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, bytes).expect("an archive in memory");
    }
    archive.into_inner().expect("an archive in memory")
}

/// See the module.
pub fn run(layer: &[u8]) {
    let folder = crate::scratch::empty("layer");
    let store = Store::open(&folder.join("store")).expect("a store");
    let bytes = archive(layer);
    let mut stream = bytes.as_slice();
    let Ok(images) = load::load(&store, load::Source::Stream(&mut stream), &Quiet) else { return };
    let map = IdMap::of_caller().expect("an id map");
    for image in &images {
        drop(store.unpack(image, &map, &Quiet));
    }
    let beside: Vec<_> = std::fs::read_dir(&*folder).expect("the folder").flatten().map(|e| e.file_name()).collect();
    assert_eq!(beside, ["store"], "a layer wrote outside of the store");
}
