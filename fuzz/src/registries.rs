// SPDX-License-Identifier: Apache-2.0
//! `registries.conf`, which an administrator, a package or a user wrote: places to look for images, or an error.

/// See the module.
pub fn run(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        kelp_bundles::foreign::registries(text);
    }
}
