// SPDX-License-Identifier: Apache-2.0
//! `kelp create`: make a container, for `kelp start`.

use crate::caller::Caller;
use crate::container::create;
use crate::error::Result;
use crate::flags::Options;
use crate::output;
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
pub(crate) fn run(args: &Create, caller: &Caller) -> Result<ExitCode> {
    let container = create::create(caller, &args.options.request(caller)?, |_| Ok(()))?;
    output::line(container.record.id)?;
    Ok(ExitCode::SUCCESS)
}
