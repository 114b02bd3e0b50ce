// SPDX-License-Identifier: Apache-2.0
//! Named volumes: `volumes/<name>/_data`, with `volume.json` beside it.
//!
//! A volume is made in a folder of another name and renamed into place; its content is filled under a lock on its folder.

use crate::error::{Doing, Error, Kind, Result};
use crate::places::Places;
use crate::{container, events, time};
use kelp_sys::rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A volume on disk.
#[derive(Debug, Clone)]
pub(crate) struct Volume {
    /// `volumes/<name>`.
    pub(crate) folder: PathBuf,
    /// Its name.
    pub(crate) name: String,
    /// What Kelp knows of it.
    pub(crate) record: VolumeRecord,
}

/// `volume.json`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VolumeRecord {
    /// RFC 3339.
    pub(crate) created: String,
    /// The user's.
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    /// Whether an image's content has been copied in, or the volume was used without.
    #[serde(default)]
    pub(crate) used: bool,
}

impl Volume {
    /// The folder that containers see.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("_data")
    }

    /// Calls `fill` if the volume has never been used and is empty. Containers that start at once wait for each other.
    pub(crate) fn fill_once(&self, fill: impl FnOnce(&PathBuf) -> Result<()>) -> Result<()> {
        let doing = || format!("cannot prepare volume {}", self.name);
        if self.record.used {
            return Ok(());
        }
        let folder = File::open(&self.folder).doing(doing)?;
        flock(&folder, FlockOperation::LockExclusive).doing(doing)?;
        let mut record = read(&self.folder)?.unwrap_or_default();
        if record.used {
            return Ok(());
        }
        if fs::read_dir(self.data()).doing(doing)?.next().is_none() {
            fill(&self.data())?;
        }
        record.used = true;
        container::record::write(&self.folder, FILE, &record)
    }
}

const FILE: &str = "volume.json";

fn read(folder: &Path) -> Result<Option<VolumeRecord>> {
    let path = folder.join(FILE);
    let doing = || format!("cannot read {}", path.display());
    match fs::read(&path) {
        Ok(json) => serde_json::from_slice(&json).map(Some).map_err(|error| Error::new(Kind::BadInput, doing(), error)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).doing(doing),
    }
}

/// The volume of this name, if there is one.
pub(crate) fn find(places: &Places, name: &str) -> Result<Option<Volume>> {
    let folder = places.volumes().join(name);
    Ok(read(&folder)?.map(|record| Volume { folder, name: name.to_owned(), record }))
}

/// The volume of this name, made on first use.
pub(crate) fn find_or_make(places: &Places, name: &str) -> Result<Volume> {
    match find(places, name)? {
        Some(volume) => Ok(volume),
        None => make(places, name, BTreeMap::new()),
    }
}

/// Makes a volume; one that exists already is as good.
pub(crate) fn make(places: &Places, name: &str, labels: BTreeMap<String, String>) -> Result<Volume> {
    let doing = || format!("cannot make volume {name}");
    let name = crate::options::mount::volume_name(name).map_err(|why| Error::new(Kind::BadInput, doing(), why))?;
    let folder = places.volumes().join(&name);
    let new = places.volumes().join(format!(".new-{}", container::id::random()?));
    let record = VolumeRecord { created: time::now(), labels, used: false };
    crate::places::make_private(&places.volumes())?;
    fs::create_dir(&new).doing(doing)?;
    // What is not held so is swept: its maker was killed.
    let held = File::open(&new).doing(doing)?;
    flock(&held, FlockOperation::LockShared).doing(doing)?;
    fs::create_dir(new.join("_data")).doing(doing)?;
    container::record::write(&new, FILE, &record)?;
    match fs::rename(&new, &folder) {
        Ok(()) => {
            events::volume(places, "create", &name);
            Ok(Volume { folder, name, record })
        }
        // Somebody made it between our looking and our renaming.
        Err(error) => {
            fs::remove_dir_all(&new).doing(doing)?;
            find(places, &name)?.ok_or_else(|| Error::io(doing(), &error))
        }
    }
}

/// All volumes by name.
pub(crate) fn all(places: &Places) -> Result<Vec<Volume>> {
    let doing = || format!("cannot list {}", places.volumes().display());
    let entries = match fs::read_dir(places.volumes()) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).doing(doing),
    };
    let mut volumes = Vec::new();
    for entry in entries {
        let name = entry.doing(doing)?.file_name();
        if let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) {
            volumes.extend(find(places, name)?);
        }
    }
    volumes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(volumes)
}

/// The containers that use a volume.
pub(crate) fn users(places: &Places, name: &str) -> Result<Vec<String>> {
    let uses = |container: &container::find::Container| {
        container.record.mounts.iter().any(|mount| mount.name.as_deref() == Some(name))
    };
    let containers = container::find::all(places)?;
    Ok(containers.into_iter().filter(uses).map(|container| container.record.name).collect())
}

/// Removes a volume that no container uses.
pub(crate) fn remove(places: &Places, name: &str) -> Result<()> {
    let doing = || format!("cannot remove volume {name}");
    let Some(volume) = find(places, name)? else {
        return Err(Error::new(Kind::NotFound, doing(), format!("no such volume: {name}")));
    };
    let users = users(places, name)?;
    if !users.is_empty() {
        let because = format!("it is in use by {}", users.join(", "));
        return Err(Error::new(Kind::WrongState, doing(), because).hint("remove those containers first"));
    }
    // Out of sight first: what is left of an interrupted removal is no volume any more.
    let gone = places.volumes().join(format!(".gone-{}", container::id::random()?));
    fs::rename(&volume.folder, &gone).doing(doing)?;
    events::volume(places, "destroy", name);
    container::remove::tree(&gone)
}

/// Removes what is left of volumes whose maker or remover was killed.
pub(crate) fn sweep(places: &Places) -> Result<()> {
    let doing = || format!("cannot tidy up {}", places.volumes().display());
    let entries = match fs::read_dir(places.volumes()) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).doing(doing),
    };
    for entry in entries {
        let path = entry.doing(doing)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with(".gone-") || (name.starts_with(".new-") && is_abandoned(&path).doing(doing)?) {
            container::remove::tree(&path)?;
        }
    }
    Ok(())
}

/// Whether nobody makes this any more. A maker takes the lock right after the folder: one that is older than that long.
fn is_abandoned(new: &Path) -> std::io::Result<bool> {
    let folder = match File::open(new) {
        Ok(folder) => folder,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let age = folder.metadata()?.modified()?.elapsed().unwrap_or_default();
    Ok(age > GRACE && flock(&folder, FlockOperation::NonBlockingLockExclusive).is_ok())
}

/// From making a folder to locking it: two system calls.
const GRACE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_filled_once_and_found_by_name() {
        let root = std::env::temp_dir().join(format!("kelp-volume-{}", std::process::id()));
        let places = Places { store: root.clone(), run: root.clone() };
        let mut fills = 0;
        for _ in 0..2 {
            let volume = find_or_make(&places, "data").unwrap();
            volume
                .fill_once(|data| {
                    fills += 1;
                    fs::write(data.join("file"), "x").doing(|| "test")
                })
                .unwrap();
        }
        assert_eq!(fills, 1);
        assert_eq!(all(&places).unwrap().len(), 1);
        assert!(make(&places, "../x", BTreeMap::new()).is_err());
        remove(&places, "data").unwrap();
        assert_eq!(remove(&places, "data").unwrap_err().kind(), Kind::NotFound);
        fs::remove_dir_all(root).unwrap();
    }
}
