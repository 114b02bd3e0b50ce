// SPDX-License-Identifier: Apache-2.0
//! The command line, read as runc reads it: options of a command may stand before and after its operands, but where the
//! operands are the words of another program (`exec`, `ps`) they end at the first.

use kelp_runtime::{Error, Result};
use lexopt::{Arg, Parser};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::PathBuf;

/// What is left to read.
pub(crate) struct Arguments {
    parser: Parser,
    /// Operands that were met while looking for options, in their order.
    operands: VecDeque<OsString>,
    /// Whether `--help` or `-h` was among the options.
    wants_help: bool,
}

fn unreadable(error: lexopt::Error) -> Error {
    Error::bad_input("cannot understand the command line").because(error).hint("kelp-runtime --help")
}

pub(crate) fn unknown_option(name: &str, of: &str) -> Error {
    let dashes = if name.chars().count() == 1 { "-" } else { "--" };
    let help = if of == "kelp-runtime" { "kelp-runtime --help".into() } else { format!("kelp-runtime {of} --help") };
    Error::bad_input(format!("cannot understand the command line of {of}"))
        .because(format!("flag provided but not defined: {dashes}{name}"))
        .hint(help)
}

impl Arguments {
    pub(crate) fn new(parser: Parser) -> Self {
        Self { parser, operands: VecDeque::new(), wants_help: false }
    }

    /// The next option's name without dashes, wherever it stands among the operands.
    pub(crate) fn next_option(&mut self) -> Result<Option<String>> {
        while let Some(read) = self.read()? {
            if let Read::Option(name) = read {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// The next option's name without dashes, or `None` at the first operand.
    pub(crate) fn leading_option(&mut self) -> Result<Option<String>> {
        if !self.operands.is_empty() {
            return Ok(None);
        }
        Ok(match self.read()? {
            Some(Read::Option(name)) => Some(name),
            Some(Read::Operand) | None => None,
        })
    }

    /// The next word: an option, or an operand, which is kept.
    fn read(&mut self) -> Result<Option<Read>> {
        let name = match self.parser.next().map_err(unreadable)? {
            Some(Arg::Long(name)) => name.to_owned(),
            Some(Arg::Short(name)) => name.to_string(),
            Some(Arg::Value(value)) => {
                self.operands.push_back(value);
                return Ok(Some(Read::Operand));
            }
            None => return Ok(None),
        };
        self.wants_help |= matches!(name.as_str(), "help" | "h");
        Ok(Some(Read::Option(name)))
    }

    /// The value of the option just read.
    pub(crate) fn text(&mut self, option: &str) -> Result<String> {
        as_text(self.parser.value().map_err(unreadable)?, option)
    }

    /// The value of the option just read, as a path.
    pub(crate) fn path(&mut self) -> Result<PathBuf> {
        self.parser.value().map(PathBuf::from).map_err(unreadable)
    }

    /// The value of the option just read, as a number.
    pub(crate) fn number<T: std::str::FromStr>(&mut self, option: &str) -> Result<T> {
        let text = self.text(option)?;
        text.parse().map_err(|_| {
            Error::bad_input(format!("cannot use {option} {text:?}")).because("it is not a number in range")
        })
    }

    /// A switch: set, unless `=false` follows.
    pub(crate) fn switch(&mut self) -> Result<bool> {
        match self.parser.optional_value().as_ref().map(|value| value.to_str()) {
            None | Some(Some("true" | "1")) => Ok(true),
            Some(Some("false" | "0")) => Ok(false),
            Some(value) => Err(Error::bad_input(format!("cannot use {:?}", value.unwrap_or_default()))
                .because("a switch is true or false")),
        }
    }

    /// The next operand, after the options were read.
    pub(crate) fn operand(&mut self) -> Result<Option<String>> {
        if self.operands.is_empty()
            && let Some(option) = self.next_option()?
        {
            return Err(unknown_option(&option, "kelp-runtime"));
        }
        self.operands.pop_front().map(|value| as_text(value, "the command line")).transpose()
    }

    /// All that is left, word for word.
    pub(crate) fn rest(&mut self) -> Result<Vec<String>> {
        let rest = self.parser.raw_args().map_err(unreadable)?;
        self.operands.drain(..).chain(rest).map(|word| as_text(word, "the command line")).collect()
    }

    /// No options, one operand: the container's id.
    pub(crate) fn only_id(&mut self, verb: &str) -> Result<String> {
        if let Some(option) = self.next_option()? {
            return Err(unknown_option(&option, verb));
        }
        self.id(verb)
    }

    /// The container's id, as the last operand.
    pub(crate) fn id(&mut self, verb: &str) -> Result<String> {
        let id = self.first_id(verb)?;
        self.end(verb)?;
        Ok(id)
    }

    /// The container's id, which other operands may follow.
    pub(crate) fn first_id(&mut self, verb: &str) -> Result<String> {
        self.operand()?.ok_or_else(|| {
            Error::bad_input(format!("cannot {verb}"))
                .because(format!("{verb:?} requires {}: the container's id is missing", wanted(verb)))
                .hint(format!("kelp-runtime {verb} --help"))
        })
    }

    /// Nothing more may follow.
    pub(crate) fn end(&mut self, verb: &str) -> Result<()> {
        if let Some(option) = self.next_option()? {
            return Err(unknown_option(&option, verb));
        }
        match self.operand()? {
            None => Ok(()),
            Some(word) => Err(Error::bad_input(format!("cannot understand the command line of {verb}"))
                .because(format!("{verb:?} requires {}: {word:?} is one word too many", wanted(verb)))
                .hint(format!("kelp-runtime {verb} --help"))),
        }
    }

    /// Whether one of the options that were read asks for help.
    pub(crate) fn wants_help(&self) -> bool {
        self.wants_help
    }
}

/// How many operands a command takes, as runc says it.
fn wanted(verb: &str) -> &'static str {
    match verb {
        "exec" | "kill" | "ps" | "delete" => "a minimum of 1 argument(s)",
        "features" | "list" | "spec" | "steps" => "exactly 0 argument(s)",
        _ => "exactly 1 argument(s)",
    }
}

enum Read {
    Option(String),
    Operand,
}

fn as_text(value: OsString, what: &str) -> Result<String> {
    value.into_string().map_err(|value| {
        Error::bad_input(format!("cannot use the value {value:?} of {what}")).because("it is not UTF-8")
    })
}
