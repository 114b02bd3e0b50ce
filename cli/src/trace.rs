// SPDX-License-Identifier: Apache-2.0
//! What happens inside, told on standard error: `-D`, `-l LEVEL`, `--log-format`, or KELP_LOG.
//!
//! Silent unless it was asked for: without a subscriber a span costs one comparison. Secrets are in no span and no event.

use crate::cli::Cli;
use crate::error::{Error, Kind, Result};
use std::io::IsTerminal;
use tracing::Level;
use tracing_subscriber::fmt::format::FmtSpan;

/// How what happens is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// A line for people.
    Text,
    /// An object per line.
    Json,
}

/// Begins to tell, if it was asked for: by a flag, or by `KELP_LOG=LEVEL` or `KELP_LOG=LEVEL,json`.
pub(crate) fn begin(cli: &Cli) -> Result<()> {
    let variable = std::env::var("KELP_LOG").unwrap_or_default();
    let Some((level, format)) = asked(cli, &variable)? else { return Ok(()) };
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_span_events(FmtSpan::CLOSE);
    match format {
        Format::Text => builder.init(),
        Format::Json => builder.json().init(),
    }
    Ok(())
}

/// Flags win over the variable.
fn asked(cli: &Cli, variable: &str) -> Result<Option<(Level, Format)>> {
    let (word, form) = variable.split_once(',').unwrap_or((variable, ""));
    let doing = || format!("cannot use KELP_LOG={variable}");
    let by_variable = match word {
        "" => None,
        word => Some(level(word).map_err(|why| Error::new(Kind::BadInput, doing(), why))?),
    };
    let by_form = match form {
        "" | "text" => Format::Text,
        "json" => Format::Json,
        other => return Err(Error::new(Kind::BadInput, doing(), format!("{other} is neither text nor json"))),
    };
    let by_flag = if cli.debug { Some(Level::DEBUG) } else { cli.log_level };
    Ok(by_flag.or(by_variable).map(|level| (level, cli.log_format.unwrap_or(by_form))))
}

/// Docker's levels, and `trace`. What Docker calls fatal ends the command, and is an error here.
pub(crate) fn level(word: &str) -> Result<Level, String> {
    match word.to_ascii_lowercase().as_str() {
        "fatal" | "error" => Ok(Level::ERROR),
        "warn" | "warning" => Ok(Level::WARN),
        "info" => Ok(Level::INFO),
        "debug" => Ok(Level::DEBUG),
        "trace" => Ok(Level::TRACE),
        _ => Err("known are error, warn, info, debug and trace".to_owned()),
    }
}

/// Reads `--log-format`.
pub(crate) fn format(word: &str) -> Result<Format, String> {
    match word {
        "text" => Ok(Format::Text),
        "json" => Ok(Format::Json),
        _ => Err("known are text and json".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[test]
    fn flags_win_over_the_variable_and_nothing_is_told_unasked() {
        let of = |line: &str, variable| {
            let cli = Cli::try_parse_from(std::iter::once("kelp").chain(line.split_whitespace())).unwrap();
            asked(&cli, variable)
        };
        assert_eq!(of("ps", "").unwrap(), None);
        assert_eq!(of("-D ps", "").unwrap(), Some((Level::DEBUG, Format::Text)));
        assert_eq!(of("-l warn ps", "trace,json").unwrap(), Some((Level::WARN, Format::Json)));
        assert_eq!(of("--log-format json ps", "info").unwrap(), Some((Level::INFO, Format::Json)));
        assert!(of("ps", "loud").is_err() && of("ps", "info,xml").is_err());
    }
}
