// SPDX-License-Identifier: Apache-2.0
//! `kelp start`: start containers that were made, or have ended.

use crate::caller::Caller;
use crate::container::filter::Filter;
use crate::container::find;
use crate::container::start::{self, Left, Stay};
use crate::container::status;
use crate::error::{Error, Kind, Result};
use crate::output;
use clap::Args;
use kelp_shim::client::DetachKeys;
use std::process::ExitCode;

/// Start one or more stopped containers
#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    /// Stay with it: show its output and pass signals on
    #[arg(short, long)]
    attach: bool,
    /// Stay with its stdin too
    #[arg(short, long)]
    interactive: bool,
    /// Keys that detach from the container; ctrl-p,ctrl-q by default
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<DetachKeys>,
    /// All that do not run
    #[arg(long, conflicts_with_all = ["attach", "interactive"])]
    all: bool,
    /// All that do not run and are as `ps --filter` says; should-start-on-boot=true: by their restart policy
    #[arg(short, long, value_name = "KEY=VALUE", conflicts_with_all = ["attach", "interactive"])]
    filter: Vec<String>,
    /// Names or ids
    #[arg(required_unless_present_any = ["all", "filter"], conflicts_with_all = ["all", "filter"], value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Performs the command.
pub(crate) fn run(args: &StartArgs, caller: &Caller) -> Result<ExitCode> {
    if args.attach || args.interactive {
        return stay(args, caller);
    }
    if args.all || !args.filter.is_empty() {
        return start_all(args, caller);
    }
    super::each(&args.containers, |wanted| {
        let container = find::one(caller, wanted)?;
        start::start(caller, &container, &Stay::Detached)?;
        output::line(wanted)
    })
}

/// Starts all that do not run, and are as the filters say. Who was made first comes first: others may build on him.
fn start_all(args: &StartArgs, caller: &Caller) -> Result<ExitCode> {
    let filter = Filter::parse(caller, &args.filter)?;
    let mut names = Vec::new();
    for container in find::all(caller)?.into_iter().rev() {
        let status = status::of(caller, &container)?;
        if container.damage.is_none() && !status.state.is_alive() && filter.matches(&container, &status) {
            names.push(container.record.name.clone());
        }
    }
    super::each(&names, |name| {
        start::start(caller, &find::one(caller, name)?, &Stay::Detached)?;
        output::line(name)
    })
}

fn stay(args: &StartArgs, caller: &Caller) -> Result<ExitCode> {
    let [wanted] = args.containers.as_slice() else {
        return Err(Error::new(Kind::BadInput, "cannot attach to several containers", "-a and -i take one"));
    };
    let container = find::one(caller, wanted)?;
    let stay = Stay::Attached {
        stdin: args.interactive,
        stdout: true,
        stderr: true,
        joined: output::is_joined(),
        detach_keys: super::detach_keys(args.detach_keys.as_ref(), caller)?,
        proxy_signals: true,
    };
    match start::start(caller, &container, &stay)? {
        Left::Exited(code) => Ok(super::run::exit_code(code)),
        Left::Running => Ok(ExitCode::SUCCESS),
        Left::Lost(error) => Err(error),
    }
}
