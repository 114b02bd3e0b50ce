// SPDX-License-Identifier: Apache-2.0
//! `kelp port`: which ports of the host lead to a container.

use crate::caller::Caller;
use crate::container::find;
use crate::container::status;
use crate::error::{Error, Kind, Result};
use crate::output;
use clap::Args;
use std::net::SocketAddr;
use std::process::ExitCode;

/// List the ports of a container that are published
#[derive(Debug, Args)]
pub(crate) struct Port {
    /// Name or id
    container: String,
    /// Only this port of the container
    #[arg(value_name = "PORT[/PROTOCOL]")]
    port: Option<String>,
}

/// Performs the command.
pub(crate) fn run(args: &Port, caller: &Caller) -> Result<ExitCode> {
    let container = find::one(caller, &args.container)?;
    let status = status::of(caller, &container)?;
    let published = status.start.filter(|_| status.state.is_alive()).map(|start| start.published).unwrap_or_default();
    if let Some(port) = &args.port {
        let number = port.split('/').next().unwrap_or_default();
        if number.parse::<u16>().is_err() {
            let doing = format!("cannot show port {port} of container {}", container.record.name);
            return Err(Error::new(Kind::BadInput, doing, format!("{number:?} is not a port from 1 to 65535")));
        }
    }
    let wanted = args.port.as_ref().map(|port| if port.contains('/') { port.clone() } else { format!("{port}/tcp") });
    let mut found = false;
    for port in published {
        let inside = format!("{}/{}", port.container, port.protocol);
        let outside = SocketAddr::new(port.address, port.host);
        match &wanted {
            None => output::line(format!("{inside} -> {outside}"))?,
            Some(wanted) if *wanted == inside => output::line(outside)?,
            Some(_) => continue,
        }
        found = true;
    }
    match wanted {
        Some(wanted) if !found => {
            let doing = format!("cannot show port {wanted} of container {}", container.record.name);
            Err(Error::new(Kind::NotFound, doing, "it is not published"))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}
