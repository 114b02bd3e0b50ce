// SPDX-License-Identifier: Apache-2.0
//! Container names: `names/<name>` is a link to the container's folder, made atomically, so that a name is taken once.
//!
//! A name whose folder has no record and no maker (a `kelp` that was killed) is free again.

use super::claim::Claim;
use super::{id, record};
use crate::caller::Caller;
use crate::error::{Doing, Error, Kind, Result};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

const ADJECTIVES: [&str; 48] = [
    "amber",
    "azure",
    "brave",
    "breezy",
    "briny",
    "bright",
    "calm",
    "coastal",
    "coral",
    "curious",
    "deep",
    "drifting",
    "eager",
    "floating",
    "foamy",
    "gentle",
    "gleaming",
    "golden",
    "graceful",
    "hardy",
    "hidden",
    "jolly",
    "keen",
    "limpid",
    "lively",
    "lucid",
    "mellow",
    "misty",
    "nimble",
    "pearly",
    "placid",
    "quick",
    "quiet",
    "rapid",
    "rolling",
    "salty",
    "sandy",
    "serene",
    "silver",
    "sleek",
    "spry",
    "steady",
    "sunlit",
    "swift",
    "tidal",
    "tranquil",
    "wavy",
    "windswept",
];

const ANIMALS: [&str; 56] = [
    "abalone",
    "albatross",
    "anchovy",
    "anemone",
    "barnacle",
    "beluga",
    "bream",
    "clam",
    "cod",
    "conch",
    "cormorant",
    "crab",
    "cuttlefish",
    "dolphin",
    "dugong",
    "eel",
    "flounder",
    "garibaldi",
    "grebe",
    "gull",
    "halibut",
    "heron",
    "herring",
    "kelpfish",
    "krill",
    "limpet",
    "lobster",
    "mackerel",
    "manatee",
    "marlin",
    "mussel",
    "narwhal",
    "nautilus",
    "octopus",
    "orca",
    "otter",
    "oyster",
    "pelican",
    "petrel",
    "pipefish",
    "plover",
    "porpoise",
    "prawn",
    "puffin",
    "ray",
    "sanddollar",
    "scallop",
    "seahorse",
    "seal",
    "shrimp",
    "skate",
    "squid",
    "starfish",
    "tern",
    "turtle",
    "urchin",
];

/// Checks a name the user chose: Docker's `[a-zA-Z0-9][a-zA-Z0-9_.-]*`, a single letter too.
pub fn check(name: &str) -> Result<()> {
    let mut chars = name.chars();
    let first = chars.next().is_some_and(|c| c.is_ascii_alphanumeric());
    let rest = chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    if first && rest && name.len() <= 128 {
        return Ok(());
    }
    let because = "a name begins with a letter or digit, then has letters, digits, _ . -";
    Err(Error::new(Kind::BadInput, format!("cannot call a container {name:?}"), because))
}

/// Takes `name` for container `id`.
pub fn take(caller: &Caller, name: &str, id: &str) -> Result<()> {
    let doing = || format!("cannot call the container {name}");
    crate::places::make_private(&caller.places.names())?;
    let target = PathBuf::from("../containers").join(id);
    for _ in 0..2 {
        match symlink(&target, caller.places.names().join(name)) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => release_if_stale(caller, name)?,
            Err(error) => return Err(error).doing(doing),
        }
    }
    Err(Error::new(Kind::AlreadyExists, doing(), format!("the name {name} is taken")))
}

