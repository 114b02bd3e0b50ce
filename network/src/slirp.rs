// SPDX-License-Identifier: Apache-2.0
//! slirp4netns: a TCP/IP stack in a process, which joins a container's network namespace to the host's sockets.
//!
//! Runs in the engine, between the shim's “born” or “created” and its “start”: its own start takes as long as all that the
//! runtime still has to do once init is born, so both go on at the same time. slirp4netns enters the user and network
//! namespace of the container's init by itself, makes `tap0` there and gives it [`ADDRESS`]. It runs confined: its own mount
//! namespace without capabilities (`--enable-sandbox`), a seccomp filter (`--enable-seccomp`), and the container cannot reach
//! the services that listen on the host's loopback (`--disable-host-loopback`).
//!
//! See slirp4netns(1). All options used exist since 0.4.0 (2019).

mod api;

use crate::program::{self, Program};
use crate::{Error, Kind, Port, Protocol, Published, Result};
use kelp_sys::rustix;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{FdFlags, fcntl_setfd, read, retry_on_intr};
use rustix::pipe::{PipeFlags, pipe_with};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The container's address.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 100);
/// The container's default route.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
/// Bits of the network part of [`ADDRESS`].
pub const PREFIX_LENGTH: u8 = 24;
/// Answers names with the host's resolvers.
pub const RESOLVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);

/// The largest that slirp4netns takes with offsets aligned: fewer and larger packets are its whole speed.
const MTU: &str = "--mtu=65520";
/// A slirp4netns that has not come up by then never will: usually it takes 10 ms.
const PATIENCE: Duration = Duration::from_secs(15);
/// `sun_path` of unix(7) without its final NUL.
const LONGEST_SOCKET_PATH: usize = 107;

const SLIRP4NETNS: Program = Program { name: "slirp4netns", package: "slirp4netns" };

/// Whether slirp4netns can work here: the program is installed and the tunnel device may be opened. Touches nothing.
///
/// The engine asks this when no `--network` is given, and shows the error as its reason for having none.
pub fn available() -> Result<()> {
    SLIRP4NETNS.find()?;
    program::tunnel_is_usable()
}

/// A slirp4netns that has been started and may not be ready. Dropped before it is, it is ended.
#[derive(Debug)]
pub struct Starting {
    child: Option<Child>,
    ready: OwnedFd,
    socket: PathBuf,
    doing: String,
}

/// A running slirp4netns.
#[derive(Debug)]
pub struct Slirp {
    socket: PathBuf,
    pid: Option<u32>,
    warnings: Vec<String>,
}

impl Starting {
    /// Starts to give the network namespace of process `init` a way out, without waiting for it.
    ///
    /// slirp4netns ends when the other end of the pipe `exit` is closed: the shim holds it. `socket` is made by slirp4netns
    /// for [`Slirp::publish`]; its messages go to the file beside it with the ending `.log`.
    pub fn begin(init: i32, exit: OwnedFd, socket: &Path) -> Result<Starting> {
        let doing = format!("connect process {init} to the network with slirp4netns");
        let cannot = |errno| Error::new(Kind::Other, &doing, errno);
        let program = SLIRP4NETNS.find()?;
        make_way_for(socket)?;
        let (ready, write_end) = pipe_with(PipeFlags::CLOEXEC).map_err(cannot)?;
        // Inherited by the program. We start no other one until the end is closed below.
        fcntl_setfd(&write_end, FdFlags::empty()).map_err(cannot)?;
        let child = SLIRP4NETNS.spawn(
            Command::new(program)
                .args(["--configure", MTU, "--disable-host-loopback", "--enable-sandbox", "--enable-seccomp"])
                .arg("--exit-fd=0")
                .arg(format!("--ready-fd={}", write_end.as_raw_fd()))
                .arg("--api-socket")
                .arg(socket)
                .arg(init.to_string())
                .arg("tap0")
                .current_dir("/")
                // Its own process group: Ctrl-C at the terminal is for the container's program.
                .process_group(0)
                .stdin(exit)
                .stdout(Stdio::null())
                .stderr(program::new_log(&socket.with_extension("log"))?),
        )?;
        Ok(Starting { child: Some(child), ready, socket: socket.into(), doing })
    }

    /// Returns when the way out works.
    pub fn finish(mut self) -> Result<Slirp> {
        let log = self.socket.with_extension("log");
        match (await_ready(&self.ready), self.child.take()) {
            (Ready::Yes, child) => Ok(Slirp {
                socket: self.socket.clone(),
                pid: child.map(|child| child.id()),
                warnings: warnings(&program::read_log(&log)),
            }),
            (not_ready, child) => {
                let exit = child.map(|mut child| end(&mut child)).unwrap_or_default();
                Err(explain(self.doing.clone(), not_ready, &exit, &program::read_log(&log)))
            }
        }
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            end(child);
        }
    }
}

