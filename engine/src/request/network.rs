// SPDX-License-Identifier: Apache-2.0
//! `--network`, `-p`, `--add-host`, `--hostname`.

use kelp_network::Port;
use kelp_network::port::HostPort;
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
        "pasta" => Err("Kelp does not use pasta yet; known are none, host and slirp4netns".to_owned()),
        "" => Err("no name set for network; known are none, host and slirp4netns".to_owned()),
        _ => Err("known are none, host and slirp4netns".to_owned()),
    }
}

/// Reads one `-p`.
pub fn port(text: &str) -> Result<Vec<Port>, kelp_network::Error> {
    kelp_network::port::parse(text)
}

/// Reads `NAME:ADDRESS` of `--add-host`; `NAME=ADDRESS` too, as newer Dockers.
pub fn host(text: &str) -> Result<(String, String), String> {
    let (name, address) = text
        .split_once([':', '='])
        .ok_or_else(|| format!("bad format for add-host: {text:?}; expected NAME:ADDRESS"))?;
    let bare = address.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        _ if name.is_empty() => Err("the name is empty".to_owned()),
        _ if !is_word(name) => Err(format!("{name:?} is not one name: it has a blank or a #")),
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

/// Reads `--dns`.
pub fn name_server(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| format!("IP address is not correctly formatted: {text}"))
}

/// Text that stays one word in /etc/hosts and /etc/resolv.conf, and no comment.
fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '#')
}

/// A domain of `--domainname`; an empty one is none.
pub fn domain(text: &str) -> Result<String, String> {
    if text.is_empty() { Ok(String::new()) } else { hostname(text).map_err(|why| why.replace("hostname", "domain")) }
}

/// Reads `--dns-search` by Docker's rule; `.` means “search nowhere”.
pub fn search(text: &str) -> Result<String, String> {
    let label = |label: &str| {
        let good = |c: char| c.is_ascii_alphanumeric() || c == '-';
        !label.is_empty() && label.chars().all(good) && !label.starts_with('-') && !label.ends_with('-')
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    let has_letter = name.contains(|c: char| c.is_ascii_alphabetic());
    match text == "." || (has_letter && name.len() < 255 && name.split('.').all(label)) {
        true => Ok(text.to_owned()),
        false => Err(format!("{text:?} is not a valid domain")),
    }
}

/// Reads `--dns-option`: which there are, the resolver of the image knows.
pub fn resolver_option(text: &str) -> Result<String, String> {
    if is_word(text) { Ok(text.to_owned()) } else { Err(format!("{text:?} is not one option, as ndots:2")) }
}

/// Reads `--expose PORT[-PORT][/udp]`.
pub fn expose(text: &str) -> Result<String, String> {
    let because = match kelp_network::port::parse(text) {
        Ok(ports) if ports.iter().all(|port| port.address.is_none() && port.host == HostPort::Free) => {
            return Ok(text.to_owned());
        }
        Ok(_) => "a port of the host is for -p".to_owned(),
        Err(error) => error.because,
    };
    Err(format!("invalid range format for --expose: {text}; {because}"))
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
        assert!(host("a b:1.2.3.4").is_err() && host("a\nb:1.2.3.4").is_err());
    }

    #[test]
    fn words_of_the_resolver_are_checked() {
        for good in [".", "example.org", "example.org.", "a-b.c", "x1"] {
            assert!(search(good).is_ok(), "{good}");
        }
        for wrong in ["", "a b", "a_b", "..", "-a", "1.2.3.4", "a..b", "a\nnameserver 6.6.6.6"] {
            assert!(search(wrong).unwrap_err().contains("is not a valid domain"), "{wrong}");
        }
        assert!(resolver_option("ndots:2").is_ok() && resolver_option("a b").is_err() && resolver_option("").is_err());
        assert!(domain("").is_ok() && domain("example.org").is_ok() && domain("a b").is_err());
        assert!(expose("80").is_ok() && expose("80-90/udp").is_ok());
        for wrong in ["", "http", "99999", "80/foo", "8080:80", "90-80"] {
            assert!(expose(wrong).unwrap_err().contains("--expose"), "{wrong}");
        }
    }

    #[test]
    fn hostnames_are_checked() {
        assert!(hostname("web-1.example").is_ok());
        assert!(hostname("").is_err() && hostname("a b").is_err() && hostname(&"x".repeat(65)).is_err());
    }
}
