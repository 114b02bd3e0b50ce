// SPDX-License-Identifier: Apache-2.0
//! Why a registry cannot be reached: what the network, the resolver or TLS says, and what to try for each.

use std::io::{self, ErrorKind};

use super::pace;
use crate::error::{Error, Kind};

/// What stands between us and a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Obstacle {
    /// The resolver says that there is no such name.
    NoSuchName,
    /// The resolver does not know now.
    NoResolver,
    /// Nothing listens.
    Refused,
    /// There is no way there.
    NoRoute,
    /// Nothing comes back.
    Silence,
    /// It speaks, but not TLS.
    NotTls,
    /// It speaks TLS, and its certificate is not one we trust; or ours is not one it does.
    Untrusted,
    /// Next to nothing comes back, or is taken.
    TooSlow,
    /// It went away in the middle.
    Broken,
    /// Anything else.
    Other,
}

/// The error for a person.
pub(super) fn explain(registry: &str, e: &ureq::Error) -> Error {
    let obstacle = Obstacle::of(e);
    let because = e.to_string();
    // The resolver's and TLS' own words, without the wrapping.
    let because = because.strip_prefix("io: ").unwrap_or(&because).to_lowercase();
    let kind = if obstacle == Obstacle::TooSlow { Kind::TooSlow } else { Kind::Network };
    let error = Error::new(kind, format!("reaching {registry}"), because);
    match obstacle.hint(registry) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// The error for an answer that broke off.
pub(crate) fn broken(doing: impl Into<String>, e: &io::Error) -> Error {
    match pace::is_too_slow(e) {
        true => Error::new(Kind::TooSlow, doing, e).hint(pace::hint()),
        false => Error::new(Kind::Network, doing, e),
    }
}

/// What may go away by itself.
pub(super) fn is_passing(e: &ureq::Error) -> bool {
    matches!(Obstacle::of(e), Obstacle::NoResolver | Obstacle::NoRoute | Obstacle::Silence | Obstacle::Broken)
}

impl Obstacle {
    fn of(e: &ureq::Error) -> Self {
        match e {
            ureq::Error::Io(io) => Self::of_io(io),
            ureq::Error::HostNotFound => Self::NoSuchName,
            ureq::Error::Timeout(_) => Self::Silence,
            ureq::Error::ConnectionFailed => Self::Broken,
            ureq::Error::Tls(_) | ureq::Error::Rustls(_) => Self::of_tls(&e.to_string()),
            _ => Self::Other,
        }
    }

    fn of_io(e: &io::Error) -> Self {
        if pace::is_too_slow(e) {
            return Self::TooSlow;
        }
        let text = e.to_string();
        // getaddrinfo(3) has no errno: the standard library gives its words.
        if let Some((_, why)) = text.split_once("failed to lookup address information: ") {
            return if why.contains("emporary") { Self::NoResolver } else { Self::NoSuchName };
        }
        match e.kind() {
            ErrorKind::ConnectionRefused => Self::Refused,
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown => Self::NoRoute,
            ErrorKind::TimedOut | ErrorKind::WouldBlock => Self::Silence,
            // rustls speaks through I/O errors.
            ErrorKind::InvalidData => Self::of_tls(&text),
            ErrorKind::PermissionDenied => Self::NoRoute,
            _ => Self::Broken,
        }
    }

    fn of_tls(text: &str) -> Self {
        match text.contains("InvalidContentType") || text.contains("corrupt message") {
            true => Self::NotTls,
            false => Self::Untrusted,
        }
    }

    fn hint(self, registry: &str) -> Option<String> {
        let hint = match self {
            Self::NoSuchName => format!("no host has this name: is {registry} spelled right?"),
            Self::NoResolver => {
                "the name cannot be looked up: is the network up, and /etc/resolv.conf right?".to_owned()
            }
            Self::Refused => "nothing listens there: is the registry running, and the port right?".to_owned(),
            Self::NoRoute => {
                "there is no way there: is the network up, or does a proxy have to be named in https_proxy?".to_owned()
            }
            Self::Silence => {
                "nothing comes back: is the network up, or does a proxy have to be named in https_proxy?".to_owned()
            }
            Self::NotTls => format!(
                "it speaks no TLS: use --tls-verify=false, or insecure = true for {registry} in registries.conf, if you trust it"
            ),
            Self::Untrusted => format!(
                "put its CA into /etc/containers/certs.d/{registry}/ca.crt, or use --tls-verify=false for a registry you trust"
            ),
            Self::Broken => "the connection broke: try again; a pull goes on where it stopped".to_owned(),
            Self::TooSlow => pace::hint(),
            Self::Other => return None,
        };
        Some(hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn io(kind: ErrorKind, text: &str) -> ureq::Error {
        ureq::Error::Io(io::Error::new(kind, text.to_owned()))
    }

    #[test]
    fn each_obstacle_has_its_own_hint() {
        let dns = |why: &str| io(ErrorKind::Other, &format!("failed to lookup address information: {why}"));
        for (error, hint) in [
            (dns("Name or service not known"), "spelled right"),
            (dns("Temporary failure in name resolution"), "resolv.conf"),
            (io(ErrorKind::ConnectionRefused, "connection refused"), "nothing listens"),
            (io(ErrorKind::NetworkUnreachable, "network is unreachable"), "is the network up"),
            (ureq::Error::Timeout(ureq::Timeout::Connect), "nothing comes back"),
            (io(ErrorKind::InvalidData, "invalid peer certificate: UnknownIssuer"), "certs.d/r.tld:5/ca.crt"),
            (io(ErrorKind::InvalidData, "received corrupt message of type InvalidContentType"), "speaks no TLS"),
            (io(ErrorKind::ConnectionReset, "connection reset by peer"), "try again"),
        ] {
            let explained = explain("r.tld:5", &error);
            let advice = explained.advice().unwrap_or_default();
            assert!(advice.contains(hint) && explained.kind() == Kind::Network, "{error}: {explained}");
            assert_eq!(advice.contains("CA"), hint.contains("ca.crt"), "{error}: {explained}");
        }
    }

    #[test]
    fn what_will_not_go_away_is_not_tried_again() {
        assert!(!is_passing(&io(ErrorKind::Other, "failed to lookup address information: Name or service not known")));
        assert!(!is_passing(&io(ErrorKind::ConnectionRefused, "connection refused")));
        assert!(!is_passing(&io(ErrorKind::InvalidData, "invalid peer certificate: UnknownIssuer")));
        assert!(is_passing(&io(ErrorKind::ConnectionReset, "connection reset by peer")));
    }
}
