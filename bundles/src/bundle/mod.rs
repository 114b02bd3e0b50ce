// SPDX-License-Identifier: Apache-2.0
//! An image as an OCI bundle: a folder with `config.json` and a root filesystem, that any OCI runtime runs.
//!
//! ```text
//! DIR/config.json   written last: a folder without it is no bundle
//!     rootfs/       a copy of the image's files, or empty, with an overlay mounted over it by the runtime
//!     upper/ work/  what the program writes, where it is an overlay
//!     volumes/N/    the image's volumes, with what the image has in them
//! ```
//!
//! Spec: runtime-spec bundle.md, image-spec conversion.md.

mod convert;
mod host;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Capabilities, Capability, LinuxSeccomp, Mount, Spec};

pub use convert::Converted;
pub use host::{MASKED_PATHS, READONLY_PATHS};

use crate::error::{Doing, Error, Kind, Result};
use crate::idmap::IdMap;
use crate::job;
use crate::progress::Progress;
use crate::stack::LayerStack;
use crate::store::{Image, Store, make_folder, replace_file};

/// Where the bundle's root filesystem comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rootfs {
    /// The files are copied: the bundle stands alone, and may be moved.
    Copy,
    /// The runtime mounts an overlay of the store's layers, which stay there for as long as the bundle does.
    Overlay,
}

/// What the image does not say.
#[derive(Debug, Clone)]
pub struct Options {
    /// Copied or an overlay.
    pub rootfs: Rootfs,
    /// What a root user inside may do.
    pub capabilities: Capabilities,
    /// The filter of system calls.
    pub seccomp: Option<LinuxSeccomp>,
}

impl Default for Options {
    /// A copy, and the rights that `runc spec` gives.
    fn default() -> Self {
        let capabilities = [Capability::AuditWrite, Capability::Kill, Capability::NetBindService];
        Self { rootfs: Rootfs::Copy, capabilities: capabilities.into_iter().collect(), seccomp: None }
    }
}

/// A bundle that was written.
#[derive(Debug, Clone)]
pub struct Written {
    /// The configuration.
    pub spec: Spec,
    /// What of the image is left out, and why: a sentence each.
    pub omitted: Vec<String>,
}

/// Converts an image's configuration to a runtime's, for a root filesystem of these layers (lowest first). Pure, but for
/// the image's files that name its users.
///
/// # Errors
/// The image names nothing to run, or a user that it does not have.
pub fn convert(image: &Image, lower: &[PathBuf], map: &IdMap, options: &Options) -> Result<Converted> {
    let base = host::base(map, options)?;
    convert::apply(&image.config, &LayerStack::open_inside(lower, map)?, base, map, options)
}

/// Writes a bundle into a folder that is empty or missing.
///
/// # Errors
/// [`Kind::AlreadyExists`]: there is something in the folder. Else what [`convert()`] and [`Store::unpack`] say; what was
/// written by then stays, without a `config.json`.
pub fn write(
    store: &Store,
    image: &Image,
    dir: &Path,
    map: &IdMap,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Written> {
    let doing = || format!("writing the bundle {}", dir.display());
    if fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Error::new(Kind::AlreadyExists, doing(), "the folder is not empty"));
    }
    make_folder(dir)?;
    let dir = &fs::canonicalize(dir).doing(doing)?;
    if options.rootfs == Rootfs::Overlay {
        store.pin_bundle(dir, image)?;
    }
    let lower = store.unpack(image, map, progress)?.lower;
    let mut converted = convert(image, &lower, map, options)?;
    let rootfs = shown_folder(dir, "rootfs")?;
    let mut mounts = Vec::new();
    match options.rootfs {
        Rootfs::Copy => job::copy_tree(&lower, &rootfs, map)?,
        Rootfs::Overlay => {
            let (upper, work) = (shown_folder(dir, "upper")?, shown_folder(dir, "work")?);
            mounts.push(host::overlay(&lower, &upper, &work, map));
        }
    }
    mounts.extend(converted.spec.mounts().clone().unwrap_or_default());
    mounts.extend(volumes(dir, &converted.volumes, &lower, map)?);
    converted.spec.set_mounts(Some(mounts));
    let text = serde_json::to_vec_pretty(&converted.spec).doing(doing)?;
    // From here on it is a bundle.
    replace_file(&dir.join("config.json"), &text)?;
    Ok(Written { spec: converted.spec, omitted: converted.omitted })
}

/// The image's volumes: folders of the bundle, so that what is written there stays out of the root filesystem.
fn volumes(dir: &Path, targets: &[String], lower: &[PathBuf], map: &IdMap) -> Result<Vec<Mount>> {
    let mut mounts = Vec::new();
    for (number, target) in targets.iter().enumerate() {
        // Relative to the bundle, as the runtime-spec allows: a copied bundle may be moved.
        let source = PathBuf::from(format!("volumes/{number}"));
        make_folder(&dir.join("volumes"))?;
        let folder = shown_folder(dir, &source.to_string_lossy())?;
        job::copy_folder(lower, Path::new(target), &folder, map)?;
        mounts.push(host::bind(&source, target));
    }
    Ok(mounts)
}

/// A folder that is seen inside: readable by every user there, whatever our umask.
fn shown_folder(dir: &Path, name: &str) -> Result<PathBuf> {
    let folder = dir.join(name);
    make_folder(&folder)?;
    fs::set_permissions(&folder, Permissions::from_mode(0o755)).doing(|| format!("making {}", folder.display()))?;
    Ok(folder)
}
