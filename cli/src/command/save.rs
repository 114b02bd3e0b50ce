// SPDX-License-Identifier: Apache-2.0
//! `kelp save`: images into an archive, to standard output, or into an OCI layout.

use crate::caller::Caller;
use crate::error::{Doing, Error, Kind, Result};
use crate::events;
use clap::{Args, ValueEnum};
use kelp_bundles::{Store, save};
use std::fs::{self, File};
use std::io::{BufWriter, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Save images to a tar archive or an OCI layout
#[derive(Debug, Args)]
pub(crate) struct Save {
    /// The file (or folder, for oci-dir); without it, standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// What to write; docker-archive is an OCI layout as well
    #[arg(long, value_enum, default_value_t = Format::DockerArchive)]
    format: Format,
    /// Of a list, the image for this machine
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<String>,
    /// Names or ids
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    DockerArchive,
    OciArchive,
    OciDir,
}

/// Performs the command.
pub(crate) fn run(args: &Save, caller: &Caller) -> Result<ExitCode> {
    let store = Store::open(&caller.places.store)?;
    let look = |name: &String| crate::image::look(&store, name, args.platform.as_deref());
    let images = args.images.iter().map(look).collect::<Result<Vec<_>>>()?;
    let kind = if args.format == Format::OciArchive { save::Format::Oci } else { save::Format::Docker };
    match (&args.output, args.format) {
        (Some(folder), Format::OciDir) => save::layout(&store, &images, folder)?,
        (None, Format::OciDir) => {
            return Err(Error::new(Kind::BadInput, "cannot save", "a layout is a folder").hint("name it with -o"));
        }
        (Some(file), _) => to_file(file, |out| Ok(save::archive(&store, &images, kind, out)?))?,
        (None, _) if std::io::stdout().is_terminal() => {
            return Err(Error::new(Kind::BadInput, "cannot save", "standard output is a terminal")
                .hint("kelp save -o FILE, or kelp save … > FILE"));
        }
        (None, _) => save::archive(&store, &images, kind, std::io::stdout().lock())?,
    }
    for (image, name) in images.iter().zip(&args.images) {
        events::image(caller, "save", &image.id.to_string(), name);
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes beside the file and renames: whoever reads it sees a whole one.
fn to_file(file: &Path, write: impl FnOnce(BufWriter<File>) -> Result<()>) -> Result<()> {
    let doing = || format!("cannot write {}", file.display());
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = file.with_file_name(name);
    let out = BufWriter::with_capacity(1 << 20, File::create(&part).doing(doing)?);
    let written = write(out).and_then(|()| fs::rename(&part, file).doing(doing));
    if written.is_err() {
        // The error that stopped us is the one to tell.
        fs::remove_file(&part).ok();
    }
    written
}