impl Slirp {
    /// Gives the network namespace of process `init` a way out, and returns when it works: as [`Starting`], in one.
    pub fn start(init: i32, exit: OwnedFd, socket: &Path) -> Result<Slirp> {
        Starting::begin(init, exit, socket)?.finish()
    }

    /// The slirp4netns that an earlier [`Slirp::start`] with this `socket` left running.
    pub fn at(socket: &Path) -> Slirp {
        Slirp { socket: socket.into(), pid: None, warnings: Vec::new() }
    }

    /// Returns when it has ended, or after so much time: whether it has.
    pub fn await_end(&self, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        // A socket without a process behind it refuses.
        while UnixStream::connect(&self.socket).is_ok() {
            if Instant::now() >= end {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }

    /// Its process, when it was started here.
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// What works less well than one would expect, one sentence each: for the engine to show after the last `publish`.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Forwards a port of the host to the container, from now until slirp4netns ends.
    pub fn publish(&mut self, port: &Port) -> Result<Published> {
        let address = listenable(port)?;
        // A free port that we found may be taken by somebody else before slirp4netns listens: then find another.
        for attempt in 0.. {
            let published = port.probe()?;
            match api::add_forward(&self.socket, address, &published) {
                Err(error) if error.kind() == Kind::InUse && attempt < 10 => continue,
                Err(error) => return Err(error),
                Ok(()) => {
                    self.warnings.extend(caveat(&published));
                    return Ok(published);
                }
            }
        }
        unreachable!("the loop above ends by returning")
    }

    /// The ports that are forwarded now.
    pub fn published(&self) -> Result<Vec<Published>> {
        api::list_forwards(&self.socket)
    }
}

/// The address to listen on, if slirp4netns can serve it.
///
/// libslirp shows the container a client on the host's loopback as [`GATEWAY`], and with `--disable-host-loopback` it
/// drops what the container sends there: a TCP connection is not affected, an answer in UDP is lost.
fn listenable(port: &Port) -> Result<Ipv4Addr> {
    let cannot = |because: &str| {
        let doing = format!("publish port {}/{} on {}", port.container, port.protocol, port.address());
        Error::new(Kind::Unsupported, doing, because)
    };
    match (port.address(), port.protocol) {
        (IpAddr::V6(_), _) => {
            Err(cannot("slirp4netns listens on IPv4 addresses of the host only").hint("name an IPv4 address, or none"))
        }
        (IpAddr::V4(address), Protocol::Udp) if address.is_loopback() => {
            Err(cannot("slirp4netns, kept from the host's loopback, loses UDP answers to it")
                .hint("name another address of the host, or none"))
        }
        (IpAddr::V4(address), _) => Ok(address),
    }
}

/// What a person must know to use the port.
fn caveat(published: &Published) -> Option<String> {
    let partly = published.protocol == Protocol::Udp && published.address.is_unspecified();
    partly.then(|| format!("{published} answers at every address of this machine except 127.0.0.1"))
}

/// Removes what an earlier slirp4netns left at `socket`.
fn make_way_for(socket: &Path) -> Result<()> {
    let doing = || format!("make the socket {}", socket.display());
    if socket.as_os_str().len() > LONGEST_SOCKET_PATH {
        let because = format!("the path is longer than the kernel's {LONGEST_SOCKET_PATH} bytes for a socket");
        return Err(Error::new(Kind::BadInput, doing(), because).hint("set XDG_RUNTIME_DIR to a shorter path"));
    }
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::new(Kind::Other, doing(), error)),
        _ => Ok(()),
    }
}

enum Ready {
    Yes,
    TimedOut,
    Ended,
}

