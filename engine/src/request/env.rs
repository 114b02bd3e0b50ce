// SPDX-License-Identifier: Apache-2.0
//! `-e KEY=VALUE`, `-e KEY` (the caller's value) and `--env-file FILE`; labels are written the same way.

use crate::error::{Doing, Error, Kind, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// The variables in the order they take effect: files first, then `-e`, later ones winning. A name alone takes the image's
/// variable away.
///
/// `look_up` is the caller's environment. As in Docker, `-e KEY` of a variable that the caller has not set takes it away, and
/// such a line of a file does nothing.
pub fn collect(files: &[PathBuf], given: &[String], look_up: impl Fn(&str) -> Option<String>) -> Result<Vec<String>> {
    let mut variables = Vec::new();
    for file in files {
        let pairs = read_file(file, "environment file")?;
        variables.extend(pairs.into_iter().filter_map(|(key, value)| {
            let value = value.or_else(|| look_up(&key))?;
            Some(format!("{key}={value}"))
        }));
    }
    for entry in given {
        variables
            .push(resolve(entry, &look_up).map_err(|because| {
                Error::new(Kind::BadInput, format!("cannot use the variable {entry:?}"), because)
            })?);
    }
    Ok(variables)
}

/// The lines of a file: a name, and its value if there is a `=`. The rules are Docker's: a byte order mark and ends of lines
/// with a carriage return are no part of them, a comment begins with `#`, and only a name may be indented.
fn read_file(file: &Path, what: &str) -> Result<Vec<(String, Option<String>)>> {
    let doing = || format!("cannot use the {what} {}", file.display());
    let bytes = fs::read(file).doing(doing)?;
    let text = String::from_utf8(bytes)
        .map_err(|error| Error::new(Kind::BadInput, doing(), format!("it is not UTF-8: {error}")))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let lines = text.lines().enumerate().map(|(number, line)| (number + 1, line.trim_start()));
    let mut pairs = Vec::new();
    for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let (key, value) = line.split_once('=').map_or((line.trim_end(), None), |(key, value)| (key, Some(value)));
        if key.is_empty() || key.contains(char::is_whitespace) {
            let because = format!("line {number}: a name is not empty and has no spaces");
            return Err(Error::new(Kind::BadInput, doing(), because));
        }
        pairs.push((key.to_owned(), value.map(str::to_owned)));
    }
    Ok(pairs)
}

fn resolve(entry: &str, look_up: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    match entry.split_once('=') {
        Some(("", _)) => Err("a variable's name is not empty".to_owned()),
        None if entry.is_empty() => Err("a variable's name is not empty".to_owned()),
        Some(_) => Ok(entry.to_owned()),
        None => Ok(look_up(entry).map_or_else(|| entry.to_owned(), |value| format!("{entry}={value}"))),
    }
}

/// What label files hold.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct LabelFiles {
    /// Their labels.
    pub labels: Vec<(String, String)>,
    /// Lines without a value, which are no labels.
    pub left: Vec<String>,
}

/// The labels of `--label-file`, which is written as an environment file, and the lines without a value: Docker takes no label
/// from them, and its users shall hear it.
pub fn label_files(files: &[PathBuf]) -> Result<LabelFiles> {
    let mut read = LabelFiles::default();
    for file in files {
        for (key, value) in read_file(file, "label file")? {
            match value {
                Some(value) => read.labels.push((key, value)),
                None => read.left.push(key),
            }
        }
    }
    Ok(read)
}

/// The text of a variable that can be set: its name is not empty.
pub fn variable(text: &str) -> Result<String, String> {
    match text.is_empty() || text.starts_with('=') {
        true => Err(format!("invalid environment variable: {text:?}; its name is empty")),
        false => Ok(text.to_owned()),
    }
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
    fn a_name_alone_takes_the_callers_value_and_an_unset_one_is_taken_away() {
        let given = ["A=1", "LANG", "UNSET", "B=", "a b=c"].map(str::to_owned);
        assert_eq!(collect(&[], &given, caller).unwrap(), ["A=1", "LANG=C.UTF-8", "UNSET", "B=", "a b=c"]);
        assert!(collect(&[], &["=x".to_owned()], caller).is_err());
    }

    #[test]
    fn files_are_read_as_docker_reads_them() {
        let folder = std::env::temp_dir().join(format!("kelp-env-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("file");
        fs::write(&file, "\u{feff}A=b c\r\n# a comment\n\n  LANG\nUNSET\nB=2 \n").unwrap();
        let files = std::slice::from_ref(&file);
        assert_eq!(collect(files, &[], caller).unwrap(), ["A=b c", "LANG=C.UTF-8", "B=2 "]);
        let LabelFiles { labels, left } = label_files(files).unwrap();
        assert_eq!(labels, [("A", "b c"), ("B", "2 ")].map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert_eq!(left, ["LANG", "UNSET"]);
        fs::write(&file, "A=1\nbad name=2\n").unwrap();
        let error = collect(files, &[], caller).unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
        fs::write(&file, b"A=\xff\n").unwrap();
        assert!(collect(files, &[], caller).unwrap_err().to_string().contains("UTF-8"));
        fs::remove_dir_all(folder).unwrap();
    }
}
