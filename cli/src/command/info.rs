// SPDX-License-Identifier: Apache-2.0
//! `kelp info`: what this machine gives to this user, and what is missing.

use crate::caller::Caller;
use crate::container::find;
use crate::container::status::{self, State};
use crate::error::Result;
use crate::output;
use crate::overlay::{self, Overlay};
use crate::template::Template;
use crate::{container, ids};
use clap::Args;
use kelp_bundles::IdMap;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Show what this machine gives to containers
#[derive(Debug, Args)]
pub(crate) struct Info {
    /// json, or a template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

/// Performs the command.
pub(crate) fn run(args: &Info, caller: &Caller) -> Result<ExitCode> {
    let mut counts = [0usize; 3];
    for container in find::all(caller)? {
        match status::of(caller, &container)?.state {
            State::Running | State::Restarting => counts[0] += 1,
            State::Paused => counts[1] += 1,
            _ => counts[2] += 1,
        }
    }
    let uname = kelp_sys::rustix::system::uname();
    let info = json!({
        "ServerVersion": env!("CARGO_PKG_VERSION"),
        "Containers": counts.iter().sum::<usize>(),
        "ContainersRunning": counts[0],
        "ContainersPaused": counts[1],
        "ContainersStopped": counts[2],
        "KernelVersion": uname.release().to_string_lossy(),
        "OSType": "linux",
        // The kernel's word, as Docker has it here: x86_64.
        "Architecture": uname.machine().to_string_lossy(),
        "DockerRootDir": caller.places.store,
        "RunDir": caller.places.run,
        "Ids": ids(),
        "Overlay": overlay(caller)?,
        "Network": network(),
        "Programs": {
            "shim": program(caller, "kelp-shim", "KELP_SHIM"),
            "runtime": program(caller, "kelp-runtime", "KELP_RUNTIME"),
        },
    });
    match args.format.as_deref() {
        Some("json") => output::json_line(&info)?,
        Some(text) => output::line(Template::parse(text)?.render(&info)?)?,
        None => info.as_object().into_iter().flatten().try_for_each(|(key, value)| show(key, value))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn show(key: &str, value: &Value) -> Result<()> {
    match value {
        Value::String(text) => output::line(format!("{key}: {text}")),
        Value::Object(map) => {
            output::line(format!("{key}:"))?;
            map.iter().try_for_each(|(key, value)| show(&format!("  {key}"), value))
        }
        other => output::line(format!("{key}: {other}")),
    }
}

fn ids() -> String {
    match ids::of_caller() {
        Ok(IdMap::Host) => "all, no user namespace".to_owned(),
        Ok(IdMap::Ranges { uids, .. }) => {
            format!("{} in a user namespace", uids.iter().map(|range| u64::from(range.count)).sum::<u64>())
        }
        Ok(IdMap::Single { because, .. }) => format!("one: {because}"),
        Err(error) => error.to_string(),
    }
}

fn overlay(caller: &Caller) -> Result<String> {
    crate::places::make_private(&caller.places.store)?;
    Ok(match overlay::probe(caller)? {
        Overlay::Works => "native".to_owned(),
        Overlay::Refused { because, .. } => format!("none, copies instead: {because}"),
    })
}

fn network() -> String {
    match kelp_network::slirp::available() {
        Ok(()) => "slirp4netns".to_owned(),
        Err(error) => format!("none: {}", error.because),
    }
}

fn program(caller: &Caller, name: &str, variable: &str) -> String {
    match container::start::find_program(caller, name, variable) {
        Ok(path) if path.is_file() => path.display().to_string(),
        _ => "missing".to_owned(),
    }
}
