// SPDX-License-Identifier: Apache-2.0
//! Words for what goes wrong with a cgroup, in the runtime's one error.

use std::fmt;

use kelp_sys::rustix::io::Errno;

use crate::error::{Error, Kind};

/// `doing` stopped because of something that we found out ourselves.
pub(super) fn error(kind: Kind, doing: impl Into<String>, because: impl fmt::Display) -> Error {
    Error::new(doing).because(because).of_kind(kind)
}

/// `doing` stopped at the kernel call `call`, which said `errno`.
pub(super) fn kernel(doing: impl Into<String>, call: impl fmt::Display, errno: Errno) -> Error {
    let kind = match errno {
        Errno::ACCESS | Errno::PERM | Errno::ROFS => Kind::Permission,
        Errno::EXIST => Kind::AlreadyExists,
        _ => Kind::Other,
    };
    error(kind, doing, format!("{call}: {}", std::io::Error::from(errno)))
}
