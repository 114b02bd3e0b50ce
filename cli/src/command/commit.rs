// SPDX-License-Identifier: Apache-2.0
//! `kelp commit`: a container becomes an image.

use crate::caller::Caller;
use crate::container::find::{self, Container};
use crate::container::runtime::Runtime;
use crate::container::status::{self, State};
use crate::error::Result;
use crate::events;
use crate::request::{change, env};
use crate::{ids, output, time};
use clap::{ArgAction, Args};
use kelp_bundles::config::{ImageConfig, RunConfig};
use kelp_bundles::{Image, Store, commit};
use serde_json::json;
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
    let container = find::one(caller, &args.container)?;
    let runtime = Runtime::of(caller, &container.record);
    let wanted = args.pause && status::of(caller, &container)?.state == State::Running;
    let frozen = wanted
        && match runtime.pause() {
            Ok(()) => true,
            // Without a cgroup of its own it cannot be.
            Err(error) => {
                if status::of(caller, &container)?.state == State::Running {
                    output::note(format!("{} runs on meanwhile: {}", args.container, error.because()));
                }
                false
            }
        };
    let made = make(args, caller, &container);
    let thawed = if frozen { thaw(caller, &container, &runtime) } else { Ok(()) };
    let image = made?;
    thawed?;
    let reference = args.name.clone().unwrap_or_default();
    let extra = [("imageID", image.id.to_string()), ("imageRef", reference)];
    events::container_with(caller, &container.record, "commit", extra);
    output::line(&image.id)?;
    Ok(ExitCode::SUCCESS)
}

/// Somebody may have ended or thawed it meanwhile: then there is nothing to do.
fn thaw(caller: &Caller, container: &Container, runtime: &Runtime<'_>) -> Result<()> {
    match runtime.resume() {
        Err(error) if status::of(caller, container)?.state == State::Paused => Err(error),
        _ => Ok(()),
    }
}

fn make(args: &Commit, caller: &Caller, container: &Container) -> Result<Image> {
    let wanted = commit::Commit {
        name: args.name.as_deref().map(str::parse).transpose()?,
        created: time::now(),
        created_by: container.record.command_line(),
        author: args.author.clone(),
        comment: args.message.clone(),
        configure: &|config| configure(config, container),
        changes: args.change.clone(),
    };
    let store = Store::open(&caller.places.store)?;
    Ok(commit::commit(&store, &container.folder, &container.files(), &ids::of_caller()?, &wanted)?)
}

/// As Docker does it: what the container was run with is what the image runs.
fn configure(config: &mut ImageConfig, container: &Container) {
    let record = &container.record;
    let mut run = config.run();
    program(&mut run, &record.command);
    let given = run.env.clone().unwrap_or_default();
    let has = |key: &str| given.iter().any(|entry| env::key(entry) == key);
    // PATH and HOME are ours where the image says nothing of them.
    let ours = |entry: &&String| matches!(env::key(entry), "PATH" | "HOME") && !has(env::key(entry));
    run.env = Some(record.env.iter().filter(|entry| !ours(entry)).cloned().collect());
    run.user = Some(record.user.clone()).filter(|user| !user.is_empty());
    run.working_dir = Some(record.working_dir.display().to_string());
    run.labels = Some(record.labels.clone()).filter(|labels| !labels.is_empty());
    let ports = record.exposed.iter().map(|port| (port.clone(), json!({})));
    run.exposed_ports = Some(ports.collect()).filter(|ports: &std::collections::BTreeMap<_, _>| !ports.is_empty());
    config.config = Some(run);
}

/// Keeps the image's entrypoint where the container's program begins with it.
fn program(run: &mut RunConfig, command: &[String]) {
    let entrypoint = run.entrypoint.clone().unwrap_or_default();
    match command.strip_prefix(entrypoint.as_slice()) {
        Some(rest) => run.cmd = Some(rest.to_vec()).filter(|words| !words.is_empty()),
        None => {
            run.entrypoint = None;
            run.cmd = Some(command.to_vec());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_run_is_what_the_image_runs() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let image =
            || RunConfig { entrypoint: Some(words("/entry x")), cmd: Some(words("old")), ..RunConfig::default() };
        let mut run = image();
        program(&mut run, &words("/entry x new words"));
        assert_eq!((run.entrypoint, run.cmd), (Some(words("/entry x")), Some(words("new words"))));
        let mut run = image();
        program(&mut run, &words("sh -c y"));
        assert_eq!((run.entrypoint, run.cmd), (None, Some(words("sh -c y"))));
    }
}
