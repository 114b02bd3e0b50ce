// SPDX-License-Identifier: Apache-2.0
//! The container's cgroup: where it goes, what limits it gets, and everything done to it afterwards.
//!
//! Runs in the caller of the runtime, never in the container. Cgroup v2 only; on a hybrid machine its mount is
//! found in mountinfo and has the controllers that v1 left over.
//! Spec: config-linux.md "Control groups". Kernel: cgroup-v2.rst, cgroups(7).
//!
//! In order of use:
//!
//! ```text
//! let facts = Facts::read()?;                          // looks, touches nothing
//! let plan = plan(&request, &facts)?;                  // pure: text by Display, data in its fields
//! for made in plan.will_be_made() { journal.will_make(&made)? }
//! let cgroup = Cgroup::make(&plan)?;                   // None: no cgroup at all (no delegation, nothing asked)
//! clone3(CLONE_INTO_CGROUP, cgroup.fd())
//! cgroup.apply(&plan)?;                                // limits and the device program, while the child mounts
//! state.cgroup = cgroup.record().clone();              // serde; Cgroup::open(&record) in every later verb
//! cgroup.freeze()? .thaw()? .kill()? .processes()? .stats()? .update(&changes)? .remove()?
//! ```
//!
//! With [`Manager::Systemd`] the same calls are made: `make` starts a transient scope around a short-lived process of
//! its own, so that the container can be cloned into the scope's cgroup like into any other.

mod apply;
mod controllers;
mod device;
mod enter;
mod error;
mod events;
mod facts;
mod life;
mod limits;
mod limits_io;
mod make;
mod mountinfo;
mod place;
mod plan;
mod program;
mod statistics;
mod systemd;
mod tree;
mod watch;

use crate::error::{Error, Kind};
pub use controllers::Controllers;
pub use device::{Access, Rule, Sort};
pub use enter::clone_into;
use error::{error, kernel};
pub use facts::{Facts, Level};
pub use life::{Cgroup, Record, remove_if_unused};
pub use limits::{Absent, Limits, MemoryCheck, Write};
pub use mountinfo::Mount;
pub(crate) use mountinfo::{read_foreign, unescape};
pub use place::Place;
pub use plan::{CgroupPlan, Manager, plan};
pub use statistics::{Counters, Gauges, Nested, Statistics};
pub(crate) use systemd::read_foreign as read_foreign_bus;
pub use systemd::{Bus, Property, Scope, ScopePlan, Value};
pub use watch::{News, Watch};
