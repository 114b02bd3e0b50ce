// SPDX-License-Identifier: Apache-2.0
//! From the user's wishes to mounts whose sources exist: folders of the host, named volumes, volumes of the image.

use super::id;
use super::record::MountRecord;
use crate::caller::Caller;
use crate::config::Attachment;
use crate::error::{Doing, Error, Kind, Result};
use crate::request;
use crate::request::mount::{Source, Wish};
use crate::volume::{self, Volume};
use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// What came of the wishes.
#[derive(Debug, Default)]
pub(crate) struct Mounted {
    /// For config.json.
    pub(crate) attachments: Vec<Attachment>,
    /// For `inspect`.
    pub(crate) records: Vec<MountRecord>,
    /// Volumes made for this container alone.
    pub(crate) anonymous: Vec<String>,
    /// Volumes that may need the image's content: the path inside, and where it goes.
    pub(crate) to_fill: Vec<(PathBuf, Volume)>,
}

/// Makes the sources. The image's own volumes come last, where the user wishes nothing at their place.
pub(crate) fn make<'a>(
    caller: &Caller,
    wishes: impl Iterator<Item = &'a Wish>,
    image_volumes: &[String],
) -> Result<Mounted> {
    let wishes: Vec<&Wish> = wishes.collect();
    check(&wishes)?;
    let mut mounted = Mounted::default();
    for wish in wishes {
        mounted.add(caller, wish)?;
    }
    for target in image_volumes {
        // A path an image cannot mean (relative, with .., or in /proc) is no volume.
        let Ok(target) = request::mount::place(target, &Source::Anonymous) else { continue };
        if !mounted.attachments.iter().any(|earlier| earlier.target == target) {
            let wish = Wish { source: Source::Anonymous, target, read_only: false, copy: true, options: Vec::new() };
            mounted.add(caller, &wish)?;
        }
    }
    Ok(mounted)
}

/// Refuses what cannot be mounted before a volume is made.
fn check(wishes: &[&Wish]) -> Result<()> {
    for (at, wish) in wishes.iter().enumerate() {
        if wishes.iter().take(at).any(|earlier| earlier.target == wish.target) {
            let because = format!("Duplicate mount point: {}", wish.target.display());
            return Err(Error::new(Kind::BadInput, format!("cannot mount at {}", wish.target.display()), because));
        }
        if let Source::Host { path, make: false } = &wish.source {
            host_path(path, false)?;
        }
    }
    Ok(())
}

impl Mounted {
    fn add(&mut self, caller: &Caller, wish: &Wish) -> Result<()> {
        let (kind, name, source) = match &wish.source {
            Source::Tmpfs => ("tmpfs", None, None),
            Source::Host { path, make } => ("bind", None, Some(host_path(path, *make)?)),
            Source::Volume(name) => self.volume(caller, name.clone(), wish)?,
            Source::Anonymous => {
                let name = id::random()?;
                self.anonymous.push(name.clone());
                self.volume(caller, name, wish)?
            }
        };
        self.records.push(MountRecord {
            kind: kind.to_owned(),
            name,
            source: source.as_deref().map_or_else(String::new, |path| path.display().to_string()),
            destination: wish.target.display().to_string(),
            mode: wish.options.join(","),
            writable: !wish.read_only,
        });
        self.attachments.push(Attachment {
            source,
            target: wish.target.clone(),
            read_only: wish.read_only,
            options: wish.options.clone(),
        });
        Ok(())
    }

    fn volume(
        &mut self,
        caller: &Caller,
        name: String,
        wish: &Wish,
    ) -> Result<(&'static str, Option<String>, Option<PathBuf>)> {
        let volume = volume::find_or_make(caller, &name)?;
        let data = volume.data();
        if wish.copy {
            self.to_fill.push((wish.target.clone(), volume));
        }
        Ok(("volume", Some(name), Some(data)))
    }
}

/// Makes the folder and those above it that are missing, as Docker's daemon does: every user inside may enter it, whatever the
/// caller's umask.
fn make_all(path: &Path) -> std::io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            make_all(path.parent().ok_or(error)?)?;
            make_all(path)
        }
        // Somebody else was faster.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
        Ok(()) => fs::set_permissions(path, Permissions::from_mode(0o755)),
    }
}

/// An absolute path of the host that exists.
fn host_path(path: &Path, make: bool) -> Result<PathBuf> {
    let doing = || format!("cannot mount {}", path.display());
    let absolute = std::path::absolute(path).doing(doing)?;
    match fs::metadata(&absolute) {
        Ok(_) => Ok(absolute),
        Err(error) if error.kind() == ErrorKind::NotFound && make => {
            make_all(&absolute).doing(doing)?;
            Ok(absolute)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(Error::new(Kind::NotFound, doing(), "it does not exist")
                .hint("make it first; -v makes missing folders"))
        }
        Err(error) => Err(error).doing(doing),
    }
}
