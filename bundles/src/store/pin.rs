// SPDX-License-Identifier: Apache-2.0
//! What a container needs kept: a file `layers.json` in its own folder, so that it goes when the folder goes.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use oci_spec::image::ImageManifest;
use serde::{Deserialize, Serialize};

use super::{Image, Store, make_folder, publish_file};
use crate::digest::Digest;
use crate::error::{Doing, Error, Kind, Result};

/// The name of the file.
const FILE: &str = "layers.json";
/// The folder of records of bundles: each a file with the bundle's path in it, named by that path's digest.
const BUNDLES: &str = "bundles";

/// The content of `layers.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pin {
    /// The image's id.
    pub(crate) image: Digest,
    /// The image's manifest.
    pub(crate) manifest: Digest,
    /// The layers, lowest first.
    pub(crate) chain_ids: Vec<Digest>,
}

impl Store {
    /// Keeps the image's layers for as long as `container` has this file. To be called before the layers are unpacked
    /// and mounted; `container` is a folder below `ROOT/containers`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn pin(&self, container: &Path, image: &Image) -> Result<()> {
        let pin = Pin {
            image: image.id.clone(),
            manifest: image.manifest.clone(),
            chain_ids: image.layers.iter().map(|layer| layer.chain_id.clone()).collect(),
        };
        let text = serde_json::to_vec(&pin).doing(|| "writing layers.json")?;
        let _no_collector = self.share_with_collector()?;
        // Without fsync: what a power cut takes from us here it takes from the container as well, which is not whole yet.
        publish_file(&container.join(FILE), &text)
    }

    /// The same for a bundle anywhere on this machine, for as long as its folder has this file: the store
    /// remembers the folder in `ROOT/bundles`.
    ///
    /// # Errors
    /// The record cannot be written.
    pub fn pin_bundle(&self, bundle: &Path, image: &Image) -> Result<()> {
        self.pin(bundle, image)?;
        let records = self.root().join(BUNDLES);
        make_folder(&records)?;
        let name = Digest::of(bundle.as_os_str().as_bytes());
        let _no_collector = self.share_with_collector()?;
        publish_file(&records.join(name.hex()), bundle.as_os_str().as_bytes())
    }

    /// The unpacked layers of a container's image, lowest first.
    ///
    /// # Errors
    /// The container has no image.
    pub fn pinned_layers(&self, container: &Path) -> Result<Vec<PathBuf>> {
        let pin = self.pin_of(container)?;
        Ok(pin.chain_ids.iter().map(|id| self.layer(id).join("fs")).collect())
    }

    /// The manifest of a container's image.
    pub(crate) fn pinned_manifest(&self, container: &Path) -> Result<ImageManifest> {
        self.manifest(&self.pin_of(container)?.manifest)
    }

    fn pin_of(&self, container: &Path) -> Result<Pin> {
        read_pin(&container.join(FILE))?.ok_or_else(|| {
            let doing = format!("looking for the image of {}", container.display());
            Error::new(Kind::NotFound, doing, "it was made from none")
        })
    }

    /// The pins of all bundles that are still there; records of others are removed.
    fn bundle_pins(&self) -> Result<Vec<(String, Pin)>> {
        let records = self.root().join(BUNDLES);
        let doing = || format!("reading {}", records.display());
        let mut pins = Vec::new();
        for record in if_there(fs::read_dir(&records)).doing(doing)?.into_iter().flatten() {
            let record = record.doing(doing)?.path();
            let Some(path) = if_there(fs::read(&record)).doing(doing)? else { continue };
            let bundle = Path::new(std::ffi::OsStr::from_bytes(&path));
            match read_pin(&bundle.join(FILE)) {
                Ok(Some(pin)) => pins.push((bundle.display().to_string(), pin)),
                Ok(None) => super::forget_file(&record),
                // Damaged: what it needs is told by its config.json.
                Err(_) => {}
            }
        }
        Ok(pins)
    }

    /// The pins of all containers and bundles, with the containers' folder names. A damaged one hides no other.
    pub(crate) fn pins(&self) -> Result<Vec<(String, Pin)>> {
        let dir = self.root().join("containers");
        let doing = || format!("listing {}", dir.display());
        let mut pins = self.bundle_pins()?;
        for entry in if_there(fs::read_dir(&dir)).doing(doing)?.into_iter().flatten() {
            let entry = entry.doing(doing)?;
            if let Ok(Some(pin)) = read_pin(&entry.path().join(FILE)) {
                pins.push((entry.file_name().to_string_lossy().into_owned(), pin));
            }
        }
        Ok(pins)
    }

    /// The layers, in hexadecimal digits, of containers and bundles whose pin is damaged or lost: those that their
    /// config.json mounts.
    pub(super) fn unpinned_layers(&self) -> Result<Vec<String>> {
        let containers = self.root().join("containers");
        let records = self.root().join(BUNDLES);
        let doing = || format!("listing {}", containers.display());
        let mut folders = Vec::new();
        for entry in if_there(fs::read_dir(&containers)).doing(doing)?.into_iter().flatten() {
            folders.push(entry.doing(doing)?.path());
        }
        for record in if_there(fs::read_dir(&records)).doing(doing)?.into_iter().flatten() {
            let path = if_there(fs::read(record.doing(doing)?.path())).doing(doing)?.unwrap_or_default();
            folders.push(PathBuf::from(std::ffi::OsStr::from_bytes(&path)));
        }
        folders.retain(|folder| !matches!(read_pin(&folder.join(FILE)), Ok(Some(_))));
        // One that cannot be read mounts nothing any more.
        let configs = folders.iter().filter_map(|folder| fs::read_to_string(folder.join("config.json")).ok());
        Ok(configs.flat_map(|config| layers_in(&config)).collect())
    }
}

/// The layers that a text names by their folders, `layers/HEX/fs`.
fn layers_in(text: &str) -> Vec<String> {
    let ids = text.split("layers/").skip(1).filter_map(|rest| rest.split_once("/fs")).map(|(id, _)| id);
    ids.filter(|id| id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).map(str::to_owned).collect()
}

/// A pin; nothing where there is none: a container without an image, or one that is just being removed.
fn read_pin(path: &Path) -> Result<Option<Pin>> {
    let doing = || format!("reading {}", path.display());
    match if_there(fs::read(path)).doing(doing)? {
        Some(text) => serde_json::from_slice(&text).map(Some).doing(doing),
        None => Ok(None),
    }
}

fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn layers_are_found_in_the_options_of_a_mount() {
        let (one, two) = ("1".repeat(64), "a".repeat(64));
        let options = format!(r#"["lowerdir=/s/layers/{one}/fs:/s/layers/{two}/fs","upperdir=/s/layers/x/fs"]"#);
        assert_eq!(super::layers_in(&options), [one, two]);
    }
}
