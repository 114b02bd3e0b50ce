// SPDX-License-Identifier: Apache-2.0
//! `kelp version`.

use crate::caller::Caller;
use crate::error::Result;
use clap::Args;
use kelp_bundles::Platform;
use serde_json::json;
use std::process::ExitCode;

/// Show the version
#[derive(Debug, Args)]
pub(crate) struct Version {
    /// json, or a template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

/// Performs the command.
pub(crate) fn run(args: &Version, _caller: &Caller) -> Result<ExitCode> {
    let uname = kelp_sys::rustix::system::uname();
    let version = json!({
        "Version": env!("CARGO_PKG_VERSION"),
        "Os": "linux",
        // Go's word, as Docker has it: amd64.
        "Arch": Platform::host().architecture,
        "KernelVersion": uname.release().to_string_lossy(),
    });
    // Scripts ask Docker for {{.Server.Version}}; here client and server are one.
    let all = json!({ "Client": version, "Server": version });
    match args.format.as_deref() {
        Some("json") => crate::output::json_line(&all)?,
        Some(text) => crate::output::line(crate::template::Template::parse(text)?.render(&all)?)?,
        None => {
            let template = "kelp {{.Version}} on {{.Os}} {{.KernelVersion}}, {{.Arch}}";
            crate::output::line(crate::template::Template::parse(template)?.render(&version)?)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
