// SPDX-License-Identifier: Apache-2.0
//! `registries.conf` of containers-image: mirrors, registries that are elsewhere, insecure or blocked, and short names.
//!
//! Read where it is present, never required. Docker's rule stays: a name without a registry is docker.io's, unless an alias
//! says otherwise; `unqualified-search-registries` is not asked (a name that means whatever answers first is no name).
//!
//! Spec: containers-registries.conf(5), containers-registries.conf.d(5), version 2.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Doing, Error, Kind, Result};
use crate::reference::Reference;
use crate::registry::{self, Place};

/// All that the files say.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(crate) struct Registries {
    registry: Vec<Registry>,
    aliases: BTreeMap<String, String>,
}

/// A registry, or a part of one.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Registry {
    prefix: String,
    location: String,
    insecure: bool,
    blocked: bool,
    mirror: Vec<Mirror>,
    mirror_by_digest_only: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Mirror {
    location: String,
    insecure: bool,
    pull_from_mirror: String,
}

/// The full name of what a person calls by a short one, where an alias of `registries.conf` says so; else as Docker
/// completes it.
///
/// # Errors
/// It is no name; a file of aliases cannot be read.
pub fn complete(text: &str) -> Result<Reference> {
    let reference: Reference = text.parse()?;
    let end = text.find(['@', ':']).unwrap_or(text.len());
    // Whatever has a slash is no short name.
    if text[..end].contains('/') {
        return Ok(reference);
    }
    match Registries::read()?.aliases.get(&text[..end]) {
        Some(full) => format!("{full}{}", &text[end..]).parse(),
        None => Ok(reference),
    }
}

impl Registries {
    /// The user's file or else the system's, and all that are dropped in beside both.
    pub(crate) fn read() -> Result<Self> {
        let set = |name: &str| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let own = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")));
        let folders: Vec<PathBuf> =
            [Some(PathBuf::from("/etc")), own].into_iter().flatten().map(|dir| dir.join("containers")).collect();
        Self::read_from(set("CONTAINERS_REGISTRIES_CONF").as_deref(), &folders)
    }

    /// `folders`: the system's, then the user's.
    fn read_from(named: Option<&Path>, folders: &[PathBuf]) -> Result<Self> {
        let mut all = Self::default();
        let main = folders.iter().rev().map(|dir| dir.join("registries.conf"));
        for path in named.map(Path::to_owned).into_iter().chain(main) {
            if let Some(file) = parse(&path)? {
                all.add(file);
                break;
            }
        }
        for path in folders.iter().map(|dir| dir.join("registries.conf.d")) {
            for path in confs(&path)? {
                parse(&path)?.into_iter().for_each(|file| all.add(file));
            }
        }
        Ok(all)
    }

    /// What is read later counts more.
    fn add(&mut self, later: Self) {
        for new in later.registry {
            self.registry.retain(|old| old.key() != new.key());
            self.registry.push(new);
        }
        self.aliases.extend(later.aliases);
    }

    /// Places to pull from, in the order to try them.
    pub(crate) fn sources(&self, reference: &Reference) -> Result<Vec<Place>> {
        let Some(entry) = self.entry(reference) else { return Ok(vec![own_place(reference, false)]) };
        entry.refuse_blocked(reference)?;
        let by_digest = reference.digest().is_some();
        let mirrors = entry.mirror.iter().filter(|mirror| match mirror.pull_from_mirror.as_str() {
            "digest-only" => by_digest,
            "tag-only" => !by_digest,
            _ => by_digest || !entry.mirror_by_digest_only,
        });
        let mut places = Vec::new();
        for mirror in mirrors {
            places.push(entry.rewrite(reference, &mirror.location, mirror.insecure)?);
        }
        places.push(entry.rewrite(reference, &entry.location, entry.insecure)?);
        Ok(places)
    }

