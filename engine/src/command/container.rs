// SPDX-License-Identifier: Apache-2.0
//! `kelp container`: all that is done with containers, under one roof.

use super::{
    attach, commit, cp, create, diff, exec, export, inspect, kill, logs, pause, port, prune, ps, rename, rm, run,
    start, stats, stop, top, update, wait,
};
use crate::error::Result;
use crate::places::Places;
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
    Inspect(inspect::Inspect),
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
pub(crate) fn run(args: &ContainerArgs, places: &Places) -> Result<ExitCode> {
    match &args.verb {
        Verb::Attach(args) => attach::run(args, places),
        Verb::Commit(args) => commit::run(args, places),
        Verb::Cp(args) => cp::run(args, places),
        Verb::Create(args) => create::run(args, places),
        Verb::Diff(args) => diff::run(args, places),
        Verb::Exec(args) => exec::run(args, places),
        Verb::Export(args) => export::run(args, places),
        Verb::Inspect(args) => inspect::run(args, places),
        Verb::Kill(args) => kill::run(args, places),
        Verb::Logs(args) => logs::run(args, places),
        Verb::Ls(args) => ps::run(args, places),
        Verb::Pause(args) => pause::run(args, places),
        Verb::Port(args) => port::run(args, places),
        Verb::Prune(args) => prune::containers(args, places),
        Verb::Rename(args) => rename::run(args, places),
        Verb::Restart(args) => stop::run_restart(args, places),
        Verb::Rm(args) => rm::run(args, places),
        Verb::Run(args) => run::run(args, places),
        Verb::Start(args) => start::run(args, places),
        Verb::Stats(args) => stats::run(args, places),
        Verb::Stop(args) => stop::run(args, places),
        Verb::Top(args) => top::run(args, places),
        Verb::Unpause(args) => pause::run_unpause(args, places),
        Verb::Update(args) => update::run(args, places),
        Verb::Wait(args) => wait::run(args, places),
    }
}
