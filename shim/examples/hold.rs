// SPDX-License-Identifier: Apache-2.0
//! A client in a few lines: what the tests run, and what one may try by hand.
//!
//!     hold run LAUNCH.json | hold detached LAUNCH.json | hold created LAUNCH.json (and wait)
//!     hold attach RUN ID | hold wait RUN ID | hold stop RUN ID SIGNAL MILLISECONDS | hold signal RUN ID SIGNAL
//!
//! `KELP_SHIM` names the holder. `HOLD_SETTLES=1`: says that it has cleaned up.

use kelp_shim::client::{self, Connection, Ended, Relay};
use kelp_shim::{Error, Launch};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use std::{env, fs};

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match perform(&args) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            report(&error);
            ExitCode::from(error.kind.exit_status())
        }
    }
}

#[expect(clippy::print_stderr, reason = "main's only output")]
fn report(error: &Error) {
    eprintln!("{error}");
}

fn perform(args: &[&str]) -> Result<u8, Error> {
    match *args {
        ["run", launch] => {
            let mut held = start(launch)?;
            let ended = held.foreground(&Relay::default())?;
            if env::var_os("HOLD_SETTLES").is_some() {
                held.settled()?;
            }
            Ok(code(ended))
        }
        ["detached", launch] => start(launch)?.start().map(|()| 0),
        ["created", launch] => {
            let _held = start(launch)?;
            loop {
                std::thread::sleep(Duration::from_secs(3600));
            }
        }
        ["attach", run, id] => connect(run, id)?.attach(&Relay::default()).map(code),
        ["wait", run, id] => connect(run, id)?.wait().map(|status| code(Ended::Exited(status))),
        ["signal", run, id, signal] => connect(run, id)?.signal(number(signal)?).map(|()| 0),
        ["stop", run, id, signal, timeout] => {
            let timeout = Duration::from_millis(u64::from(number(timeout)?.unsigned_abs()));
            connect(run, id)?.stop(number(signal)?, Some(timeout)).map(|status| code(Ended::Exited(status)))
        }
        _ => Err(Error::new("cannot understand the arguments", format!("{args:?}"))),
    }
}

fn start(launch: &str) -> Result<Connection, Error> {
    let doing = format!("cannot read {launch}");
    let text = fs::read(launch).map_err(|error| Error::new(&doing, error))?;
    let launch: Launch = serde_json::from_slice(&text).map_err(|error| Error::new(&doing, error))?;
    let shim = env::var("KELP_SHIM").unwrap_or_else(|_| "kelp-shim".to_owned());
    client::launch(Path::new(&shim), &launch, &[])
}

fn connect(run: &str, id: &str) -> Result<Connection, Error> {
    client::connect(Path::new(run), id)
}

fn number(text: &str) -> Result<i32, Error> {
    text.parse().map_err(|error| Error::new(format!("cannot read the number {text}"), error))
}

fn code(ended: Ended) -> u8 {
    match ended {
        Ended::Exited(status) => u8::try_from(status.code).unwrap_or(255),
        Ended::Detached => 0,
        Ended::Signalled(signal) => u8::try_from(128 + signal).unwrap_or(255),
    }
}
