// SPDX-License-Identifier: Apache-2.0
//! `kelp create`: make a container, for `kelp start`.

use crate::container::create;
use crate::error::Result;
use crate::options::Options;
use crate::output;
use crate::places::Places;
use clap::Args;
use std::process::ExitCode;

/// Make a container without starting it
#[derive(Debug, Args)]
#[command(override_usage = "kelp create [OPTIONS] IMAGE [COMMAND] [ARG...]")]
pub(crate) struct Create {
    #[command(flatten)]
    options: Options,
}

/// Performs the command.
pub(crate) fn run(args: &Create, places: &Places) -> Result<ExitCode> {
    let container = create::create(places, &args.options, |_| Ok(()))?;
    output::line(container.record.id)?;
    Ok(ExitCode::SUCCESS)
}
