// SPDX-License-Identifier: Apache-2.0
//! kelp-shim: started by `kelp`, holds one container until it ends.

fn main() {}
