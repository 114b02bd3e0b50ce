// SPDX-License-Identifier: Apache-2.0
//! Names and passwords of registries: Docker's config.json, and the helpers it names.
//!
//! Read: `REGISTRY_AUTH_FILE`, `DOCKER_CONFIG/config.json`, podman's `XDG_RUNTIME_DIR/containers/auth.json`,
//! `~/.docker/config.json`, `XDG_CONFIG_HOME/containers/auth.json`; the first that knows the registry. Written: the first of
//! them that is set by name, else `~/.docker/config.json`. Other fields of the file stay as they are.

use std::env;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::base64;
use crate::error::{Doing, Error, Kind, Result};
use crate::registries::Registries;
use crate::registry::{self, Credentials, Retry};
use crate::store::replace_secret;

/// What Docker calls its own registry in this file.
const HUB: &str = "https://index.docker.io/v1/";
/// A helper's user name where the secret is a refresh token.
const TOKEN_NAME: &str = "<token>";

/// What we know of `registry`, if anything.
///
/// # Errors
/// A file or a helper cannot be read; one that is missing is no error.
pub fn find(registry: &str) -> Result<Option<Credentials>> {
    for path in files() {
        let Some(config) = read(&path)? else { continue };
        let found = find_in(&config, registry).map_err(|e| e.while_doing(format!("reading {}", path.display())))?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// The registry that a person names by an address: `https://index.docker.io/v1/` is `docker.io`.
pub fn host_of(address: &str) -> &str {
    let bare = address.strip_prefix("https://").or_else(|| address.strip_prefix("http://")).unwrap_or(address);
    match bare.split('/').next().unwrap_or_default() {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    }
}

/// Whether the registry takes them: nothing is kept.
///
/// # Errors
/// [`Kind::Unauthorized`]: it does not.
pub fn check(registry: &str, credentials: &Credentials, verify: bool) -> Result<()> {
    let verify = verify && !Registries::read()?.is_insecure(registry);
    registry::check(
        registry,
        &registry::Options { verify, credentials: Some(credentials.clone()), retry: Retry::DEFAULT, rate: None },
    )
}

/// Tries the credentials at the registry, and keeps them. Tells where.
///
/// # Errors
/// [`Kind::Unauthorized`]: the registry does not take them.
pub fn login(registry: &str, credentials: &Credentials, verify: bool) -> Result<PathBuf> {
    check(registry, credentials, verify)?;
    let path = file_to_write()?;
    let mut config = read(&path)?.unwrap_or_else(|| json!({}));
    if let Some(helper) = helper_for(&config, registry) {
        let Credentials::Password { name, password } = credentials else {
            return Err(Error::new(Kind::Unsupported, "keeping a login", "a helper keeps names and passwords only"));
        };
        let entry = json!({ "ServerURL": key_of(registry), "Username": name, "Secret": password });
        ask(&helper, "store", &entry.to_string())?;
    } else {
        insert(&mut config, registry, credentials);
        write(&path, &config)?;
    }
    Ok(path)
}

/// Forgets the registry. Says whether it was known.
pub fn logout(registry: &str) -> Result<bool> {
    let mut known = false;
    for path in files() {
        let Some(mut config) = read(&path)? else { continue };
        if let Some(helper) = helper_for(&config, registry) {
            ask(&helper, "erase", key_of(registry))?;
            known = true;
        }
        let auths = config.get_mut("auths").and_then(Value::as_object_mut);
        let before = auths.as_ref().map_or(0, |a| a.len());
        if let Some(auths) = auths {
            auths.retain(|key, _| !is_key_of(key, registry));
            if auths.len() < before {
                known = true;
                write(&path, &config)?;
            }
        }
    }
    Ok(known)
}

/// Files that may know something, best first.
fn files() -> Vec<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let home = set("HOME");
    let config = set("XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|h| h.join(".config")));
    let candidates = [
        set("REGISTRY_AUTH_FILE"),
        set("DOCKER_CONFIG").map(|dir| dir.join("config.json")),
        set("XDG_RUNTIME_DIR").map(|dir| dir.join("containers/auth.json")),
        home.map(|h| h.join(".docker/config.json")),
        config.map(|dir| dir.join("containers/auth.json")),
    ];
    candidates.into_iter().flatten().collect()
}

fn file_to_write() -> Result<PathBuf> {
    let named =
        ["REGISTRY_AUTH_FILE", "DOCKER_CONFIG"].iter().any(|name| env::var_os(name).is_some_and(|v| !v.is_empty()));
    let file = match named {
        true => files().into_iter().next(),
        false => files().into_iter().find(|path| path.ends_with(".docker/config.json")),
    };
    file.ok_or_else(|| {
        Error::new(Kind::NotFound, "keeping a login", "HOME is not set").hint("set HOME or DOCKER_CONFIG")
    })
}

fn read(path: &Path) -> Result<Option<Value>> {
    match fs::read(path) {
        Ok(text) if text.trim_ascii().is_empty() => Ok(None),
        Ok(text) => serde_json::from_slice(&text).map(Some).doing(|| format!("reading {}", path.display())),
        // podman's folder below /run may be another user's.
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => Ok(None),
        Err(e) => Err(e).doing(|| format!("reading {}", path.display())),
    }
}

/// The file has secrets in it: a new one is its owner's alone from the start.
fn write(path: &Path, config: &Value) -> Result<()> {
    if let Some(dir) = path.parent() {
        use std::os::unix::fs::DirBuilderExt;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).doing(|| format!("making {}", dir.display()))?;
    }
    let text = serde_json::to_vec_pretty(config).doing(|| format!("writing {}", path.display()))?;
    replace_secret(path, &text)
}

fn key_of(registry: &str) -> &str {
    if registry == "docker.io" { HUB } else { registry }
}

/// Docker and podman have written keys with and without a scheme and a path.
fn is_key_of(key: &str, registry: &str) -> bool {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let host = bare.split('/').next().unwrap_or_default();
    key == key_of(registry) || host == registry || (registry == "docker.io" && host == "index.docker.io")
}

fn find_in(config: &Value, registry: &str) -> Result<Option<Credentials>> {
    if let Some(helper) = helper_for(config, registry)
        && let Some(found) = from_helper(&helper, registry)?
    {
        return Ok(Some(found));
    }
    let auths = config.get("auths").and_then(Value::as_object);
    let exact = auths.and_then(|auths| auths.get(key_of(registry)));
    let entry = exact.or_else(|| auths?.iter().find(|(key, _)| is_key_of(key, registry)).map(|(_, entry)| entry));
    Ok(entry.and_then(from_entry))
}

/// An entry of `auths`; an empty one (a helper has the rest) is none.
fn from_entry(entry: &Value) -> Option<Credentials> {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).filter(|t| !t.is_empty());
    if let Some(token) = text("identitytoken") {
        return Some(Credentials::Identity(token.to_owned()));
    }
    if let Some(token) = text("registrytoken") {
        return Some(Credentials::Registry(token.to_owned()));
    }
    let decoded = text("auth").and_then(base64::decode).and_then(|bytes| String::from_utf8(bytes).ok());
    let pair = decoded.as_deref().and_then(|pair| pair.split_once(':'));
    let (name, password) = pair.or_else(|| Some((text("username")?, text("password")?)))?;
    // Docker has written NULs behind passwords.
    Some(Credentials::Password { name: name.to_owned(), password: password.trim_end_matches('\0').to_owned() })
}

