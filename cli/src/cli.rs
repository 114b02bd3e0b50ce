// SPDX-License-Identifier: Apache-2.0
//! The command line as a whole: global flags, then one command. Parsing only; `command` acts.

use crate::command::Command;
use crate::trace;
use clap::error::ErrorKind;
use clap::{ArgAction, CommandFactory, FromArgMatches, Parser};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// Containers without a daemon and without root
#[derive(Debug, Parser)]
#[command(name = "kelp", version, disable_help_subcommand = true, args_override_self = true, max_term_width = 100)]
pub(crate) struct Cli {
    /// Keep images, containers and volumes in this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// Tell what happens inside, on stderr
    #[arg(short = 'D', long)]
    pub(crate) debug: bool,
    /// How much of it: error, warn, info, debug or trace
    #[arg(short, long, value_name = "LEVEL", value_parser = trace::level)]
    pub(crate) log_level: Option<tracing::Level>,
    /// How it is written: text or json
    #[arg(long, value_name = "FORMAT", value_parser = trace::format)]
    pub(crate) log_format: Option<trace::Format>,
    /// What to do
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Reads the command line. Flags without a value may have one, as in Docker: `--rm=false`, `-d=true`.
pub(crate) fn parse(words: &[OsString]) -> Result<Cli, clap::Error> {
    // Few command lines have one: others do not pay for a second kind of flag.
    if !words.iter().any(|word| has_boolean(word)) {
        return Cli::try_parse_from(words);
    }
    let mut command = Cli::command();
    // Commands set their flags up when they are built.
    command.build();
    let mut command = with_booleans(command);
    let parsed = command.try_get_matches_from_mut(words);
    match parsed.and_then(|matches| Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))) {
        // Help shows flags as people write them.
        Err(error) if error.kind() == ErrorKind::DisplayHelp => Cli::try_parse_from(words),
        other => other,
    }
}

/// Whether it may be a flag with such a value; it may also be the program's, or a value of another flag.
fn has_boolean(word: &OsStr) -> bool {
    word.to_str().is_some_and(|word| word.starts_with('-') && word.contains('='))
}

fn with_booleans(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|arg| match arg.get_action() {
        ArgAction::SetTrue => arg
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .value_name("BOOL")
            .default_missing_value("true")
            .default_value("false")
            .value_parser(boolean),
        _ => arg,
    });
    command.mut_subcommands(with_booleans)
}

/// Go's strconv.ParseBool, by which Docker reads them.
fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<String, clap::Error> {
        let words: Vec<OsString> = std::iter::once("kelp").chain(line.split_whitespace()).map(Into::into).collect();
        parse(&words).map(|cli| format!("{:?}", cli.command))
    }

    #[test]
    fn flags_take_values_as_in_docker() {
        let run = parsed("run -it=false --rm=true --read-only=0 -d=T busybox --rm=x").unwrap();
        for said in ["interactive: true", "tty: false", "rm: true", "read_only: false", "detach: true", "\"--rm=x\""] {
            assert!(run.contains(said), "{said}: {run}");
        }
        let plain = parsed("run -dit --rm --rm busybox").unwrap();
        assert!(plain.contains("detach: true") && plain.contains("tty: true") && plain.contains("rm: true"), "{plain}");
        assert!(parsed("run --rm=perhaps busybox").unwrap_err().to_string().contains("perhaps"));
        assert!(parsed("run --name one --name two busybox").unwrap().contains("two"));
    }
}
