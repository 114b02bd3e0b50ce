// SPDX-License-Identifier: Apache-2.0
//! `--filter KEY=VALUE` of the listing commands: values of one key are alternatives, keys must all hold.

use crate::error::{Error, Kind, Result};
use crate::near;
use regex_lite::Regex;
use std::collections::BTreeMap;

/// What must hold.
#[derive(Debug, Default)]
pub struct Filters {
    by_key: BTreeMap<String, Vec<String>>,
}

impl Filters {
    /// Reads them; a key that is none of `known` is an error.
    pub fn parse(texts: &[String], known: &[&str]) -> Result<Self> {
        let mut filters = Self::default();
        for text in texts {
            let doing = || format!("cannot filter by {text:?}");
            let (key, value) =
                text.split_once('=').ok_or_else(|| Error::new(Kind::BadInput, doing(), "expected KEY=VALUE"))?;
            if !known.contains(&key) {
                let near = near::near(key, known.iter().map(|name| (*name).to_owned()));
                let hint =
                    near.map_or_else(|| format!("known are {}", known.join(", ")), |it| format!("did you mean {it}?"));
                return Err(Error::new(Kind::BadInput, doing(), format!("there is no filter {key}")).hint(hint));
            }
            filters.by_key.entry(key.to_owned()).or_default().push(value.to_owned());
        }
        Ok(filters)
    }

    /// Whether a key is asked about.
    pub fn has(&self, key: &str) -> bool {
        self.by_key.contains_key(key)
    }

    /// The first value asked for under a key.
    pub fn first(&self, key: &str) -> Option<&str> {
        self.by_key.get(key)?.first().map(String::as_str)
    }

    /// An error where one of these keys has a value that is neither true nor false.
    pub fn check_truths(&self, keys: &[&str]) -> Result<()> {
        let read = |value: &str| truth(value).map(drop).ok_or_else(|| format!("{value:?} is neither true nor false"));
        keys.iter().try_for_each(|key| self.check(key, read))
    }

    /// An error where this key has a value that is none of `words`: no object can have it.
    pub fn check_words(&self, key: &str, words: &[&str]) -> Result<()> {
        self.check(key, |value| match words.contains(&value) {
            true => Ok(()),
            false => Err(format!("there is no {key} {value:?}; known are {}", words.join(", "))),
        })
    }

    /// An error where `read` understands a value of this key not.
    pub fn check(&self, key: &str, read: impl Fn(&str) -> Result<(), String>) -> Result<()> {
        for value in self.by_key.get(key).into_iter().flatten() {
            read(value).map_err(|because| {
                Error::new(Kind::BadInput, format!("cannot filter by \"{key}={value}\""), because)
            })?;
        }
        Ok(())
    }

    /// The values of a key as regular expressions, which match anywhere in a text, as Go's do.
    ///
    /// # Errors
    /// A value that is none.
    pub fn patterns(&self, key: &str) -> Result<Patterns> {
        let values = self.by_key.get(key).into_iter().flatten();
        let compiled = values.map(|value| {
            let doing = || format!("cannot filter by \"{key}={value}\"");
            let pattern = Regex::new(value).map_err(|why| Error::new(Kind::BadInput, doing(), why))?;
            Ok((value.clone(), pattern))
        });
        compiled.collect::<Result<_>>().map(Patterns)
    }

    /// Whether all keys have a value that holds. Labels must all hold, as in Docker.
    pub fn all(&self, holds: impl Fn(&str, &str) -> bool) -> bool {
        self.by_key.iter().all(|(key, values)| match key.as_str() {
            "label" | "label!" => values.iter().all(|value| holds(key, value)),
            _ => values.iter().any(|value| holds(key, value)),
        })
    }
}

/// Regular expressions by the text they were written as.
#[derive(Debug, Default)]
pub struct Patterns(BTreeMap<String, Regex>);

impl Patterns {
    /// Whether the expression `value` matches somewhere in the text.
    pub fn match_in(&self, value: &str, text: &str) -> bool {
        self.0.get(value).is_some_and(|pattern| pattern.is_match(text))
    }
}

/// What a filter says: `true`, `1`, `false`, `0`.
pub fn truth(value: &str) -> Option<bool> {
    match value {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

/// `label=KEY` or `label=KEY=VALUE`.
pub fn label(labels: &BTreeMap<String, String>, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((key, value)) => labels.get(key).is_some_and(|it| it == value),
        None => labels.contains_key(wanted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_alternatives_and_keys_add_up() {
        let texts = ["status=running", "status=exited", "name=web"].map(str::to_owned);
        let filters = Filters::parse(&texts, &["status", "name"]).unwrap();
        let one =
            |name: &str, status: &str| filters.all(|key, value| value == if key == "name" { name } else { status });
        assert!(one("web", "exited") && !one("db", "exited") && !one("web", "created"));
        assert!(
            Filters::parse(&["stauts=x".to_owned()], &["status"]).unwrap_err().to_string().contains("did you mean")
        );
        assert!(Filters::parse(&["x".to_owned()], &["status"]).is_err());
    }

    #[test]
    fn values_that_nothing_can_have_are_errors_and_names_are_patterns() {
        let of = |text: &str| Filters::parse(&[text.to_owned()], &["status", "name"]).unwrap();
        let words = ["running", "exited"];
        assert!(of("status=running").check_words("status", &words).is_ok());
        let error = of("status=runing").check_words("status", &words).unwrap_err().to_string();
        assert!(error.contains("runing") && error.contains("running, exited"), "{error}");
        let patterns = of("name=^a|b$").patterns("name").unwrap();
        assert!(
            patterns.match_in("^a|b$", "app") && patterns.match_in("^a|b$", "web") && !patterns.match_in("^a|b$", "x")
        );
        assert!(of("name=(").patterns("name").is_err());
    }
}
