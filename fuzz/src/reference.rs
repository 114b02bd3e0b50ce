// SPDX-License-Identifier: Apache-2.0
//! Names of images: what is read can be printed, and what is printed is read as the same.

use kelp_bundles::{Digest, Platform, Reference};

/// See the module.
pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(reference) = text.parse::<Reference>() {
        let printed = reference.to_string();
        let again: Reference = printed.parse().expect("what was printed can be read");
        assert_eq!(again.to_string(), printed);
        let familiar: Reference = reference.familiar().parse().expect("the familiar form can be read");
        assert_eq!(familiar.to_string(), printed);
    }
    drop(text.parse::<Digest>());
    drop(text.parse::<Platform>());
}
