// SPDX-License-Identifier: Apache-2.0
//! What a container needs kept: a file `layers.json` in its own folder, so that it goes when the folder goes.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Image, Store, publish_file};
use crate::digest::Digest;
use crate::error::{Doing, Result};

/// The name of the file.
const FILE: &str = "layers.json";

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

    /// The pins of all containers, with the containers' folder names.
    pub(crate) fn pins(&self) -> Result<Vec<(String, Pin)>> {
        let dir = self.root().join("containers");
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e).doing(|| format!("listing {}", dir.display())),
        };
        let mut pins = Vec::new();
        for entry in entries {
            let entry = entry.doing(|| format!("listing {}", dir.display()))?;
            let path = entry.path().join(FILE);
            match fs::read(&path) {
                Ok(text) => {
                    let pin = serde_json::from_slice(&text).doing(|| format!("reading {}", path.display()))?;
                    pins.push((entry.file_name().to_string_lossy().into_owned(), pin));
                }
                // A container without an image, or one that is just being removed.
                Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
                Err(e) => return Err(e).doing(|| format!("reading {}", path.display())),
            }
        }
        Ok(pins)
    }
}