    /// Where to push to: a mirror is for reading.
    pub(crate) fn target(&self, reference: &Reference) -> Result<Place> {
        match self.entry(reference) {
            None => Ok(own_place(reference, false)),
            Some(entry) => {
                entry.refuse_blocked(reference)?;
                entry.rewrite(reference, &entry.location, entry.insecure)
            }
        }
    }

    /// Whether the registry as a whole may be spoken with insecurely.
    pub(crate) fn is_insecure(&self, registry: &str) -> bool {
        self.registry.iter().any(|entry| entry.insecure && entry.key() == registry)
    }

    /// The entry with the longest prefix that fits.
    fn entry(&self, reference: &Reference) -> Option<&Registry> {
        let name = name_of(reference);
        let fitting = self.registry.iter().filter_map(|entry| Some((fit(entry.key(), &name)?, entry)));
        fitting.max_by_key(|(length, _)| *length).map(|(_, entry)| entry)
    }
}

impl Registry {
    fn key(&self) -> &str {
        if self.prefix.is_empty() { &self.location } else { &self.prefix }
    }

    fn refuse_blocked(&self, reference: &Reference) -> Result<()> {
        match self.blocked {
            true => {
                let doing = format!("looking for {}", reference.familiar());
                Err(Error::new(Kind::Unauthorized, doing, format!("registries.conf blocks {}", self.key())))
            }
            false => Ok(()),
        }
    }

    /// The name with `location` in place of the prefix. A prefix with `*` replaces nothing but the host.
    fn rewrite(&self, reference: &Reference, location: &str, insecure: bool) -> Result<Place> {
        if location.is_empty() {
            return Ok(own_place(reference, insecure));
        }
        let name = name_of(reference);
        let matched = fit(self.key(), &name).unwrap_or(0);
        let whole = format!("{location}{}", &name[matched..]);
        let (registry, repository) = whole.split_once('/').ok_or_else(|| {
            let because = format!("{whole} has no repository");
            Error::new(Kind::BadInput, "reading registries.conf", because)
        })?;
        Ok(Place { registry: registry.to_owned(), repository: repository.to_owned(), insecure })
    }
}

fn name_of(reference: &Reference) -> String {
    format!("{}/{}", reference.registry(), reference.repository())
}

fn own_place(reference: &Reference, insecure: bool) -> Place {
    Place { registry: reference.registry().to_owned(), repository: reference.repository().to_owned(), insecure }
}

/// How much of `name` a prefix covers, whole components of it: `host`, `host/path`, or `*.domain`.
fn fit(prefix: &str, name: &str) -> Option<usize> {
    if let Some(domain) = prefix.strip_prefix('*') {
        let host = name.split('/').next()?;
        return (domain.starts_with('.') && host.ends_with(domain)).then_some(host.len());
    }
    let rest = name.strip_prefix(prefix)?;
    (!prefix.is_empty() && (rest.is_empty() || rest.starts_with('/'))).then_some(prefix.len())
}

/// The `*.conf` of a folder, in the order of their names.
fn confs(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = registry::files(folder)?;
    found.retain(|path| path.extension().is_some_and(|e| e == "conf"));
    Ok(found)
}

fn parse(path: &Path) -> Result<Option<Registries>> {
    let doing = || format!("reading {}", path.display());
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => return Ok(None),
        Err(e) => return Err(e).doing(doing),
    };
    let file = toml::from_str(&text).map_err(|e| {
        Error::new(Kind::BadInput, doing(), e.message()).hint("see containers-registries.conf(5), version 2")
    })?;
    Ok(Some(file))
}

