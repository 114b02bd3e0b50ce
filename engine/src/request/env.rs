// SPDX-License-Identifier: Apache-2.0
//! `-e KEY=VALUE`, `-e KEY` (the caller's value) and `--env-file FILE`; labels are written the same way.

use crate::error::{Doing, Error, Kind, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// The variables in the order they take effect: files first, then `-e`, later ones winning.
///
/// `look_up` is the caller's environment: `-e KEY` of an unset variable sets nothing, as in Docker.
pub fn collect(files: &[PathBuf], given: &[String], look_up: impl Fn(&str) -> Option<String>) -> Result<Vec<String>> {
    let mut variables = Vec::new();
    for file in files {
        variables.extend(read_file(file, &look_up)?);
    }
    for entry in given {
        variables
            .extend(resolve(entry, &look_up).map_err(|because| {
                Error::new(Kind::BadInput, format!("cannot use the variable {entry:?}"), because)
            })?);
    }
    Ok(variables)
}

fn read_file(file: &Path, look_up: impl Fn(&str) -> Option<String>) -> Result<Vec<String>> {
    let text = fs::read_to_string(file).doing(|| format!("cannot read the environment file {}", file.display()))?;
    let lines = text.lines().enumerate().map(|(number, line)| (number + 1, line.trim_start()));
    let mut variables = Vec::new();
    for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let doing = || format!("cannot use the environment file {}", file.display());
        let found = resolve(line, &look_up)
            .map_err(|because| Error::new(Kind::BadInput, doing(), format!("line {number}: {because}")))?;
        variables.extend(found);
    }
    Ok(variables)
}

fn resolve(entry: &str, look_up: impl Fn(&str) -> Option<String>) -> Result<Option<String>, String> {
    let (key, value) = match entry.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (entry, None),
    };
    if key.is_empty() || key.contains(char::is_whitespace) {
        return Err("a variable's name is not empty and has no spaces".to_owned());
    }
    Ok(match value {
        Some(_) => Some(entry.to_owned()),
        None => look_up(key).map(|value| format!("{key}={value}")),
    })
}

/// The labels of `--label-file`, which is written as an environment file; a missing value is empty.
pub fn label_files(files: &[PathBuf]) -> Result<Vec<(String, String)>> {
    let mut labels = Vec::new();
    for file in files {
        let lines = read_file(file, |_| Some(String::new()))?;
        labels.extend(lines.iter().filter_map(|line| pair(line).ok()));
    }
    Ok(labels)
}

/// `key=value` of `--label` and its like; a missing value is empty.
pub fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    if key.is_empty() {
        return Err("expected KEY=VALUE".to_owned());
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// The name in `NAME=value`.
pub fn key(entry: &str) -> &str {
    entry.split_once('=').map_or(entry, |(key, _)| key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(key: &str) -> Option<String> {
        (key == "LANG").then(|| "C.UTF-8".to_owned())
    }

    #[test]
    fn a_name_alone_takes_the_callers_value_and_an_unset_one_nothing() {
        let given = ["A=1", "LANG", "UNSET", "B="].map(str::to_owned);
        assert_eq!(collect(&[], &given, caller).unwrap(), ["A=1", "LANG=C.UTF-8", "B="]);
    }

    #[test]
    fn a_file_has_comments_and_its_bad_lines_are_named() {
        let file = std::env::temp_dir().join(format!("kelp-env-{}", std::process::id()));
        fs::write(&file, "# a comment\n\nA=b c\nLANG\n").unwrap();
        assert_eq!(collect(std::slice::from_ref(&file), &[], caller).unwrap(), ["A=b c", "LANG=C.UTF-8"]);
        fs::write(&file, "A=1\nbad name=2\n").unwrap();
        let error = collect(std::slice::from_ref(&file), &[], caller).unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
        fs::remove_file(file).unwrap();
    }
}
