// SPDX-License-Identifier: Apache-2.0
//! The program of the image `hello`: says what isolates it from the machine that it runs on.
//!
//! Runs as the only program of a container without any other file, so it asks nothing but `/proc`. It is compiled by
//! `build.rs` into one small static program. What it cannot find out it says, and goes on.

mod facts;
mod page;

use facts::Mount;
use page::Page;
use std::fs;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let mut page = Page::new(colour);
    greet(&mut page);
    namespaces(&mut page);
    identity(&mut page);
    confinement(&mut page);
    files(&mut page);
    network(&mut page);
    farewell(&mut page);
    match std::io::stdout().write_all(page.text().as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// A file's text, or nothing where the container hides it.
fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn greet(page: &mut Page) {
    page.heading("Hello from a container made by Kelp.");
    page.sentence("No daemon is involved. This is what stands between me and your machine:");
}

/// The kernel's namespaces in the order in which people think of them, with what is private in each.
const NAMESPACES: [(&str, &str); 8] = [
    ("user", "user ids and privileges"),
    ("mnt", "the files that can be seen"),
    ("pid", "the processes that can be seen"),
    ("net", "interfaces, addresses, ports"),
    ("uts", "the hostname"),
    ("ipc", "shared memory, message queues"),
    ("cgroup", "the place among control groups"),
    ("time", "the clocks since boot"),
];

fn namespaces(page: &mut Page) {
    let caller = std::env::var("KELP_CALLER_NS").unwrap_or_default();
    page.section("NAMESPACES", "mine         yours        what it separates");
    for (name, meaning) in NAMESPACES {
        let Ok(link) = fs::read_link(format!("/proc/self/ns/{name}")) else { continue };
        let mine = facts::namespace_id(&link.to_string_lossy()).to_owned();
        let yours = facts::namespace_of(&caller, name);
        let value = match yours {
            Some(yours) if yours == mine => format!("{mine:<12} {:<12} {meaning}", "shared"),
            Some(yours) => format!("{mine:<12} {yours:<12} {meaning}"),
            None => format!("{mine:<12} {:<12} {meaning}", "not told"),
        };
        page.row(name, &value);
    }
}

fn identity(page: &mut Page) {
    let status = read("/proc/self/status");
    page.section("IDENTITY", "");
    let uid = facts::first_word(facts::field(&status, "Uid"));
    let gid = facts::first_word(facts::field(&status, "Gid"));
    page.row("I am", &format!("user {uid}, group {gid}, process {}", std::process::id()));
    page.row("uid map", &facts::id_map(&read("/proc/self/uid_map")));
    page.row("gid map", &facts::id_map(&read("/proc/self/gid_map")));
    page.row("hostname", read("/proc/sys/kernel/hostname").trim());
}

fn confinement(page: &mut Page) {
    let status = read("/proc/self/status");
    page.section("CONFINEMENT", "");
    let effective = facts::capabilities(facts::field(&status, "CapEff"));
    let bounding = facts::capabilities(facts::field(&status, "CapBnd"));
    let all = facts::CAPABILITIES.len();
    page.row("capabilities", &format!("{} in effect, {} reachable, of {all}", effective.len(), bounding.len()));
    if effective.len() < all {
        page.row("", &effective.join(" "));
    }
    page.row("seccomp", &facts::seccomp(&status));
    page.row(
        "new privileges",
        match facts::field(&status, "NoNewPrivs") {
            "1" => "none: setuid programs give nothing (no_new_privs)",
            _ => "possible within the capabilities above (no_new_privs is off)",
        },
    );
    page.row("control group", facts::cgroup(&read("/proc/self/cgroup")));
}

fn files(page: &mut Page) {
    let text = read("/proc/self/mountinfo");
    let mounts = facts::mounts(&text);
    page.section("FILES", "");
    for at in ["/", "/proc", "/dev", "/sys", "/sys/fs/cgroup"] {
        if let Some(mount) = mounts.iter().rfind(|mount| mount.at == at) {
            page.row(at, &mount.describe());
        }
    }
    row_of_paths(page, "hidden", &mounts, |mount| mount.is_mask());
    row_of_paths(page, "read-only", &mounts, |mount| mount.is_frozen());
    row_of_paths(page, "from the host", &mounts, |mount| mount.is_from_host());
}

fn row_of_paths(page: &mut Page, label: &str, mounts: &[Mount<'_>], belongs: impl Fn(&Mount<'_>) -> bool) {
    let paths: Vec<&str> = mounts.iter().filter(|mount| belongs(mount)).map(|mount| mount.at).collect();
    if !paths.is_empty() {
        page.row(label, &paths.join(" "));
    }
}

fn network(page: &mut Page) {
    page.section("NETWORK", "");
    page.row("interfaces", &facts::interfaces(&read("/proc/net/dev")).join(" "));
    let addresses = facts::addresses(&read("/proc/net/fib_trie"));
    page.row("addresses", if addresses.is_empty() { "none" } else { addresses.as_str() });
    let route = facts::default_route(&read("/proc/net/route"));
    page.row("way out", route.as_deref().unwrap_or("none: nothing comes in or goes out"));
}

fn farewell(page: &mut Page) {
    page.heading("Try next:  kelp run --rm -it debian bash");
}
