// SPDX-License-Identifier: Apache-2.0
//! What a caller asks for: typed values without a word about where they come from.
//!
//! The modules read the texts that flags and Docker's JSON share: `-v` and `HostConfig.Binds`, sizes, signals, ports.

pub mod change;
pub mod device;
pub mod env;
pub mod limits;
pub mod log;
pub mod mount;
pub mod network;
pub mod restart;
pub mod security;
pub mod signal;
pub mod size;
pub mod sysctl;
pub mod tmpfs;
pub mod ulimit;
pub mod user;

use kelp_network::Port;
use kelp_shim::Restart;
use mount::Wish;
use network::Network;
use oci_spec::runtime::PosixRlimit;
use security::SecurityOption;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// When the image is looked for in a registry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pull {
    /// Always, for the newest.
    Always,
    /// Only if the store does not have it.
    #[default]
    Missing,
    /// Never.
    Never,
}

/// Reads `always`, `missing`, `never`.
pub fn pull(text: &str) -> Result<Pull, String> {
    match text {
        "always" => Ok(Pull::Always),
        "missing" => Ok(Pull::Missing),
        "never" => Ok(Pull::Never),
        _ => Err("known are always, missing and never".to_owned()),
    }
}

/// A namespace of its own, or the host's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Namespace {
    /// Shared with the host.
    Host,
    /// The container's own: the default.
    Private,
}

/// Reads `host`, `private`.
pub fn namespace(text: &str) -> Result<Namespace, String> {
    match text {
        "host" => Ok(Namespace::Host),
        "private" => Ok(Namespace::Private),
        _ if text.starts_with("container:") => Err("Kelp shares no namespaces between containers yet".to_owned()),
        _ => Err("invalid mode; known are host and private".to_owned()),
    }
}

/// The same for System V IPC, which has a word more: `shareable`, a namespace of its own.
pub fn ipc(text: &str) -> Result<Namespace, String> {
    match text {
        "shareable" => Ok(Namespace::Private),
        other => namespace(other),
    }
}

/// Everything a container can be made with.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Create {
    /// The image's name as the user wrote it.
    pub image: String,
    /// The arguments after the image: they replace the image's CMD.
    pub command: Vec<String>,
    /// The container's name; without one it gets a random one.
    pub name: Option<String>,
    /// Its standard input stays open.
    pub interactive: bool,
    /// It has a terminal.
    pub tty: bool,
    /// It is removed when it exits.
    pub rm: bool,
    /// A file that its id is written to. It must not exist.
    pub cidfile: Option<PathBuf>,
    /// When the image is looked for in a registry.
    pub pull: Pull,
    /// The platform of the image, as `linux/arm64`.
    pub platform: Option<String>,
    /// Nothing is told of a pull.
    pub quiet: bool,
    /// Another OCI runtime than Kelp's own.
    pub runtime: Option<PathBuf>,
    /// The program.
    pub process: Process,
    /// The files it sees.
    pub files: Files,
    /// How it reaches others and they it.
    pub network: Networking,
    /// What separates it from the host.
    pub isolation: Isolation,
    /// How much it may use.
    pub limits: Limits,
    /// How it ends and begins again.
    pub life: Life,
}

/// The program: what runs, as whom, with which environment.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Process {
    /// Run this instead of the image's entrypoint
    pub entrypoint: Option<String>,
    /// Set an environment variable
    pub env: Vec<String>,
    /// Read environment variables from a file
    pub env_file: Vec<PathBuf>,
    /// Work in this folder of the container
    pub workdir: Option<String>,
    /// Run as this user: name or number
    pub user: Option<String>,
    /// Add the user to a group
    pub group_add: Vec<String>,
    /// Set a resource limit, as nofile=1024:4096
    pub ulimit: Vec<PosixRlimit>,
    /// Add a label
    pub label: Vec<(String, String)>,
    /// Read labels from a file, one a line
    pub label_file: Vec<PathBuf>,
    /// Run a small init as first process: it reaps orphans and passes signals on
    pub init: bool,
    /// Add an annotation to the OCI configuration
    pub annotation: Vec<(String, String)>,
    /// Prefer this process when memory runs out (-1000 to 1000)
    pub oom_score_adj: Option<i32>,
}

/// The files it sees.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Files {
    /// Mount a folder of the host or a named volume
    pub volume: Vec<Wish>,
    /// Mount, spelled out: type=bind|volume|tmpfs,source=…,target=…
    pub mount: Vec<Wish>,
    /// Mount memory
    pub tmpfs: Vec<Wish>,
    /// Make the root filesystem read-only
    pub read_only: bool,
    /// Size of /dev/shm
    pub shm_size: Option<i64>,
    /// Show a device of the host
    pub device: Vec<String>,
}

