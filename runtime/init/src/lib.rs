// SPDX-License-Identifier: Apache-2.0
//! Everything that runs between the clone and the user's program.
//!
//! The caller ([`kelp-runtime`'s create and exec](../kelp_runtime/index.html)) prepares a [`script::Script`]: all paths,
//! vectors and descriptors, in memory that the clone copies. [`life::live`] performs it in the new process;
//! [`join::join`] is the other life, of a process that enters a container which lives already.
//!
//! This crate has no std and no allocator: after a clone in a process with several threads a lock of the allocator may be
//! held for ever by a thread that was not cloned. A failure is a step, an index and an errno, written once to the channel.
#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::panic, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod born;
mod channel;
mod confine;
mod console;
mod copy_up;
mod cover;
mod dev;
mod gate;
mod home;
pub mod hook;
pub mod join;
pub mod life;
mod mount;
mod overlay;
mod program;
mod root;
pub mod script;
mod stdio;
mod step;
pub mod target;

pub use channel::{ORDER_SIZE, Order, REPORT_SIZE, Report};
pub use stdio::may_be_given;
pub use step::{Step, Stop};
