// SPDX-License-Identifier: Apache-2.0
//! A command line that is not understood, in the form of all our errors: what, why, what to try.

use crate::cli::Cli;
use crate::error::{Error, Kind};
use crate::near::near;
use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use std::ffi::OsString;

/// Docker's status for a flag, or a value of one, that it cannot understand.
const FLAG: u8 = 125;
/// Docker's status for a command that there is not, and for too few or too many operands.
const OPERANDS: u8 = 1;

/// What is wrong with the command line; nothing if help or the version was asked for.
pub(crate) fn explain(error: &clap::Error, words: &[OsString]) -> Option<Error> {
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
            if let Some((_, because, hint)) = MISSING.iter().find(|(missing, ..)| *missing == name) {
                let error = Error::new(Kind::Unsupported, format!("cannot run kelp {name}"), because);
                return Some(error.hint(*hint).status(OPERANDS));
            }
            (format!("cannot understand {name}"), "there is no such command".to_owned())
        }
        ErrorKind::MissingSubcommand => ("cannot do anything".to_owned(), "a command is missing".to_owned()),
        // Only exec takes two words and more: the first is there.
        ErrorKind::TooFewValues => (format!("cannot run {}", command_of(error)), "<COMMAND> is missing".to_owned()),
        ErrorKind::MissingRequiredArgument => {
            (format!("cannot run {}", command_of(error)), format!("{argument} is missing"))
        }
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
    Some(Error::new(Kind::BadInput, doing, because).hint(hint(error, words)).status(status(error.kind(), &argument)))
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
        (Some(source), _) if is_number(source) => "expected a number".to_owned(),
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

