// SPDX-License-Identifier: Apache-2.0
//! Answers to `www-authenticate`: a name and password, or a token one gets for them (or for nothing) elsewhere.
//!
//! Spec: distribution's "Token Authentication"; RFC 7235 for the header.

use std::fmt::Write as _;

use serde::Deserialize;
use ureq::http::{HeaderMap, Method};

use super::address::{self, is_local};
use super::http::{Call, Http, Sending, read_all};
use crate::error::{Error, Kind, Result};

/// How large a token's answer may be.
const TOKEN: u64 = 1 << 20;

/// Who we are to a registry.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A name and a password.
    Password {
        /// The name.
        name: String,
        /// The password, or a token that is used like one.
        password: String,
    },
    /// A refresh token (docker's `identitytoken`).
    Identity(String),
    /// A token for the registry itself (docker's `registrytoken`).
    Registry(String),
}

/// Never shows the secret.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Password { name, .. } => write!(f, "Password({name}, …)"),
            Self::Identity(_) => f.write_str("Identity(…)"),
            Self::Registry(_) => f.write_str("Registry(…)"),
        }
    }
}

/// `Bearer realm="…",service="…",scope="…"`
#[derive(Debug, Default, PartialEq, Eq)]
struct Challenge {
    scheme: String,
    realm: Option<String>,
    service: Option<String>,
    scope: Option<String>,
}

/// The `authorization` header a registry asks for; `None` where we have nothing to say.
pub(super) fn answer(
    http: &Http,
    headers: &HeaderMap,
    scopes: &[String],
    credentials: Option<&Credentials>,
) -> Result<Option<String>> {
    let challenges = headers.get_all("www-authenticate").iter().filter_map(|v| v.to_str().ok()).map(parse);
    let challenges: Vec<Challenge> = challenges.collect();
    if let Some(Credentials::Registry(token)) = credentials {
        return Ok(Some(format!("Bearer {token}")));
    }
    if let Some(challenge) = challenges.iter().find(|c| c.scheme == "bearer") {
        return token(http, challenge, scopes, credentials).map(|token| Some(format!("Bearer {token}")));
    }
    match (challenges.iter().any(|c| c.scheme == "basic"), credentials) {
        (true, Some(Credentials::Password { name, password })) => Ok(Some(basic(name, password))),
        _ => Ok(None),
    }
}

/// The header for a name and a password.
pub(super) fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", crate::base64::encode(format!("{name}:{password}").as_bytes()))
}

fn token(http: &Http, challenge: &Challenge, scopes: &[String], credentials: Option<&Credentials>) -> Result<String> {
    let realm = challenge.realm.as_deref().unwrap_or_default();
    let doing = || format!("getting a token from {}", address::origin(realm));
    check_realm(http, realm, credentials.is_some()).map_err(|because| {
        let doing = format!("getting a token from {}", address::origin(realm).rsplit('@').next().unwrap_or_default());
        Error::new(Kind::BadInput, doing, because).hint("the registry is misconfigured or lies: nothing was sent there")
    })?;
    let service = challenge.service.as_deref().unwrap_or_default();
    // What the registry asks for goes beyond what we planned where it knows better, and we where we plan a mount.
    let mut wanted: Vec<&str> = challenge.scope.as_deref().filter(|s| !s.is_empty()).into_iter().collect();
    wanted.extend(scopes.iter().map(String::as_str).filter(|s| Some(*s) != challenge.scope.as_deref()));
    let response = match credentials {
        Some(Credentials::Identity(refresh)) => {
            let wanted = wanted.join(" ");
            let fields = [
                ("grant_type", "refresh_token"),
                ("refresh_token", refresh),
                ("client_id", "kelp"),
                ("service", service),
                ("scope", &wanted),
            ];
            let form = form(fields);
            let call = Call::new(Method::POST, realm).header("content-type", "application/x-www-form-urlencoded");
            http.patiently(&call.without_login().secret().body(Sending::Bytes(form.as_bytes())))
        }
        other => {
            let query = form([("service", service)].into_iter().chain(wanted.iter().map(|scope| ("scope", *scope))));
            let separator = if realm.contains('?') { '&' } else { '?' };
            let mut call = Call::get(&format!("{realm}{separator}{query}"));
            if let Some(Credentials::Password { name, password }) = other {
                call = call.header("authorization", &basic(name, password)).secret();
            }
            http.patiently(&call.without_login())
        }
    };
    let response = response.map_err(|e| e.while_doing(doing()))?;
    if !response.status().is_success() {
        return Err(Error::new(Kind::Unauthorized, doing(), format!("it answered {}", response.status()))
            .hint("check name and password with kelp login"));
    }
    let text = read_all(response, TOKEN).map_err(|e| e.while_doing(doing()))?;
    read_token(&text).ok_or_else(|| Error::new(Kind::Network, doing(), "its answer holds no token"))
}

