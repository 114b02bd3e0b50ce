// SPDX-License-Identifier: Apache-2.0
//! An image's config.
#![no_main]

use kelp_bundles::ImageConfig;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(config) = serde_json::from_slice::<ImageConfig>(bytes) {
        drop((config.platform(), config.run()));
    }
});
