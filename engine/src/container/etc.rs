// SPDX-License-Identifier: Apache-2.0
//! The container's /etc/hosts, /etc/hostname and /etc/resolv.conf: files of ours in its folder, bound into it.

use crate::config::Attachment;
use crate::error::{Doing, Result};
use crate::request::Networking;
use crate::request::network::{HOST_GATEWAY, Network};
use kelp_network::{names, slirp};
use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Makes the three files; the attachments bind them.
/// As in Docker, nobody may write them where the root is read-only.
pub(crate) fn make(
    folder: &Path,
    flags: &Networking,
    network: Network,
    hostname: &str,
    read_only: bool,
) -> Result<Vec<Attachment>> {
    // A host without the file (a bare chroot) has no name servers to pass on.
    let host = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let contents = [
        ("hosts", hosts(flags, network, hostname)),
        ("hostname", names::hostname(hostname)),
        ("resolv.conf", resolv_conf(flags, network, &host)),
    ];
    let mut files = Vec::new();
    for (name, content) in contents {
        let source = folder.join(name);
        write(&source, &content).doing(|| format!("cannot write {}", source.display()))?;
        let target = Path::new("/etc").join(name);
        files.push(Attachment { source: Some(source), target, read_only, options: Vec::new() });
    }
    Ok(files)
}

/// Every user inside may read it and root may write it, whatever the caller's umask.
fn write(path: &Path, content: &str) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(content.as_bytes())?;
    file.set_permissions(Permissions::from_mode(0o644))
}

fn hosts(flags: &Networking, network: Network, hostname: &str) -> String {
    let (address, gateway): (Option<IpAddr>, IpAddr) = match network {
        Network::Slirp4netns => (Some(slirp::ADDRESS.into()), slirp::GATEWAY.into()),
        Network::None | Network::Host => (None, Ipv4Addr::LOCALHOST.into()),
    };
    let mut text = names::hosts(&host_names(flags, hostname), address);
    for (name, address) in &flags.add_host {
        let address = if address == HOST_GATEWAY { gateway.to_string() } else { address.clone() };
        text.push_str(&format!("{address}\t{name}\n"));
    }
    text
}

/// The full name and the short one, as Docker writes them, whether the user gave the domain with `--hostname` or apart.
fn host_names(flags: &Networking, hostname: &str) -> String {
    let full = match flags.domainname.as_deref().filter(|domain| !domain.is_empty()) {
        Some(domain) => format!("{hostname}.{domain}"),
        None => hostname.to_owned(),
    };
    match full.split_once('.') {
        Some((short, _)) if !short.is_empty() => format!("{full} {short}"),
        _ => full,
    }
}

/// What the user says replaces the host's line of the same kind.
fn resolv_conf(flags: &Networking, network: Network, host: &str) -> String {
    if network == Network::Host && flags.dns.is_empty() && flags.dns_search.is_empty() && flags.dns_option.is_empty() {
        // The host's loopback is the container's: systemd-resolved's stub works.
        return host.to_owned();
    }
    let mut first = flags.dns.clone();
    if first.is_empty() && network == Network::Slirp4netns {
        first.push(slirp::RESOLVER.into());
    }
    let replaced = |line: &&str| match line.split_whitespace().next() {
        Some("nameserver") => !flags.dns.is_empty(),
        Some("search" | "domain") => !flags.dns_search.is_empty(),
        Some("options") => !flags.dns_option.is_empty(),
        _ => false,
    };
    let kept: Vec<&str> = host.lines().filter(|line| !replaced(line)).collect();
    let mut text = names::resolv_conf(&kept.join("\n"), &first);
    // Docker's `--dns-search .` means “search nowhere”.
    let searched: Vec<String> = flags.dns_search.iter().filter(|domain| *domain != ".").cloned().collect();
    for (word, values) in [("search", &searched), ("options", &flags.dns_option)] {
        if !values.is_empty() {
            text.push_str(&format!("{word} {}\n", values.join(" ")));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_file_is_passed_on_only_where_its_loopback_is_ours() {
        let stub = "nameserver 127.0.0.53\n";
        let text = |dns: &[&str], network| {
            let dns = dns.iter().map(|address| address.parse().unwrap()).collect();
            resolv_conf(&Networking { dns, ..Networking::default() }, network, stub)
        };
        assert_eq!(text(&[], Network::Host), stub);
        assert_eq!(text(&[], Network::None), "");
        assert_eq!(text(&[], Network::Slirp4netns), "nameserver 10.0.2.3\n");
        assert_eq!(text(&["9.9.9.9"], Network::Host), "nameserver 9.9.9.9\n");
    }

    #[test]
    fn a_full_hostname_has_its_short_name_beside_it() {
        let named = |hostname: &str, domain: Option<&str>| {
            host_names(&Networking { domainname: domain.map(str::to_owned), ..Networking::default() }, hostname)
        };
        assert_eq!(named("web", None), "web");
        assert_eq!(named("web.example.org", None), "web.example.org web");
        assert_eq!(named("web", Some("example.org")), "web.example.org web");
    }

    #[test]
    fn host_gateway_is_where_the_host_is() {
        let add_host =
            ["db:10.0.0.9", "up:host-gateway"].map(|text| crate::request::network::host(text).unwrap()).to_vec();
        let flags = Networking { add_host, ..Networking::default() };
        let text = hosts(&flags, Network::Slirp4netns, "web");
        assert!(text.contains("10.0.0.9\tdb\n") && text.contains("10.0.2.2\tup\n"), "{text}");
    }
}
