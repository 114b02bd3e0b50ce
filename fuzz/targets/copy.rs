// SPDX-License-Identifier: Apache-2.0
//! See kelp_fuzz::copy.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kelp_fuzz::copy::run(bytes));
