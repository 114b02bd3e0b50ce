// SPDX-License-Identifier: Apache-2.0
//! Kernel calls that Kelp makes: rustix re-exported, the gaps filled, the only crate with `unsafe`.
#![no_std]

pub use rustix;
