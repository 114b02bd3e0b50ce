// SPDX-License-Identifier: Apache-2.0
//! Questions to the person at the terminal.
//!
//! Kernel: termios(3). Nothing here needs a signal handler: while a secret is typed the keys that make signals are read as
//! characters, so that whatever ends the question finds the terminal as it was.

use crate::error::{Doing, Error, Kind, Result};
use crate::output;
use kelp_sys::rustix::termios::{self, LocalModes, OptionalActions, Termios};
use std::io::{BufRead, IsTerminal, Read, Stdin};

const DOING: &str = "cannot ask for a login";
/// What a shell gives a program that SIGINT ended.
const INTERRUPTED: u8 = 130;

const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;
const CTRL_H: u8 = 8;
const CTRL_U: u8 = 21;
const CTRL_BACKSLASH: u8 = 28;
const DELETE: u8 = 127;

/// Asks for a line.
pub(crate) fn ask(prompt: &str) -> Result<String> {
    let stdin = prompted(prompt)?;
    let mut text = String::new();
    stdin.lock().read_line(&mut text).doing(|| "cannot read the answer")?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Asks for a line that nobody sees.
pub(crate) fn ask_secret(prompt: &str) -> Result<String> {
    let stdin = prompted(prompt)?;
    let before = termios::tcgetattr(&stdin).map_err(std::io::Error::from).doing(|| DOING)?;
    let mut quiet = before.clone();
    quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG | LocalModes::IEXTEN);
    set(&stdin, &quiet)?;
    let typed = typed(&stdin);
    set(&stdin, &before)?;
    output::complaint("\n")?;
    typed
}

fn prompted(prompt: &str) -> Result<Stdin> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Error::new(Kind::BadInput, DOING, "standard input is no terminal")
            .hint("use --username and --password-stdin"));
    }
    output::complaint(prompt)?;
    Ok(stdin)
}

fn set(stdin: &Stdin, modes: &Termios) -> Result<()> {
    // What is typed ahead stays.
    termios::tcsetattr(stdin, OptionalActions::Now, modes)
        .map_err(std::io::Error::from)
        .doing(|| "cannot set the terminal")
}

/// Keys up to the end of the line, with the editing that a line has.
fn typed(stdin: &Stdin) -> Result<String> {
    let mut text = Vec::new();
    for key in stdin.lock().bytes() {
        match key.doing(|| "cannot read the answer")? {
            b'\r' | b'\n' | CTRL_D => break,
            CTRL_C | CTRL_BACKSLASH => {
                return Err(Error::new(Kind::Other, DOING, "you interrupted it").status(INTERRUPTED));
            }
            CTRL_U => text.clear(),
            CTRL_H | DELETE => {
                // A character of several bytes goes as one.
                while text.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
            }
            other => text.push(other),
        }
    }
    String::from_utf8(text).map_err(|_| Error::new(Kind::BadInput, DOING, "it is not UTF-8"))
}
