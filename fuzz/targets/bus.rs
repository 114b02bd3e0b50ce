// SPDX-License-Identifier: Apache-2.0
//! See kelp_fuzz::bus.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kelp_fuzz::bus::run(bytes));
