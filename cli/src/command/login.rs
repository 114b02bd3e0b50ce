// SPDX-License-Identifier: Apache-2.0
//! `kelp login` and `kelp logout`: names and passwords of registries, where Docker keeps them.

use crate::caller::Caller;
use crate::error::{Doing, Error, Kind, Result};
use crate::output;
use crate::terminal;
use clap::Args;
use kelp_bundles::{Credentials, login};
use std::io::Read;
use std::process::ExitCode;

const DOING: &str = "cannot log in";
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
pub(crate) fn run(args: &Login, _caller: &Caller) -> Result<ExitCode> {
    let registry = login::host_of(&args.registry);
    if args.password.is_some() {
        output::note("others can read a password in the list of processes: --password-stdin is safer");
    }
    let kept = if args.asks() { login::find(registry)? } else { None };
    if let Some(kept) = &kept
        && still_works(args, registry, kept)
    {
        output::line("Login Succeeded")?;
        return Ok(ExitCode::SUCCESS);
    }
    let name = name(args, kept.as_ref())?;
    let password = match &args.password {
        Some(password) => password.clone(),
        None if args.password_stdin => from_stdin()?,
        None => terminal::ask_secret("Password: ")?,
    };
    let credentials =
        Credentials::Password { name: given("the name", name)?, password: given("the password", password)? };
    let file = login::login(registry, &credentials, args.tls_verify)?;
    output::note(format!("the login is kept in {}", file.display()));
    output::line("Login Succeeded")?;
    Ok(ExitCode::SUCCESS)
}

/// Performs `kelp logout`.
pub(crate) fn run_logout(args: &Logout, _caller: &Caller) -> Result<ExitCode> {
    let registry = login::host_of(&args.registry);
    match login::logout(registry)? {
        true => output::line(format!("Removing login credentials for {registry}"))?,
        false => output::line(format!("Not logged in to {registry}"))?,
    }
    Ok(ExitCode::SUCCESS)
}

impl Login {
    /// Whether nothing was said of who you are.
    fn asks(&self) -> bool {
        self.username.is_none() && self.password.is_none() && !self.password_stdin
    }
}

/// As in Docker, a login that is kept is tried before anything is asked.
fn still_works(args: &Login, registry: &str, kept: &Credentials) -> bool {
    let who = match kept {
        Credentials::Password { name, .. } => format!(" of {name}"),
        _ => String::new(),
    };
    match login::check(registry, kept, args.tls_verify) {
        Ok(()) => {
            output::note(format!("the login{who} that is kept is good; kelp logout {registry} forgets it"));
            true
        }
        Err(error) => {
            output::note(format!("the login{who} that is kept is not taken: {}", error.because()));
            false
        }
    }
}

fn name(args: &Login, kept: Option<&Credentials>) -> Result<String> {
    match (&args.username, kept) {
        (Some(name), _) => Ok(name.clone()),
        (None, _) if args.password_stdin => {
            Err(Error::new(Kind::BadInput, DOING, "--password-stdin needs --username, too"))
        }
        (None, Some(Credentials::Password { name, .. })) => {
            let answer = terminal::ask(&format!("Username ({name}): "))?;
            Ok(if answer.is_empty() { name.clone() } else { answer })
        }
        (None, _) => terminal::ask("Username: "),
    }
}

fn given(what: &str, text: String) -> Result<String> {
    match text.is_empty() {
        true => Err(Error::new(Kind::BadInput, DOING, format!("{what} is empty"))),
        false => Ok(text),
    }
}

fn from_stdin() -> Result<String> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).doing(|| "cannot read the password")?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
