// SPDX-License-Identifier: Apache-2.0
//! See kelp_fuzz::netlink.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kelp_fuzz::netlink::run(bytes));
