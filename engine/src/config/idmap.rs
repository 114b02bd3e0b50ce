// SPDX-License-Identifier: Apache-2.0
//! `linux.uidMappings` and `gidMappings`: who the container's users are on the host.

use crate::error::{Error, Kind, Result};
use oci_spec::runtime::{LinuxIdMapping, LinuxIdMappingBuilder};

/// `size` ids from `container` inside are those from `host` outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first id inside.
    pub container: u32,
    /// The first id outside.
    pub host: u32,
    /// How many.
    pub size: u32,
}

/// The maps of a user namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maps {
    /// Users.
    pub uid: Vec<Range>,
    /// Groups.
    pub gid: Vec<Range>,
}

impl Maps {
    /// Whether group `gid` exists inside.
    pub fn has_gid(&self, gid: u32) -> bool {
        self.gid.iter().any(|range| gid >= range.container && gid - range.container < range.size)
    }

    /// Whether user `uid` exists inside.
    pub fn has_uid(&self, uid: u32) -> bool {
        self.uid.iter().any(|range| uid >= range.container && uid - range.container < range.size)
    }
}

/// The specification's form of the ranges.
pub(super) fn mappings(ranges: &[Range]) -> Result<Vec<LinuxIdMapping>> {
    let mapping = |range: &Range| {
        let builder = LinuxIdMappingBuilder::default();
        builder.container_id(range.container).host_id(range.host).size(range.size).build()
    };
    let mappings: std::result::Result<Vec<_>, _> = ranges.iter().map(mapping).collect();
    mappings.map_err(|error| Error::new(Kind::Other, "cannot write the id maps", error))
}
