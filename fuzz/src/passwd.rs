// SPDX-License-Identifier: Apache-2.0
//! The image's /etc/passwd and /etc/group, and a USER to look up in them: the first line is USER, the rest both files.

use kelp_bundles::{LayerStack, user};

/// See the module.
pub fn run(bytes: &[u8]) {
    let split = bytes.iter().position(|b| *b == b'\n').unwrap_or(bytes.len());
    let Ok(wanted) = std::str::from_utf8(&bytes[..split]) else { return };
    let folder = crate::scratch::empty("passwd");
    std::fs::create_dir(folder.join("etc")).expect("etc");
    for name in ["passwd", "group"] {
        std::fs::write(folder.join("etc").join(name), &bytes[split..]).expect("a file of etc");
    }
    let Ok(layers) = LayerStack::open(&[folder.to_path_buf()]) else { return };
    drop(user::find(wanted, &layers));
    drop(user::group(wanted, &layers));
}