/// How it reaches others and they it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Networking {
    /// none, host or slirp4netns
    pub network: Option<Network>,
    /// Publish a port of the container on the host
    pub publish: Vec<Vec<Port>>,
    /// Publish all ports the image exposes
    pub publish_all: bool,
    /// Note a port in the container's record
    pub expose: Vec<String>,
    /// The container's hostname
    pub hostname: Option<String>,
    /// The container's NIS domain name
    pub domainname: Option<String>,
    /// Add a line to /etc/hosts
    pub add_host: Vec<(String, String)>,
    /// Ask this name server
    pub dns: Vec<std::net::IpAddr>,
    /// Search names in this domain
    pub dns_search: Vec<String>,
    /// Set an option of the resolver
    pub dns_option: Vec<String>,
}

/// What separates it from the host.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Isolation {
    /// Add a capability
    pub cap_add: Vec<String>,
    /// Drop a capability
    pub cap_drop: Vec<String>,
    /// All capabilities, no seccomp filter, nothing masked; never more than the calling user may
    pub privileged: bool,
    /// seccomp=FILE|unconfined, no-new-privileges, systempaths=unconfined
    pub security_opt: Vec<SecurityOption>,
    /// host: see the host's processes
    pub pid: Option<Namespace>,
    /// host: share the host's System V IPC and message queues
    pub ipc: Option<Namespace>,
    /// host: share the host's hostname
    pub uts: Option<Namespace>,
    /// host: see the host's cgroup tree
    pub cgroupns: Option<Namespace>,
    /// host: no user namespace (root only)
    pub userns: Option<Namespace>,
    /// Set a kernel parameter of the container's namespaces
    pub sysctl: Vec<(String, String)>,
}

/// How much it may use.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Memory, as 512m
    pub memory: Option<i64>,
    /// Memory the kernel tries to leave to it
    pub memory_reservation: Option<i64>,
    /// Memory and swap together; -1: no limit
    pub memory_swap: Option<i64>,
    /// Processors, as 1.5
    pub cpus: Option<f64>,
    /// Weight against other containers
    pub cpu_shares: Option<u64>,
    /// Length of a scheduling period in microseconds
    pub cpu_period: Option<u64>,
    /// Microseconds of a processor per period
    pub cpu_quota: Option<i64>,
    /// Only these processors, as 0-3,8
    pub cpuset_cpus: Option<String>,
    /// Only these memory nodes
    pub cpuset_mems: Option<String>,
    /// Processes and threads; -1: no limit
    pub pids_limit: Option<i64>,
    /// Put the container's cgroup below this one
    pub cgroup_parent: Option<String>,
}

/// How it ends and begins again.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Life {
    /// Start again: no, always, unless-stopped, on-failure or on-failure:COUNT
    pub restart: Restart,
    /// The signal that asks the program to end
    pub stop_signal: Option<i32>,
    /// Seconds from that signal to SIGKILL
    pub stop_timeout: Option<i64>,
    /// Keep what it writes (json-file, local), or not (none)
    pub log_driver: log::Driver,
    /// max-size=16m, max-file=2
    pub log_opt: Vec<log::Limit>,
}

/// A signal for a container's program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kill {
    /// Its name or id.
    pub container: String,
    /// The signal's number.
    pub signal: i32,
}

/// The end of a container's program, of `stop` and `restart`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// Its name or id.
    pub container: String,
    /// The signal that asks, instead of the container's own.
    pub signal: Option<i32>,
    /// Seconds until it is killed, instead of the container's own; negative: never.
    pub timeout: Option<i64>,
}

/// Other limits, or another restart policy.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Update {
    /// Its name or id.
    pub container: String,
    /// What is limited anew; what they do not name stays.
    pub limits: Limits,
    /// When it is started again.
    pub restart: Option<Restart>,
}

/// An image of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// Its name or id.
    pub container: String,
    /// The image's name.
    pub name: Option<String>,
    /// Who says so.
    pub author: Option<String>,
    /// A line for the image's history.
    pub comment: Option<String>,
    /// Changes of its configuration, in the words of a Dockerfile.
    pub changes: Vec<String>,
    /// The container is frozen meanwhile.
    pub pause: bool,
}

impl Files {
    /// All wishes in the order they take effect.
    pub fn wishes(&self) -> impl Iterator<Item = &Wish> {
        self.volume.iter().chain(&self.mount).chain(&self.tmpfs)
    }
}

impl Limits {
    /// Whether anything is limited: that needs a cgroup of the container's own.
    pub fn any(&self) -> bool {
        let numbers = [self.memory, self.memory_reservation, self.memory_swap, self.cpu_quota, self.pids_limit];
        let texts = [&self.cpuset_cpus, &self.cpuset_mems, &self.cgroup_parent];
        numbers.iter().any(Option::is_some)
            || texts.iter().any(|text| text.is_some())
            || self.cpus.is_some()
            || self.cpu_shares.is_some()
            || self.cpu_period.is_some()
    }
}

impl Create {
    /// The image's name as the user wrote it.
    pub fn image(&self) -> &str {
        &self.image
    }

    /// The arguments after the image: they replace the image's CMD.
    pub fn command(&self) -> &[String] {
        &self.command
    }
}
