// SPDX-License-Identifier: Apache-2.0
//! Published ports: what `-p` means, and why a port of the host cannot be had.
//!
//! The grammar is Docker's: `[IP:][HOST:]CONTAINER[/PROTOCOL]`, where HOST and CONTAINER are a port or a range of ports
//! `FIRST-LAST`, and a missing (or empty) HOST means “any free port”. An IPv6 address is written in brackets.

use crate::{Error, Kind, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// How long a port that is taken is waited for. What served a container that was removed a moment ago ends by itself, and
/// nobody waits for it: who gives its port to the next container must not lose the race.
const PATIENCE: Duration = Duration::from_millis(300);

/// What travels through the port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP, when nothing is said.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        })
    }
}

/// Which port of the host is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostPort {
    /// Whichever is free.
    Free,
    /// This one.
    Exactly(u16),
    /// The first free one of these: Docker's `8000-8010:80`.
    FirstFree(RangeInclusive<u16>),
}

/// One port of the container that the host shall forward to, as wanted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Port {
    /// The host's address to listen on; all of them when absent.
    pub address: Option<IpAddr>,
    /// The host's port to listen on.
    pub host: HostPort,
    /// The port inside.
    pub container: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
}

/// A port that is forwarded. Displayed as Docker's `ps` does: `0.0.0.0:8080->80/tcp`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Published {
    /// The host's address that listens.
    pub address: IpAddr,
    /// The host's port that listens.
    pub host: u16,
    /// The port inside.
    pub container: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
}

impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = SocketAddr::new(self.address, self.host);
        write!(f, "{at}->{}/{}", self.container, self.protocol)
    }
}

/// The ports that one `-p` argument asks for: more than one if it has a range.
pub fn parse(spec: &str) -> Result<Vec<Port>> {
    parse_words(spec).map_err(|because| {
        Error::new(Kind::BadInput, format!("publish ports as in “{spec}”"), because)
            .hint("write -p [IP:]HOST:CONTAINER[/udp], as in -p 8080:80 or -p 127.0.0.1:8000-8009:80-89")
    })
}

fn parse_words(spec: &str) -> std::result::Result<Vec<Port>, String> {
    let (rest, protocol) = match spec.split_once('/') {
        None => (spec, Protocol::Tcp),
        Some((rest, name)) => (rest, parse_protocol(name)?),
    };
    let (rest, container) = match rest.rsplit_once(':') {
        None => ("", rest),
        Some((rest, container)) => (rest, container),
    };
    let container = parse_range(container)?;
    let (address, host) = match split_address(rest)? {
        (address, "") => (address, None),
        // Docker's word for “any free port”.
        (address, "0") => (address, None),
        (address, host) => (address, Some(parse_range(host)?)),
    };
    let hosts = pair(host, &container)?;
    Ok(container.zip(hosts).map(|(container, host)| Port { address, host, container, protocol }).collect())
}

fn parse_protocol(name: &str) -> std::result::Result<Protocol, String> {
    match name.to_ascii_lowercase().as_str() {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        "sctp" => Err("sctp cannot be forwarded by a user's network, only tcp and udp".into()),
        _ => Err(format!("“{name}” is not a protocol: tcp or udp")),
    }
}

/// What stands before the container's port: `IP:HOST`, `IP:`, `HOST` or nothing.
fn split_address(text: &str) -> std::result::Result<(Option<IpAddr>, &str), String> {
    let wrong = |address: &str| format!("“{address}” is not an IP address (an IPv6 one stands in brackets)");
    if let Some(bracketed) = text.strip_prefix('[') {
        let (address, host) = bracketed.split_once("]:").ok_or_else(|| format!("“{text}” lacks “]:” and a port"))?;
        let address: Ipv6Addr = address.parse().map_err(|_| wrong(address))?;
        return Ok((Some(address.into()), host));
    }
    match text.rsplit_once(':') {
        None => Ok((None, text)),
        Some(("", host)) => Ok((None, host)),
        Some((address, host)) => {
            let address: Ipv4Addr = address.parse().map_err(|_| wrong(address))?;
            Ok((Some(address.into()), host))
        }
    }
}