/// Takes a name of ours, the first free one.
pub fn take_random(caller: &Caller, id: &str) -> Result<String> {
    let digits = |range: std::ops::Range<usize>| {
        id.get(range).and_then(|hex| usize::from_str_radix(hex, 16).ok()).unwrap_or_default()
    };
    // The id is random already; another pair of its digits gives another name.
    for start in 0..24 {
        let adjective = ADJECTIVES[digits(start..start + 4) % ADJECTIVES.len()];
        let animal = ANIMALS[digits(start + 4..start + 8) % ANIMALS.len()];
        let name = format!("{adjective}_{animal}");
        match take(caller, &name, id) {
            Ok(()) => return Ok(name),
            Err(error) if error.kind() == Kind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    let name = format!("kelp_{}", id::short(id));
    take(caller, &name, id).map(|()| name)
}

/// The id that has `name`.
pub fn look_up(caller: &Caller, name: &str) -> Option<String> {
    let target = fs::read_link(caller.places.names().join(name)).ok()?;
    target.file_name()?.to_str().map(str::to_owned)
}

/// The name that `id` has, by the links alone.
pub fn of(caller: &Caller, id: &str) -> Option<String> {
    let names = fs::read_dir(caller.places.names()).ok()?;
    let mut names = names.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.find(|name| look_up(caller, name).as_deref() == Some(id))
}

/// Gives `name` back, if `id` has it.
pub fn release(caller: &Caller, name: &str, id: &str) -> Result<()> {
    if look_up(caller, name).as_deref() != Some(id) {
        return Ok(());
    }
    match fs::remove_file(caller.places.names().join(name)) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).doing(|| format!("cannot free the name {name}"))
        }
        _ => Ok(()),
    }
}

/// Frees all names whose container was never finished, or is gone.
pub fn sweep(caller: &Caller) -> Result<()> {
    let doing = || format!("cannot tidy up {}", caller.places.names().display());
    let entries = match fs::read_dir(caller.places.names()) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).doing(doing),
    };
    for entry in entries {
        if let Ok(name) = entry.doing(doing)?.file_name().into_string() {
            match release_if_stale(caller, &name) {
                Err(error) if error.kind() != Kind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Frees a name whose container was never finished; an error if it is in use.
fn release_if_stale(caller: &Caller, name: &str) -> Result<()> {
    let Some(id) = look_up(caller, name) else { return clear(caller, name) };
    let folder = caller.places.containers().join(&id);
    if !record::is_container(&folder) && Claim::try_take(&folder)?.is_some_free() {
        return release(caller, name, &id);
    }
    Err(Error::new(
        Kind::AlreadyExists,
        format!("cannot call the container {name}"),
        format!("the name {name} is in use by container {}", id::short(&id)),
    )
    .hint(format!("choose another --name, or remove that one: kelp rm -f {name}")))
}

/// Removes what is no link, where a name's link should be.
fn clear(caller: &Caller, name: &str) -> Result<()> {
    let path = caller.places.names().join(name);
    let doing = || format!("cannot free the name {name}");
    match fs::symlink_metadata(&path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(&path).doing(doing),
        Ok(meta) if meta.is_file() => fs::remove_file(&path).doing(doing),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(test: &str) -> Caller {
        let root = std::env::temp_dir().join(format!("kelp-name-{test}-{}", std::process::id()));
        fs::create_dir_all(root.join("containers")).unwrap();
        Caller::in_folder(root)
    }

    #[test]
    fn a_name_is_taken_once_and_free_after_release() {
        let caller = caller("once");
        let folder = caller.places.containers().join("aa");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("container.json"), "{}").unwrap();
        take(&caller, "web", "aa").unwrap();
        assert_eq!(take(&caller, "web", "bb").unwrap_err().kind(), Kind::AlreadyExists);
        release(&caller, "web", "bb").unwrap();
        assert_eq!(look_up(&caller, "web").as_deref(), Some("aa"));
        release(&caller, "web", "aa").unwrap();
        take(&caller, "web", "bb").unwrap();
        fs::remove_dir_all(caller.places.store).unwrap();
    }

    #[test]
    fn the_name_of_a_killed_maker_is_free_that_of_a_living_one_is_not() {
        let caller = caller("stale");
        let folder = caller.places.containers().join("aa");
        fs::create_dir_all(&folder).unwrap();
        let claim = Claim::make(&folder).unwrap();
        take(&caller, "web", "aa").unwrap();
        assert_eq!(take(&caller, "web", "bb").unwrap_err().kind(), Kind::AlreadyExists);
        drop(claim);
        take(&caller, "web", "bb").unwrap();
        fs::remove_dir_all(caller.places.store).unwrap();
    }

    #[test]
    fn random_names_are_good_names() {
        let caller = caller("random");
        let name = take_random(&caller, &id::random().unwrap()).unwrap();
        check(&name).unwrap();
        assert!(check("a").is_ok() && check("-ab").is_err() && check("a/b").is_err() && check("").is_err());
        fs::remove_dir_all(caller.places.store).unwrap();
    }
}
