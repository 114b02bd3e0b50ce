// SPDX-License-Identifier: Apache-2.0
//! What a registry has: by its search API, or by its list of repositories where it has none; and the tags of one.

use crate::error::Result;
use crate::limits::Limits;
use crate::pull::known_at;
use crate::reference::Reference;
use crate::registries::Registries;
use crate::registry::{self, Access, Catalog, Credentials, Repository, Retry};

/// Repositories whose tags are told when a registry has no search: each costs a request.
const WITH_TAGS: usize = 25;

/// A repository that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// As one pulls it.
    pub name: String,
    /// What its owner says of it; its tags, where the registry knows nothing else.
    pub description: String,
    /// How many people like it.
    pub stars: u64,
    /// Docker keeps it.
    pub official: bool,
}

/// How to ask.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether certificates are checked, and plain HTTP refused except on this machine.
    pub verify: bool,
    /// How many to find at most.
    pub limit: usize,
    /// Who we are to the registry, where that is not what is kept.
    pub credentials: Option<Credentials>,
}

impl Default for Options {
    fn default() -> Self {
        Self { verify: true, limit: 25, credentials: None }
    }
}

/// Repositories that have `term` in their names, or `HOST/TERM` at another registry than Docker's.
///
/// # Errors
/// The registry cannot be reached, or does not let us look.
pub fn search(term: &str, options: &Options) -> Result<Vec<Found>> {
    let (registry, term) = split(term);
    let insecure = Registries::read()?.is_insecure(registry);
    let speaking = speaking(registry, registry, options, insecure)?;
    let catalog = Catalog::open(registry, &speaking, Limits::DEFAULT.document)?;
    let prefix = if registry == HUB { String::new() } else { format!("{registry}/") };
    if let Some(hits) = catalog.search(term, options.limit)? {
        let found = hits.into_iter().map(|hit| Found {
            name: format!("{prefix}{}", hit.name),
            description: hit.description,
            stars: hit.stars,
            official: hit.official,
        });
        return Ok(found.collect());
    }
    let mut names = catalog.repositories()?;
    names.retain(|name| name.contains(term));
    names.sort();
    names.truncate(options.limit);
    let describe = |(at, name): (usize, String)| {
        let name = format!("{prefix}{name}");
        let tags = match at < WITH_TAGS {
            true => tags(&name.parse()?, options)?,
            false => Vec::new(),
        };
        let description = if tags.is_empty() { String::new() } else { format!("tags: {}", tags.join(", ")) };
        Ok(Found { name, description, stars: 0, official: false })
    };
    names.into_iter().enumerate().map(describe).collect()
}

/// The tags of a repository, sorted.
///
/// # Errors
/// There is no such repository; the registry cannot be reached, or does not let us look.
pub fn tags(repository: &Reference, options: &Options) -> Result<Vec<String>> {
    let place = Registries::read()?.target(repository)?;
    let speaking = speaking(repository.registry(), &place.registry, options, place.insecure)?;
    let found = Repository::open(&place, &speaking, Access::Pull, Limits::DEFAULT.document)?.tags();
    let doing = || format!("listing the tags of {}", repository.familiar_name());
    let mut tags = found.map_err(|error| error.while_doing(doing()))?;
    tags.sort();
    Ok(tags)
}

fn speaking(named: &str, registry: &str, options: &Options, insecure: bool) -> Result<registry::Options> {
    let credentials = known_at(options.credentials.as_ref(), named, registry)?;
    Ok(registry::Options { verify: options.verify && !insecure, credentials, retry: Retry::DEFAULT, rate: None })
}

const HUB: &str = "docker.io";

/// The registry and what to look for there: `quay.io/name`; `localhost:5000/` for all.
fn split(term: &str) -> (&str, &str) {
    match term.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => (host, rest),
        _ => (HUB, term),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_before_the_term_is_asked() {
        assert_eq!(split("busybox"), (HUB, "busybox"));
        assert_eq!(split("user/app"), (HUB, "user/app"));
        assert_eq!(split("localhost:5000/a/b"), ("localhost:5000", "a/b"));
        assert_eq!(split("quay.io/"), ("quay.io", ""));
    }
}
