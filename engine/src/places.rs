// SPDX-License-Identifier: Apache-2.0
//! Where things are: the store that survives a reboot and the run folder that does not.
//!
//! Root keeps both in the system's folders, a user in his own. `--root`, KELP_ROOT and KELP_RUN override.

use crate::caller::Environment;
use crate::error::{Doing, Error, Kind, Result};
use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The two folders everything of ours lives in.
#[derive(Debug, Clone)]
pub struct Places {
    /// Images, layers, containers, volumes: survives a reboot.
    pub store: PathBuf,
    /// Sockets and the runtime's state: gone with a reboot.
    pub run: PathBuf,
}

impl Places {
    /// The folders of the calling user. Nothing is made yet.
    pub fn find(root: Option<&Path>, environment: &Environment) -> Result<Self> {
        let uid = kelp_sys::rustix::process::geteuid().as_raw();
        let store = match root.map(Path::to_owned).or_else(|| environment.path("KELP_ROOT")) {
            Some(dir) => std::path::absolute(&dir).doing(|| format!("cannot use {} as the store", dir.display()))?,
            None => default_store(uid, environment)?,
        };
        let run = match environment.path("KELP_RUN") {
            Some(dir) => std::path::absolute(&dir).doing(|| format!("cannot use {} as KELP_RUN", dir.display()))?,
            None => default_run(uid, environment),
        };
        Ok(Self { store, run })
    }

    /// One folder per container.
    pub fn containers(&self) -> PathBuf {
        self.store.join("containers")
    }

    /// One link per container name, to the container's id.
    pub fn names(&self) -> PathBuf {
        self.store.join("names")
    }

    /// One folder per named volume.
    pub fn volumes(&self) -> PathBuf {
        self.store.join("volumes")
    }

    /// The runtime's state folder (`kelp-runtime --root`).
    pub fn runtime(&self) -> PathBuf {
        self.run.join("runtime")
    }

    /// Makes the run folder, private to its owner, and checks that nobody else made it first. Sticky: nobody shall clean old
    /// files out of it (XDG Base Directory Specification, XDG_RUNTIME_DIR).
    pub fn make_run(&self) -> Result<()> {
        let doing = || format!("cannot use the run folder {}", self.run.display());
        DirBuilder::new().mode(0o1700).recursive(true).create(&self.run).doing(doing)?;
        let uid = kelp_sys::rustix::process::geteuid().as_raw();
        let owner = fs::symlink_metadata(&self.run).doing(doing)?;
        // In /tmp anybody may make our folder before us, with a symlink or with his own sockets in it.
        if owner.uid() == uid && owner.is_dir() {
            return Ok(());
        }
        Err(Error::new(Kind::Permission, doing(), format!("it belongs to user {}, not to {uid}", owner.uid()))
            .hint("remove it, or set KELP_RUN or XDG_RUNTIME_DIR to a folder of yours"))
    }
}

/// Makes a folder of the store and those above it, for the owner alone: whoever could pass through could execute a
/// container's setuid programs outside of it.
pub fn make_private(folder: &Path) -> Result<()> {
    let made = DirBuilder::new().mode(0o700).recursive(true).create(folder);
    made.doing(|| format!("cannot make {}", folder.display()))
}

fn default_store(uid: u32, environment: &Environment) -> Result<PathBuf> {
    if uid == 0 {
        return Ok(PathBuf::from("/var/lib/kelp"));
    }
    let data = environment.path("XDG_DATA_HOME").filter(|dir| dir.is_absolute());
    data.or_else(|| environment.path("HOME").map(|home| home.join(".local/share")))
        .map(|data| data.join("kelp"))
        .ok_or_else(|| {
            Error::new(Kind::NotFound, "cannot find the store", "neither XDG_DATA_HOME nor HOME is set")
                .hint("set HOME, or name a folder with --root or KELP_ROOT")
        })
}

fn default_run(uid: u32, environment: &Environment) -> PathBuf {
    let own = environment.path("XDG_RUNTIME_DIR").filter(|dir| dir.is_absolute() && dir.is_dir());
    match own {
        _ if uid == 0 => PathBuf::from("/run/kelp"),
        Some(dir) => dir.join("kelp"),
        None => PathBuf::from(format!("/tmp/kelp-{uid}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explicit_root_is_made_absolute() {
        let places = Places::find(Some(Path::new("/somewhere/kelp")), &Environment::default()).unwrap();
        assert_eq!(places.containers(), Path::new("/somewhere/kelp/containers"));
    }

    #[test]
    fn a_run_folder_of_another_user_is_refused() {
        if !kelp_sys::rustix::process::geteuid().is_root() {
            let places = Places { store: "/nowhere".into(), run: "/proc".into() };
            assert_eq!(places.make_run().unwrap_err().kind(), Kind::Permission);
        }
    }
}
