// SPDX-License-Identifier: Apache-2.0
//! `kelp-shim` holds a container after the command that started it is gone; this library talks to it.
//!
//! # Starting a container
//!
//! ```no_run
//! use kelp_shim::{client, client::{Ended, Relay}, Launch, Restart, Stdin, Streams};
//! # fn main() -> Result<(), kelp_shim::Error> {
//! # let (id, container, run) = ("ab12", "/store/containers/ab12", "/run/kelp");
//! # let network_exit_fd: Vec<std::os::fd::OwnedFd> = vec![];
//! let mut launch = Launch::new(id, container, run);   // config.json lies in `container`
//! launch.terminal = true;                             // as `process.terminal` in config.json
//! launch.stdin = Stdin::Once;                         // `-i`; `Keep` with `-d -i`; else `Null`
//! launch.restart = "on-failure:3".parse::<Restart>()?;
//! launch.on_exit = vec!["/usr/bin/kelp".into(), "rm".into(), id.into()];  // only for `--rm`
//!
//! // Spawns kelp-shim (by path) and waits until the container exists. The descriptors are kept open until the
//! // shim ends: slirp4netns' --exit-fd pipe, for example.
//! let mut held = client::launch("/usr/libexec/kelp-shim".as_ref(), &launch, &network_exit_fd)?;
//! let pid = held.pid();                               // set the network up now, then:
//!
//! // -d: run it and leave.                            // Dropping `held` before start() tears the container down.
//! // held.start()?;
//!
//! // Foreground: `foreground` attaches *before* it starts, so that no output is lost, proxies signals, sets the
//! // terminal raw and back, and returns when the container has ended or the person detached.
//! match held.foreground(&Relay { streams: Streams::ALL, ..Relay::default() })? {
//!     Ended::Exited(status) => std::process::exit(status.code),
//!     Ended::Detached => {}                           // ctrl-p ctrl-q
//!     Ended::Signalled(signal) => std::process::exit(128 + signal), // only without proxy_signals
//! }
//! # Ok(()) }
//! ```
//!
//! With `--rm` in the foreground: remove the container's folder yourself after `Exited`, then call
//! [`client::Connection::settled`]; if this process dies before, the shim runs `on_exit`. When `Exited` arrives the
//! shim has released `lock`, deleted the container from the runtime and removed its socket.
//!
//! # Later
//!
//! - [`client::connect`]`(run, id)` → [`client::Connection`]: `attach`, `signal`, `stop`, `wait`, `resize`, `ping`.
//!   `Kind::NoSuchContainer` when nobody holds it, and `Kind::Lost` when the holder ends while it is asked: then look
//!   at [`Exit::read`].
//! - [`client::is_held`]`(container)`: does a shim live for this folder (its flock on `lock`)? With `exit.json` absent
//!   and nobody holding it, the shim was killed: `kelp rm -f` must kill through the runtime's state.
//! - [`Exit::read`]`(container)`: the durable record.
//! - `log`, `log.1`: Docker's json-file lines, see [`log::Line`]. `shim.log`: what the holder had to complain about.
//! - [`time::Timestamp`]: RFC 3339 without a dependency.
//!
//! # Decided here
//!
//! - The client that started the container holds its output up for as long as it likes (`kelp run x | less`);
//!   another attached client for at most [`protocol::STALL_LIMIT`].
//! - If the reader behind the foreground client goes away (`| head`), the program gets EPIPE, as in any pipeline.
//! - A client that dies between `Created` and `Start` takes the container with it, and `exit.json` says so.
//! - `exec` does not come here: `kelp exec` holds the other ends of its program's streams itself, with [`client::Direct`].

pub mod client;
mod error;
pub mod events;
mod exit;
mod launch;
pub mod log;
pub mod protocol;
pub mod runtime_program;
pub mod time;

pub use error::{Doing, Error, Kind};
pub use exit::Exit;
pub use launch::{Cgroups, Launch, LogLimits, Restart, Runtime, Stdin, socket_address, socket_path};
pub use protocol::{Phase, Size, Status, Stream, Streams};
