// SPDX-License-Identifier: Apache-2.0
//! The image's /etc/passwd and /etc/group, and a USER to look up in them: the first line is USER, the rest both files.
#![no_main]

mod scratch;

use kelp_bundles::{LayerStack, user};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let split = bytes.iter().position(|b| *b == b'\n').unwrap_or(bytes.len());
    let Ok(wanted) = std::str::from_utf8(&bytes[..split]) else { return };
    let folder = scratch::empty("passwd");
    std::fs::create_dir(folder.join("etc")).expect("etc");
    for name in ["passwd", "group"] {
        std::fs::write(folder.join("etc").join(name), &bytes[split..]).expect("a file of etc");
    }
    let Ok(layers) = LayerStack::open(&[folder]) else { return };
    drop(user::find(wanted, &layers));
    drop(user::group(wanted, &layers));
});
