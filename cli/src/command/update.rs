// SPDX-License-Identifier: Apache-2.0
//! `kelp update`: other limits for containers, or another restart policy.

use crate::caller::Caller;
use crate::container::update;
use crate::error::{Error, Kind, Result};
use crate::flags::LimitFlags;
use crate::output;
use crate::request::{self, Limits, restart};
use clap::Args;
use kelp_shim::Restart;
use std::process::ExitCode;

/// Change the limits of one or more containers, or when they are started again
#[derive(Debug, Args)]
pub(crate) struct Update {
    #[command(flatten)]
    limits: LimitFlags,
    /// Start again: no, always, unless-stopped, on-failure or on-failure:COUNT
    #[arg(long, value_name = "POLICY", value_parser = restart::parse)]
    restart: Option<Restart>,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Performs the command.
pub(crate) fn run(args: &Update, caller: &Caller) -> Result<ExitCode> {
    if args.limits.cgroup_parent.is_some() {
        return Err(Error::new(Kind::BadInput, "cannot use --cgroup-parent", "a container does not move"));
    }
    let limits = Limits::from(args.limits.clone());
    if !limits.any() && args.restart.is_none() {
        return Err(Error::new(Kind::BadInput, "cannot update", "neither a limit nor a restart policy was given")
            .hint("kelp update --help"));
    }
    super::each(&args.containers, |wanted| {
        let asked = request::Update { container: wanted.to_owned(), limits: limits.clone(), restart: args.restart };
        update::update(caller, &asked)?;
        output::line(wanted)
    })
}
