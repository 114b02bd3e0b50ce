// SPDX-License-Identifier: Apache-2.0
//! Named volumes: `volumes/<name>/_data`, with `volume.json` beside it.
//!
//! A volume is made in a folder of another name and renamed into place; its content is filled under a lock on its folder.

use crate::caller::Caller;
use crate::error::{Doing, Error, Kind, Result};
use crate::{container, events, time};
use kelp_sys::rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A volume on disk.
#[derive(Debug, Clone)]
pub struct Volume {
    /// `volumes/<name>`.
    pub folder: PathBuf,
    /// Its name.
    pub name: String,
    /// What Kelp knows of it.
    pub record: VolumeRecord,
}

/// `volume.json`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeRecord {
    /// RFC 3339.
    pub created: String,
    /// The user's.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Whether an image's content has been copied in, or the volume was used without.
    #[serde(default)]
    pub used: bool,
}

impl Volume {
    /// The folder that containers see.
    pub fn data(&self) -> PathBuf {
        self.folder.join("_data")
    }

    /// Calls `fill` if the volume has never been used and is empty. Containers that start at once wait for each other.
    pub fn fill_once(&self, fill: impl FnOnce(&PathBuf) -> Result<()>) -> Result<()> {
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

/// The volume of this name, if there is one. One whose record is damaged or lost still has its content.
pub fn find(caller: &Caller, name: &str) -> Result<Option<Volume>> {
    let folder = caller.places.volumes().join(name);
    let record = match read(&folder) {
        Ok(Some(record)) => record,
        Ok(None) if name.starts_with('.') || !folder.join("_data").is_dir() => return Ok(None),
        // Nothing is ever copied into it again, and no label of it is known.
        _ => VolumeRecord {
            created: container::record::modified(&folder).unwrap_or_default(),
            used: true,
            ..Default::default()
        },
    };
    Ok(Some(Volume { folder, name: name.to_owned(), record }))
}

/// The volume of this name, made on first use.
pub fn find_or_make(caller: &Caller, name: &str) -> Result<Volume> {
    match find(caller, name)? {
        Some(volume) => Ok(volume),
        None => make(caller, name, BTreeMap::new()),
    }
}

/// Makes a volume; one that exists already is as good.
pub fn make(caller: &Caller, name: &str, labels: BTreeMap<String, String>) -> Result<Volume> {
    let _span = tracing::info_span!("make volume", name = ?name).entered();
    let doing = || format!("cannot make volume {name}");
    let name = crate::request::mount::volume_name(name).map_err(|why| Error::new(Kind::BadInput, doing(), why))?;
    let folder = caller.places.volumes().join(&name);
    let new = caller.places.volumes().join(format!(".new-{}", container::id::random()?));
    let record = VolumeRecord { created: time::now(), labels, used: false };
    crate::places::make_private(&caller.places.volumes())?;
    fs::create_dir(&new).doing(doing)?;
    // What is not held so is swept: its maker was killed.
    let held = File::open(&new).doing(doing)?;
    flock(&held, FlockOperation::LockShared).doing(doing)?;
    // Every user inside may enter it, whatever the umask of who uses it first.
    fs::create_dir(new.join("_data")).doing(doing)?;
    fs::set_permissions(new.join("_data"), Permissions::from_mode(0o755)).doing(doing)?;
    container::record::write(&new, FILE, &record)?;
    match fs::rename(&new, &folder) {
        Ok(()) => {
            events::volume(caller, "create", &name);
            Ok(Volume { folder, name, record })
        }
        // Somebody made it between our looking and our renaming.
        Err(error) => {
            fs::remove_dir_all(&new).doing(doing)?;
            find(caller, &name)?.ok_or_else(|| Error::io(doing(), &error))
        }
    }
}

/// All volumes by name.
pub fn all(caller: &Caller) -> Result<Vec<Volume>> {
    let doing = || format!("cannot list {}", caller.places.volumes().display());
    let entries = match fs::read_dir(caller.places.volumes()) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).doing(doing),
    };
    let mut volumes = Vec::new();
    for entry in entries {
        let name = entry.doing(doing)?.file_name();
        if let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) {
            volumes.extend(find(caller, name)?);
        }
    }
    volumes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(volumes)
}

/// The containers that use a volume.
pub fn users(caller: &Caller, name: &str) -> Result<Vec<String>> {
    let data = caller.places.volumes().join(name).join("_data").display().to_string();
    let uses = |container: &container::find::Container| {
        // A record that is damaged does not say; what the container mounts does.
        let mounts = || fs::read_to_string(container.folder.join("config.json")).is_ok_and(|it| it.contains(&data));
        container.record.mounts.iter().any(|mount| mount.name.as_deref() == Some(name))
            || (container.damage.is_some() && mounts())
    };
    let containers = container::find::all(caller)?;
    Ok(containers.into_iter().filter(uses).map(|container| container.record.name).collect())
}

/// Removes a volume that no container uses.
pub fn remove(caller: &Caller, name: &str) -> Result<()> {
    let doing = || format!("cannot remove volume {name}");
    let Some(volume) = find(caller, name)? else {
        return Err(Error::new(Kind::NotFound, doing(), format!("no such volume: {name}")));
    };
    let users = users(caller, name)?;
    if !users.is_empty() {
        let because = format!("it is in use by {}", users.join(", "));
        return Err(Error::new(Kind::WrongState, doing(), because).hint("remove those containers first"));
    }
    // Out of sight first: what is left of an interrupted removal is no volume any more.
    let gone = caller.places.volumes().join(format!(".gone-{}", container::id::random()?));
    fs::rename(&volume.folder, &gone).doing(doing)?;
    events::volume(caller, "destroy", name);
    container::remove::tree(&gone)
}

/// Removes what is left of volumes whose maker or remover was killed.
pub fn sweep(caller: &Caller) -> Result<()> {
    let doing = || format!("cannot tidy up {}", caller.places.volumes().display());
    let entries = match fs::read_dir(caller.places.volumes()) {
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
        let caller = Caller::in_folder(root.clone());
        let mut fills = 0;
        for _ in 0..2 {
            let volume = find_or_make(&caller, "data").unwrap();
            volume
                .fill_once(|data| {
                    fills += 1;
                    fs::write(data.join("file"), "x").doing(|| "test")
                })
                .unwrap();
        }
        assert_eq!(fills, 1);
        assert_eq!(all(&caller).unwrap().len(), 1);
        assert!(make(&caller, "../x", BTreeMap::new()).is_err());
        remove(&caller, "data").unwrap();
        assert_eq!(remove(&caller, "data").unwrap_err().kind(), Kind::NotFound);
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_volume_whose_record_is_damaged_or_lost_is_still_there() {
        let root = std::env::temp_dir().join(format!("kelp-volume-damaged-{}", std::process::id()));
        let caller = Caller::in_folder(root.clone());
        let volume = find_or_make(&caller, "data").unwrap();
        find_or_make(&caller, "other").unwrap();
        fs::write(volume.folder.join(FILE), "junk").unwrap();
        assert_eq!(all(&caller).unwrap().len(), 2);
        fs::remove_file(volume.folder.join(FILE)).unwrap();
        assert!(find_or_make(&caller, "data").unwrap().record.used);
        remove(&caller, "data").unwrap();
        assert_eq!(all(&caller).unwrap().len(), 1);
        fs::remove_dir_all(root).unwrap();
    }
}
