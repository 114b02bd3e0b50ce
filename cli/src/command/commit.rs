// SPDX-License-Identifier: Apache-2.0
//! `kelp commit`: a container becomes an image.

use crate::caller::Caller;
use crate::container::commit;
use crate::error::Result;
use crate::output;
use crate::request::{self, change};
use clap::{ArgAction, Args};
use std::process::ExitCode;

/// Make an image of a container
#[derive(Debug, Args)]
pub(crate) struct Commit {
    /// Who says so
    #[arg(short, long, value_name = "NAME")]
    author: Option<String>,
    /// Change the image's configuration, as 'CMD ["sh"]' or 'ENV A=1'
    #[arg(short, long, value_name = "INSTRUCTION", value_parser = change::parse)]
    change: Vec<String>,
    /// A line for the image's history
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Freeze the container meanwhile
    #[arg(short, long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set, num_args = 0..=1,
          default_missing_value = "true", require_equals = true)]
    pause: bool,
    /// A name or id
    container: String,
    /// The image's name
    #[arg(value_name = "NAME[:TAG]")]
    name: Option<String>,
}

/// Performs the command.
pub(crate) fn run(args: &Commit, caller: &Caller) -> Result<ExitCode> {
    let image = commit::commit(caller, &args.request())?;
    output::line(&image.id)?;
    Ok(ExitCode::SUCCESS)
}

impl Commit {
    fn request(&self) -> request::Commit {
        request::Commit {
            container: self.container.clone(),
            name: self.name.clone(),
            author: self.author.clone(),
            comment: self.message.clone(),
            changes: self.change.clone(),
            pause: self.pause,
        }
    }
}
