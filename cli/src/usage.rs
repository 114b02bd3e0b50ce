// SPDX-License-Identifier: Apache-2.0
//! A command line that is not understood, in the form of all our errors: what, why, what to try.

use crate::cli::Cli;
use crate::error::{Error, Kind};
use crate::near::near;
use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Docker's status for a flag, or a value of one, that it cannot understand.
const FLAG: u8 = 125;
/// Docker's status for a command that there is not, and for too few or too many operands.
const OPERANDS: u8 = 1;

/// What is wrong with the command line; nothing if help or the version was asked for.
pub(crate) fn explain(error: &clap::Error) -> Option<Error> {
    let text = |kind: ContextKind| error.get(kind).map(shown).filter(|text| !text.is_empty());
    let argument = text(ContextKind::InvalidArg).unwrap_or_else(|| "the command line".to_owned());
    let value = text(ContextKind::InvalidValue).unwrap_or_default();
    let (doing, because) = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            return None;
        }
        ErrorKind::UnknownArgument if !argument.starts_with('-') => {
            (format!("cannot understand {argument}"), "that is one operand too many".to_owned())
        }
        ErrorKind::UnknownArgument => (format!("cannot understand {argument}"), "there is no such flag".to_owned()),
        ErrorKind::InvalidSubcommand => {
            let name = text(ContextKind::InvalidSubcommand).unwrap_or_default();
            (format!("cannot understand {name}"), "there is no such command".to_owned())
        }
        ErrorKind::MissingSubcommand => ("cannot do anything".to_owned(), "a command is missing".to_owned()),
        ErrorKind::MissingRequiredArgument => ("cannot do that yet".to_owned(), format!("{argument} is missing")),
        ErrorKind::InvalidValue if value.is_empty() => {
            (format!("cannot understand {argument}"), "its value is missing".to_owned())
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            (format!("cannot use {value:?} for {argument}"), reason(error))
        }
        ErrorKind::ArgumentConflict => {
            let other = text(ContextKind::PriorArg).unwrap_or_default();
            (format!("cannot use {argument}"), format!("it contradicts {other}"))
        }
        _ => ("cannot understand the command line".to_owned(), first_line(error)),
    };
    Some(Error::new(Kind::BadInput, doing, because).hint(hint(error)).status(status(error.kind(), &argument)))
}

fn status(kind: ErrorKind, argument: &str) -> u8 {
    match kind {
        ErrorKind::UnknownArgument if !argument.starts_with('-') => OPERANDS,
        ErrorKind::InvalidSubcommand | ErrorKind::MissingSubcommand | ErrorKind::MissingRequiredArgument => OPERANDS,
        ErrorKind::TooFewValues | ErrorKind::TooManyValues | ErrorKind::WrongNumberOfValues => OPERANDS,
        _ => FLAG,
    }
}

/// What our own reading of the value said, or the values there are.
fn reason(error: &clap::Error) -> String {
    let known = error.get(ContextKind::ValidValue).map(shown).filter(|values| !values.is_empty());
    match (std::error::Error::source(error), known) {
        // Errors of the libraries below have three lines of their own; the cause is the second one.
        (Some(source), _) => {
            let text = source.to_string();
            let cause = text.lines().find_map(|line| line.trim().strip_prefix("because: ").map(str::to_owned));
            cause.unwrap_or(text)
        }
        (None, Some(known)) => format!("known are {known}"),
        (None, None) => first_line(error),
    }
}

fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

fn hint(error: &clap::Error) -> String {
    let command = error.get(ContextKind::InvalidSubcommand).map(shown).unwrap_or_default();
    let argument = error.get(ContextKind::InvalidArg).map(shown).unwrap_or_default();
    let suggested = |kind: ContextKind| error.get(kind).map(names).unwrap_or_default().into_iter();
    // clap's idea of likeness finds --ulimit in --init, and rename in rn.
    let meant = near(&argument, suggested(ContextKind::SuggestedArg))
        .or_else(|| near(&command, suggested(ContextKind::SuggestedSubcommand).filter(|name| !is_hidden(name))))
        .or_else(|| suggested(ContextKind::SuggestedValue).next());
    if let Some(meant) = meant {
        return format!("did you mean {meant}?");
    }
    let cli = Cli::command();
    let known = cli.get_subcommands().map(|known| known.get_name().to_owned()).filter(|name| !is_hidden(name));
    if let Some(known) = (!command.is_empty()).then(|| near(&command, known)).flatten() {
        return format!("did you mean kelp {known}?");
    }
    let usage = error.get(ContextKind::Usage).map(shown).unwrap_or_default();
    let usage = usage.trim().strip_prefix("Usage: ").map(str::to_owned).unwrap_or_default();
    // The usage begins with the command's words.
    let words: Vec<&str> =
        usage.split_whitespace().take_while(|word| word.starts_with(|c: char| c.is_ascii_lowercase())).collect();
    match words.is_empty() {
        true => "see kelp --help".to_owned(),
        false => format!("usage: {usage}; see {} --help", words.join(" ")),
    }
}

/// Commands of ours that are for programs, and no advice for people.
fn is_hidden(name: &str) -> bool {
    Cli::command().get_subcommands().any(|known| known.is_hide_set() && known.get_name() == name)
}

fn names(value: &ContextValue) -> Vec<String> {
    match value {
        ContextValue::Strings(names) => names.clone(),
        other => Some(shown(other)).into_iter().filter(|name| !name.is_empty()).collect(),
    }
}

fn shown(value: &ContextValue) -> String {
    match value {
        ContextValue::String(text) => text.clone(),
        ContextValue::Strings(texts) => texts.join(", "),
        ContextValue::StyledStr(text) => text.to_string(),
        ContextValue::StyledStrs(texts) => texts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn said(line: &str) -> String {
        let words = std::iter::once("kelp").chain(line.split_whitespace());
        explain(&Cli::try_parse_from(words).unwrap_err()).unwrap().to_string()
    }

    #[test]
    fn slips_get_a_suggestion() {
        assert!(said("run --nmae x busybox").contains("did you mean --name?"), "{}", said("run --nmae x busybox"));
        assert!(said("rnu").contains("run"), "{}", said("rnu"));
    }

    #[test]
    fn hidden_commands_are_not_suggested() {
        let hidden: Vec<_> =
            Cli::command().get_subcommands().filter(|c| c.is_hide_set()).map(|c| c.get_name().to_owned()).collect();
        assert!(hidden.iter().any(|name| name == "reconnect"), "{hidden:?}");
        for slip in ["rn", "recnnect", "reconect", "reconnec"] {
            let text = said(slip);
            assert!(hidden.iter().all(|name| !text.contains(&format!(" {name}?"))), "{text}");
        }
        assert!(said("rn").contains("did you mean kelp r"), "{}", said("rn"));
    }

    #[test]
    fn values_say_what_is_wrong_with_them() {
        let text = said("run -m lots busybox");
        assert!(text.contains("\"lots\" for --memory") && text.contains("not a unit"), "{text}");
        let text = said("run -p 99999:1 busybox");
        assert!(text.contains("99999") && text.contains("65535"), "{text}");
        assert!(said("run --pull sometimes busybox").contains("always, missing, never"));
    }

    #[test]
    fn what_is_missing_is_named() {
        assert!(said("run --rm").contains("IMAGE"), "{}", said("run --rm"));
        assert!(said("stop").contains("CONTAINER"));
        assert!(said("run --name").contains("--name"), "{}", said("run --name"));
    }
}
