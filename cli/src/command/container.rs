// SPDX-License-Identifier: Apache-2.0
//! `kelp container`: all that is done with containers, under one roof.

use super::{
    attach, commit, cp, create, diff, exec, export, inspect, kill, logs, pause, port, prune, ps, rename, rm, run,
    start, stats, stop, top, update, wait,
};
use crate::caller::Caller;
use crate::error::Result;
use clap::{Args, Subcommand};
use std::process::ExitCode;

/// Manage containers
#[derive(Debug, Args)]
pub(crate) struct ContainerArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Attach to a running container
    Attach(attach::Attach),
    /// Make an image of a container
    Commit(commit::Commit),
    /// Copy files between a container and this machine
    Cp(cp::Cp),
    /// Make a container without starting it
    Create(Box<create::Create>),
    /// Show what a container changed of its image
    Diff(diff::Diff),
    /// Run a program in a running container
    Exec(exec::Exec),
    /// Write the files of a container as a tar archive
    Export(export::Export),
    /// Show all that is known of containers
    Inspect(inspect::InspectContainers),
    /// Send a signal to one or more containers
    Kill(kill::Kill),
    /// Show what a container's program has written
    Logs(logs::Logs),
    /// List containers
    #[command(visible_aliases = ["list", "ps"])]
    Ls(ps::Ps),
    /// Freeze all processes of one or more containers
    Pause(pause::Pause),
    /// List the ports of a container that are published
    Port(port::Port),
    /// Remove containers that do not run
    Prune(prune::Containers),
    /// Give a container another name
    Rename(rename::Rename),
    /// Stop one or more containers and start them again
    Restart(stop::Stop),
    /// Remove one or more containers
    #[command(visible_alias = "remove")]
    Rm(rm::Rm),
    /// Run a program in a new container
    Run(Box<run::Run>),
    /// Start one or more stopped containers
    Start(start::StartArgs),
    /// Show what containers use
    Stats(stats::Stats),
    /// Stop one or more containers
    Stop(stop::Stop),
    /// Show the processes of a container
    Top(top::Top),
    /// Thaw all processes of one or more containers
    Unpause(pause::Pause),
    /// Change the limits of one or more containers, or when they are started again
    Update(update::Update),
    /// Wait until containers end, and print their statuses
    Wait(wait::Wait),
}

/// Performs the command.
pub(crate) fn run(args: &ContainerArgs, caller: &Caller) -> Result<ExitCode> {
    match &args.verb {
        Verb::Attach(args) => attach::run(args, caller),
        Verb::Commit(args) => commit::run(args, caller),
        Verb::Cp(args) => cp::run(args, caller),
        Verb::Create(args) => create::run(args, caller),
        Verb::Diff(args) => diff::run(args, caller),
        Verb::Exec(args) => exec::run(args, caller),
        Verb::Export(args) => export::run(args, caller),
        Verb::Inspect(args) => inspect::run_containers(args, caller),
        Verb::Kill(args) => kill::run(args, caller),
        Verb::Logs(args) => logs::run(args, caller),
        Verb::Ls(args) => ps::run(args, caller),
        Verb::Pause(args) => pause::run(args, caller),
        Verb::Port(args) => port::run(args, caller),
        Verb::Prune(args) => prune::containers(args, caller),
        Verb::Rename(args) => rename::run(args, caller),
        Verb::Restart(args) => stop::run_restart(args, caller),
        Verb::Rm(args) => rm::run(args, caller),
        Verb::Run(args) => run::run(args, caller),
        Verb::Start(args) => start::run(args, caller),
        Verb::Stats(args) => stats::run(args, caller),
        Verb::Stop(args) => stop::run(args, caller),
        Verb::Top(args) => top::run(args, caller),
        Verb::Unpause(args) => pause::run_unpause(args, caller),
        Verb::Update(args) => update::run(args, caller),
        Verb::Wait(args) => wait::run(args, caller),
    }
}