/// For the fuzz targets: the file as `find` reads it, without the helpers.
pub(crate) fn read_foreign(bytes: &[u8]) {
    let Ok(mut config) = serde_json::from_slice::<Value>(bytes) else { return };
    drop(helper_for(&config, "docker.io"));
    let keys = config.get("auths").and_then(Value::as_object).into_iter().flatten();
    let found: Vec<_> = keys.filter_map(|(key, entry)| Some((key.clone(), from_entry(entry)?))).collect();
    for (key, credentials) in found {
        insert(&mut config, &key, &credentials);
    }
}

fn insert(config: &mut Value, registry: &str, credentials: &Credentials) {
    let entry = match credentials {
        Credentials::Password { name, password } => {
            json!({ "auth": base64::encode(format!("{name}:{password}").as_bytes()) })
        }
        Credentials::Identity(token) => json!({ "identitytoken": token }),
        Credentials::Registry(token) => json!({ "registrytoken": token }),
    };
    if !config.is_object() {
        *config = json!({});
    }
    if let Some(object) = config.as_object_mut() {
        let auths = object.entry("auths").or_insert_with(|| Value::Object(Map::new()));
        if let Some(auths) = auths.as_object_mut() {
            auths.retain(|key, _| !is_key_of(key, registry));
            auths.insert(key_of(registry).to_owned(), entry);
        }
    }
}