/// Waits for the `1` that slirp4netns writes when everything, the API socket included, works.
fn await_ready(pipe: &OwnedFd) -> Ready {
    let timeout = Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
    loop {
        match poll(&mut [PollFd::new(pipe, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return Ready::TimedOut,
            Err(rustix::io::Errno::INTR) => continue,
            _ => break,
        }
    }
    match retry_on_intr(|| read(pipe, &mut [0; 1])) {
        Ok(1) => Ready::Yes,
        _ => Ready::Ended,
    }
}

/// Makes sure that a slirp4netns which is of no use is gone, and says how it ended.
fn end(child: &mut Child) -> String {
    // It may have ended by itself already; then there is nothing to kill, and the status below tells the story.
    if let Err(error) = child.kill() {
        return format!("it cannot be killed: {error}");
    }
    child.wait().map_or_else(|error| error.to_string(), |status| status.to_string())
}

/// Lines of the log that are not the cause of anything.
const CHATTER: [&str; 5] = ["WARNING: Support for", "sent tapfd", "received tapfd", "child failed", "Usage:"];

fn explain(doing: String, ready: Ready, exit: &str, log: &str) -> Error {
    if matches!(ready, Ready::TimedOut) {
        let because = format!("it was not ready within {} seconds", PATIENCE.as_secs());
        return Error::new(Kind::Other, doing, because).hint("see its log, or do without: --network none");
    }
    let said = |line: &&str| !line.is_empty() && !CHATTER.iter().any(|chatter| line.starts_with(chatter));
    let cause = log.lines().map(str::trim).find(said).unwrap_or(exit);
    if cause.contains("/dev/net/tun") {
        return tunnel_cause(cause);
    }
    let error = |kind| Error::new(kind, doing, cause);
    if cause.contains("unrecognized option") || cause.contains("invalid option") {
        error(Kind::Unsupported).hint("slirp4netns 0.4.0 or newer is needed")
    } else if cause.contains("setns(") || cause.contains("/ns/") {
        error(Kind::Permission).hint("the process must be alive, in a user namespace of yours; or --network none")
    } else {
        error(Kind::Other).hint("do without: --network none")
    }
}

/// slirp4netns' sentence about the tunnel device, given our words and hint.
fn tunnel_cause(cause: &str) -> Error {
    let kind = match cause.contains("Permission denied") {
        true => std::io::ErrorKind::PermissionDenied,
        false => std::io::ErrorKind::NotFound,
    };
    Error { because: cause.into(), ..program::tunnel_error(&kind.into()) }
}

/// The sentences of a log that a person should see although it works.
fn warnings(log: &str) -> Vec<String> {
    let symlink = |line: &&str| line.starts_with("sandbox:") && line.contains("DNS will not work");
    log.lines()
        .filter(symlink)
        .map(|line| format!("names will not resolve in the container: slirp4netns says “{line}”"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(log: &str) -> Error {
        explain("connect".into(), Ready::Ended, "exit status: 1", log)
    }

    #[test]
    fn each_first_day_failure_has_its_own_hint() {
        let noise = "WARNING: Support for seccomp is experimental\n";
        for (log, kind, hint) in [
            ("open(\"/dev/net/tun\"): No such file or directory\nchild failed(1)\n", Kind::Unsupported, "modprobe tun"),
            ("open(\"/dev/net/tun\"): Permission denied\nchild failed(1)\n", Kind::Permission, "chmod 0666"),
            ("slirp4netns: unrecognized option '--enable-sandbox'\nUsage: …", Kind::Unsupported, "0.4.0"),
            ("setns(CLONE_NEWNET): Operation not permitted\nchild failed(1)\n", Kind::Permission, "of yours"),
            ("something new\n", Kind::Other, "--network none"),
        ] {
            let error = explained(&format!("{noise}{log}"));
            assert_eq!(error.kind(), kind, "{log}");
            assert_eq!(error.because, log.lines().next().unwrap_or_default());
            assert!(error.hint.as_ref().is_some_and(|it| it.contains(hint)), "{error}");
        }
    }

    #[test]
    fn a_silent_death_shows_the_exit_status() {
        assert_eq!(explained("").because, "exit status: 1");
    }

    #[test]
    fn what_libslirp_cannot_serve_is_refused_before_it_is_asked() {
        let judged = |spec| listenable(&crate::port::parse(spec).unwrap()[0]).map_err(|error| error.kind());
        assert_eq!(judged("53:53/udp"), Ok(Ipv4Addr::UNSPECIFIED));
        assert_eq!(judged("127.0.0.1:80:80"), Ok(Ipv4Addr::LOCALHOST));
        assert_eq!(judged("127.0.0.1:53:53/udp"), Err(Kind::Unsupported));
        assert_eq!(judged("[::1]:80:80"), Err(Kind::Unsupported));
    }

    #[test]
    fn an_overlong_socket_path_is_refused_before_anything_starts() {
        let path = PathBuf::from(format!("/tmp/{}", "x".repeat(120)));
        assert_eq!(make_way_for(&path).unwrap_err().kind(), Kind::BadInput);
    }

    #[test]
    fn a_resolver_file_out_of_reach_is_a_warning() {
        let log =
            "sandbox: /etc/resolv.conf (-> /srv/x) seems a symlink to a file outside {/etc, /run}. DNS will not work.";
        assert_eq!(warnings(log).len(), 1);
        assert_eq!(warnings("received tapfd=6"), Vec::<String>::new());
    }
}
