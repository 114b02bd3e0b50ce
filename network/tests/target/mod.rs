// SPDX-License-Identifier: Apache-2.0
//! A process in fresh user and network namespaces, which answers on TCP and UDP port 80, and clients for it.
#![allow(dead_code, reason = "each test program uses a part of it")]

use kelp_network::{Port, port};
use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The process, and a folder for the files around it.
pub(crate) struct Target {
    process: Child,
    pub(crate) folder: PathBuf,
}

impl Target {
    /// A target, or nothing where namespaces cannot be had.
    pub(crate) fn new(test: &str) -> Option<Target> {
        let Some(process) = start_target() else {
            return skip(test, "unshare(1) may not make user and network namespaces here");
        };
        let folder = std::env::temp_dir().join(format!("kelp-network-{}-{test}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        Some(Target { process, folder })
    }

    pub(crate) fn pid(&self) -> i32 {
        self.process.id().cast_signed()
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
pub(crate) fn skip<T>(test: &str, reason: &str) -> Option<T> {
    let line = format!("SKIP {test}: {reason}\n");
    print!("{line}");
    if let Some(file) = std::env::var_os("KELP_SKIPS") {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(file).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
    None
}

/// Starts this program's test `the_target_answers` in fresh namespaces and waits until it listens.
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

/// What the ignored test `the_target_answers` does, which [`start_target`] runs: sends every TCP connection and UDP packet its own words back.
pub(crate) fn answer() {
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

/// The one port of a spec.
pub(crate) fn one(spec: &str) -> Port {
    port::parse(spec).unwrap().remove(0)
}

/// What the target answers over TCP.
pub(crate) fn say(to: u16, words: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", to)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(words.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// What the target answers over UDP.
pub(crate) fn send(to: (IpAddr, u16), words: &str) -> String {
    let socket = UdpSocket::bind((to.0, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket.send_to(words.as_bytes(), to).unwrap();
    let mut answer = [0; 64];
    let length = socket.recv(&mut answer).unwrap();
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

/// The address that this machine would send from: connecting a UDP socket asks the routes and sends nothing.
pub(crate) fn address_of_this_machine() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("198.51.100.1:9").ok()?;
    Some(socket.local_addr().unwrap().ip())
}
