// SPDX-License-Identifier: Apache-2.0
//! Everything that reads what is not ours, each as a function of bytes that may refuse but never panics.
//!
//! cargo-fuzz drives them (`fuzz/all`); `tests/replay.rs` runs them on the corpus with any compiler.

pub mod archive;
pub mod bus;
pub mod cgroup;
pub mod config;
pub mod copy;
pub mod criu;
pub mod docker_profile;
pub mod filter;
pub mod idmaps;
pub mod image_config;
pub mod layer;
pub mod login;
pub mod mountinfo;
pub mod netlink;
pub mod passwd;
pub mod reference;
pub mod registries;
pub mod registry;
mod scratch;
pub mod seccomp;
pub mod shim;
pub mod state;
pub mod token;

/// A target's name, and the function that takes an input.
pub type Target = (&'static str, fn(&[u8]));

/// All of them, by the names of their files.
pub const TARGETS: &[Target] = &[
    ("archive", archive::run),
    ("bus", bus::run),
    ("cgroup", cgroup::run),
    ("config", config::run),
    ("copy", copy::run),
    ("criu", criu::run),
    ("docker_profile", docker_profile::run),
    ("idmaps", idmaps::run),
    ("image_config", image_config::run),
    ("layer", layer::run),
    ("login", login::run),
    ("mountinfo", mountinfo::run),
    ("netlink", netlink::run),
    ("passwd", passwd::run),
    ("reference", reference::run),
    ("registries", registries::run),
    ("registry", registry::run),
    ("seccomp", seccomp::run),
    ("shim", shim::run),
    ("state", state::run),
    ("token", token::run),
];
