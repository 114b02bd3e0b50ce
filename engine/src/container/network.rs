// SPDX-License-Identifier: Apache-2.0
//! Which network a container gets, and bringing it up between the shim's “born” and its “started”.

use super::record::Record;
use crate::caller::Caller;
use crate::error::{Doing, Error, Kind, Result};
use crate::request::Networking;
use crate::request::network::Network;
use kelp_network::slirp::{self, Slirp, Starting};
use kelp_network::{Port, Published};
use kelp_sys::rustix::pipe::{PipeFlags, pipe_with};
use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

/// The user's choice; without one slirp4netns where it works, else none, said in one line.
pub fn decide(caller: &Caller, flags: &Networking) -> Result<Network> {
    let publishes = !flags.publish.is_empty() || flags.publish_all;
    match flags.network {
        Some(network) => {
            if publishes && network != Network::Slirp4netns {
                caller.note(format!("no ports are published with --network {network}"));
            }
            Ok(network)
        }
        None => match slirp::available() {
            Ok(()) => Ok(Network::Slirp4netns),
            Err(error) if publishes => Err(Error::from(error).while_doing("cannot publish ports")),
            Err(error) => {
                let hint = error.hint.as_deref().unwrap_or("see kelp info");
                caller.note(format!("no network: {} ({hint})", error.because));
                Ok(Network::None)
            }
        },
    }
}

/// What connects a container, how far it has come.
#[derive(Debug)]
pub enum Uplink {
    /// Nothing does.
    None,
    /// It can be started.
    Prepared {
        /// Its life line: when the shim's end closes, slirp4netns ends.
        theirs: OwnedFd,
    },
    /// It has been started, and is started once more if it does not come up: init may have hidden at the wrong moment, as
    /// the kernel has it whenever a process changes its user.
    Begun {
        /// How far it has come.
        starting: Result<Starting, kelp_network::Error>,
        /// Its life line.
        theirs: OwnedFd,
    },
}

impl Uplink {
    /// Starts it for a container that is still being made: both take the same few milliseconds, on two processors.
    ///
    /// Not where the user sets the network's sysctls: some of them are what a device has that is made after them.
    pub fn begin(&mut self, caller: &Caller, record: &Record, pid: i32) {
        if record.network_sysctls {
            return;
        }
        *self = match std::mem::replace(self, Uplink::None) {
            Uplink::Prepared { theirs } => match theirs.try_clone() {
                Ok(copy) => Uplink::Begun { starting: Starting::begin(pid, copy, &socket(caller, record)), theirs },
                Err(_) => Uplink::Prepared { theirs },
            },
            other => other,
        };
    }
}

/// Where it hears which ports to forward.
fn socket(caller: &Caller, record: &Record) -> PathBuf {
    caller.places.run.join(&record.id).join("slirp.sock")
}

/// What must be there before the container is: its ports free, and the life line.
pub fn prepare(record: &Record) -> Result<(Uplink, Vec<OwnedFd>)> {
    if record.network != Network::Slirp4netns {
        return Ok((Uplink::None, Vec::new()));
    }
    for port in &record.ports {
        port.probe()?;
    }
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).doing(|| "cannot make a pipe for the network")?;
    Ok((Uplink::Prepared { theirs: read }, vec![write]))
}

/// Connects the network namespace of `pid`, unless that is under way, waits until it is, and publishes the record's ports.
pub fn connect(caller: &Caller, record: &Record, pid: i32, uplink: Uplink) -> Result<Vec<Published>> {
    let (begun, theirs) = match uplink {
        Uplink::None => return Ok(Vec::new()),
        Uplink::Begun { starting, theirs } => (starting.and_then(Starting::finish).ok(), theirs),
        Uplink::Prepared { theirs } => (None, theirs),
    };
    tracing::debug!(begun = begun.is_some(), "slirp4netns");
    let mut slirp = match begun {
        Some(slirp) => slirp,
        None => {
            let folder = caller.places.run.join(&record.id);
            fs::create_dir_all(&folder).doing(|| format!("cannot make {}", folder.display()))?;
            Slirp::start(pid, theirs, &socket(caller, record))?
        }
    };
    let published = record.ports.iter().map(|port| slirp.publish(port)).collect::<Result<Vec<_>, _>>()?;
    for warning in slirp.warnings() {
        caller.note(warning);
    }
    Ok(published)
}

/// How long the uplink of a container that has ended may take to end.
const UPLINK_MAX: Duration = Duration::from_secs(10);

/// The same for a container that was made anew by its policy: the former uplink still has the ports until it has ended.
pub fn reconnect(caller: &Caller, record: &Record, pid: i32, uplink: OwnedFd) -> Result<Vec<Published>> {
    if record.network != Network::Slirp4netns {
        return Ok(Vec::new());
    }
    if !Slirp::at(&socket(caller, record)).await_end(UPLINK_MAX) {
        let doing = format!("cannot connect container {} again", record.name);
        return Err(Error::new(Kind::Other, doing, "the slirp4netns of its last run does not end"));
    }
    connect(caller, record, pid, Uplink::Prepared { theirs: uplink })
}

/// Waits until nothing listens on the ports of a container that has ended: who gave them to it may give them to another.
pub fn await_release(caller: &Caller, record: &Record) {
    if record.network == Network::Slirp4netns
        && !record.ports.is_empty()
        && !Slirp::at(&socket(caller, record)).await_end(UPLINK_MAX)
    {
        caller.note(format_args!("slirp4netns of container {} does not end: its ports stay taken", record.name));
    }
}

/// Whether a kernel parameter is the network's, in either spelling.
pub fn is_sysctl(key: &str) -> bool {
    key.starts_with("net.") || key.starts_with("net/")
}

/// The ports to publish: the user's, and with `-P` those the image exposes.
pub fn ports(flags: &Networking, network: Network, exposed: &[String]) -> Result<Vec<Port>> {
    if network != Network::Slirp4netns {
        return Ok(Vec::new());
    }
    let mut ports = flags.publish.concat();
    if flags.publish_all {
        for text in exposed {
            ports.extend(kelp_network::port::parse(text)?);
        }
    }
    Ok(ports)
}

/// `80/tcp` for each port of the image and of `--expose`.
pub fn exposed(flags: &Networking, image: impl IntoIterator<Item = String>) -> Result<Vec<String>> {
    let mut exposed: Vec<String> = image.into_iter().collect();
    for text in &flags.expose {
        for port in kelp_network::port::parse(text)? {
            if port.address.is_some() {
                return Err(Error::new(Kind::BadInput, format!("cannot expose {text}"), "expected PORT[/udp]"));
            }
            exposed.push(format!("{}/{}", port.container, port.protocol));
        }
    }
    exposed.sort();
    exposed.dedup();
    Ok(exposed)
}
