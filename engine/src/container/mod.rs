// SPDX-License-Identifier: Apache-2.0
//! Containers on disk: made, found, started, removed. One folder each; no database, no global lock.

pub mod claim;
pub mod create;
mod etc;
pub mod exec;
pub mod filter;
pub mod find;
pub mod id;
mod init;
pub mod inside;
pub mod inspect;
mod interpreter;
pub mod log;
pub mod name;
pub mod network;
pub mod record;
pub mod remove;
pub mod runtime;
pub mod start;
pub mod status;
pub mod stop;
mod stray;
mod volumes;
