// SPDX-License-Identifier: Apache-2.0
//! The files by which a container's libc finds names: `/etc/resolv.conf`, `/etc/hosts`, `/etc/hostname`.
//!
//! Pure: text in, text out. The engine writes the files and binds them into the container. See resolv.conf(5), hosts(5).

use std::net::IpAddr;

/// glibc and musl ask at most this many name servers (`MAXNS` in resolv.h).
const MAX_SERVERS: usize = 3;

/// What the user asked for with `--dns`, `--dns-search` and `--dns-option`: each replaces the host's.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wishes<'a> {
    /// Name servers.
    pub servers: &'a [IpAddr],
    /// Search domains.
    pub search: &'a [String],
    /// Resolver options.
    pub options: &'a [String],
}

/// The container's resolv.conf.
///
/// Without wishes: the name servers of the `uplink` are asked first, then the host's own as far as the container can reach
/// them; the host's search list, options and sort list are kept.
///
/// A name server on a loopback address (systemd-resolved, dnsmasq) is dropped: inside, loopback is the container's own.
/// So is one on a link-local address with an interface name, which the container does not have.
pub fn resolv_conf(host: &str, uplink: &[IpAddr], wishes: &Wishes<'_>) -> String {
    let mut servers: Vec<IpAddr> = Vec::new();
    let mut add = |server| {
        if servers.len() < MAX_SERVERS && !servers.contains(&server) {
            servers.push(server);
        }
    };
    match wishes.servers {
        [] => uplink.iter().copied().chain(words(host, "nameserver").filter_map(reachable)).for_each(&mut add),
        wished => wished.iter().copied().for_each(&mut add),
    }
    let mut text: String = servers.iter().map(|server| format!("nameserver {server}\n")).collect();
    let mut keep = |keyword: &str, wished: &[String]| {
        // libc heeds the last line of a keyword.
        let value = words(host, keyword).last().filter(|_| wished.is_empty()).map(str::to_owned);
        if let Some(value) = value.or((!wished.is_empty()).then(|| wished.join(" "))) {
            text.push_str(&format!("{keyword} {value}\n"));
        }
    };
    keep("search", wishes.search);
    keep("options", wishes.options);
    keep("sortlist", &[]);
    text
}

/// What follows a keyword, line by line.
fn words<'a>(text: &'a str, keyword: &str) -> impl Iterator<Item = &'a str> {
    let split = |line: &'a str| line.trim().split_once(char::is_whitespace);
    text.lines().filter_map(split).filter(move |(word, _)| *word == keyword).map(|(_, value)| value.trim())
}

fn reachable(address: &str) -> Option<IpAddr> {
    address.parse().ok().filter(|ip: &IpAddr| !ip.is_loopback() && !ip.is_unspecified())
}

/// The container's hosts file: the names of loopback; `hostname` at `address`, or at loopback when the container has no
/// address of its own; and the `--add-host` lines as (name, address).
pub fn hosts(hostname: &str, address: Option<IpAddr>, added: &[(String, String)]) -> String {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::\tip6-localnet\n\
         ff00::\tip6-mcastprefix\n\
         ff02::1\tip6-allnodes\n\
         ff02::2\tip6-allrouters\n",
    );
    for (name, address) in added {
        text.push_str(&format!("{address}\t{name}\n"));
    }
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

    fn of(host: &str) -> String {
        resolv_conf(host, &[slirp()], &Wishes::default())
    }

    #[test]
    fn the_uplinks_server_is_asked_before_the_hosts() {
        assert_eq!(of("nameserver 192.0.2.1\n"), "nameserver 10.0.2.3\nnameserver 192.0.2.1\n");
    }

    #[test]
    fn loopback_name_servers_are_dropped_and_the_rest_is_kept() {
        let host = "# by systemd-resolved\nnameserver 127.0.0.53\nnameserver ::1\nnameserver fe80::1%eth0\n\
                    options edns0 trust-ad\nsearch lan example.org\n";
        assert_eq!(of(host), "nameserver 10.0.2.3\nsearch lan example.org\noptions edns0 trust-ad\n");
    }

    #[test]
    fn no_more_name_servers_than_libc_reads_and_none_twice() {
        let host = "nameserver 10.0.2.3\nnameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\n";
        assert_eq!(of(host), "nameserver 10.0.2.3\nnameserver 192.0.2.1\nnameserver 192.0.2.2\n");
    }

    #[test]
    fn what_the_user_wishes_replaces_the_hosts() {
        let host = "nameserver 192.0.2.1\nsearch lan\noptions edns0\n";
        let (search, options) = (["example.org".to_owned(), "example.net".to_owned()], ["ndots:2".to_owned()]);
        let servers = ["9.9.9.9".parse().unwrap()];
        let text = resolv_conf(host, &[slirp()], &Wishes { servers: &servers, search: &search, options: &options });
        assert_eq!(text, "nameserver 9.9.9.9\nsearch example.org example.net\noptions ndots:2\n");
    }

    #[test]
    fn tabs_and_blanks_separate_words() {
        assert_eq!(of("  nameserver\t 192.0.2.1 \n"), "nameserver 10.0.2.3\nnameserver 192.0.2.1\n");
    }

    #[test]
    fn hosts_names_the_container() {
        let address = Some("10.0.2.100".parse().unwrap());
        assert!(hosts("web", address, &[]).ends_with("10.0.2.100\tweb\n"));
        assert!(hosts("web", None, &[]).ends_with("127.0.1.1\tweb\n"));
        assert!(hosts("web", None, &[]).starts_with("127.0.0.1\tlocalhost\n"));
        let added = [("db".to_owned(), "192.0.2.7".to_owned())];
        assert!(hosts("web", None, &added).contains("192.0.2.7\tdb\n"));
    }
}
