// SPDX-License-Identifier: Apache-2.0
//! Kernel calls that Kelp makes: rustix re-exported, the gaps filled, the only crate with `unsafe`.
#![no_std]
#![allow(unsafe_code, reason = "this is the crate where it is allowed: every block says what makes it sound")]

pub use rustix;

mod raw;

pub mod bpf;
pub mod clone;
pub mod daemon;
pub mod entry;
pub mod memory;
pub mod mount;
pub mod net;
pub mod process;
pub mod pty;
pub mod schedule;
pub mod seccomp;
pub mod sigaction;
pub mod signal;
pub mod socket;
pub mod term;
pub mod trace;
pub mod writeback;