/// Whether it is a number that could not be read: the standard library tells of digits and literals.
fn is_number(error: &(dyn std::error::Error + 'static)) -> bool {
    error.is::<std::num::ParseIntError>() || error.is::<std::num::ParseFloatError>()
}

fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// Docker's commands that Kelp has not: why, and what to use meanwhile.
const MISSING: [(&str, &str, &str); 16] = [
    ("build", "Kelp does not build images yet", BUILD),
    ("buildx", "Kelp does not build images yet", BUILD),
    ("builder", "Kelp does not build images yet", BUILD),
    ("network", "Kelp has no networks that containers share yet", "run has --network none, host and slirp4netns"),
    ("compose", "Kelp has no compose yet", "start the services one by one: kelp run --help"),
    ("context", "Kelp has no daemon, so it has no contexts", "--root or KELP_ROOT choose another store"),
    ("plugin", "Kelp has no plugins", "kelp --help shows what there is"),
    ("trust", "Kelp does not look at signatures", "pull by digest: kelp pull NAME@sha256:…"),
    ("checkpoint", "kelp has no checkpoints", "kelp-runtime checkpoint and restore have, with criu"),
    ("swarm", SWARM, ONE),
    ("service", SWARM, ONE),
    ("stack", SWARM, ONE),
    ("node", SWARM, ONE),
    ("secret", SWARM, ONE),
    ("config", SWARM, ONE),
    ("daemon", "there is no daemon, and none is needed", "kelp run hello"),
];
const BUILD: &str = "buildah bud -t NAME . builds; kelp load reads what buildah push NAME docker-archive:FILE writes";
const SWARM: &str = "that is a swarm's, and Kelp runs on one machine";
const ONE: &str = "kelp --help shows what there is";

/// `kelp volume rm`: the command that the error is about.
fn command_of(error: &clap::Error) -> String {
    let usage = error.get(ContextKind::Usage).map(shown).unwrap_or_default();
    let usage = usage.trim().strip_prefix("Usage: ").unwrap_or_default();
    let words = usage.split_whitespace().take_while(|word| word.starts_with(|c: char| c.is_ascii_lowercase()));
    let words: Vec<&str> = words.collect();
    if words.is_empty() { "kelp".to_owned() } else { words.join(" ") }
}

/// The flag that a single dash before a long name was meant for: `-name`.
fn with_two_dashes(error: &clap::Error, words: &[OsString]) -> Option<String> {
    let cli = Cli::command();
    let mut command = &cli;
    for word in words.iter().skip(1).filter_map(|word| word.to_str()) {
        if let Some(inner) = command.find_subcommand(word) {
            command = inner;
        } else if let Some(name) = word.strip_prefix('-').filter(|name| name.len() > 2 && !name.starts_with('-')) {
            let name = name.split('=').next().unwrap_or(name);
            // A command's flags are set up when it is the one that runs.
            let mut built = command.clone();
            built.build();
            if error.kind() == ErrorKind::UnknownArgument
                && built.get_arguments().any(|flag| flag.get_long() == Some(name))
            {
                return Some(format!("--{name}"));
            }
        }
    }
    None
}

/// Flags that are near in spelling only, and far in meaning.
const FAR: [(&str, &str); 1] = [("--gpus", "--cpus")];

fn hint(error: &clap::Error, words: &[OsString]) -> String {
    if let Some(meant) = with_two_dashes(error, words) {
        return format!("did you mean {meant}?");
    }
    let command = error.get(ContextKind::InvalidSubcommand).map(shown).unwrap_or_default();
    let argument = error.get(ContextKind::InvalidArg).map(shown).unwrap_or_default();
    let suggested = |kind: ContextKind| error.get(kind).map(names).unwrap_or_default().into_iter();
    // clap's idea of likeness finds --ulimit in --init, and rename in rn.
    let meant = near(&argument, suggested(ContextKind::SuggestedArg))
        .or_else(|| near(&command, suggested(ContextKind::SuggestedSubcommand).filter(|name| !is_hidden(name))))
        .or_else(|| suggested(ContextKind::SuggestedValue).next());
    let far = |meant: &String| FAR.contains(&(argument.as_str(), meant.as_str()));
    if let Some(meant) = meant.filter(|meant| !far(meant)) {
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
    match usage.is_empty() {
        true => format!("see {} --help", asked_for(words)),
        false => format!("usage: {usage}; see {} --help", command_of(error)),
    }
}

/// The command of the line, as far as there is one: `kelp volume rm`.
fn asked_for(words: &[OsString]) -> String {
    let cli = Cli::command();
    let (mut command, mut said) = (&cli, vec!["kelp"]);
    for word in words.iter().skip(1).filter_map(|word| word.to_str()) {
        match command.find_subcommand(word) {
            Some(inner) => {
                command = inner;
                said.push(word);
            }
            None if said.len() > 1 => break,
            // A global flag, or its value.
            None => {}
        }
    }
    said.join(" ")
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
        let words: Vec<OsString> = std::iter::once("kelp").chain(line.split_whitespace()).map(Into::into).collect();
        explain(&Cli::try_parse_from(&words).unwrap_err(), &words).unwrap().to_string()
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
        assert!(text.contains("\"lots\" for --memory") && text.contains("invalid size: 'lots'"), "{text}");
        let text = said("run -p 99999:1 busybox");
        assert!(text.contains("99999") && text.contains("65535"), "{text}");
        assert!(said("run --pull sometimes busybox").contains("always, missing, never"));
    }

    #[test]
    fn what_kelp_has_not_is_said_plainly() {
        for (line, words) in [
            ("build .", "does not build images yet"),
            ("network ls", "no networks"),
            ("compose up", "no compose yet"),
            ("swarm init", "one machine"),
        ] {
            assert!(said(line).contains(words), "{}", said(line));
        }
        assert!(!said("run --gpus all busybox").contains("--cpus"), "{}", said("run --gpus all busybox"));
    }

    #[test]
    fn one_dash_before_a_long_name_is_recognised() {
        assert!(said("run -name x busybox").contains("did you mean --name?"), "{}", said("run -name x busybox"));
    }

    #[test]
    fn values_point_at_the_help_of_their_command() {
        assert!(said("run -m lots busybox").contains("see kelp run --help"), "{}", said("run -m lots busybox"));
    }

    #[test]
    fn what_is_missing_is_named() {
        assert!(said("rename").contains("cannot run kelp rename") && said("rename").contains("<NAME> is missing"));
        assert!(said("run --rm").contains("IMAGE"), "{}", said("run --rm"));
        assert!(said("stop").contains("CONTAINER"));
        assert!(said("exec web").contains("cannot run kelp exec") && said("exec web").contains("<COMMAND> is missing"));
        assert!(said("run --name").contains("--name"), "{}", said("run --name"));
    }
}
