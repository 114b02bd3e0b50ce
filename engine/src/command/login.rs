// SPDX-License-Identifier: Apache-2.0
//! `kelp login` and `kelp logout`: names and passwords of registries, where Docker keeps them.

use crate::error::{Doing, Error, Kind, Result};
use crate::output;
use crate::places::Places;
use clap::Args;
use kelp_bundles::{Credentials, login};
use kelp_sys::rustix::termios::{self, LocalModes, OptionalActions};
use std::io::{BufRead, IsTerminal, Read, Write};
use std::process::ExitCode;

/// Docker's own registry, where none is named.
const HUB: &str = "docker.io";

/// Log in to a registry
#[derive(Debug, Args)]
pub(crate) struct Login {
    /// Who you are there
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,
    /// Your password; others can read it in the list of processes
    #[arg(short, long, conflicts_with = "password_stdin")]
    password: Option<String>,
    /// Take the password from standard input
    #[arg(long)]
    password_stdin: bool,
    /// Check certificates and insist on TLS
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1,
          default_missing_value = "true", require_equals = true)]
    tls_verify: bool,
    /// docker.io, localhost:5000
    #[arg(default_value = HUB)]
    registry: String,
}

/// Log out of a registry
#[derive(Debug, Args)]
pub(crate) struct Logout {
    /// docker.io, localhost:5000
    #[arg(default_value = HUB)]
    registry: String,
}

/// Performs `kelp login`.
pub(crate) fn run(args: &Login, _places: &Places) -> Result<ExitCode> {
    let name = match &args.username {
        Some(name) => name.clone(),
        None => ask("Username: ", Echo::On)?,
    };
    let password = match &args.password {
        Some(password) => password.clone(),
        None if args.password_stdin => from_stdin()?,
        None => ask("Password: ", Echo::Off)?,
    };
    let file = login::login(&args.registry, &Credentials::Password { name, password }, args.tls_verify)?;
    output::note(format!("the login is kept in {}", file.display()));
    output::line("Login Succeeded")?;
    Ok(ExitCode::SUCCESS)
}

/// Performs `kelp logout`.
pub(crate) fn run_logout(args: &Logout, _places: &Places) -> Result<ExitCode> {
    match login::logout(&args.registry)? {
        true => output::line(format!("Removing login credentials for {}", args.registry))?,
        false => output::line(format!("Not logged in to {}", args.registry))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn from_stdin() -> Result<String> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).doing(|| "cannot read the password")?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[derive(PartialEq, Eq)]
enum Echo {
    On,
    Off,
}

/// Asks on the terminal.
fn ask(prompt: &str, echo: Echo) -> Result<String> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Error::new(Kind::BadInput, "cannot ask for a login", "standard input is no terminal")
            .hint("use --username and --password-stdin"));
    }
    let mut err = std::io::stderr();
    err.write_all(prompt.as_bytes()).and_then(|()| err.flush()).doing(|| "cannot ask for a login")?;
    let before = termios::tcgetattr(&stdin).map_err(std::io::Error::from).doing(|| "cannot ask for a login")?;
    if echo == Echo::Off {
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        let set = termios::tcsetattr(&stdin, OptionalActions::Now, &quiet);
        set.map_err(std::io::Error::from).doing(|| "cannot hide the password")?;
    }
    let mut text = String::new();
    let read = stdin.lock().read_line(&mut text);
    if echo == Echo::Off {
        let set = termios::tcsetattr(&stdin, OptionalActions::Now, &before);
        set.map_err(std::io::Error::from).doing(|| "cannot restore the terminal")?;
        output::raw_error(b"\n")?;
    }
    read.doing(|| "cannot read the answer")?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
