// SPDX-License-Identifier: Apache-2.0
//! The requests that slirp4netns answers on its API socket: one JSON object each way, then the connection ends.
//!
//! The socket lies in a folder of the user alone. slirp4netns carries no traffic while it answers.

use crate::{Error, Kind, Port, Protocol, Published, Result, port::HostPort};
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// An answer comes in less than a millisecond.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Serialize)]
#[serde(tag = "execute", content = "arguments", rename_all = "snake_case")]
enum Request {
    AddHostfwd { proto: Protocol, host_addr: Ipv4Addr, host_port: u16, guest_port: u16 },
    ListHostfwd {},
}

/// `list_hostfwd` answers with its entries at the top (so does 1.2.0) or below `return` (so says the manual).
#[derive(Deserialize)]
struct Answer {
    error: Option<Refusal>,
    entries: Option<Vec<Entry>>,
    #[serde(rename = "return")]
    returned: Option<Returned>,
}

#[derive(Deserialize)]
struct Refusal {
    desc: String,
}

#[derive(Deserialize)]
struct Returned {
    entries: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
struct Entry {
    proto: Protocol,
    host_addr: IpAddr,
    host_port: u16,
    guest_port: u16,
}

/// `add_hostfwd`: listen on the host, hand the connections to the container.
pub(super) fn add_forward(socket: &Path, host_addr: Ipv4Addr, wanted: &Published) -> Result<()> {
    let doing = || format!("publish {wanted}");
    let Published { host: host_port, container: guest_port, protocol: proto, .. } = *wanted;
    let answer =
        ask(socket, &Request::AddHostfwd { proto, host_addr, host_port, guest_port }).map_err(|e| named(doing(), e))?;
    match answer.error {
        None => Ok(()),
        Some(refusal) => Err(refused(wanted, &refusal)),
    }
}

/// slirp4netns does not say why it could not listen, but the kernel tells us when we try the same.
fn refused(wanted: &Published, refusal: &Refusal) -> Error {
    let same = Port {
        address: Some(wanted.address),
        host: HostPort::Exactly(wanted.host),
        container: wanted.container,
        protocol: wanted.protocol,
    };
    match same.probe() {
        Err(reason) => reason,
        Ok(_) => Error::new(Kind::Other, format!("publish {wanted}"), format!("slirp4netns says “{}”", refusal.desc)),
    }
}

/// `list_hostfwd`: the ports that are forwarded now.
pub(super) fn list_forwards(socket: &Path) -> Result<Vec<Published>> {
    let doing = || "list the published ports";
    let answer = ask(socket, &Request::ListHostfwd {}).map_err(|error| named(doing(), error))?;
    if let Some(refusal) = answer.error {
        return Err(Error::new(Kind::Other, doing(), refusal.desc));
    }
    let entries = answer.entries.or(answer.returned.and_then(|it| it.entries)).unwrap_or_default();
    Ok(entries
        .into_iter()
        .map(|e| Published { address: e.host_addr, host: e.host_port, container: e.guest_port, protocol: e.proto })
        .collect())
}

fn ask(socket: &Path, request: &Request) -> std::io::Result<Answer> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&serde_json::to_vec(request)?)?;
    // slirp4netns reads up to here.
    stream.shutdown(Shutdown::Write)?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

fn named(doing: impl std::fmt::Display, error: std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => {
            Error::new(Kind::Other, doing, format!("slirp4netns does not run any more ({error})"))
        }
        _ => Error::new(Kind::Other, doing, format!("talking to slirp4netns: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_what_the_manual_says() {
        let request = Request::AddHostfwd {
            proto: Protocol::Udp,
            host_addr: Ipv4Addr::LOCALHOST,
            host_port: 5353,
            guest_port: 53,
        };
        assert_eq!(
            serde_json::to_string(&request).unwrap(),
            r#"{"execute":"add_hostfwd","arguments":{"proto":"udp","host_addr":"127.0.0.1","host_port":5353,"guest_port":53}}"#
        );
        assert_eq!(
            serde_json::to_string(&Request::ListHostfwd {}).unwrap(),
            r#"{"execute":"list_hostfwd","arguments":{}}"#
        );
    }

    #[test]
    fn a_dead_slirp4netns_is_said_to_be_dead() {
        let error = list_forwards(Path::new("/nonexistent/slirp.sock")).unwrap_err();
        assert!(error.because.contains("does not run any more"), "{error}");
    }
}
