// SPDX-License-Identifier: Apache-2.0
//! Image names, parsed exactly as Docker does: `busybox` is `docker.io/library/busybox:latest`.
//!
//! Grammar: distribution/reference (`normalize.go`, `regexp.go`).

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;
use crate::error::{Error, Kind, Result};

const DEFAULT_REGISTRY: &str = "docker.io";
const LEGACY_REGISTRY: &str = "index.docker.io";
const OFFICIAL_PREFIX: &str = "library/";
const DEFAULT_TAG: &str = "latest";
/// Docker's bound on `registry/repository`.
const NAME_MAX: usize = 255;

/// A full image name: registry, repository, and a tag, a digest, or both.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// The registry's host and port: `docker.io`, `localhost:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path within the registry: `library/busybox`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; `latest` where the text named neither tag nor digest.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest of the manifest, where the text pins one.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The same image by another tag.
    #[must_use]
    pub fn with_tag(&self, tag: &str) -> Self {
        Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() }
    }

    /// The same repository, pinned to a manifest, without a tag.
    #[must_use]
    pub fn with_digest(&self, digest: &Digest) -> Self {
        Self { tag: None, digest: Some(digest.clone()), ..self.clone() }
    }

    /// The name as people say it, without tag and digest: `busybox`, `user/app`, `localhost:5000/app`.
    pub fn familiar_name(&self) -> String {
        // `library/a/b` must not become `a/b`, another repository, nor `docker.io/ghcr.io/app` another registry's.
        let means_us = |short: &&str| {
            let (registry, repository) = split_registry(short);
            registry == self.registry && repository == self.repository
        };
        let shorter = [self.repository.strip_prefix(OFFICIAL_PREFIX), Some(&self.repository)];
        match shorter.into_iter().flatten().find(means_us) {
            Some(short) => short.to_owned(),
            None => format!("{}/{}", self.registry, self.repository),
        }
    }

    /// The whole name as people say it: `busybox:latest`.
    pub fn familiar(&self) -> String {
        self.familiar_name() + &self.suffix()
    }

    fn suffix(&self) -> String {
        let tag = self.tag.as_ref().map(|t| format!(":{t}"));
        let digest = self.digest.as_ref().map(|d| format!("@{d}"));
        tag.unwrap_or_default() + &digest.unwrap_or_default()
    }
}

impl fmt::Display for Reference {
    /// The normalised name: `docker.io/library/busybox:latest`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.registry, self.repository, self.suffix())
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        parse(text).map_err(|because| {
            let error = Error::new(Kind::BadInput, format!("reading the image name {text:?}"), because);
            match text.chars().any(|c| c.is_ascii_uppercase()) {
                true => error.hint("repository names are in lower case"),
                false => error.hint("a name looks like debian, user/app:1.0 or localhost:5000/app@sha256:…"),
            }
        })
    }
}

fn parse(text: &str) -> std::result::Result<Reference, &'static str> {
    if is_hex_id(text) {
        return Err("64 hex digits are an image id, not a name");
    }
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest.parse::<Digest>().map_err(|_| "the digest is malformed")?)),
        None => (text, None),
    };
    let (name, tag) = split_tag(rest);
    if tag.is_some_and(|t| !is_tag(t)) {
        return Err("the tag is malformed");
    }
    let (registry, repository) = split_registry(name);
    if repository.is_empty() {
        return Err("the repository is empty");
    }
    if !is_registry(&registry) {
        return Err("the registry is malformed");
    }
    if !repository.split('/').all(is_component) {
        return Err("the repository is malformed");
    }
    if registry.len() + 1 + repository.len() > NAME_MAX {
        return Err("the name is longer than 255 characters");
    }
    let tag = match (tag, &digest) {
        (None, None) => Some(DEFAULT_TAG.to_owned()),
        (tag, _) => tag.map(str::to_owned),
    };
    Ok(Reference { registry, repository, tag, digest })
}

/// Whether this is what an image id looks like: Docker refuses it as a name.
fn is_hex_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// A colon after the last slash starts the tag; an earlier one is a port.
fn split_tag(rest: &str) -> (&str, Option<&str>) {
    let last = rest.rfind('/').map_or(0, |i| i + 1);
    match rest[last..].split_once(':') {
        Some((name, tag)) => (&rest[..last + name.len()], Some(tag)),
        None => (rest, None),
    }
}

/// The first component is a registry when it could not be a repository's: it has a dot, a port, a capital, or is `localhost`.
fn split_registry(name: &str) -> (String, String) {
    let (registry, repository) = match name.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" || first.to_lowercase() != first => {
            (first, rest)
        }
        _ => (DEFAULT_REGISTRY, name),
    };
    let registry = if registry == LEGACY_REGISTRY { DEFAULT_REGISTRY } else { registry };
    match registry == DEFAULT_REGISTRY && !repository.contains('/') && !repository.is_empty() {
        true => (registry.to_owned(), format!("{OFFICIAL_PREFIX}{repository}")),
        false => (registry.to_owned(), repository.to_owned()),
    }
}

