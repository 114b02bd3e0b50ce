// SPDX-License-Identifier: Apache-2.0
//! An image's config.

use kelp_bundles::ImageConfig;

/// See the module.
pub fn run(bytes: &[u8]) {
    if let Ok(config) = serde_json::from_slice::<ImageConfig>(bytes) {
        drop((config.platform(), config.run()));
    }
}