/// For the fuzz targets: the file as [`Registries::read`] takes it, and what it makes of names. Where a prefix fits, the place
/// is a registry and a repository; a name never loses what follows the prefix.
pub(crate) fn read_foreign(text: &str) {
    let Ok(file) = toml::from_str::<Registries>(text) else { return };
    let mut all = Registries::default();
    all.add(file);
    let digest = "0".repeat(64);
    let names = ["busybox", "quay.io/a/b:1", "localhost:5000/x", "a.b.tld/deep/er/name", "x@sha256:"];
    for name in names.map(|name| if name.ends_with(':') { format!("{name}{digest}") } else { name.to_owned() }) {
        let Ok(reference) = name.parse::<Reference>() else { continue };
        let target = all.target(&reference).into_iter().map(|place| vec![place]);
        for place in all.sources(&reference).into_iter().chain(target).flatten() {
            assert!(!place.registry.contains('/'), "{place:?} is no host");
        }
        all.is_insecure(reference.registry());
    }
    for (short, full) in &all.aliases {
        drop(format!("{full}:{short}").parse::<Reference>());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(text: &str) -> Reference {
        text.parse().unwrap()
    }

    fn shown(places: &[Place]) -> Vec<String> {
        let bang = |place: &Place| if place.insecure { "!" } else { "" };
        places.iter().map(|place| format!("{}{}/{}", bang(place), place.registry, place.repository)).collect()
    }

    fn registries(text: &str) -> Registries {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn mirrors_come_first_and_the_longest_prefix_decides() {
        let all = registries(
            r#"
            unqualified-search-registries = ["example.tld"]
            [[registry]]
            location = "docker.io"
            [[registry.mirror]]
            location = "mirror.tld:5000/hub"
            insecure = true
            [[registry]]
            prefix = "docker.io/secret"
            location = "inside.tld/team"
            mirror-by-digest-only = true
            [[registry.mirror]]
            location = "other.tld"
            [[registry]]
            prefix = "*.blocked.tld"
            blocked = true
            "#,
        );
        let places = |text: &str| shown(&all.sources(&reference(text)).unwrap());
        assert_eq!(places("busybox"), ["!mirror.tld:5000/hub/library/busybox", "docker.io/library/busybox"]);
        assert_eq!(places("secret/app:1"), ["inside.tld/team/app"]);
        assert_eq!(places(&format!("secret/app@sha256:{}", "0".repeat(64))), ["other.tld/app", "inside.tld/team/app"]);
        assert_eq!(places("secrets/app"), ["!mirror.tld:5000/hub/secrets/app", "docker.io/secrets/app"]);
        assert_eq!(places("quay.io/a/b"), ["quay.io/a/b"]);
        assert_eq!(all.sources(&reference("x.blocked.tld/a")).unwrap_err().kind(), Kind::Unauthorized);
        assert!(all.sources(&reference("blocked.tld/a")).is_ok());
        assert_eq!(shown(&[all.target(&reference("busybox")).unwrap()]), ["docker.io/library/busybox"]);
    }

    #[test]
    fn the_users_file_replaces_the_systems_and_what_is_dropped_in_adds_up() {
        let dir = tempfile::tempdir().unwrap();
        let folders = ["system", "user"].map(|name| dir.path().join(name));
        for folder in &folders {
            fs::create_dir_all(folder.join("registries.conf.d")).unwrap();
        }
        let write = |path: &str, text: &str| fs::write(dir.path().join(path), text).unwrap();
        write("system/registries.conf", "[[registry]]\nlocation = 'a.tld'\nblocked = true\n");
        write("user/registries.conf", "[[registry]]\nlocation = 'b.tld'\ninsecure = true\n");
        write(
            "system/registries.conf.d/1.conf",
            "[aliases]\nfedora = 'one.tld/fedora'\nalpine = 'docker.io/library/alpine'\n",
        );
        write("user/registries.conf.d/2.conf", "[aliases]\nfedora = 'two.tld/fedora'\n");
        write("user/registries.conf.d/no", "this is not read");
        let all = Registries::read_from(None, &folders).unwrap();
        assert!(all.sources(&reference("a.tld/x")).is_ok() && all.is_insecure("b.tld"));
        assert_eq!((all.aliases["fedora"].as_str(), all.aliases.len()), ("two.tld/fedora", 2));
        write("user/registries.conf", "[[registry");
        assert_eq!(Registries::read_from(None, &folders).unwrap_err().kind(), Kind::BadInput);
    }
}
