// SPDX-License-Identifier: Apache-2.0
//! Networks of a container: none, the host's, slirp4netns with published ports.
//!
//! Runs `kelp run --network …` as root and as an unprivileged user, `slirp4netns` where it is installed.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::time::Duration;

use kelp_tests::{World, claims, free_port};

claims!(as_root, as_user:
    network_none_has_only_loopback,
    network_host_is_the_hosts,
    a_published_tcp_port_is_served_by_the_container,
    a_published_udp_port_is_served_by_the_container,
    the_container_reaches_the_host_through_slirp4netns,
    a_port_in_use_is_explained_and_leaves_nothing,
    the_network_ends_with_the_container,
    services_on_the_hosts_loopback_are_out_of_reach,
    slirp4netns_is_confined,
    no_program_runs_before_its_network_is_there,
    a_slirp4netns_that_came_too_early_is_started_again,
    sysctls_of_devices_hold_for_the_one_that_slirp4netns_makes,
);
claims!(as_user: without_slirp4netns_the_default_is_none_and_says_so);

/// Why slirp4netns cannot be used by this world's user.
fn obstacle(w: &World) -> Option<String> {
    if !Path::new("/usr/bin/slirp4netns").exists() {
        return Some("slirp4netns is not installed".into());
    }
    let usable = w.command("sh").args(["-c", "exec 3<>/dev/net/tun"]).output().status() == 0;
    let open = OpenOptions::new().read(true).write(true).open("/dev/net/tun").is_ok();
    (!usable || !open).then(|| "/dev/net/tun cannot be opened".into())
}

fn network_none_has_only_loopback(w: &World) {
    w.load_busybox();
    let output = w.kelp(["run", "--rm", "--network", "none", "busybox", "ls", "/sys/class/net"]).ok();
    assert_eq!(output.stdout.split_whitespace().collect::<Vec<_>>(), ["lo"]);
    let output = w.kelp(["run", "--rm", "--network", "none", "busybox", "ip", "addr", "show", "lo"]).ok();
    assert!(output.stdout.contains("UP"), "{output}");
}

fn network_host_is_the_hosts(w: &World) {
    w.load_busybox();
    let seen = w.kelp(["run", "--rm", "--network", "host", "busybox", "/bin/probe", "see"]).ok().json();
    let own = fs::read_link("/proc/self/ns/net").unwrap().display().to_string();
    assert_eq!(seen["namespaces"]["net"], own);
}

fn a_published_tcp_port_is_served_by_the_container(w: &World) {
    if let Some(reason) = obstacle(w) {
        return w.skip(&reason);
    }
    w.load_busybox();
    let port = free_port();
    let publish = format!("{port}:8080");
    let script = "echo from inside >/tmp/index.html; exec httpd -f -p 8080 -h /tmp";
    w.kelp(["run", "-d", "--name", "web", "-p", &publish, "--network", "slirp4netns", "busybox", "sh", "-c", script])
        .ok();
    kelp_tests::until("the page is served", || get(port).contains("from inside"));
    w.kelp(["rm", "-f", "web"]).ok();
    assert!(TcpListener::bind(("127.0.0.1", port)).is_ok(), "the port is still taken");
}

fn get(port: u16) -> String {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return String::new() };
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let mut page = String::new();
    // A forwarder that accepts before the container listens closes at once: the caller asks again.
    if stream.write_all(b"GET / HTTP/1.0\r\n\r\n").is_ok() && stream.read_to_string(&mut page).is_err() {
        page.clear();
    }
    page
}

