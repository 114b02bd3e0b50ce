// SPDX-License-Identifier: Apache-2.0
//! What the end-to-end tests stand on: a world of its own per test, commands with a deadline, a leak check at the end.
//!
//! Runs in the test processes. Links none of Kelp's crates: it only runs the built programs, so that it can fail them.
//!
//! A test is a function from [`World`] to nothing. [`claims!`] turns it into one libtest case per [`Who`]:
//! as root, as the unprivileged user with subordinate ids, as a stranger with a single id. A case that cannot be
//! judged here prints `SKIP name: reason`, and continuous integration compares these lines with `.ci/allowed-skips`.
//!
//! Environment: `KELP_BIN` (folder of the built programs; default: `release` beside the profile of this test),
//! `KELP_TEST_USER` (the unprivileged user, for a suite that runs as root; default `kelp-test`),
//! `KELP_TEST_CACHE` (where images that take long to make are kept; default `/var/tmp/kelp-test-images-UID`),
//! `KELP_TEST_KEEP=1` (leave the folder of a failed test), `KELP_SKIPS` (a file to which skips are appended).

mod bundle;
mod cgroup;
mod chance;
mod command;
mod debian;
mod descriptor;
mod engines;
mod image;
mod leaks;
mod poll;
mod registry;
mod schema;

mod terminal;
mod tree;
mod who;
mod world;

pub use bundle::{Bundle, minimal_rootfs};
pub use cgroup::Cgroup;
pub use chance::Chance;
pub use command::{Command, Output, Running};
pub use debian::debian_layer;
pub use descriptor::receive_descriptor;
pub use engines::Daemon;
pub use image::{Compression, Entry, Image, Kind, busybox_image, layer};
pub use leaks::{environment_names, is_alive, is_gone_or_zombie, mountinfo_of};
pub use poll::{until, within};
pub use registry::{LOGIN, Registry, free_port};
pub use schema::{schema_errors, schema_fields};
pub use terminal::Terminal;
pub use tree::{File, Tree, differences, tree};
pub use who::Who;
pub use world::{World, say};

/// Makes libtest cases of functions `fn(&World)`: `claims!(as_root, as_user: first, second);`
///
/// Each function becomes a module of its name with one case per role, so that the name of a case reads
/// `a_claim::as_user`.
#[macro_export]
macro_rules! claims {
    (as_root, as_user, as_stranger: $($name:ident),+ $(,)?) => {
        $(mod $name { $crate::claims!(@as_root $name); $crate::claims!(@as_user $name); $crate::claims!(@as_stranger $name); })+
    };
    (as_root, as_user: $($name:ident),+ $(,)?) => {
        $(mod $name { $crate::claims!(@as_root $name); $crate::claims!(@as_user $name); })+
    };
    (as_user, as_stranger: $($name:ident),+ $(,)?) => {
        $(mod $name { $crate::claims!(@as_user $name); $crate::claims!(@as_stranger $name); })+
    };
    ($who:ident: $($name:ident),+ $(,)?) => {
        $(mod $name { $crate::claims!(@$who $name); })+
    };
    (@as_root $name:ident) => {
        #[test]
        fn as_root() { $crate::World::judge($crate::Who::Root, concat!(module_path!(), "::as_root"), super::$name); }
    };
    (@as_user $name:ident) => {
        #[test]
        fn as_user() { $crate::World::judge($crate::Who::User, concat!(module_path!(), "::as_user"), super::$name); }
    };
    (@as_stranger $name:ident) => {
        #[test]
        fn as_stranger() { $crate::World::judge($crate::Who::Stranger, concat!(module_path!(), "::as_stranger"), super::$name); }
    };
}
