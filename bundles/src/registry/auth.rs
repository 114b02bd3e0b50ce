// SPDX-License-Identifier: Apache-2.0
//! Answers to `www-authenticate`: a name and password, or a token one gets for them (or for nothing) elsewhere.
//!
//! Spec: distribution's "Token Authentication"; RFC 7235 for the header.

use std::io::Read;

use serde::Deserialize;
use ureq::Agent;
use ureq::http::HeaderMap;

use crate::error::{Doing, Error, Kind, Result};

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
    agent: &Agent,
    headers: &HeaderMap,
    scope: &str,
    credentials: Option<&Credentials>,
) -> Result<Option<String>> {
    let challenges = headers.get_all("www-authenticate").iter().filter_map(|v| v.to_str().ok()).map(parse);
    let challenges: Vec<Challenge> = challenges.collect();
    if let Some(Credentials::Registry(token)) = credentials {
        return Ok(Some(format!("Bearer {token}")));
    }
    if let Some(challenge) = challenges.iter().find(|c| c.scheme == "bearer") {
        return token(agent, challenge, scope, credentials).map(|token| Some(format!("Bearer {token}")));
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

fn token(agent: &Agent, challenge: &Challenge, scope: &str, credentials: Option<&Credentials>) -> Result<String> {
    let realm = challenge.realm.as_deref().unwrap_or_default();
    let doing = || format!("getting a token from {realm}");
    if !realm.starts_with("https://") && !realm.starts_with("http://") {
        return Err(Error::new(Kind::Network, doing(), "that is no address of a token server"));
    }
    // What the registry asks for goes beyond what we planned where it knows better (a mount from another repository).
    let scope = challenge.scope.as_deref().filter(|s| !s.is_empty()).unwrap_or(scope);
    let service = challenge.service.as_deref().unwrap_or_default();
    let sent = match credentials {
        Some(Credentials::Identity(refresh)) => agent.post(realm).send_form([
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh),
            ("client_id", "kelp"),
            ("service", service),
            ("scope", scope),
        ]),
        _ => {
            let mut request = agent.get(realm).query("service", service).query("scope", scope);
            if let Some(Credentials::Password { name, password }) = credentials {
                request = request.header("authorization", basic(name, password));
            }
            request.call()
        }
    };
    let response = sent.map_err(|e| Error::new(Kind::Network, doing(), e.to_string().to_lowercase()))?;
    if !response.status().is_success() {
        return Err(Error::new(Kind::Unauthorized, doing(), format!("it answered {}", response.status()))
            .hint("check name and password with kelp login"));
    }
    let mut text = Vec::new();
    response.into_body().into_reader().take(TOKEN).read_to_end(&mut text).doing(doing)?;
    read_token(&text).ok_or_else(|| Error::new(Kind::Network, doing(), "its answer holds no token"))
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
    fn credentials_do_not_print_their_secret() {
        let secret = Credentials::Password { name: "ann".into(), password: "hidden".into() };
        assert_eq!(format!("{secret:?}"), "Password(ann, …)");
        assert_eq!(basic("Aladdin", "open sesame"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    }
}