fn parse_range(text: &str) -> std::result::Result<RangeInclusive<u16>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (parse_number(first)?, parse_number(last)?);
    if first > last {
        return Err(format!("the range {first}-{last} runs backwards"));
    }
    Ok(first..=last)
}

fn parse_number(text: &str) -> std::result::Result<u16, String> {
    match text.parse::<u16>() {
        // `parse` takes a sign.
        Ok(number) if number > 0 && !text.starts_with('+') => Ok(number),
        _ => Err(format!("“{text}” is not a port from 1 to 65535")),
    }
}

/// A host port for each port of `container`.
fn pair(
    host: Option<RangeInclusive<u16>>,
    container: &RangeInclusive<u16>,
) -> std::result::Result<Vec<HostPort>, String> {
    let count = container.len();
    match host {
        None => Ok(vec![HostPort::Free; count]),
        Some(host) if host.len() == count => Ok(host.map(HostPort::Exactly).collect()),
        Some(host) if count == 1 => Ok(vec![HostPort::FirstFree(host)]),
        Some(host) => Err(format!("{} of the host's ports cannot pair with {count} of the container's", host.len())),
    }
}

impl Port {
    /// The address to listen on, spelled out: all IPv4 addresses when the user named none.
    pub fn address(&self) -> IpAddr {
        self.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }

    /// The host ports to try, in order; 0 stands for “whichever the kernel gives”.
    pub(crate) fn candidates(&self) -> RangeInclusive<u16> {
        match &self.host {
            HostPort::Free => 0..=0,
            HostPort::Exactly(port) => *port..=*port,
            HostPort::FirstFree(ports) => ports.clone(),
        }
    }

    /// Finds a host port that can be listened on right now, or says why none can: to be asked before a container is
    /// made. Another process may still take the port before it is forwarded; then forwarding gives the same error.
    ///
    /// A port that another has is asked for again for 0.3 s.
    pub fn probe(&self) -> Result<Published> {
        self.probe_for(PATIENCE)
    }

    pub(crate) fn probe_for(&self, patience: Duration) -> Result<Published> {
        let until = Instant::now() + patience;
        loop {
            match self.try_once() {
                Err(error) if error.kind() == Kind::InUse && Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                probed => return probed,
            }
        }
    }

    fn try_once(&self) -> Result<Published> {
        let address = self.address();
        let mut last = None;
        for candidate in self.candidates() {
            match bind(address, candidate, self.protocol) {
                Ok(host) => return Ok(Published { address, host, container: self.container, protocol: self.protocol }),
                Err(error) => last = Some(refused(address, candidate, self.protocol, &error)),
            }
        }
        Err(last.unwrap_or_else(|| Error::new(Kind::BadInput, format!("publish {}", self.container), "no host port")))
    }
}

/// Listens for an instant, and gives the port it got.
fn bind(address: IpAddr, port: u16, protocol: Protocol) -> io::Result<u16> {
    let at = SocketAddr::new(address, port);
    let got = match protocol {
        Protocol::Tcp => TcpListener::bind(at)?.local_addr()?,
        Protocol::Udp => UdpSocket::bind(at)?.local_addr()?,
    };
    Ok(got.port())
}

/// The error for a host port that the kernel refused.
fn refused(address: IpAddr, port: u16, protocol: Protocol, error: &io::Error) -> Error {
    let doing = format!("publish port {port}/{protocol} on {address}");
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            Error::new(Kind::InUse, doing, format!("port {port} is already in use on the host"))
                .hint(format!("choose another host port, or find who has it: ss -lnp 'sport = :{port}'"))
        }
        io::ErrorKind::PermissionDenied => {
            Error::new(Kind::Permission, doing, format!("an ordinary user may not listen on ports below {}", lowest()))
                .hint(format!("use a higher port, or as root: sysctl net.ipv4.ip_unprivileged_port_start={port}"))
        }
        io::ErrorKind::AddrNotAvailable => Error::new(Kind::BadInput, doing, "the host does not have this address")
            .hint("see the host's addresses with: ip -br address"),
        _ => Error::new(Kind::Other, doing, error),
    }
}

/// The lowest port that needs no privilege: the kernel's setting, or its default.
fn lowest() -> u16 {
    let setting = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    setting.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(1024)
}

#[cfg(test)]
#[path = "port_tests.rs"]
mod tests;
