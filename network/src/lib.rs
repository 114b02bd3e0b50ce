// SPDX-License-Identifier: Apache-2.0
//! Networking for containers that an ordinary user may have: no root, no daemon.
//!
//! Nothing here runs in a container or stays resident. The caller is a program that is about to exit; what keeps
//! working afterwards are slirp4netns and pasta, system programs that this crate starts, watches until they are
//! ready, and tells which ports to forward. No threads, no executor.
//!
//! ```no_run
//! use kelp_network::{port, names, slirp::Slirp};
//! # fn example(init: i32, exit: std::os::fd::OwnedFd) -> Result<(), kelp_network::Error> {
//! let ports = port::parse("127.0.0.1:8080-8081:80-81")?; // Docker's grammar: a Vec, because of ranges
//! let mut slirp = Slirp::start(init, exit, "/run/user/1000/kelp/<id>/slirp.sock".as_ref())?;
//! for port in &ports {
//!     let published = slirp.publish(port)?;
//!     println!("{published}"); // 127.0.0.1:8080->80/tcp
//! }
//! for warning in slirp.warnings() {
//!     eprintln!("warning: {warning}");
//! }
//! let host = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
//! let text = names::resolv_conf(&host, &[kelp_network::slirp::RESOLVER.into()]);
//! # Ok(()) }
//! ```
//!
//! | file | what it knows |
//! |---|---|
//! | [`port`] | `-p [IP:]HOST:CONTAINER[/PROTOCOL]`, and why a port cannot be had |
//! | [`names`] | the container's `/etc/resolv.conf`, `/etc/hosts` and `/etc/hostname` as text |
//! | [`slirp`] | slirp4netns: start, await, forward ports while it runs |
//! | [`pasta`] | pasta: start with its ports, await, stop |
//!
//! [`slirp::available`] tells, without touching anything, whether slirp4netns can work here, and why not.
//! [`Port::probe`] tells before a container is made that a port is taken. [`slirp::ADDRESS`] is the container's address.
//!
//! **How the helper ends.** The engine makes a pipe. Its read end goes to [`slirp::Slirp::start`], its write end to
//! the shim, which just keeps it. When the shim is gone, for whatever reason, the pipe hangs up and slirp4netns exits.

mod error;
pub mod names;
pub mod pasta;
pub mod port;
mod program;
pub mod slirp;

pub use error::{Error, Kind};
pub use port::{Port, Protocol, Published};

/// What every function here returns.
pub type Result<T> = std::result::Result<T, Error>;
