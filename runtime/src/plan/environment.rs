// SPDX-License-Identifier: Apache-2.0
//! Environment, and where in it the program is looked for.
//!
//! Spec: config.md "process.env", "process.args": “the same semantics as … execvp”.

use super::text_of;
use crate::error::{Error, Result};
use std::ffi::CString;

/// What execvp(3) uses where PATH is not set, less the current directory.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The environment, in order, of names that stand twice the last one, at the place of the first.
pub(super) fn plan(env: &[String]) -> Result<Vec<CString>> {
    let mut kept: Vec<&str> = Vec::with_capacity(env.len());
    let mut places = std::collections::HashMap::with_capacity(env.len());
    for entry in env {
        let Some((name, _)) = entry.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            let because = match entry.starts_with('=') {
                true => format!("environment variable name can't be empty: {entry:?} is not of the form NAME=value"),
                false => format!("invalid environment variable: {entry:?} is not of the form NAME=value"),
            };
            return Err(Error::bad_input(format!("cannot use the entry {entry:?} of process.env")).because(because));
        };
        match places.get(name) {
            Some(&place) => kept[place] = entry.as_str(),
            None => {
                places.insert(name, kept.len());
                kept.push(entry);
            }
        }
    }
    kept.into_iter().map(|entry| text_of("", entry)).collect()
}

/// Whether HOME is there and says something: an empty one is none, for runc too.
pub(super) fn has_home(env: &[CString]) -> bool {
    env.iter().any(|entry| entry.as_bytes().strip_prefix(b"HOME=").is_some_and(|home| !home.is_empty()))
}

/// The environment with room for the HOME that is found.
pub(super) fn without_empty_home(env: Vec<CString>) -> Vec<CString> {
    env.into_iter().filter(|entry| entry.as_bytes() != b"HOME=").collect()
}

/// Where the program may be: itself if it has a slash, else in each folder of PATH.
///
/// # Errors
/// The program has no name, or a NUL in it.
pub fn candidates(program: &str, env: &[CString]) -> Result<Vec<CString>> {
    if program.is_empty() {
        return Err(Error::bad_input("cannot run the process")
            .because("exec: \"\": executable file not found in $PATH: process.args[0] is empty"));
    }
    if program.contains('/') {
        return Ok(vec![text_of("", program)?]);
    }
    let path = env.iter().find_map(|entry| entry.to_str().ok()?.strip_prefix("PATH="));
    path.unwrap_or(DEFAULT_PATH)
        .split(':')
        // An empty folder means the current directory, as in sh.
        .map(|folder| text_of(if folder.is_empty() { "./" } else { "" }, &join(folder, program)))
        .collect()
}

fn join(folder: &str, program: &str) -> String {
    if folder.is_empty() { program.into() } else { format!("{}/{program}", folder.trim_end_matches('/')) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(list: &[CString]) -> Vec<&str> {
        list.iter().map(|text| text.to_str().unwrap()).collect()
    }

    #[test]
    fn of_a_name_that_stands_twice_the_last_value_counts() {
        let env = ["A=1", "B=2", "A=3"].map(String::from);
        assert_eq!(texts(&plan(&env).unwrap()), ["A=3", "B=2"]);
        assert!(plan(&["NOVALUE".into()]).is_err());
    }

    #[test]
    fn an_empty_home_is_none() {
        let env = plan(&["HOME=/a".into()]).unwrap();
        assert!(has_home(&env));
        let env = plan(&["A=".into(), "HOME=/a".into(), "HOME=".into()]).unwrap();
        assert!(!has_home(&env));
        assert_eq!(texts(&without_empty_home(env)), ["A="]);
    }

    #[test]
    fn a_program_without_a_slash_is_looked_for_in_the_last_path() {
        let env = plan(&["PATH=/x".into(), "PATH=/a:/b/:".into()]).unwrap();
        assert_eq!(texts(&candidates("sh", &env).unwrap()), ["/a/sh", "/b/sh", "./sh"]);
        assert_eq!(texts(&candidates("./sh", &env).unwrap()), ["./sh"]);
        assert!(candidates("", &env).is_err());
    }
}
