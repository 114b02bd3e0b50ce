// SPDX-License-Identifier: Apache-2.0
//! slirp4netns itself, connected to a process in fresh user and network namespaces, by whichever user runs the tests.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test: a panic is its verdict, output its report")]

use kelp_network::slirp::{self, Slirp};
use kelp_network::{Kind, Port, port};
use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A process in namespaces of its own, which answers on TCP and UDP port 80; a folder; and the shim's end of the pipe.
struct Target {
    process: Child,
    folder: PathBuf,
    shim_holds: Option<std::io::PipeWriter>,
}

impl Target {
    /// The target, with slirp4netns connected, or the reason why this machine cannot have one.
    fn connected(test: &str) -> Option<(Target, Slirp)> {
        if let Err(error) = slirp::available() {
            return skip(&error.because);
        }
        let folder = std::env::temp_dir().join(format!("kelp-slirp-{}-{test}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let Some(process) = start_target() else {
            std::fs::remove_dir(&folder).unwrap();
            return skip("unshare(1) may not make user and network namespaces here");
        };
        let (exit, shim_holds) = std::io::pipe().unwrap();
        let target = Target { process, folder, shim_holds: Some(shim_holds) };
        let slirp = Slirp::start(target.pid(), OwnedFd::from(exit), &target.socket()).unwrap();
        Some((target, slirp))
    }

    fn pid(&self) -> i32 {
        self.process.id().cast_signed()
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("slirp.sock")
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}

/// Says why a test did not run, in the form that is counted.
fn skip<T>(reason: &str) -> Option<T> {
    let line = format!("SKIP slirp: {reason}\n");
    print!("{line}");
    if let Some(file) = std::env::var_os("KELP_SKIPS") {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(file).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
    None
}

/// Starts `the_target_answers` below in fresh namespaces and waits until it listens.
fn start_target() -> Option<Child> {
    let mut process = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "the_target_answers", "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut said = Vec::new();
    let mut output = process.stdout.take().unwrap();
    let mut byte = [0];
    while !said.ends_with(b"listening") {
        if output.read(&mut byte).unwrap() == 0 {
            process.wait().unwrap();
            return None;
        }
        said.push(byte[0]);
    }
    Some(process)
}

/// Not a test: the program that [`start_target`] runs. Sends every TCP connection and UDP packet its own words back.
#[test]
#[ignore = "runs inside the namespaces that the other tests make"]
fn the_target_answers() {
    let stream = TcpListener::bind("0.0.0.0:80").unwrap();
    let packets = UdpSocket::bind("0.0.0.0:80").unwrap();
    println!("listening");
    std::thread::spawn(move || {
        let mut words = [0; 64];
        loop {
            let (length, from) = packets.recv_from(&mut words).unwrap();
            packets.send_to(&words[..length], from).unwrap();
        }
    });
    for connection in stream.incoming() {
        let mut connection = connection.unwrap();
        let mut words = [0; 64];
        let length = connection.read(&mut words).unwrap();
        connection.write_all(&words[..length]).unwrap();
    }
}

fn one(spec: &str) -> Port {
    port::parse(spec).unwrap().remove(0)
}

fn say(to: u16, words: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", to)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(words.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn published_ports_reach_the_container() {
    let Some((_target, mut slirp)) = Target::connected("publish") else { return };

    let tcp = slirp.publish(&one("127.0.0.1::80")).unwrap();
    assert_eq!(say(tcp.host, "over tcp"), "over tcp");

    assert_eq!(slirp.published().unwrap(), [tcp]);
}

#[test]
fn published_udp_ports_reach_the_container() {
    let Some((_target, mut slirp)) = Target::connected("udp") else { return };
    let Some(host) = address_of_this_machine() else {
        return skip("this machine has no address but loopback").unwrap_or_default();
    };
    let udp = slirp.publish(&one("80/udp")).unwrap();
    assert!(slirp.warnings()[0].contains("except 127.0.0.1"), "{:?}", slirp.warnings());
    let socket = UdpSocket::bind((host, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket.send_to(b"over udp", (host, udp.host)).unwrap();
    let mut answer = [0; 64];
    let length = socket.recv(&mut answer).unwrap();
    assert_eq!(&answer[..length], b"over udp");
}

/// The address that this machine would send from: connecting a UDP socket asks the routes and sends nothing.
fn address_of_this_machine() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("198.51.100.1:9").ok()?;
    Some(socket.local_addr().unwrap().ip())
}

#[test]
fn a_later_process_finds_slirp_by_its_socket() {
    let Some((target, _)) = Target::connected("later") else { return };
    let published = Slirp::at(&target.socket()).publish(&one("127.0.0.1::80")).unwrap();
    assert_eq!(say(published.host, "again"), "again");
}

#[test]
fn a_port_published_twice_is_in_use() {
    let Some((_target, mut slirp)) = Target::connected("twice") else { return };
    let first = slirp.publish(&one("127.0.0.1::80")).unwrap();
    let error = slirp.publish(&one(&format!("127.0.0.1:{}:80", first.host))).unwrap_err();
    assert_eq!(error.kind(), Kind::InUse, "{error}");
    assert!(error.because.contains(&first.host.to_string()), "{error}");
}

#[test]
fn slirp_ends_when_the_shim_does() {
    let Some((mut target, slirp)) = Target::connected("ends") else { return };
    drop(target.shim_holds.take());
    let deadline = Instant::now() + Duration::from_secs(5);
    while slirp.published().is_ok() {
        assert!(Instant::now() < deadline, "slirp4netns {:?} still answers", slirp.pid());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_process_that_is_gone_is_an_error_with_a_hint() {
    if let Err(error) = slirp::available() {
        return skip(&error.because).unwrap_or_default();
    }
    let folder = std::env::temp_dir().join(format!("kelp-slirp-{}-refused", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let (exit, _shim_holds) = std::io::pipe().unwrap();
    // No process has this id: it is above the kernel's limit of 2²².
    let error = Slirp::start(0x7fff_ffff, exit.into(), &folder.join("slirp.sock")).unwrap_err();
    assert!(error.because.contains("No such file or directory"), "{error}");
    assert!(error.hint.is_some(), "{error}");
    std::fs::remove_dir_all(&folder).unwrap();
}
