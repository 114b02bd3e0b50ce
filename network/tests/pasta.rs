// SPDX-License-Identifier: Apache-2.0
//! pasta itself, connected to a process in fresh user and network namespaces, by whichever user runs the tests.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test: a panic is its verdict, output its report")]

mod target;

use kelp_network::pasta::{self, Pasta};
use kelp_network::{Kind, Port, Published};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};
use target::{Target, one, say, skip};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[test]
#[ignore = "runs inside the namespaces that the other tests make"]
fn the_target_answers() {
    target::answer();
}

/// A target with pasta connected, or nothing where this machine cannot. Stops pasta in the end.
struct Connected {
    target: Target,
    published: Vec<Published>,
}

impl Connected {
    fn new(test: &str, ports: &[Port]) -> Option<Connected> {
        if let Err(error) = pasta::available() {
            return skip(test, &error.because);
        }
        let target = Target::new(test)?;
        let (_, published) = Pasta::start(target.pid(), ports, &target.folder.join("pasta.pid")).unwrap();
        Some(Connected { target, published })
    }

    fn pasta(&self) -> Pasta {
        Pasta::at(&self.target.folder.join("pasta.pid"))
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.pasta().stop().unwrap();
    }
}

#[test]
fn published_ports_reach_the_container() {
    let test = "pasta_published_ports_reach_the_container";
    let Some(it) = Connected::new(test, &[one("127.0.0.1::80")]) else { return };
    assert_eq!(say(it.published[0].host, "over tcp"), "over tcp");
}

#[test]
fn a_port_published_twice_is_in_use() {
    let test = "pasta_a_port_published_twice_is_in_use";
    let Some(it) = Connected::new(test, &[one("127.0.0.1::80")]) else { return };
    let again = one(&format!("127.0.0.1:{}:80", it.published[0].host));
    let error = Pasta::start(it.target.pid(), &[again], &it.target.folder.join("other.pid")).unwrap_err();
    assert_eq!(error.kind(), Kind::InUse, "{error}");
}

#[test]
fn a_stopped_pasta_lets_go_of_its_ports_and_may_be_stopped_again() {
    let test = "a_stopped_pasta_lets_go_of_its_ports_and_may_be_stopped_again";
    let Some(it) = Connected::new(test, &[one("127.0.0.1::80")]) else { return };
    it.pasta().stop().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect((LOOPBACK, it.published[0].host)).is_ok() {
        assert!(Instant::now() < deadline, "pasta still listens");
        std::thread::sleep(Duration::from_millis(5));
    }
    it.pasta().stop().unwrap();
}

#[test]
fn a_process_that_is_gone_is_an_error_with_a_hint() {
    let Some(it) = Connected::new("pasta_a_process_that_is_gone", &[]) else { return };
    let error = Pasta::start(0x7fff_ffff, &[], &it.target.folder.join("other.pid")).unwrap_err();
    assert!(error.hint.as_ref().is_some_and(|hint| hint.contains("user namespace")), "{error}");
}

#[test]
fn a_process_that_only_has_the_pid_in_our_file_is_left_alone() {
    let file = std::env::temp_dir().join(format!("kelp-pasta-{}.pid", std::process::id()));
    let mut other = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    std::fs::write(&file, other.id().to_string()).unwrap();
    Pasta::at(&file).stop().unwrap();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(other.try_wait().unwrap(), None, "another's process was ended");
    assert!(!file.exists());
    other.kill().unwrap();
    other.wait().unwrap();
    // One that names the file is ours, whatever its name.
    let words = ["-c", "while :; do sleep 0.1; done", file.to_str().unwrap()];
    let mut ours = std::process::Command::new("sh").args(words).spawn().unwrap();
    // The kernel tells the arguments a moment after the start.
    let arguments = format!("/proc/{}/cmdline", ours.id());
    let deadline = Instant::now() + Duration::from_secs(10);
    while !std::fs::read_to_string(&arguments).unwrap().contains("kelp-pasta") {
        assert!(Instant::now() < deadline);
    }
    std::fs::write(&file, ours.id().to_string()).unwrap();
    Pasta::at(&file).stop().unwrap();
    assert!(!ours.wait().unwrap().success());
}
