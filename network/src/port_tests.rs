// SPDX-License-Identifier: Apache-2.0
//! What `-p` accepts and refuses, case by case.

use super::*;

/// The ports of a spec, written back in one canonical line.
fn shown(spec: &str) -> String {
    match parse(spec) {
        Err(error) => format!("error: {}", error.because),
        Ok(ports) => ports.iter().map(show).collect::<Vec<_>>().join(" "),
    }
}

fn show(port: &Port) -> String {
    let address = port.address.map_or("*".into(), |address| address.to_string());
    let host = match &port.host {
        HostPort::Free => "free".into(),
        HostPort::Exactly(port) => port.to_string(),
        HostPort::FirstFree(range) => format!("first({}-{})", range.start(), range.end()),
    };
    format!("{address}|{host}|{}/{}", port.container, port.protocol)
}

#[test]
fn every_form_of_dockers_grammar_is_understood() {
    for (spec, want) in [
        ("80", "*|free|80/tcp"),
        ("8080:80", "*|8080|80/tcp"),
        ("8080:80/tcp", "*|8080|80/tcp"),
        ("8080:80/UDP", "*|8080|80/udp"),
        (":80", "*|free|80/tcp"),
        ("0:80", "*|free|80/tcp"),
        ("127.0.0.1:0:80", "127.0.0.1|free|80/tcp"),
        ("::80", "*|free|80/tcp"),
        ("127.0.0.1:8080:80", "127.0.0.1|8080|80/tcp"),
        ("127.0.0.1::80", "127.0.0.1|free|80/tcp"),
        ("127.0.0.1::53/udp", "127.0.0.1|free|53/udp"),
        ("[::1]:8080:80", "::1|8080|80/tcp"),
        ("[::]::80", "::|free|80/tcp"),
        ("80-82", "*|free|80/tcp *|free|81/tcp *|free|82/tcp"),
        ("8000-8001:80-81", "*|8000|80/tcp *|8001|81/tcp"),
        ("8000-8010:80", "*|first(8000-8010)|80/tcp"),
        ("1.2.3.4:65534-65535:1-2/udp", "1.2.3.4|65534|1/udp 1.2.3.4|65535|2/udp"),
    ] {
        assert_eq!(shown(spec), want, "for {spec}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    for (spec, want) in [
        ("", "“” is not a port from 1 to 65535"),
        ("8080:0", "“0” is not a port from 1 to 65535"),
        ("8080:", "“” is not a port from 1 to 65535"),
        ("65536:80", "“65536” is not a port from 1 to 65535"),
        ("+80:80", "“+80” is not a port from 1 to 65535"),
        ("8080:80/", "“” is not a protocol: tcp or udp"),
        ("8080:80/icmp", "“icmp” is not a protocol: tcp or udp"),
        ("8080:80/sctp", "sctp cannot be forwarded by a user's network, only tcp and udp"),
        ("82-80", "the range 82-80 runs backwards"),
        ("8000-8002:80-81", "3 of the host's ports cannot pair with 2 of the container's"),
        ("8000:80-81", "1 of the host's ports cannot pair with 2 of the container's"),
        ("localhost:80:80", "“localhost” is not an IP address (an IPv6 one stands in brackets)"),
        ("::1:80:80", "“::1” is not an IP address (an IPv6 one stands in brackets)"),
        ("[::1:80:80", "“[::1:80” lacks “]:” and a port"),
        ("[::1]:80", "“[::1]” lacks “]:” and a port"),
    ] {
        assert_eq!(shown(spec), format!("error: {want}"), "for {spec}");
    }
}

#[test]
fn nothing_panics_on_odd_bytes() {
    for spec in ["-", ":", "::", ":::", "/", "[", "]", "[]:", "ü:ü/ü", "80-", "-80", "1-65535:1-65535", "\0"] {
        let shown = shown(spec);
        assert!(!shown.is_empty(), "for {spec:?}");
    }
}

#[test]
fn a_taken_port_is_an_error_that_names_it() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().port();
    let error = parse(&format!("127.0.0.1:{taken}:80")).unwrap()[0].probe().unwrap_err();
    assert_eq!(error.kind(), Kind::InUse);
    assert_eq!(error.because, format!("port {taken} is already in use on the host"));
}

#[test]
fn a_port_that_becomes_free_in_a_moment_is_had() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().port();
    let leaving = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(100));
        drop(holder);
    });
    let asked = &parse(&format!("127.0.0.1:{taken}:80")).unwrap()[0];
    assert_eq!(asked.probe_for(std::time::Duration::from_secs(20)).unwrap().host, taken);
    leaving.join().unwrap();
}

#[test]
fn the_first_free_port_of_a_range_is_found() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().port();
    let port = Port {
        address: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        host: HostPort::FirstFree(taken..=taken.saturating_add(20)),
        container: 80,
        protocol: Protocol::Tcp,
    };
    let found = port.probe().unwrap().host;
    assert!(found > taken, "{found} was to be above {taken}");
}

#[test]
fn a_free_port_is_chosen_when_none_is_named() {
    let published = parse("127.0.0.1::80/udp").unwrap()[0].probe().unwrap();
    assert!(published.host > 0);
    assert_eq!(published.to_string(), format!("127.0.0.1:{}->80/udp", published.host));
}

#[test]
fn an_address_of_somebody_else_is_refused() {
    let error = parse("198.51.100.1:8080:80").unwrap()[0].probe().unwrap_err();
    assert_eq!((error.kind(), error.because.as_str()), (Kind::BadInput, "the host does not have this address"));
}

#[test]
fn a_low_port_hints_at_the_kernels_setting() {
    let denied = io::Error::from(io::ErrorKind::PermissionDenied);
    let error = refused(Ipv4Addr::UNSPECIFIED.into(), 80, Protocol::Tcp, &denied);
    assert_eq!(error.kind(), Kind::Permission);
    assert!(error.hint.unwrap().contains("net.ipv4.ip_unprivileged_port_start=80"));
}

#[test]
fn survives_the_trip_through_json() {
    for port in parse("8000-8010:80").unwrap().into_iter().chain(parse("[::1]::53/udp").unwrap()) {
        let text = serde_json::to_string(&port).unwrap();
        assert_eq!(serde_json::from_str::<Port>(&text).unwrap(), port, "through {text}");
    }
}
