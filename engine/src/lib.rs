// SPDX-License-Identifier: Apache-2.0
//! What Docker Engine does, as a library: containers, images, volumes and events of one user.
//!
//! Requests are typed values (`request`), which flags and Docker's JSON both convert into. A [`caller::Caller`] says for whom
//! an operation is done: his places on disk, his environment, and a sink that hears notes and progress. Nothing here prints,
//! reads the process's environment, or knows a terminal.

pub mod caller;
pub mod config;
pub mod container;
pub mod copy_job;
pub mod disk;
pub mod docker;
pub mod error;
pub mod events;
pub mod filter;
pub mod glob;
pub mod hello;
pub mod ids;
pub mod image;
pub mod near;
pub mod overlay;
pub mod places;
pub mod prune;
pub mod request;
pub mod terminal_keeper;
pub mod time;
pub mod volume;
