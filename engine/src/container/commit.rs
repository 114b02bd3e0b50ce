// SPDX-License-Identifier: Apache-2.0
//! A container becomes an image.

use super::find::{self, Container};
use super::freeze;
use crate::caller::Caller;
use crate::error::Result;
use crate::events;
use crate::request::{Commit, env};
use crate::{ids, time};
use kelp_bundles::config::{ImageConfig, RunConfig};
use kelp_bundles::{Image, Store, commit};
use serde_json::json;

/// Makes the image.
///
/// # Errors
/// There is no such container; the name is none; a change means nothing; the disk is full.
pub fn commit(caller: &Caller, asked: &Commit) -> Result<Image> {
    let container = find::one(caller, &asked.container)?;
    let make = || make(asked, caller, &container);
    let image = if asked.pause { freeze::during(caller, &container, make)? } else { make()? };
    let extra = [("imageID", image.id.to_string()), ("imageRef", asked.name.clone().unwrap_or_default())];
    events::container_with(caller, &container.record, "commit", extra);
    Ok(image)
}

fn make(asked: &Commit, caller: &Caller, container: &Container) -> Result<Image> {
    let wanted = commit::Commit {
        name: asked.name.as_deref().map(str::parse).transpose()?,
        created: time::now(),
        created_by: container.record.command_line(),
        author: asked.author.clone(),
        comment: asked.comment.clone(),
        configure: &|config| configure(config, container),
        changes: asked.changes.clone(),
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
