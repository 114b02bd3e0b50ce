// SPDX-License-Identifier: Apache-2.0
//! What can be done with containers: one file for each verb.

pub(crate) mod checkpoint;
pub(crate) mod create;
mod delete;
pub(crate) mod events;
pub(crate) mod exec;
mod kill;
mod list;
mod pause;
mod restore;
mod start;
mod update;
