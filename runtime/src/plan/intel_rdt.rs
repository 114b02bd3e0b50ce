// SPDX-License-Identifier: Apache-2.0
//! The container's share of caches and memory bandwidth.
//!
//! Spec: config-linux.md "IntelRdt". Kernel: Documentation/filesystems/resctrl.rst.

use crate::error::{Error, Result};
use oci_spec::runtime::LinuxIntelRdt;

/// A class of service, and a place in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntelRdt {
    /// The class's folder below the resctrl file system: `closID`, or the container's id. Empty: the default class.
    pub class: String,
    /// Whether the spec names the class. Then others may be in it too, and it stays when the container goes.
    pub is_named: bool,
    /// Lines for its file `schemata`; none: the class must be there already, or is new and as the kernel makes it.
    pub schemata: Vec<String>,
    /// A monitoring group of this name.
    pub monitor: Option<String>,
}

pub(super) fn plan(rdt: &LinuxIntelRdt, id: &str) -> Result<IntelRdt> {
    let wrong = |cause: String| Err(Error::bad_input("cannot use linux.intelRdt").because(cause));
    let named = rdt.clos_id().as_deref().filter(|name| !name.is_empty());
    let class = match named {
        // resctrl's own root.
        Some("/") => "",
        Some(name) => name,
        None => id,
    };
    let reserved = matches!(class, "." | ".." | "info" | "mon_groups" | "mon_data");
    if reserved || class.contains(['/', '\n', '\0']) {
        return wrong(format!("closID {class:?} cannot be the name of a class"));
    }
    let lines = |text: Option<&str>| -> Vec<String> {
        text.iter().flat_map(|text| text.lines()).map(|line| line.trim().to_owned()).filter(|l| !l.is_empty()).collect()
    };
    let bandwidth = rdt.mem_bw_schema().as_deref().filter(|schema| !schema.is_empty());
    if bandwidth.is_some_and(|schema| !schema.starts_with("MB:") || schema.contains('\n')) {
        return wrong("memBwSchema is not one line that begins with MB:".into());
    }
    let mut schemata = lines(rdt.l3_cache_schema().as_deref());
    if bandwidth.is_some() {
        // config-linux.md: the line of memBwSchema takes the place of those in l3CacheSchema.
        schemata.retain(|line| !line.starts_with("MB:"));
    }
    schemata.extend(lines(bandwidth));
    // Last, so that they win.
    schemata.extend(rdt.schemata().iter().flatten().flat_map(|text| lines(Some(text))));
    let monitor = rdt.enable_monitoring().unwrap_or(false).then(|| id.to_owned());
    Ok(IntelRdt { class: class.into(), is_named: named.is_some(), schemata, monitor })
}
