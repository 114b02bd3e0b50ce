// SPDX-License-Identifier: Apache-2.0
//! The flags of `run` and `create`: Docker's names, each value read at once into what it means.
//!
//! One table of flags, no logic: `spec` and `container` decide what follows from them.

#[cfg(test)]
mod config_tests;
mod request;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, Args};
use kelp_engine::config::capability;
use kelp_engine::request::mount::Wish;
use kelp_engine::request::network::Network;
use kelp_engine::request::security::SecurityOption;
use kelp_engine::request::{
    Namespace, Pull, device, env, ipc, limits, log, mount, namespace, network, restart, security, signal, size, sysctl,
    ulimit, user,
};
use kelp_network::Port;
use kelp_shim::Restart;
use kelp_shim::client::DetachKeys;
use oci_spec::runtime::PosixRlimit;
use std::path::PathBuf;

/// A flag whose values are these words: a mistyped one gets a suggestion.
fn one_of<T, const N: usize>(
    words: [&'static str; N],
    read: fn(&str) -> Result<T, String>,
) -> impl TypedValueParser<Value = T>
where
    T: Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(words).try_map(move |word| read(&word).map_err(std::io::Error::other))
}

/// Everything a container can be made with.
#[derive(Debug, Clone, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// The image, then the program and its arguments; flags end here
    #[arg(value_names = ["IMAGE", "COMMAND"], required = true, trailing_var_arg = true, num_args = 1..)]
    pub(crate) image_and_command: Vec<String>,

    /// Call the container this
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Keep stdin open
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Give it a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Remove the container when it exits
    #[arg(long)]
    pub(crate) rm: bool,
    /// Write the container's id to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) cidfile: Option<PathBuf>,
    /// Look for the image in a registry: always, if missing, never
    #[arg(long, value_name = "WHEN", default_value = "missing", hide_possible_values = true,
        value_parser = one_of(["always", "missing", "never"], kelp_engine::request::pull))]
    pub(crate) pull: Pull,
    /// Take this platform's image, as linux/arm64
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<String>,
    /// Say nothing while pulling
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Use this OCI runtime instead of Kelp's own
    #[arg(long, value_name = "PATH")]
    pub(crate) runtime: Option<PathBuf>,
    /// Keys that detach from the container; ctrl-p,ctrl-q by default
    #[arg(long, value_name = "KEYS")]
    pub(crate) detach_keys: Option<DetachKeys>,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,

    #[command(flatten)]
    pub(crate) process: ProcessFlags,
    #[command(flatten)]
    pub(crate) files: FileFlags,
    #[command(flatten)]
    pub(crate) network: NetworkFlags,
    #[command(flatten)]
    pub(crate) isolation: IsolationFlags,
    #[command(flatten)]
    pub(crate) limits: LimitFlags,
    #[command(flatten)]
    pub(crate) life: LifeFlags,
}

/// The program: what runs, as whom, with which environment.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Program")]
pub(crate) struct ProcessFlags {
    /// Run this instead of the image's entrypoint
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) entrypoint: Option<String>,
    /// Set an environment variable
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = env::variable)]
    pub(crate) env: Vec<String>,
    /// Read environment variables from a file
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,
    /// Work in this folder of the container
    #[arg(short, long, value_name = "DIR", value_parser = user::workdir)]
    pub(crate) workdir: Option<String>,
    /// Run as this user: name or number
    #[arg(short, long, value_name = "USER[:GROUP]", allow_hyphen_values = true, value_parser = user::parse)]
    pub(crate) user: Option<String>,
    /// Add the user to a group
    #[arg(long, value_name = "GROUP", value_parser = user::group)]
    pub(crate) group_add: Vec<String>,
    /// Set a resource limit, as nofile=1024:4096
    #[arg(long, value_name = "TYPE=SOFT[:HARD]", value_parser = ulimit::parse)]
    pub(crate) ulimit: Vec<PosixRlimit>,
    /// Add a label
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = env::pair)]
    pub(crate) label: Vec<(String, String)>,
    /// Read labels from a file, one a line
    #[arg(long, value_name = "FILE")]
    pub(crate) label_file: Vec<PathBuf>,
    /// Run a small init as first process: it reaps orphans and passes signals on
    #[arg(long)]
    pub(crate) init: bool,
    /// Check no health: nobody does here, so it is accepted and means nothing
    #[arg(long, hide = true)]
    pub(crate) no_healthcheck: bool,
    /// Accepted for scripts written for Docker: signatures are not looked at
    #[arg(long, hide = true)]
    pub(crate) disable_content_trust: bool,
    /// Add an annotation to the OCI configuration
    #[arg(long, value_name = "KEY=VALUE", value_parser = env::pair)]
    pub(crate) annotation: Vec<(String, String)>,
    /// Prefer this process when memory runs out (-1000 to 1000)
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true, value_parser = clap::value_parser!(i32).range(-1000..=1000))]
    pub(crate) oom_score_adj: Option<i32>,
}

