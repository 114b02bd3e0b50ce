// SPDX-License-Identifier: Apache-2.0
//! Which proxy an address is reached by: `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY` and their lower-case forms, as Go reads
//! them, so that they mean the same to us as to Docker.

use std::env;
use std::net::IpAddr;

use ureq::http::Uri;

/// The proxy for `address`, if any. What is on this machine is never asked for elsewhere.
pub(super) fn for_address(address: &Uri) -> Option<String> {
    let read = |name: &str| {
        let value = env::var(name).or_else(|_| env::var(name.to_lowercase()));
        value.ok().filter(|value| !value.is_empty())
    };
    choose(address, &read)
}

fn choose(address: &Uri, read: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let secure = address.scheme_str() == Some("https");
    let host = address.host()?.trim_matches(['[', ']']);
    let port = address.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let proxy = read(if secure { "HTTPS_PROXY" } else { "HTTP_PROXY" })?;
    let here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let spared = read("NO_PROXY").is_some_and(|list| list.split(',').any(|entry| spares(entry.trim(), host, port)));
    match here || spared {
        true => None,
        // Go takes a bare `host:port` for a plain one.
        false if proxy.contains("://") => Some(proxy),
        false => Some(format!("http://{proxy}")),
    }
}

/// `*`, an address, a network (`10.0.0.0/8`), a domain with all below it; `.domain` for what is below it alone; each
/// perhaps with a port.
fn spares(entry: &str, host: &str, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    if let Some(fits) = in_network(entry, host) {
        return fits;
    }
    let (name, wanted) = match entry.rsplit_once(':') {
        Some((name, number)) if !name.contains(':') => (name, number.parse::<u16>().ok()),
        _ => (entry, None),
    };
    let (name, host) = (name.trim_start_matches('*').to_ascii_lowercase(), host.to_ascii_lowercase());
    let below = match name.strip_prefix('.') {
        Some(_) => host.ends_with(&name),
        None => host == name || host.ends_with(&format!(".{name}")),
    };
    !name.is_empty() && below && wanted.is_none_or(|wanted| wanted == port)
}

/// Whether the host is in this network; nothing where either is none.
fn in_network(entry: &str, host: &str) -> Option<bool> {
    let (network, bits) = entry.split_once('/')?;
    let bits: u32 = bits.parse().ok()?;
    match (network.parse().ok()?, host.parse().ok()?) {
        (IpAddr::V4(network), IpAddr::V4(host)) => {
            let mask = u32::MAX.checked_shl(32_u32.checked_sub(bits)?).unwrap_or(0);
            Some(network.to_bits() & mask == host.to_bits() & mask)
        }
        (IpAddr::V6(network), IpAddr::V6(host)) => {
            let mask = u128::MAX.checked_shl(128_u32.checked_sub(bits)?).unwrap_or(0);
            Some(network.to_bits() & mask == host.to_bits() & mask)
        }
        _ => Some(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_chooses_and_no_proxy_spares() {
        let read = |name: &str| match name {
            "HTTPS_PROXY" => Some("http://secure:1".to_owned()),
            "HTTP_PROXY" => Some("plain:2".to_owned()),
            "NO_PROXY" => Some("near.tld, .below.tld,10.0.0.0/8,host.tld:8443".to_owned()),
            _ => None,
        };
        for (address, proxy) in [
            ("https://far.tld/v2/", Some("http://secure:1")),
            ("http://far.tld/v2/", Some("http://plain:2")),
            ("https://near.tld/", None),
            ("https://a.near.tld/", None),
            ("https://linear.tld/", Some("http://secure:1")),
            ("https://below.tld/", Some("http://secure:1")),
            ("https://a.below.tld/", None),
            ("https://10.1.2.3:5000/", None),
            ("https://11.1.2.3/", Some("http://secure:1")),
            ("https://host.tld:8443/", None),
            ("https://host.tld/", Some("http://secure:1")),
            ("http://localhost:5000/", None),
            ("http://127.0.0.1:5000/", None),
            ("https://[::1]:5000/", None),
        ] {
            assert_eq!(choose(&address.parse().unwrap(), &read).as_deref(), proxy, "{address}");
        }
    }
}
