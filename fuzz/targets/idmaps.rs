// SPDX-License-Identifier: Apache-2.0
//! See kelp_fuzz::idmaps.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kelp_fuzz::idmaps::run(bytes));
