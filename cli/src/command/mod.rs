// SPDX-License-Identifier: Apache-2.0
//! The commands: one file each, with its arguments (`struct`, derive `clap::Args`) and `run(args, places)`.
//!
//! A new command is a file here, a variant of [`Command`] and a line in [`perform`].

mod attach;
mod bundle;
mod commit;
mod completion;
mod container;
mod cp;
mod create;
mod diff;
mod events;
mod exec;
mod export;
mod history;
mod image;
mod images;
mod import;
mod info;
mod inspect;
mod kill;
mod load;
mod login;
mod logs;
mod man;
mod manifest;
mod pause;
mod port;
mod prune;
mod ps;
mod pull;
mod push;
mod reconnect;
mod rename;
mod rm;
mod rmi;
mod run;
mod save;
mod search;
mod start;
mod stats;
mod stop;
mod system;
mod tag;
mod top;
mod update;
mod version;
mod volume;
mod wait;

use crate::caller::Caller;
use crate::docker_config::DockerConfig;
use crate::error::{Doing, Result};
use crate::output::{self, Table};
use crate::template::Template;
use clap::Subcommand;
use kelp_shim::client::DetachKeys;
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

/// All commands, in the order `kelp --help` shows them. The options of one are set up when it is the one that runs.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum Command {
    /// Run a program in a new container
    Run(Box<run::Run>),
    /// Run a program in a running container
    Exec(exec::Exec),
    /// List containers
    #[command(visible_alias = "list")]
    Ps(ps::Ps),
    /// Show what a container's program has written
    Logs(logs::Logs),
    /// Attach to a running container
    Attach(attach::Attach),
    /// Make a container without starting it
    Create(Box<create::Create>),
    /// Start one or more stopped containers
    Start(start::StartArgs),
    /// Stop one or more containers
    Stop(stop::Stop),
    /// Stop one or more containers and start them again
    Restart(stop::Stop),
    /// Send a signal to one or more containers
    Kill(kill::Kill),
    /// Freeze all processes of one or more containers
    Pause(pause::Pause),
    /// Thaw all processes of one or more containers
    Unpause(pause::Pause),
    /// Wait until containers end, and print their statuses
    Wait(wait::Wait),
    /// Remove one or more containers
    Rm(rm::Rm),
    /// Give a container another name
    Rename(rename::Rename),
    /// Show what happens to containers, images and volumes
    Events(events::Events),
    /// Show the processes of a container
    Top(top::Top),
    /// Show what containers use
    Stats(stats::Stats),
    /// Change the limits of one or more containers, or when they are started again
    Update(update::Update),
    /// List the ports of a container that are published
    Port(port::Port),
    /// Show all that is known of containers, images and volumes
    Inspect(inspect::Inspect),
    /// List images
    Images(images::Images),
    /// Load an image from a tar archive or an OCI layout
    Load(load::Load),
    /// Download an image from a registry
    Pull(pull::Pull),
    /// Upload an image to a registry
    Push(push::Push),
    /// Save images to a tar archive or an OCI layout
    Save(save::Save),
    /// Show how an image was built
    History(history::History),
    /// Search a registry for images
    Search(search::Search),
    /// List the tags of a repository of a registry
    Tags(search::Tags),
    /// Look at manifests and lists of images
    Manifest(manifest::Manifest),
    /// Log in to a registry
    Login(login::Login),
    /// Log out of a registry
    Logout(login::Logout),
    /// Make an image of a tar archive of files
    Import(import::Import),
    /// Write the files of a container as a tar archive
    Export(export::Export),
    /// Copy files between a container and this machine
    Cp(cp::Cp),
    /// Show what a container changed of its image
    Diff(diff::Diff),
    /// Make an image of a container
    Commit(commit::Commit),
    /// Write an OCI bundle of an image
    Bundle(bundle::Bundle),
    /// Remove one or more images
    Rmi(rmi::Rmi),
    /// Give an image another name
    Tag(tag::Tag),
    /// Manage images
    Image(image::ImageArgs),
    /// Manage containers
    Container(container::ContainerArgs),
    /// Manage volumes
    Volume(volume::VolumeArgs),
    /// Show what takes how much space, and remove what nothing uses
    System(system::SystemArgs),
    /// Show what this machine gives to containers
    Info(info::Info),
    /// Show the version
    Version(version::Version),
    /// Print the completion of a shell
    Completion(completion::Completion),
    /// Show a manual page, or write them all
    Man(man::Man),
    /// Connect a container that was made anew by its restart policy
    #[command(hide = true)]
    Reconnect(reconnect::Reconnect),
}

