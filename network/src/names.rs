// SPDX-License-Identifier: Apache-2.0
//! The files by which a container's libc finds names: `/etc/resolv.conf`, `/etc/hosts`, `/etc/hostname`.
//!
//! Pure: text in, text out. The engine writes the files and binds them into the container. See resolv.conf(5), hosts(5).

use std::net::IpAddr;

/// glibc and musl ask at most this many name servers (`MAXNS` in resolv.h).
const MAX_SERVERS: usize = 3;

/// The container's resolv.conf: `first` are asked first, then the host's own name servers as far as the container can
/// reach them; the host's search list, options and sort list are kept.
///
/// A name server on a loopback address (systemd-resolved, dnsmasq) is dropped: inside, loopback is the container's own.
/// So is one on a link-local address with an interface name, which the container does not have.
pub fn resolv_conf(host: &str, first: &[IpAddr]) -> String {
    let mut servers: Vec<IpAddr> = first.to_vec();
    let mut kept = String::new();
    for line in host.lines().map(str::trim) {
        match line.split_once(char::is_whitespace) {
            Some(("nameserver", address)) => servers.extend(reachable(address.trim())),
            Some(("search" | "domain" | "options" | "sortlist", _)) => {
                kept.push_str(line);
                kept.push('\n');
            }
            // Comments, and words that libc does not know either.
            _ => {}
        }
    }
    let mut text = String::new();
    let mut seen = Vec::new();
    for server in servers {
        if seen.len() < MAX_SERVERS && !seen.contains(&server) {
            text.push_str(&format!("nameserver {server}\n"));
            seen.push(server);
        }
    }
    text + &kept
}

fn reachable(address: &str) -> Option<IpAddr> {
    address.parse().ok().filter(|ip: &IpAddr| !ip.is_loopback() && !ip.is_unspecified())
}

/// The container's hosts file: the names of loopback, and `hostname` at `address`, or at loopback when the container
/// has no address of its own.
pub fn hosts(hostname: &str, address: Option<IpAddr>) -> String {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::\tip6-localnet\n\
         ff00::\tip6-mcastprefix\n\
         ff02::1\tip6-allnodes\n\
         ff02::2\tip6-allrouters\n",
    );
    let address = address.map_or_else(|| String::from("127.0.1.1"), |address| address.to_string());
    text.push_str(&format!("{address}\t{hostname}\n"));
    text
}

/// The container's hostname file.
pub fn hostname(hostname: &str) -> String {
    format!("{hostname}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slirp() -> IpAddr {
        "10.0.2.3".parse().unwrap()
    }

    #[test]
    fn ours_is_asked_before_the_hosts() {
        let text = resolv_conf("nameserver 192.0.2.1\n", &[slirp()]);
        assert_eq!(text, "nameserver 10.0.2.3\nnameserver 192.0.2.1\n");
    }

    #[test]
    fn loopback_name_servers_are_dropped_and_the_rest_is_kept() {
        let host = "# by systemd-resolved\nnameserver 127.0.0.53\nnameserver ::1\nnameserver fe80::1%eth0\n\
                    options edns0 trust-ad\nsearch lan example.org\n";
        let text = resolv_conf(host, &[slirp()]);
        assert_eq!(text, "nameserver 10.0.2.3\noptions edns0 trust-ad\nsearch lan example.org\n");
    }

    #[test]
    fn no_more_name_servers_than_libc_reads_and_none_twice() {
        let host = "nameserver 10.0.2.3\nnameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\n";
        let text = resolv_conf(host, &[slirp()]);
        assert_eq!(text, "nameserver 10.0.2.3\nnameserver 192.0.2.1\nnameserver 192.0.2.2\n");
    }

    #[test]
    fn tabs_and_blanks_separate_words() {
        assert_eq!(resolv_conf("  nameserver\t 192.0.2.1 \n", &[]), "nameserver 192.0.2.1\n");
    }

    #[test]
    fn hosts_names_the_container() {
        assert!(hosts("web", Some("10.0.2.100".parse().unwrap())).ends_with("10.0.2.100\tweb\n"));
        assert!(hosts("web", None).ends_with("127.0.1.1\tweb\n"));
        assert!(hosts("web", None).starts_with("127.0.0.1\tlocalhost\n"));
    }
}
