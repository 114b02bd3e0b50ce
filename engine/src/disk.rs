// SPDX-License-Identifier: Apache-2.0
//! What takes how much space on disk.

use crate::caller::Caller;
use crate::container::find::{self, Container};
use crate::container::status::{self, Status};
use crate::error::Result;
use crate::volume::{self, Volume};
use crate::{ids, prune};
use kelp_bundles::Store;
use kelp_bundles::store::Usage;

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
    let mut measured = Vec::new();
    for (container, bytes) in containers.into_iter().zip(prune::measured(&folders)?) {
        let status = status::of(caller, &container)?;
        measured.push((container, status, bytes));
    }
    let volumes = volume::all(caller)?;
    let folders: Vec<_> = volumes.iter().map(|volume| volume.folder.clone()).collect();
    let uses = |volume: &Volume| {
        let mounts = |it: &&(Container, Status, u64)| {
            it.0.record.mounts.iter().any(|mount| mount.name.as_deref() == Some(&volume.name))
        };
        measured.iter().filter(mounts).count()
    };
    let sizes = prune::measured(&folders)?;
    let volumes = volumes.into_iter().zip(sizes).map(|(volume, bytes)| (uses(&volume), volume, bytes));
    let volumes = volumes.map(|(links, volume, bytes)| (volume, links, bytes)).collect();
    Ok(Taken { images, containers: measured, volumes })
}