/// Performs one command; the status is what the process leaves with.
pub(crate) fn perform(command: &Command, caller: &Caller) -> Result<ExitCode> {
    let _span = tracing::info_span!("command", store = %caller.places.store.display()).entered();
    let done = perform_one(command, caller);
    if let Err(error) = &done {
        // Debug escapes what an image or a registry may have put in.
        tracing::error!(doing = ?error.doing(), because = ?error.because());
    }
    done
}

fn perform_one(command: &Command, caller: &Caller) -> Result<ExitCode> {
    match command {
        Command::Run(args) => run::run(args, caller),
        Command::Exec(args) => exec::run(args, caller),
        Command::Ps(args) => ps::run(args, caller),
        Command::Logs(args) => logs::run(args, caller),
        Command::Attach(args) => attach::run(args, caller),
        Command::Create(args) => create::run(args, caller),
        Command::Start(args) => start::run(args, caller),
        Command::Stop(args) => stop::run(args, caller),
        Command::Restart(args) => stop::run_restart(args, caller),
        Command::Kill(args) => kill::run(args, caller),
        Command::Pause(args) => pause::run(args, caller),
        Command::Unpause(args) => pause::run_unpause(args, caller),
        Command::Wait(args) => wait::run(args, caller),
        Command::Rm(args) => rm::run(args, caller),
        Command::Rename(args) => rename::run(args, caller),
        Command::Events(args) => events::run(args, caller),
        Command::Top(args) => top::run(args, caller),
        Command::Stats(args) => stats::run(args, caller),
        Command::Update(args) => update::run(args, caller),
        Command::Port(args) => port::run(args, caller),
        Command::Inspect(args) => inspect::run(args, caller),
        Command::Images(args) => images::run(args, caller),
        Command::Load(args) => load::run(args, caller),
        Command::Pull(args) => pull::run(args, caller),
        Command::Push(args) => push::run(args, caller),
        Command::Save(args) => save::run(args, caller),
        Command::History(args) => history::run(args, caller),
        Command::Search(args) => search::run(args, caller),
        Command::Tags(args) => search::run_tags(args, caller),
        Command::Manifest(args) => manifest::run(args, caller),
        Command::Login(args) => login::run(args, caller),
        Command::Logout(args) => login::run_logout(args, caller),
        Command::Import(args) => import::run(args, caller),
        Command::Export(args) => export::run(args, caller),
        Command::Cp(args) => cp::run(args, caller),
        Command::Diff(args) => diff::run(args, caller),
        Command::Commit(args) => commit::run(args, caller),
        Command::Bundle(args) => bundle::run(args, caller),
        Command::Rmi(args) => rmi::run(args, caller),
        Command::Tag(args) => tag::run(args, caller),
        Command::Image(args) => image::run(args, caller),
        Command::Container(args) => container::run(args, caller),
        Command::Volume(args) => volume::run(args, caller),
        Command::System(args) => system::run(args, caller),
        Command::Info(args) => info::run(args, caller),
        Command::Version(args) => version::run(args, caller),
        Command::Completion(args) => completion::run(args, caller),
        Command::Man(args) => man::run(args, caller),
        Command::Reconnect(args) => reconnect::run(args, caller),
    }
}

/// Does the same to each; an error is told and the next one follows.
pub(crate) fn each(names: &[String], act: impl Fn(&str) -> Result<()>) -> Result<ExitCode> {
    let mut status = ExitCode::SUCCESS;
    for name in names {
        if let Err(error) = act(name) {
            output::error(&error);
            status = ExitCode::from(error.exit_status());
        }
    }
    Ok(status)
}

