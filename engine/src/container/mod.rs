// SPDX-License-Identifier: Apache-2.0
//! Containers on disk: made, found, started, removed. One folder each; no database, no global lock.

pub mod claim;
pub mod commit;
pub mod create;
mod etc;
pub mod exec;
pub mod files;
pub mod filter;
pub mod find;
pub mod freeze;
pub mod id;
mod init;
pub mod inside;
pub mod inspect;
mod interpreter;
pub mod kill;
pub mod log;
pub mod name;
pub mod network;
pub mod processes;
pub mod record;
pub mod remove;
pub mod rename;
pub mod runtime;
pub mod start;
pub mod statistics;
pub mod status;
pub mod stop;
mod stray;
pub mod update;
mod volumes;
pub mod wait;
