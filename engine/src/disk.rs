// SPDX-License-Identifier: Apache-2.0
//! What takes how much space on disk.

use crate::caller::Caller;
use crate::container::find::{self, Container};
use crate::container::status::{self, Status};
use crate::error::Result;
use crate::ids;
use crate::volume::{self, Volume};
use kelp_bundles::store::Usage;
use kelp_bundles::{Store, job};
use std::path::PathBuf;

/// Everything, measured.
#[derive(Debug)]
pub struct Taken {
    /// The store.
    pub images: Usage,
    /// With their own files' bytes.
    pub containers: Vec<(Container, Status, u64)>,
    /// With how many containers use it, and its bytes.
    pub volumes: Vec<(Volume, usize, u64)>,
}

/// Measures.
///
/// # Errors
/// The store cannot be read, or a folder.
pub fn measure(caller: &Caller) -> Result<Taken> {
    let images = Store::open(&caller.places.store)?.usage(&ids::of_caller()?)?;
    let containers = find::all(caller)?;
    let folders: Vec<_> = containers.iter().map(|container| container.folder.clone()).collect();
    let mut looked_at = Vec::new();
    for (container, bytes) in containers.into_iter().zip(measured(&folders)?) {
        let status = status::of(caller, &container)?;
        looked_at.push((container, status, bytes));
    }
    let volumes = volume::all(caller)?;
    let folders: Vec<_> = volumes.iter().map(|volume| volume.folder.clone()).collect();
    let uses = |volume: &Volume| {
        let mounts = |it: &&(Container, Status, u64)| {
            it.0.record.mounts.iter().any(|mount| mount.name.as_deref() == Some(&volume.name))
        };
        looked_at.iter().filter(mounts).count()
    };
    let sizes = measured(&folders)?;
    let volumes = volumes.into_iter().zip(sizes).map(|(volume, bytes)| (uses(&volume), volume, bytes));
    let volumes = volumes.map(|(links, volume, bytes)| (volume, links, bytes)).collect();
    Ok(Taken { images, containers: looked_at, volumes })
}

/// The sizes of the folders of what the caller asks about, measured in its id map, in bytes.
///
/// # Errors
/// One cannot be read.
pub fn measured(folders: &[PathBuf]) -> Result<Vec<u64>> {
    Ok(job::measure(folders, &ids::of_caller()?)?)
}