fn a_published_udp_port_is_served_by_the_container(w: &World) {
    if let Some(reason) = obstacle(w) {
        return w.skip(&reason);
    }
    let Some(host) = address_of_this_machine() else {
        return w.skip("this machine has no address but loopback");
    };
    w.load_busybox();
    let port = free_port();
    let publish = format!("{port}:5353/udp");
    let run = ["run", "-d", "--name", "udp", "-p", &publish, "--network", "slirp4netns"];
    let run = w.kelp(run).args(["busybox", "/bin/probe", "echo", "5353"]);
    let started = run.ok();
    assert!(started.stderr.contains("except 127.0.0.1"), "docs/decisions/0003: the exception is said\n{started}");
    let answered = || {
        let socket = UdpSocket::bind((host, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let mut answer = [0; 64];
        let asked = socket.send_to(b"question\n", (host, port)).is_ok();
        asked && socket.recv(&mut answer).is_ok_and(|count| answer[..count].starts_with(b"question"))
    };
    kelp_tests::until("the container answers", answered);
    w.kelp(["rm", "-f", "udp"]).ok();
}

/// The address that this machine would send from: connecting a UDP socket asks the routes and sends nothing.
fn address_of_this_machine() -> Option<IpAddr> {
    let socket = UdpSocket::bind(("0.0.0.0", 0)).unwrap();
    socket.connect(("198.51.100.1", 9)).ok()?;
    Some(socket.local_addr().unwrap().ip())
}

fn the_container_reaches_the_host_through_slirp4netns(w: &World) {
    if let Some(reason) = obstacle(w) {
        return w.skip(&reason);
    }
    w.load_busybox();
    let output = w.kelp(["run", "--rm", "--network", "slirp4netns", "busybox", "ip", "route"]).ok();
    assert!(output.stdout.contains("default via 10.0.2.2"), "{output}");
    let output = w.kelp(["run", "--rm", "--network", "slirp4netns", "busybox", "cat", "/etc/resolv.conf"]).ok();
    assert!(output.stdout.contains("nameserver"), "{output}");
}

fn a_port_in_use_is_explained_and_leaves_nothing(w: &World) {
    if let Some(reason) = obstacle(w) {
        return w.skip(&reason);
    }
    w.load_busybox();
    let taken = TcpListener::bind(("0.0.0.0", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let publish = format!("{port}:80");
    let run = w.kelp(["run", "--rm", "-p", &publish, "--network", "slirp4netns", "busybox", "true"]).output();
    run.code(125).explains(&[&port.to_string()]).hints("");
    assert_eq!(w.kelp(["ps", "-a", "-q"]).ok().text(), "");
}

fn the_network_ends_with_the_container(w: &World) {
    if let Some(reason) = obstacle(w) {
        return w.skip(&reason);
    }
    w.load_busybox();
    w.kelp(["run", "--rm", "--network", "slirp4netns", "busybox", "true"]).ok();
    kelp_tests::until("nothing is left", || w.leaks().is_empty());
    w.kelp(["run", "-d", "--name", "c", "--network", "slirp4netns", "busybox", "sleep", "1000"]).ok();
    w.kelp(["kill", "c"]).ok();
    w.kelp(["wait", "c"]).ok();
    let processes = || w.leaks().iter().filter(|leak| leak.starts_with("process")).count();
    kelp_tests::until("its processes are gone", || processes() == 0);
    w.kelp(["rm", "c"]).ok();
}

fn without_slirp4netns_the_default_is_none_and_says_so(w: &World) {
    w.load_busybox();
    let output = w.kelp(["run", "--rm", "busybox", "ls", "/sys/class/net"]).env("PATH", "/bin-without").ok();
    assert_eq!(output.stdout.split_whitespace().collect::<Vec<_>>(), ["lo"]);
    // Without a PATH there is no newuidmap either, which is said in a line of its own.
    let said = output.stderr.lines().filter(|line| line.contains("slirp4netns is not installed")).count();
    assert_eq!(said, 1, "said in one line\n{output}");
}

/// The gateway's address stands for the host: what listens at 127.0.0.1 alone does not listen there.
fn services_on_the_hosts_loopback_are_out_of_reach(w: &World) {
    if let Some(reason) = obstacle(w) {
        return w.skip(&reason);
    }
    w.load_busybox();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    for address in ["10.0.2.2", "127.0.0.1", "10.0.2.15"] {
        let run = w.kelp(["run", "--rm", "--network", "slirp4netns", "busybox", "nc", "-w", "2", address, &port]);
        run.output().fails();
    }
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "somebody came through");
}

fn slirp4netns_is_confined(w: &World) {
    if let Some(reason) = obstacle(w) {
        return w.skip(&reason);
    }
    w.load_busybox();
    w.kelp(["run", "-d", "--network", "slirp4netns", "--name", "c", "busybox", "sleep", "1000"]).ok();
    let pid = w.kelp(["inspect", "c"]).ok().json()[0]["State"]["Pid"].to_string();
    let is_ours = |line: &[u8]| {
        let mut words = line.split(|byte| *byte == 0);
        words.next().is_some_and(|program| program.ends_with(b"slirp4netns"))
            && words.any(|word| word == pid.as_bytes())
    };
    let mut processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let slirp = processes.find(|path| fs::read(path.join("cmdline")).is_ok_and(|line| is_ours(&line))).unwrap();
    let status = fs::read_to_string(slirp.join("status")).unwrap();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    assert_eq!((field("Seccomp:"), field("NoNewPrivs:")), ("2".into(), "1".into()), "{status}");
    let raw = u64::from_str_radix(&field("CapEff:"), 16).unwrap();
    const NET_BIND_SERVICE: u64 = 1 << 10;
    assert_eq!(raw & !NET_BIND_SERVICE, 0, "it has rights: {status}");
    let own = fs::read_link("/proc/self/ns/mnt").unwrap();
    assert_ne!(fs::read_link(slirp.join("ns/mnt")).unwrap(), own, "it sees the host's files");
    w.kelp(["rm", "-f", "c"]).ok();
}

/// A `PATH` in which slirp4netns is this script; what it has to say goes on to the real one by `exec /usr/bin/slirp4netns "$@"`.
fn path_with_slirp4netns(w: &World, script: &str) -> String {
    let wrapper = w.script("wrapped/slirp4netns", script);
    format!("{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", wrapper.parent().unwrap().display())
}

fn no_program_runs_before_its_network_is_there(w: &World) {
    if let Some(reason) = obstacle(w) {
        return w.skip(&reason);
    }
    w.load_busybox();
    let path = path_with_slirp4netns(w, "sleep 1\nexec /usr/bin/slirp4netns \"$@\"");
    let run = ["run", "--rm", "--network", "slirp4netns", "busybox", "ip", "route"];
    let output = w.kelp(run).env("PATH", &path).ok();
    assert!(output.stdout.contains("default via 10.0.2.2"), "{output}");
}

/// It is started while the container is made, and whose user changes is closed to others for a moment.
fn a_slirp4netns_that_came_too_early_is_started_again(w: &World) {
    if let Some(reason) = obstacle(w) {
        return w.skip(&reason);
    }
    w.load_busybox();
    let came = w.dir().join("wrapped/came");
    let script = format!(
        "[ -e {0} ] || {{ : >{0}; echo 'cannot open /proc/1/ns/user' >&2; exit 1; }}\nexec /usr/bin/slirp4netns \"$@\"",
        came.display()
    );
    let path = path_with_slirp4netns(w, &script);
    let run = ["run", "--rm", "--user", "1000", "--network", "slirp4netns", "busybox", "ip", "route"];
    let output = w.kelp(run).env("PATH", &path).ok();
    assert!(output.stdout.contains("default via 10.0.2.2") && came.exists(), "{output}");
    // One that never works is the user's to know.
    let path = path_with_slirp4netns(w, "echo 'no way out' >&2; exit 1");
    let run = ["run", "--rm", "--network", "slirp4netns", "busybox", "ip", "route"];
    w.kelp(run).env("PATH", &path).output().code(125).explains(&["no way out"]);
}

fn sysctls_of_devices_hold_for_the_one_that_slirp4netns_makes(w: &World) {
    if let Some(reason) = obstacle(w) {
        return w.skip(&reason);
    }
    w.load_busybox();
    let setting = ["run", "--rm", "--network", "slirp4netns", "--sysctl", "net.ipv4.conf.default.rp_filter=2"];
    let shown = ["busybox", "cat", "/proc/sys/net/ipv4/conf/tap0/rp_filter"];
    let output = w.kelp([&setting[..], &shown[..]].concat()).ok();
    assert_eq!(output.stdout.trim(), "2", "{output}");
}