/// The files it sees.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Files")]
pub(crate) struct FileFlags {
    /// Mount a folder of the host or a named volume
    #[arg(short, long, value_name = "SOURCE:TARGET[:ro]", value_parser = mount::volume)]
    pub(crate) volume: Vec<Wish>,
    /// Mount, spelled out: type=bind|volume|tmpfs,source=…,target=…
    #[arg(long, value_name = "FIELDS", value_parser = mount::mount)]
    pub(crate) mount: Vec<Wish>,
    /// Mount memory
    #[arg(long, value_name = "TARGET[:OPTIONS]", value_parser = mount::tmpfs)]
    pub(crate) tmpfs: Vec<Wish>,
    /// Make the root filesystem read-only
    #[arg(long)]
    pub(crate) read_only: bool,
    /// Size of /dev/shm
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true, value_parser = size::bytes)]
    pub(crate) shm_size: Option<i64>,
    /// Show a device of the host
    #[arg(long, value_name = "PATH[:PATH[:rwm]]", value_parser = device::parse)]
    pub(crate) device: Vec<String>,
}

/// How it reaches others and they it.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Network")]
pub(crate) struct NetworkFlags {
    /// none, host or slirp4netns
    #[arg(long, alias = "net", value_name = "NETWORK", value_parser = network::parse)]
    pub(crate) network: Option<Network>,
    /// Publish a port of the container on the host
    #[arg(short, long, value_name = "HOST:CONTAINER[/udp]", value_parser = network::port)]
    pub(crate) publish: Vec<Vec<Port>>,
    /// Publish all ports the image exposes
    #[arg(short = 'P', long)]
    pub(crate) publish_all: bool,
    /// Note a port in the container's record
    #[arg(long, value_name = "PORT[/udp]", value_parser = network::expose)]
    pub(crate) expose: Vec<String>,
    /// The container's hostname
    #[arg(short = 'h', long, value_name = "NAME", value_parser = network::hostname)]
    pub(crate) hostname: Option<String>,
    /// The container's NIS domain name
    #[arg(long, value_name = "NAME", value_parser = network::domain)]
    pub(crate) domainname: Option<String>,
    /// Add a line to /etc/hosts
    #[arg(long, value_name = "NAME:ADDRESS", value_parser = network::host)]
    pub(crate) add_host: Vec<(String, String)>,
    /// Ask this name server
    #[arg(long, value_name = "ADDRESS", value_parser = network::name_server)]
    pub(crate) dns: Vec<std::net::IpAddr>,
    /// Search names in this domain
    #[arg(long, value_name = "DOMAIN", value_parser = network::search)]
    pub(crate) dns_search: Vec<String>,
    /// Set an option of the resolver
    #[arg(long, alias = "dns-opt", value_name = "OPTION", value_parser = network::resolver_option)]
    pub(crate) dns_option: Vec<String>,
}

/// What separates it from the host.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Isolation")]
pub(crate) struct IsolationFlags {
    /// Add a capability
    #[arg(long, value_name = "CAPABILITY", value_parser = capability)]
    pub(crate) cap_add: Vec<String>,
    /// Drop a capability
    #[arg(long, value_name = "CAPABILITY", value_parser = capability)]
    pub(crate) cap_drop: Vec<String>,
    /// All capabilities, no seccomp filter, nothing masked; never more than the calling user may
    #[arg(long)]
    pub(crate) privileged: bool,
    /// seccomp=FILE|unconfined, no-new-privileges, systempaths=unconfined
    #[arg(long, value_name = "OPTION", value_parser = security::parse)]
    pub(crate) security_opt: Vec<SecurityOption>,
    /// host: see the host's processes
    #[arg(long, value_name = "MODE", value_parser = namespace)]
    pub(crate) pid: Option<Namespace>,
    /// host: share the host's System V IPC and message queues
    #[arg(long, value_name = "MODE", value_parser = ipc)]
    pub(crate) ipc: Option<Namespace>,
    /// host: share the host's hostname
    #[arg(long, value_name = "MODE", value_parser = namespace)]
    pub(crate) uts: Option<Namespace>,
    /// host: see the host's cgroup tree
    #[arg(long, value_name = "MODE", value_parser = namespace)]
    pub(crate) cgroupns: Option<Namespace>,
    /// host: no user namespace (root only)
    #[arg(long, value_name = "MODE", value_parser = namespace)]
    pub(crate) userns: Option<Namespace>,
    /// Set a kernel parameter of the container's namespaces
    #[arg(long, value_name = "KEY=VALUE", value_parser = sysctl::parse)]
    pub(crate) sysctl: Vec<(String, String)>,
}