/// How many are worked on at once: it is the disk that is waited for.
const AT_ONCE: usize = 8;

/// The same as `each` for what does not depend on each other: some at once; names are printed, and errors told, in order.
/// `act` says whether the name is to be printed.
pub(crate) fn each_at_once(names: &[String], act: impl Fn(&str) -> Result<bool> + Sync) -> Result<ExitCode> {
    let next = AtomicUsize::new(0);
    let (sender, done) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(names.len()) {
            let (sender, next, act) = (sender.clone(), &next, &act);
            scope.spawn(move || {
                while let Some((at, name)) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, names.get(at)?)))
                {
                    // Nobody listens any more once standard output is closed; what was begun is still done.
                    sender.send((at, act(name))).ok();
                }
            });
        }
        drop(sender);
        tell_in_order(names, &done)
    })
}

/// Prints each result as soon as all before it are there.
fn tell_in_order(names: &[String], done: &mpsc::Receiver<(usize, Result<bool>)>) -> Result<ExitCode> {
    let mut status = ExitCode::SUCCESS;
    let mut early = BTreeMap::new();
    for (at, name) in names.iter().enumerate() {
        let result = loop {
            match early.remove(&at) {
                Some(result) => break result,
                None => match done.recv() {
                    Ok((at, result)) => drop(early.insert(at, result)),
                    Err(_) => return Ok(status),
                },
            }
        };
        match result {
            Ok(true) => output::line(name)?,
            Ok(false) => {}
            Err(error) => {
                output::error(&error);
                status = ExitCode::from(error.exit_status());
            }
        }
    }
    Ok(status)
}

/// The keys that detach: what `--detach-keys` says, else `detachKeys` of Docker's config.json, else ctrl-p ctrl-q.
pub(crate) fn detach_keys(option: Option<&DetachKeys>, caller: &Caller) -> Result<DetachKeys> {
    match option {
        Some(keys) => Ok(keys.clone()),
        None => match DockerConfig::read(caller)?.text("detachKeys") {
            Some(text) => Ok(text.parse::<DetachKeys>()?),
            None => Ok(DetachKeys::default()),
        },
    }
}

/// The format of a list: what `--format` says, else what Docker's config.json says under `name`.
pub(crate) fn format(caller: &Caller, asked: Option<&str>, name: &str) -> Result<Option<String>> {
    match asked {
        Some(format) => Ok(Some(format.to_owned())),
        None => Ok(DockerConfig::read(caller)?.text(name).map(str::to_owned)),
    }
}

/// Rows as `--format` asks: `json`, `table`, a template: each on its line, or with `table ` before it under headings,
/// aligned. What is not said, or no more than `table`, is the template `usual`.
///
/// A heading is the field's name in capitals, unless `headings` has another for it.
pub(crate) fn render_rows(
    format: Option<&str>,
    usual: &str,
    mut rows: impl Iterator<Item = Value>,
    headings: &[(&str, &str)],
) -> Result<()> {
    let template = match format {
        Some("json") => return rows.try_for_each(|row| output::json_line(&row)),
        None | Some("" | "table") => usual,
        Some(template) => template,
    };
    let Some(columns) = template.strip_prefix("table ") else {
        let template = Template::parse(template)?;
        return rows.try_for_each(|row| output::line(template.render(&row)?));
    };
    let columns = Template::parse(columns)?;
    let title = |field: &str| {
        let given = headings.iter().find(|(name, _)| *name == field).map(|(_, title)| (*title).to_owned());
        given.unwrap_or_else(|| field.to_uppercase())
    };
    let cells = |line: String| line.split('\t').map(str::to_owned).collect::<Vec<_>>();
    let mut table = Table::with_headings(cells(columns.headings(title)));
    for row in rows {
        table.row(cells(columns.render(&row)?));
    }
    table.print()
}

/// Asks, and reads the answer from stdin, whatever that is: scripts say `yes | kelp system prune`. Its end means no.
pub(crate) fn confirm(question: &str) -> Result<bool> {
    output::complaint(&format!("{question} [y/N] "))?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).doing(|| "cannot read the answer")?;
    if answer.is_empty() {
        output::complaint("\n")?;
    }
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
