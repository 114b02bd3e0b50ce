// SPDX-License-Identifier: Apache-2.0
//! `kelp inspect`: all that is known, in the JSON that Docker's users read.

use crate::caller::Caller;
use crate::container::find::{self, Container};
use crate::container::record::Storage;
use crate::container::status::{self, State, Status};
use crate::error::{Error, Kind, Result};
use crate::output;
use crate::request::{restart, signal};
use crate::template::Template;
use crate::volume;
use clap::Args;
use kelp_network::slirp;
use serde_json::{Map, Value, json};
use std::process::ExitCode;

/// Show all that is known of containers, images and volumes
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// json, or a template such as '{{.State.Pid}}'
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Only look for this: container, image or volume
    #[arg(long, value_name = "TYPE", value_parser = ["container", "image", "volume"], hide_possible_values = true)]
    r#type: Option<String>,
    /// Also show sizes
    #[arg(short, long, hide = true)]
    size: bool,
    /// Names or ids
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// Performs the command.
pub(crate) fn run(args: &Inspect, caller: &Caller) -> Result<ExitCode> {
    let wants = |kind: &str| args.r#type.as_deref().is_none_or(|wanted| wanted == kind);
    show(&args.names, |name| object(caller, name, &wants), args.format.as_deref())
}

/// The first that has this name: a container, an image, a volume.
fn object(caller: &Caller, name: &str, wants: &impl Fn(&str) -> bool) -> Result<Value> {
    if wants("container") {
        match find::one(caller, name) {
            Ok(container) => return describe(caller, &container),
            Err(error) if error.kind() != Kind::NotFound => return Err(error),
            Err(error) if !wants("image") => return Err(error),
            Err(_) => {}
        }
    }
    if wants("image")
        && let Some(image) = crate::image::inspect(caller, name, None)?
    {
        return Ok(image);
    }
    if wants("volume")
        && let Some(volume) = volume::find(caller, name)?
    {
        return Ok(json!({"Name": volume.name, "Driver": "local", "Mountpoint": volume.data(),
            "CreatedAt": volume.record.created, "Labels": volume.record.labels, "Options": {}, "Scope": "local"}));
    }
    Err(Error::new(Kind::NotFound, format!("cannot inspect {name}"), format!("no such object: {name}"))
        .hint("kelp ps -a, kelp images and kelp volume ls show what there is"))
}

/// Prints objects as a JSON list, or each through the template. What is not there is told after those that are.
pub(crate) fn show(names: &[String], find: impl Fn(&str) -> Result<Value>, format: Option<&str>) -> Result<ExitCode> {
    let (mut objects, mut errors) = (Vec::new(), Vec::new());
    for name in names {
        match find(name) {
            Ok(object) => objects.push(object),
            Err(error) => errors.push(error),
        }
    }
    print(&objects, format)?;
    errors.iter().for_each(output::error);
    Ok(errors.last().map_or(ExitCode::SUCCESS, |error| ExitCode::from(error.exit_status())))
}

fn print(objects: &[Value], format: Option<&str>) -> Result<()> {
    match format {
        None | Some("") => output::json(&objects)?,
        Some("json") => output::json_line(&objects)?,
        Some(text) => {
            let template = Template::parse(text)?;
            objects.iter().try_for_each(|object| output::line(template.render(object)?))?;
        }
    }
    Ok(())
}

fn describe(caller: &Caller, container: &Container) -> Result<Value> {
    let (record, folder) = (&container.record, &container.folder);
    let status = status::of(caller, container)?;
    let (program, arguments) = record.command.split_first().map_or(("", [].as_slice()), |(first, rest)| (first, rest));
    Ok(json!({
        "Id": record.id,
        "Created": record.created,
        "Path": program,
        "Args": arguments,
        "State": state(&status),
        "Image": record.image_id,
        "ResolvConfPath": folder.join("resolv.conf"),
        "HostnamePath": folder.join("hostname"),
        "HostsPath": folder.join("hosts"),
        "LogPath": folder.join("log"),
        "Name": format!("/{}", record.name),
        "Driver": driver(container),
        "Platform": "linux",
        "OciConfigPath": folder.join("config.json"),
        "HostConfig": host_config(container),
        "GraphDriver": { "Name": driver(container), "Data": { "UpperDir": folder.join("upper") } },
        "Mounts": record.mounts,
        "Config": config(container),
        "NetworkSettings": network(container, &status),
    }))
}

