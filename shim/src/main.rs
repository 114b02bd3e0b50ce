// SPDX-License-Identifier: Apache-2.0
//! kelp-shim: started by `kelp` with a socket for its standard input, holds one container until it ends.
//!
//! A copy of it is the first process in containers of `kelp run --init`.

mod holder;
mod init;

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    if init::is_asked() { init::run() } else { holder::hold() }
}

/// Says what nobody is there to hear: in `shim.log`, which standard error is while a container is held.
pub(crate) fn complain(complaint: &dyn Display) {
    say(&format_args!("{} {complaint}", kelp_shim::time::Timestamp::now()));
}

/// Says it to whoever reads standard error. `eprintln!` would panic on a full disk: what cannot be said is not worth a container.
pub(crate) fn say(words: &dyn Display) {
    std::io::stderr().write_all(format!("{words}\n").as_bytes()).ok();
}