fn helper_for(config: &Value, registry: &str) -> Option<String> {
    let own = config.get("credHelpers").and_then(|h| h.get(key_of(registry)).or_else(|| h.get(registry)));
    let name = own.or_else(|| config.get("credsStore"))?.as_str().filter(|name| !name.is_empty())?;
    // It becomes part of a program's name.
    let safe = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    safe.then(|| name.to_owned())
}

fn from_helper(helper: &str, registry: &str) -> Result<Option<Credentials>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        username: String,
        secret: String,
    }
    let Some(answer) = ask(helper, "get", key_of(registry))? else { return Ok(None) };
    let answer: Answer =
        serde_json::from_str(&answer).doing(|| format!("reading what docker-credential-{helper} says"))?;
    Ok(Some(match answer.username.as_str() {
        TOKEN_NAME => Credentials::Identity(answer.secret),
        _ => Credentials::Password { name: answer.username, password: answer.secret },
    }))
}

/// Speaks with a helper; `None` where it knows nothing of the registry.
fn ask(helper: &str, verb: &str, input: &str) -> Result<Option<String>> {
    speak(&format!("docker-credential-{helper}"), verb, input)
}

fn speak(program: &str, verb: &str, input: &str) -> Result<Option<String>> {
    let doing = || format!("asking {program} to {verb}");
    let mut child = Command::new(program)
        .arg(verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .doing(doing)
        .map_err(|e| e.hint("Docker's config.json names it under credsStore or credHelpers"))?;
    let sent = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().doing(doing)?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match sent {
        // One that knows its answer need not read what it is asked.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => return Err(error).doing(doing),
        _ if output.status.success() => return Ok(Some(said)),
        _ => {}
    }
    match said.contains("credentials not found") {
        true => Ok(None),
        false => Err(Error::new(Kind::Other, doing(), if said.is_empty() { output.status.to_string() } else { said })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(name: &str, password: &str) -> Option<Credentials> {
        Some(Credentials::Password { name: name.into(), password: password.into() })
    }

    #[test]
    fn a_helper_need_not_read_what_it_is_asked() {
        // More than a pipe holds: whoever writes it is still writing when echo has ended.
        let question = "x".repeat(1 << 20);
        assert_eq!(speak("echo", "get", &question).unwrap(), Some("get".to_owned()));
    }

    #[test]
    fn entries_are_found_under_every_key_that_was_ever_written() {
        let config = json!({ "auths": {
            "https://index.docker.io/v1/": { "auth": base64::encode(b"ann:a:b") },
            "https://one.tld/v2/": { "username": "u", "password": "p" },
            "two.tld:5000": { "identitytoken": "refresh" },
            "helped.tld": {},
        }});
        let find = |registry| find_in(&config, registry).unwrap();
        assert_eq!(find("docker.io"), password("ann", "a:b"));
        assert_eq!(find("one.tld"), password("u", "p"));
        assert_eq!(find("two.tld:5000"), Some(Credentials::Identity("refresh".into())));
        assert_eq!((find("two.tld"), find("helped.tld")), (None, None));
    }

    #[test]
    fn what_is_written_is_found_and_the_rest_stays() {
        let mut config = json!({ "auths": { "http://a.tld": { "auth": "x" } }, "detachKeys": "ctrl-q" });
        let ours = password("n", "p").unwrap();
        insert(&mut config, "a.tld", &ours);
        insert(&mut config, "docker.io", &ours);
        assert_eq!(find_in(&config, "a.tld").unwrap(), Some(ours.clone()));
        assert_eq!(config["auths"].as_object().unwrap().len(), 2);
        assert!(config["auths"].get(HUB).is_some() && config["detachKeys"] == "ctrl-q");
    }

    #[test]
    fn a_helpers_name_is_no_path() {
        assert_eq!(helper_for(&json!({ "credsStore": "../../evil" }), "a"), None);
        assert_eq!(
            helper_for(&json!({ "credsStore": "pass", "credHelpers": { "a": "gcloud" } }), "a").as_deref(),
            Some("gcloud")
        );
    }
}
