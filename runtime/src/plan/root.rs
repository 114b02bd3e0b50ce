// SPDX-License-Identifier: Apache-2.0
//! The root file system.
//!
//! Spec: config.md "Root", config-linux.md "Rootfs Mount Propagation".

use super::{path_text, text_of};
use crate::error::{Error, Result};
use kelp_sys::mount::{Propagation, Reach};
use oci_spec::runtime::{Linux, Spec};
use std::ffi::CString;
use std::path::Path;

/// Where the root comes from.
#[derive(Debug)]
pub struct RootPlan {
    /// The folder on the host.
    pub path: CString,
    /// An overlay to mount there: the spec's first mount, with destination `/`.
    pub overlay: Option<OverlayPlan>,
    /// Propagation of the root mount.
    pub propagation: (Propagation, Reach),
    /// `root.readonly`
    pub readonly: bool,
    /// `--no-pivot`
    pub no_pivot: bool,
}

/// An overlay.
#[derive(Debug)]
pub struct OverlayPlan {
    /// All options, for mount(2).
    pub data: CString,
    /// `MS_*`
    pub flags: u64,
    /// One by one, for fsconfig(2).
    pub options: Vec<(CString, Option<CString>)>,
}

impl OverlayPlan {
    pub(super) fn make(options: &[&str], flags: u64) -> Result<Self> {
        let mut single = Vec::new();
        for option in options {
            match option.split_once('=') {
                // `lowerdir` as one string is limited to 255 bytes there; `lowerdir+` adds one layer, from the top down.
                Some(("lowerdir", layers)) => {
                    for layer in folders(layers) {
                        single.push((text_of("", "lowerdir+")?, Some(text_of("", &layer)?)));
                    }
                }
                Some((key, value)) => single.push((text_of("", key)?, Some(text_of("", value)?))),
                None => single.push((text_of("", option)?, None)),
            }
        }
        Ok(Self { data: text_of("", &options.join(","))?, flags, options: single })
    }
}

/// The folders of `lowerdir`: a backslash quotes what would separate them, which `lowerdir+` takes as it is.
fn folders(layers: &str) -> Vec<String> {
    let mut folders = vec![String::new()];
    let mut chars = layers.chars();
    while let Some(c) = chars.next() {
        match (c, folders.last_mut()) {
            (':', _) => folders.push(String::new()),
            ('\\', Some(last)) => last.extend(chars.next()),
            (c, Some(last)) => last.push(c),
            (_, None) => {}
        }
    }
    folders
}

pub(super) fn plan(
    spec: &Spec,
    linux: &Linux,
    folder: &Path,
    overlay: Option<OverlayPlan>,
    no_pivot: bool,
) -> Result<RootPlan> {
    let root = spec.root().as_ref().ok_or_else(|| {
        Error::bad_input("cannot run the bundle").because("root must be specified: config.json has no root")
    })?;
    Ok(RootPlan {
        path: path_text(&folder.join(root.path()))?,
        overlay,
        propagation: propagation(linux.rootfs_propagation().as_deref())?,
        readonly: root.readonly().unwrap_or(false),
        no_pivot,
    })
}

fn propagation(word: Option<&str>) -> Result<(Propagation, Reach)> {
    Ok(match word.unwrap_or_default() {
        "" | "rslave" => (Propagation::Slave, Reach::Tree),
        "slave" => (Propagation::Slave, Reach::Mount),
        "private" => (Propagation::Private, Reach::Mount),
        "rprivate" => (Propagation::Private, Reach::Tree),
        "shared" => (Propagation::Shared, Reach::Mount),
        "rshared" => (Propagation::Shared, Reach::Tree),
        "unbindable" => (Propagation::Unbindable, Reach::Mount),
        "runbindable" => (Propagation::Unbindable, Reach::Tree),
        other => {
            return Err(Error::bad_input(format!("cannot use linux.rootfsPropagation {other:?}"))
                .because(format!("rootfsPropagation={other} is not supported: it is none of shared, slave, private, unbindable, with or without r before it")));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::folders;

    #[test]
    fn a_quoted_colon_separates_no_layers() {
        assert_eq!(folders(r"/a:/b\:c\\d:/e"), ["/a", r"/b:c\d", "/e"]);
    }
}
