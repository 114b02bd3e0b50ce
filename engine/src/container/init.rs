// SPDX-License-Identifier: Apache-2.0
//! `--init`: a copy of kelp-shim in the container's folder, which is its first process (see shim/src/init.rs).
//!
//! A copy, although the mount is read-only: a container may do to its own what it can.

use super::start;
use crate::caller::Caller;
use crate::config::{Attachment, INIT};
use crate::error::{Doing, Result};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Makes the file; the attachment binds it.
pub(crate) fn make(caller: &Caller, folder: &Path) -> Result<Attachment> {
    let source = folder.join("init");
    let doing = || format!("cannot write {}", source.display());
    fs::copy(start::shim_program(caller)?, &source).doing(doing)?;
    fs::set_permissions(&source, fs::Permissions::from_mode(0o755)).doing(doing)?;
    Ok(Attachment { source: Some(source.clone()), target: PathBuf::from(INIT), read_only: true, options: Vec::new() })
}
