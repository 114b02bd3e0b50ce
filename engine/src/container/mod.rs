// SPDX-License-Identifier: Apache-2.0
//! Containers on disk: made, found, started, removed. One folder each; no database, no global lock.

pub(crate) mod claim;
pub(crate) mod create;
mod etc;
pub(crate) mod find;
pub(crate) mod id;
mod init;
pub(crate) mod inside;
mod interpreter;
pub(crate) mod name;
pub(crate) mod network;
pub(crate) mod record;
pub(crate) mod remove;
pub(crate) mod runtime;
pub(crate) mod start;
pub(crate) mod status;
mod volumes;
