// SPDX-License-Identifier: Apache-2.0
//! `--network`, `-p`, `--add-host`, `--hostname`.

use kelp_network::Port;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// How a container reaches the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// Loopback only.
    None,
    /// The host's own.
    Host,
    /// A network namespace with slirp4netns as its uplink.
    Slirp4netns,
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Network::None => "none",
            Network::Host => "host",
            Network::Slirp4netns => "slirp4netns",
        })
    }
}

/// Reads `--network`. `bridge` and `default` are Docker's words for “what one gets without asking”.
pub fn parse(text: &str) -> Result<Network, String> {
    match text {
        "none" => Ok(Network::None),
        "host" => Ok(Network::Host),
        "slirp4netns" | "bridge" | "default" | "private" => Ok(Network::Slirp4netns),
        _ => Err("known are none, host and slirp4netns".to_owned()),
    }
}

/// Reads one `-p`.
pub fn port(text: &str) -> Result<Vec<Port>, kelp_network::Error> {
    kelp_network::port::parse(text)
}

/// Reads `NAME:ADDRESS` of `--add-host`; `NAME=ADDRESS` too, as newer Dockers.
pub fn host(text: &str) -> Result<(String, String), String> {
    let (name, address) = text.split_once([':', '=']).ok_or("expected NAME:ADDRESS")?;
    let bare = address.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        _ if name.is_empty() => Err("the name is empty".to_owned()),
        Ok(ip) => Ok((name.to_owned(), ip.to_string())),
        Err(_) if bare == HOST_GATEWAY => Ok((name.to_owned(), HOST_GATEWAY.to_owned())),
        Err(_) => Err(format!("{address:?} is not an IP address")),
    }
}

/// Docker's word for “the address under which the container reaches the host”.
pub const HOST_GATEWAY: &str = "host-gateway";

/// A hostname the kernel takes: 1 to 64 bytes of letters, digits, `.` and `-`.
pub fn hostname(text: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    match text.len() {
        1..=64 if text.chars().all(good) && !text.starts_with(['.', '-']) => Ok(text.to_owned()),
        1..=64 => Err("a hostname has letters, digits, . and -".to_owned()),
        _ => Err("a hostname has 1 to 64 characters".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_may_have_ipv6_addresses() {
        assert_eq!(host("db:10.0.0.1"), Ok(("db".to_owned(), "10.0.0.1".to_owned())));
        assert_eq!(host("db:::1"), Ok(("db".to_owned(), "::1".to_owned())));
        assert_eq!(host("db=[::1]"), Ok(("db".to_owned(), "::1".to_owned())));
        assert!(host("db").is_err() && host("db:where").is_err() && host(":1.2.3.4").is_err());
    }

    #[test]
    fn hostnames_are_checked() {
        assert!(hostname("web-1.example").is_ok());
        assert!(hostname("").is_err() && hostname("a b").is_err() && hostname(&"x".repeat(65)).is_err());
    }
}
