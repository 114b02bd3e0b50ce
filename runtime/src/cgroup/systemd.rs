// SPDX-License-Identifier: Apache-2.0
//! The systemd manager.

use super::{Error, Kind, error};

/// Until it is.
pub(super) fn not_yet() -> Error {
    error(Kind::Unsupported, "cannot make a cgroup by systemd", "kelp-runtime cannot speak to systemd yet")
        .hint("leave --systemd-cgroup out: the default makes cgroups itself")
}
