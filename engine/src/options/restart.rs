// SPDX-License-Identifier: Apache-2.0
//! `--restart POLICY`: stored in the container's record, performed by the shim.

use serde::{Deserialize, Serialize};
use std::fmt;

/// When a container that exited is started again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Restart {
    /// Never: the default.
    #[default]
    No,
    /// Whatever the status, until it is stopped.
    Always,
    /// As `always`, but not after a reboot if it was stopped before.
    UnlessStopped,
    /// After a status other than 0, at most this many times (0: without end).
    OnFailure(u32),
}

/// Reads `no`, `always`, `unless-stopped`, `on-failure[:COUNT]`.
pub(crate) fn parse(text: &str) -> Result<Restart, String> {
    match text {
        "no" | "" => Ok(Restart::No),
        "always" => Ok(Restart::Always),
        "unless-stopped" => Ok(Restart::UnlessStopped),
        "on-failure" => Ok(Restart::OnFailure(0)),
        _ => match text.strip_prefix("on-failure:").and_then(|count| count.parse().ok()) {
            Some(count) => Ok(Restart::OnFailure(count)),
            None => Err("expected no, always, unless-stopped or on-failure[:COUNT]".to_owned()),
        },
    }
}

impl fmt::Display for Restart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Restart::No => f.write_str("no"),
            Restart::Always => f.write_str("always"),
            Restart::UnlessStopped => f.write_str("unless-stopped"),
            Restart::OnFailure(0) => f.write_str("on-failure"),
            Restart::OnFailure(count) => write!(f, "on-failure:{count}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_shown_the_same() {
        for text in ["no", "always", "unless-stopped", "on-failure", "on-failure:3"] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        assert!(parse("sometimes").is_err() && parse("on-failure:x").is_err());
    }
}
