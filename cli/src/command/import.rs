// SPDX-License-Identifier: Apache-2.0
//! `kelp import`: a tar of files becomes an image of one layer.

use crate::caller::Caller;
use crate::error::{Doing, Error, Kind, Result};
use crate::events;
use crate::output;
use crate::platform;
use crate::request::change;
use crate::time;
use clap::Args;
use kelp_bundles::{Store, import};
use std::fs::File;
use std::io::{IsTerminal, Read};
use std::process::ExitCode;

/// Make an image of a tar archive of files
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// Change the image's configuration, as 'CMD ["sh"]' or 'ENV A=1'
    #[arg(short, long, value_name = "INSTRUCTION", value_parser = change::parse)]
    change: Vec<String>,
    /// A line for the image's history
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// What the files run on, as linux/arm64
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<String>,
    /// A tar archive, compressed or not; - is standard input
    #[arg(value_name = "FILE")]
    file: String,
    /// The image's name
    #[arg(value_name = "NAME[:TAG]")]
    name: Option<String>,
}

/// Performs the command.
pub(crate) fn run(args: &Import, caller: &Caller) -> Result<ExitCode> {
    let doing = || format!("cannot import {}", args.file);
    let mut input: Box<dyn Read + Send> = match args.file.as_str() {
        "-" if std::io::stdin().is_terminal() => {
            return Err(Error::new(Kind::BadInput, doing(), "standard input is a terminal")
                .hint("kelp export CONTAINER | kelp import - NAME"));
        }
        "-" => Box::new(std::io::stdin()),
        url if url.starts_with("http://") || url.starts_with("https://") => {
            return Err(Error::new(Kind::Unsupported, doing(), "only files and standard input are read")
                .hint(format!("curl -L {url} | kelp import - NAME")));
        }
        file => Box::new(File::open(file).doing(doing)?),
    };
    let wanted = import::Import {
        name: args.name.as_deref().map(str::parse).transpose()?,
        created: time::now(),
        comment: args.message.clone().unwrap_or_else(|| format!("Imported from {}", args.file)),
        platform: platform::wanted(args.platform.as_deref(), caller)?,
        changes: args.change.clone(),
    };
    let image = import::import(&Store::open(&caller.places.store)?, &mut *input, &wanted)?;
    events::image(caller, "import", &image.id.to_string(), args.name.as_deref().unwrap_or_default());
    output::line(&image.id)?;
    Ok(ExitCode::SUCCESS)
}
