// SPDX-License-Identifier: Apache-2.0
//! Clocks of a new time namespace.
//!
//! Spec: config-linux.md "Offset for Time Namespace". Kernel: time_namespaces(7).

use super::{Joined, text_of};
use crate::error::{Error, Result};
use kelp_sys::clone::Namespaces;
use oci_spec::runtime::Linux;
use std::ffi::CString;
use std::fmt::Write;

/// The text for `/proc/PID/timens_offsets`.
pub(super) fn plan(linux: &Linux, new: Namespaces, joins: &[Joined]) -> Result<Option<CString>> {
    let mut offsets: Vec<_> = linux.time_offsets().iter().flatten().collect();
    if offsets.is_empty() {
        return Ok(None);
    }
    let wrong = |cause: String| Error::bad_input("cannot use linux.timeOffsets").because(cause);
    if joins.iter().any(|joined| joined.namespace == Namespaces::TIME) {
        return Err(wrong("the time namespace is joined by path, and its clocks were set when it was made".into()));
    }
    if !new.has(Namespaces::TIME) {
        return Err(wrong("the container has no time namespace of its own".into())
            .hint("add {\"type\": \"time\"} to linux.namespaces"));
    }
    offsets.sort_by_key(|(clock, _)| *clock);
    let mut text = String::new();
    for (clock, offset) in offsets {
        if !matches!(clock.as_str(), "boottime" | "monotonic") {
            return Err(wrong(format!("there is no clock {clock:?}: only boottime and monotonic have offsets")));
        }
        let (seconds, nanoseconds) = (offset.secs().unwrap_or(0), offset.nanosecs().unwrap_or(0));
        if nanoseconds >= 1_000_000_000 {
            return Err(wrong(format!("{nanoseconds} nanosecs of {clock} are more than a second")));
        }
        // Writing to a String does not fail.
        writeln!(text, "{clock} {seconds} {nanoseconds}").unwrap_or_default();
    }
    text_of("", &text).map(Some)
}
