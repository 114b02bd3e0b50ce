// SPDX-License-Identifier: Apache-2.0
//! slirp4netns itself, connected to a process in fresh user and network namespaces, by whichever user runs the tests.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test: a panic is its verdict, output its report")]

mod target;

use kelp_network::Kind;
use kelp_network::slirp::{self, Slirp};
use std::io::PipeWriter;
use std::time::{Duration, Instant};
use target::{Target, address_of_this_machine, one, say, send, skip};

#[test]
#[ignore = "runs inside the namespaces that the other tests make"]
fn the_target_answers() {
    target::answer();
}

/// A target with slirp4netns connected, and the shim's end of the pipe; or nothing where this machine cannot.
fn connected(test: &str) -> Option<(Target, Slirp, PipeWriter)> {
    if let Err(error) = slirp::available() {
        return skip(test, &error.because);
    }
    let target = Target::new(test)?;
    let (exit, shim_holds) = std::io::pipe().unwrap();
    let slirp = Slirp::start(target.pid(), exit.into(), &target.folder.join("slirp.sock")).unwrap();
    Some((target, slirp, shim_holds))
}

#[test]
fn published_ports_reach_the_container() {
    let Some((_target, mut slirp, _shim)) = connected("published_ports_reach_the_container") else { return };
    let tcp = slirp.publish(&one("127.0.0.1::80")).unwrap();
    assert_eq!(say(tcp.host, "over tcp"), "over tcp");
    assert_eq!(slirp.published().unwrap(), [tcp]);
}

#[test]
fn published_udp_ports_reach_the_container() {
    let test = "published_udp_ports_reach_the_container";
    let Some((_target, mut slirp, _shim)) = connected(test) else { return };
    let Some(host) = address_of_this_machine() else {
        return skip(test, "this machine has no address but loopback").unwrap_or_default();
    };
    let udp = slirp.publish(&one("80/udp")).unwrap();
    assert!(slirp.warnings()[0].contains("except 127.0.0.1"), "{:?}", slirp.warnings());
    assert_eq!(send((host, udp.host), "over udp"), "over udp");
}

#[test]
fn a_later_process_finds_slirp_by_its_socket() {
    let Some((target, _slirp, _shim)) = connected("a_later_process_finds_slirp_by_its_socket") else { return };
    let published = Slirp::at(&target.folder.join("slirp.sock")).publish(&one("127.0.0.1::80")).unwrap();
    assert_eq!(say(published.host, "again"), "again");
}

#[test]
fn a_port_published_twice_is_in_use() {
    let Some((_target, mut slirp, _shim)) = connected("a_port_published_twice_is_in_use") else { return };
    let first = slirp.publish(&one("127.0.0.1::80")).unwrap();
    let error = slirp.publish(&one(&format!("127.0.0.1:{}:80", first.host))).unwrap_err();
    assert_eq!(error.kind(), Kind::InUse, "{error}");
    assert!(error.because.contains(&first.host.to_string()), "{error}");
}

#[test]
fn slirp_ends_when_the_shim_does() {
    let Some((_target, slirp, shim)) = connected("slirp_ends_when_the_shim_does") else { return };
    drop(shim);
    let deadline = Instant::now() + Duration::from_secs(20);
    while slirp.published().is_ok() {
        assert!(Instant::now() < deadline, "slirp4netns {:?} still answers", slirp.pid());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_process_that_is_gone_is_an_error_with_a_hint() {
    let Some((target, _slirp, _shim)) = connected("a_process_that_is_gone_is_an_error_with_a_hint") else { return };
    let (exit, _shim_holds) = std::io::pipe().unwrap();
    // No process has this id: it is above the kernel's limit of 2²².
    let error = Slirp::start(0x7fff_ffff, exit.into(), &target.folder.join("other.sock")).unwrap_err();
    assert!(error.because.contains("No such file or directory"), "{error}");
    assert!(error.hint.is_some(), "{error}");
}