/// Refuses a token server that a registry should not send us to: anything but http, and plain http unless the registry
/// itself is spoken with like that and what we say is no secret, or stays on this machine.
fn check_realm(http: &Http, realm: &str, secret: bool) -> std::result::Result<(), String> {
    let address = address::check(realm).map_err(|why| format!("that is no address of a token server: {why}"))?;
    if address.scheme_str() == Some("https") {
        return Ok(());
    }
    match http.is_private() {
        true => Err("a registry with TLS has a token server without".to_owned()),
        false if secret && !http.is_own(realm) && !address.host().is_some_and(is_local) => {
            Err("it would get the password, is not the registry, and speaks without TLS".to_owned())
        }
        false => Ok(()),
    }
}

/// `application/x-www-form-urlencoded`.
pub(super) fn form<'f>(fields: impl IntoIterator<Item = (&'f str, &'f str)>) -> String {
    let fields = fields.into_iter().map(|(key, value)| format!("{key}={}", escaped(value)));
    fields.collect::<Vec<_>>().join("&")
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => escaped.push(char::from(byte)),
            // Writing to a String cannot stop.
            _ => write!(escaped, "%{byte:02X}").unwrap_or_default(),
        }
    }
    escaped
}

fn read_token(text: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Answer {
        token: Option<String>,
        access_token: Option<String>,
    }
    let answer: Answer = serde_json::from_slice(text).ok()?;
    answer.token.or(answer.access_token).filter(|token| !token.is_empty())
}

/// Reads a challenge; values may be quoted and hold commas.
fn parse(header: &str) -> Challenge {
    let (scheme, mut rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
    let mut challenge = Challenge { scheme: scheme.to_ascii_lowercase(), ..Challenge::default() };
    while let Some((key, after)) = rest.split_once('=') {
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(',').unwrap_or((after, "")),
        };
        match key.trim_matches([' ', ',']) {
            "realm" => challenge.realm = Some(value.to_owned()),
            "service" => challenge.service = Some(value.to_owned()),
            "scope" => challenge.scope = Some(value.to_owned()),
            _ => {}
        }
        rest = after;
    }
    challenge
}

/// For the fuzz targets.
pub(super) fn read_foreign(bytes: &[u8]) {
    drop(read_token(bytes));
    drop(parse(&String::from_utf8_lossy(bytes)));
}

/// For the fuzz targets: what a challenge asks for becomes an address, whatever it holds; then the answer is read.
pub(super) fn read_foreign_login(bytes: &[u8]) {
    let end = bytes.iter().position(|b| *b == b'\n').unwrap_or(bytes.len());
    let challenge = parse(&String::from_utf8_lossy(&bytes[..end]));
    let asked = [challenge.service.as_deref(), challenge.scope.as_deref()].map(Option::unwrap_or_default);
    let query = form([("service", asked[0]), ("scope", asked[1])]);
    assert!(query.bytes().all(|b| b.is_ascii_graphic()), "a query has no spaces, lines or raw bytes: {query}");
    if let Some(token) = read_token(bytes.get(end + 1..).unwrap_or_default()) {
        assert!(!token.is_empty(), "an empty token is none");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_read_with_its_quotes() {
        let challenge =
            parse(r#"Bearer realm="https://auth.tld/token",service="registry",scope="repository:a/b:pull,push""#);
        assert_eq!(challenge.realm.as_deref(), Some("https://auth.tld/token"));
        assert_eq!((challenge.scheme.as_str(), challenge.service.as_deref()), ("bearer", Some("registry")));
        assert_eq!(challenge.scope.as_deref(), Some("repository:a/b:pull,push"));
        assert_eq!(parse("Basic realm=Registry").realm.as_deref(), Some("Registry"));
        assert_eq!(parse("Basic").scheme, "basic");
        assert_eq!(read_token(br#"{"access_token":"x"}"#).as_deref(), Some("x"));
    }

    #[test]
    fn what_is_sent_in_an_address_is_escaped() {
        assert_eq!(
            form([("scope", "repository:a/b:pull"), ("x", "é &=")]),
            "scope=repository%3Aa%2Fb%3Apull&x=%C3%A9%20%26%3D"
        );
    }

    #[test]
    fn credentials_do_not_print_their_secret() {
        let secret = Credentials::Password { name: "ann".into(), password: "hidden".into() };
        assert_eq!(format!("{secret:?}"), "Password(ann, …)");
        assert_eq!(basic("Aladdin", "open sesame"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    }
}