fn driver(container: &Container) -> &'static str {
    match container.record.storage {
        Storage::Overlay => "overlay",
        Storage::Copy => "copy",
    }
}

fn state(status: &Status) -> Value {
    let never = "0001-01-01T00:00:00Z";
    let exit = status.exit.as_ref();
    json!({
        "Status": status.state.word(),
        "Running": matches!(status.state, State::Running | State::Paused),
        "Paused": status.state == State::Paused,
        "Restarting": status.state == State::Restarting,
        "Dead": status.state == State::Dead,
        "OOMKilled": exit.is_some_and(|exit| exit.oom),
        "Pid": status.pid,
        "ExitCode": status.exit_code(),
        "Error": exit.and_then(|exit| exit.error.as_deref()).unwrap_or_default(),
        "StartedAt": status.start.as_ref().map_or(never, |start| start.started.as_str()),
        "FinishedAt": exit.map_or(never, |exit| exit.finished.as_str()),
    })
}

fn host_config(container: &Container) -> Value {
    let record = &container.record;
    let (policy, count) = restart::shown(record.restart);
    json!({
        "NetworkMode": record.network,
        "AutoRemove": record.auto_remove,
        "Privileged": record.privileged,
        "RestartPolicy": { "Name": policy, "MaximumRetryCount": count },
        "PortBindings": bindings(record.ports.iter().map(|port| {
            let host = match &port.host {
                kelp_network::port::HostPort::Exactly(port) => port.to_string(),
                _ => String::new(),
            };
            (format!("{}/{}", port.container, port.protocol), port.address().to_string(), host)
        })),
        "Runtime": record.runtime.as_ref().map_or_else(|| "kelp".to_owned(), |path| path.display().to_string()),
        "LogConfig": log_config(record.log),
        "Init": record.init,
    })
}

/// In Docker's words: a log of ours is bounded like one of `local`, and read by `logs` like any.
fn log_config(limits: kelp_shim::LogLimits) -> Value {
    match limits.max_size {
        0 => json!({ "Type": "none", "Config": {} }),
        size => {
            json!({ "Type": "json-file", "Config": { "max-size": size.to_string(), "max-file": limits.files.to_string() } })
        }
    }
}

fn config(container: &Container) -> Value {
    let record = &container.record;
    let exposed: Map<String, Value> = record.exposed.iter().map(|port| (port.clone(), json!({}))).collect();
    json!({
        "Hostname": record.hostname,
        "User": record.user,
        "Tty": record.tty,
        "OpenStdin": record.interactive,
        "Env": record.env,
        "Cmd": record.command,
        "Image": record.image,
        "WorkingDir": record.working_dir,
        "ExposedPorts": exposed,
        "Labels": record.labels,
        "StopSignal": signal::name(record.stop_signal),
        "StopTimeout": record.stop_timeout,
    })
}

fn network(container: &Container, status: &Status) -> Value {
    let record = &container.record;
    let alive = status.state.is_alive();
    let published = status.start.as_ref().filter(|_| alive).map(|start| start.published.as_slice()).unwrap_or_default();
    let has_address = alive && record.network == crate::request::network::Network::Slirp4netns;
    let address = if has_address { slirp::ADDRESS.to_string() } else { String::new() };
    let gateway = if has_address { slirp::GATEWAY.to_string() } else { String::new() };
    json!({
        "Ports": bindings(published.iter().map(|port| {
            (format!("{}/{}", port.container, port.protocol), port.address.to_string(), port.host.to_string())
        })),
        "IPAddress": address,
        "Gateway": gateway,
        "Networks": { record.network.to_string(): { "IPAddress": address, "Gateway": gateway } },
    })
}

/// `{"80/tcp": [{"HostIp": …, "HostPort": …}]}`.
fn bindings(ports: impl Iterator<Item = (String, String, String)>) -> Value {
    let mut map: Map<String, Value> = Map::new();
    for (inside, address, port) in ports {
        let binding = json!({ "HostIp": address, "HostPort": port });
        match map.entry(inside).or_insert_with(|| json!([])) {
            Value::Array(list) => list.push(binding),
            other => *other = json!([binding]),
        }
    }
    Value::Object(map)
}