/// `host`, `host:port`, `[::1]:port`.
fn is_registry(text: &str) -> bool {
    if let Some(rest) = text.strip_prefix('[') {
        return rest.split_once(']').is_some_and(|(address, port)| {
            !address.is_empty()
                && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':')
                && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
        });
    }
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    port.is_none_or(is_port) && host.split('.').all(is_domain_label)
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_domain_label(label: &str) -> bool {
    !label.is_empty()
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let mut bytes = text.bytes();
    text.len() <= 128 && bytes.next().is_some_and(word) && bytes.all(|b| word(b) || b == b'.' || b == b'-')
}

/// Runs of `[a-z0-9]`, separated by one dot, one or two underscores, or any number of dashes.
fn is_component(text: &str) -> bool {
    let plain = |b: &u8| matches!(b, b'a'..=b'z' | b'0'..=b'9');
    let bytes = text.as_bytes();
    let edges = bytes.first().is_some_and(plain) && bytes.last().is_some_and(plain);
    edges
        && bytes
            .split(|b| plain(b))
            .all(|gap| matches!(gap, b"" | b"." | b"_" | b"__") || gap.iter().all(|b| *b == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn names_are_completed_as_docker_does() {
        for (text, full) in [
            ("busybox", "docker.io/library/busybox:latest"),
            ("busybox:1.36", "docker.io/library/busybox:1.36"),
            ("user/app", "docker.io/user/app:latest"),
            ("docker.io/app", "docker.io/library/app:latest"),
            ("index.docker.io/app", "docker.io/library/app:latest"),
            ("localhost/app", "localhost/app:latest"),
            ("localhost:5000/name:tag", "localhost:5000/name:tag"),
            ("127.0.0.1:5000/a/b/c", "127.0.0.1:5000/a/b/c:latest"),
            ("[::1]:5000/app", "[::1]:5000/app:latest"),
            ("Host/app", "Host/app:latest"),
            ("ghcr.io/a/b_c-d.e__f---g:V1", "ghcr.io/a/b_c-d.e__f---g:V1"),
            ("localhost:5000", "docker.io/library/localhost:5000"),
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), full, "{text}");
        }
        let pinned = format!("app@sha256:{HEX}").parse::<Reference>().unwrap();
        assert_eq!((pinned.tag(), pinned.to_string()), (None, format!("docker.io/library/app@sha256:{HEX}")));
        let both = format!("app:1@sha256:{HEX}").parse::<Reference>().unwrap();
        assert_eq!(both.to_string(), format!("docker.io/library/app:1@sha256:{HEX}"));
    }

    #[test]
    fn what_docker_refuses_is_refused() {
        for text in [
            "",
            ":tag",
            "@sha256:00",
            "App",
            "user/App",
            "a//b",
            "/a",
            "a/",
            "a:",
            "a:-x",
            "a b",
            "a/.b",
            "a/b.",
            "a/b___c",
            "a/b..c",
            "host.tld:x/a",
            "-h.tld/a",
            "h..tld/a",
            "[::1/a",
            "app@sha256:abc",
            "app@md5:00",
            "a:b:c",
            "é",
            HEX,
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
        assert!("a".repeat(300).parse::<Reference>().is_err());
        assert!(format!("a:{}", "t".repeat(129)).parse::<Reference>().is_err());
    }

    #[test]
    fn the_familiar_form_is_the_short_one() {
        for text in ["busybox:latest", "user/app:1", "localhost:5000/app:2", "library/a/b:x"] {
            assert_eq!(text.parse::<Reference>().unwrap().familiar(), text);
        }
    }

    #[test]
    fn a_repository_that_looks_like_a_registry_keeps_its_own() {
        for text in ["docker.io/ghcr.io/app:1", "docker.io/localhost/app:1", "docker.io/a.b/c/d:1"] {
            assert_eq!(text.parse::<Reference>().unwrap().familiar(), text);
        }
        assert_eq!("docker.io/library/localhost:1".parse::<Reference>().unwrap().familiar(), "localhost:1");
    }

    proptest! {
        #[test]
        fn a_name_survives_printing_and_parsing(
            registry in prop::option::of("(localhost|[a-z0-9]{1,9}\\.[a-z]{2,3}|\\[::1\\])(:[0-9]{1,5})?"),
            path in "[a-z0-9]{1,8}((_|__|-{1,3})[a-z0-9]{1,4}){0,2}(/[a-z0-9]{1,8}(\\.[a-z0-9]{1,3}){0,2}){0,3}",
            tag in prop::option::of("[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}"),
            digest in prop::option::of("sha256:[0-9a-f]{64}"),
        ) {
            let text = registry.map(|r| r + "/").unwrap_or_default() + &path
                + &tag.map(|t| format!(":{t}")).unwrap_or_default()
                + &digest.map(|d| format!("@{d}")).unwrap_or_default();
            let once: Reference = text.parse().unwrap();
            prop_assert_eq!(&once.to_string().parse::<Reference>().unwrap(), &once);
            prop_assert_eq!(&once.familiar().parse::<Reference>().unwrap(), &once);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,80}") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(&reference.to_string().parse::<Reference>().unwrap(), &reference);
            }
        }
    }
}