/// How much it may use.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitFlags {
    /// Memory, as 512m
    #[arg(short, long, value_name = "BYTES", allow_hyphen_values = true, value_parser = size::bytes)]
    pub(crate) memory: Option<i64>,
    /// Memory the kernel tries to leave to it
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true, value_parser = size::bytes)]
    pub(crate) memory_reservation: Option<i64>,
    /// Memory and swap together; -1: no limit
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true, value_parser = size::bytes_or_unlimited)]
    pub(crate) memory_swap: Option<i64>,
    /// Processors, as 1.5
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true, value_parser = limits::cpus)]
    pub(crate) cpus: Option<f64>,
    /// Weight against other containers
    #[arg(short, long, value_name = "SHARES", allow_hyphen_values = true, value_parser = limits::cpu_shares)]
    pub(crate) cpu_shares: Option<u64>,
    /// Length of a scheduling period in microseconds
    #[arg(long, value_name = "MICROSECONDS", conflicts_with = "cpus", allow_hyphen_values = true,
        value_parser = limits::cpu_period)]
    pub(crate) cpu_period: Option<u64>,
    /// Microseconds of a processor per period
    #[arg(long, value_name = "MICROSECONDS", conflicts_with = "cpus", allow_hyphen_values = true,
        value_parser = limits::cpu_quota)]
    pub(crate) cpu_quota: Option<i64>,
    /// Only these processors, as 0-3,8
    #[arg(long, value_name = "LIST", value_parser = limits::cpuset_cpus)]
    pub(crate) cpuset_cpus: Option<String>,
    /// Only these memory nodes
    #[arg(long, value_name = "LIST", value_parser = limits::cpuset_mems)]
    pub(crate) cpuset_mems: Option<String>,
    /// Processes and threads; -1: no limit
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true, value_parser = limits::pids)]
    pub(crate) pids_limit: Option<i64>,
    /// Put the container's cgroup below this one
    #[arg(long, value_name = "PATH", value_parser = limits::cgroup_parent)]
    pub(crate) cgroup_parent: Option<String>,
}

/// How it ends and begins again.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Life")]
pub(crate) struct LifeFlags {
    /// Start again: no, always, unless-stopped, on-failure or on-failure:COUNT
    #[arg(long, value_name = "POLICY", default_value = "no", value_parser = restart::parse)]
    pub(crate) restart: Restart,
    /// The signal that asks the program to end
    #[arg(long, value_name = "SIGNAL", value_parser = signal::parse)]
    pub(crate) stop_signal: Option<i32>,
    /// Seconds from that signal to SIGKILL
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true)]
    pub(crate) stop_timeout: Option<i64>,
    /// Keep what it writes (json-file, local), or not (none)
    #[arg(long, value_name = "DRIVER", default_value = "json-file", hide_possible_values = true,
        value_parser = one_of(["json-file", "local", "none"], log::driver))]
    pub(crate) log_driver: log::Driver,
    /// max-size=16m, max-file=2
    #[arg(long, value_name = "KEY=VALUE", value_parser = log::parse)]
    pub(crate) log_opt: Vec<log::Limit>,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    #[command(disable_help_flag = true)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    /// The options of `kelp run LINE`, split at blanks.
    pub(crate) fn options(line: &str) -> Options {
        Line::try_parse_from(std::iter::once("run").chain(line.split_whitespace())).unwrap().options
    }

    fn refused(line: &str) -> String {
        Line::try_parse_from(std::iter::once("run").chain(line.split_whitespace())).unwrap_err().to_string()
    }

    #[test]
    fn flags_end_at_the_image() {
        let options = options("-it --rm busybox -e --rm -- ls -l");
        assert_eq!(options.image_and_command, ["busybox", "-e", "--rm", "--", "ls", "-l"]);
        assert!(options.interactive && options.tty && options.rm && options.process.env.is_empty());
    }

    #[test]
    fn h_is_the_hostname_as_in_docker() {
        assert_eq!(options("-h web busybox").network.hostname.as_deref(), Some("web"));
    }

    #[test]
    fn repeated_flags_add_up() {
        let options = options("-e A=1 -eB=2 --env=C=3 -p 80:80 -p 53:53/udp busybox");
        assert_eq!(options.process.env, ["A=1", "B=2", "C=3"]);
        assert_eq!(options.network.publish.concat().len(), 2);
    }

    #[test]
    fn what_is_not_understood_is_named() {
        assert!(refused("--bogus busybox").contains("--bogus"));
        assert!(refused("-p 99999:1 busybox").contains("99999"));
        assert!(refused("-m lots busybox").contains("lots"));
        assert!(refused("--network moon busybox").contains("moon"));
        assert!(refused("--rm").contains("IMAGE"));
    }
}
