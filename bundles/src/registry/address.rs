// SPDX-License-Identifier: Apache-2.0
//! Addresses that a registry gives us: where they lead, and whether that is still the host we spoke with.
//!
//! RFC 3986, RFC 9110 "Redirection 3xx". One parser decides and connects: two that read an address differently are how
//! `http://localhost:1@host/` passes for this machine.

use std::net::IpAddr;

use ureq::Body;
use ureq::http::{Response, Uri};

/// Refuses what is no `http` or `https` address, and what has a user name or a password in it: where such an address leads
/// is not what it looks like, and its secret would go along.
pub(super) fn check(address: &str) -> Result<Uri, String> {
    let shown = || origin(address).rsplit('@').next().unwrap_or_default().to_owned();
    let uri: Uri = address.parse().map_err(|e| format!("the address {} is none: {e}", shown()))?;
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    if authority.contains('@') {
        return Err(format!("the address has a user name in it before {}", shown()));
    }
    match uri.scheme_str() {
        Some("http" | "https") if !authority.is_empty() => Ok(uri),
        _ => Err("it is no http or https address".to_owned()),
    }
}

/// Refuses a registry whose name is more than a host and a port.
pub(super) fn check_host(host: &str) -> Result<(), String> {
    let shown = host.rsplit('@').next().unwrap_or_default();
    let is_whole = |uri: &Uri| uri.authority().is_some_and(|authority| authority.as_str() == host);
    match check(&format!("https://{host}/")) {
        Ok(uri) if is_whole(&uri) => Ok(()),
        Ok(_) => Err(format!("{shown} is no host with a port")),
        Err(why) => Err(why),
    }
}

/// Scheme, host and port.
pub(super) fn origin(address: &str) -> &str {
    let host = address.find("://").map_or(0, |at| at + 3);
    let end = address[host..].find(['/', '?', '#']).map_or(address.len(), |at| host + at);
    &address[..end]
}

/// Where an answer sends us.
pub(super) fn redirection(response: &Response<Body>, from: &str) -> Option<String> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let to = response.headers().get("location")?.to_str().ok()?;
    let path = &from[origin(from).len()..];
    let folder = path.split('?').next().and_then(|path| path.rsplit_once('/')).map_or("", |(folder, _)| folder);
    Some(match to {
        _ if to.starts_with("https://") || to.starts_with("http://") => to.to_owned(),
        _ if to.starts_with("//") => format!("{}:{to}", from.split(':').next()?),
        _ if to.starts_with('/') => format!("{}{to}", origin(from)),
        _ => format!("{}{folder}/{to}", origin(from)),
    })
}

/// Where `location` of an answer to a request for `path` leads: an address, or a path of the registry.
pub(super) fn resolve_location(location: &str, path: &str) -> String {
    match location.contains("://") || location.starts_with('/') {
        true => location.to_owned(),
        false => format!("{}/{location}", path.trim_end_matches('/')),
    }
}

/// Where `</v2/…?last=x>; rel="next"` leads: elsewhere in the same list, never to another host.
pub(super) fn next_page(link: &str, current: &str) -> Option<String> {
    let (address, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
    let path = match address.split_once("://") {
        Some((_, rest)) => &rest[rest.find('/')?..],
        None => address,
    };
    let same = path.split('?').next() == current.split('?').next();
    (rest.contains("next") && same && path != current).then(|| path.to_owned())
}

/// `localhost`, `127.…` and `::1`, with or without a port.
pub(super) fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_next_page_is_of_the_same_list() {
        let here = "/v2/a/tags/list?n=5";
        assert_eq!(
            next_page(r#"</v2/a/tags/list?n=5&last=x>; rel="next""#, here).unwrap(),
            "/v2/a/tags/list?n=5&last=x"
        );
        assert_eq!(
            next_page(r#"<http://else/v2/a/tags/list?last=y>; rel="next""#, here).unwrap(),
            "/v2/a/tags/list?last=y"
        );
        assert_eq!(next_page(r#"</v2/b/tags/list>; rel="next""#, here), None);
        assert_eq!(next_page(&format!(r#"<{here}>; rel="next""#), here), None, "it leads nowhere");
        assert_eq!(origin("https://a.tld:5/x"), "https://a.tld:5");
        assert_eq!(resolve_location("x?y=1", "/v2/a/blobs/uploads/"), "/v2/a/blobs/uploads/x?y=1");
    }

    #[test]
    fn this_machine_is_known_by_its_names() {
        for host in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.1.2.3", "[::1]:5000", "[::1]"] {
            assert!(is_local(host), "{host}");
        }
        for host in ["localhost.tld", "128.0.0.1", "docker.io", "[::2]:5000", "local"] {
            assert!(!is_local(host), "{host}");
        }
    }

    #[test]
    fn an_address_with_a_user_in_it_is_refused() {
        for address in [
            "http://localhost:1@evil.tld/r",
            "https://ann:secret@registry.tld/v2/",
            "https://@evil.tld/",
            "http://localhost\\@evil.tld/",
            "file:///etc/passwd",
            "gopher://a/",
            "",
            "/v2/",
        ] {
            let why = check(address).unwrap_err();
            assert!(!why.contains("secret"), "{why}");
        }
        for address in ["https://a.tld/@user/x", "http://[::1]:5000/v2/?a=b@c", "https://a.tld"] {
            check(address).unwrap();
        }
        for host in ["ann:secret@a.tld", "a.tld/b", "a.tld?x", "", "a b"] {
            assert!(!check_host(host).unwrap_err().contains("secret"), "{host}");
        }
        for host in ["a.tld", "a.tld:5000", "[::1]:5000", "localhost"] {
            check_host(host).unwrap();
        }
    }
}
