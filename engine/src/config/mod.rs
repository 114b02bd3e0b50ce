// SPDX-License-Identifier: Apache-2.0
//! The OCI configuration of a container: (options, program, host) → `config.json`.
//!
//! Pure: nothing here looks at the machine or touches it, so that the whole is tested as text (`expected/*.json`).
//! One subject of the specification, one file. The defaults are Docker's.

mod capabilities;
mod devices;
mod idmap;
mod mounts;
mod namespaces;
mod paths;
mod process;
pub mod resources;
pub mod seccomp;

pub use devices::Device;
pub use idmap::{Maps, Range};

use crate::error::{Error, Kind, Result};
use crate::request::network::Network;
use crate::request::{Create, Isolation};
use oci_spec::runtime::{Capabilities, LinuxBuilder, LinuxCapabilities, LinuxSeccomp, Root, Spec};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The version of the runtime specification these configurations are written for.
const OCI_VERSION: &str = "1.2.0";

/// The version that any runtime knows: crun before 1.9 refuses every later one, and none of our fields is younger.
const OLDEST_OCI_VERSION: &str = "1.0.2";

/// The program as the image and the user's options make it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The program and its arguments; never empty.
    pub args: Vec<String>,
    /// `KEY=VALUE`, each key once.
    pub env: Vec<String>,
    /// Where it starts.
    pub cwd: PathBuf,
    /// As whom.
    pub uid: u32,
    /// With which group.
    pub gid: u32,
    /// And which further groups.
    pub groups: Vec<u32>,
}

/// Where the container's root comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootFilesystem {
    /// The container's own init mounts an overlay over the empty root folder.
    Overlay {
        /// Unpacked layers, lowest first.
        lower: Vec<PathBuf>,
        /// What the container writes.
        upper: PathBuf,
        /// The kernel's scratch folder beside it.
        work: PathBuf,
    },
    /// The root folder holds a copy of the image.
    Copy,
}

/// Where Docker has its init.
pub const INIT: &str = "/sbin/docker-init";

/// Something the user or we want to see at a path of the container; its source exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// A path of the host, or nothing for memory.
    pub source: Option<PathBuf>,
    /// Where in the container.
    pub target: PathBuf,
    /// Not writable.
    pub read_only: bool,
    /// Propagation, or tmpfs's own options.
    pub options: Vec<String>,
}

/// Everything a configuration follows from.
#[derive(Debug)]
pub struct Input<'a> {
    /// The container's id.
    pub id: &'a str,
    /// The flags.
    pub options: &'a Create,
    /// The program.
    pub program: &'a Program,
    /// The hostname inside.
    pub hostname: &'a str,
    /// The network, decided.
    pub network: Network,
    /// Who the container's users are on the host; nothing: no user namespace.
    pub maps: Option<&'a Maps>,
    /// The highest group of the user namespace we are in ourselves.
    pub last_group: u32,
    /// The root filesystem.
    pub root: &'a RootFilesystem,
    /// `/etc/hosts` and its like, made for this container.
    pub files: &'a [Attachment],
    /// The user's mounts and volumes.
    pub attachments: &'a [Attachment],
    /// Devices of the host the user wants inside.
    pub devices: &'a [Device],
    /// The system call filter; nothing: unconfined.
    pub seccomp: Option<LinuxSeccomp>,
    /// The image's annotations and ours.
    pub annotations: HashMap<String, String>,
    /// Whether the host has a folder: not every one mounts /dev/mqueue.
    pub host_has: fn(&Path) -> bool,
}

impl Input<'_> {
    fn privileged(&self) -> bool {
        self.options.isolation.privileged
    }
}

/// Writes the configuration.
pub fn build(input: &Input<'_>) -> Result<Spec> {
    let linux = LinuxBuilder::default()
        .namespaces(namespaces::list(input))
        .masked_paths(paths::masked(input))
        .readonly_paths(paths::read_only(input))
        .sysctl(namespaces::sysctls(input)?)
        .resources(resources::all(input)?);
    let mut linux = linux.build().map_err(|error| Error::new(Kind::Other, "cannot write config.json", error))?;
    linux.set_seccomp(input.seccomp.clone());
    if let Some(maps) = input.maps {
        linux.set_uid_mappings(Some(idmap::mappings(&maps.uid)?)).set_gid_mappings(Some(idmap::mappings(&maps.gid)?));
    }
    let nodes = devices::nodes(input);
    linux.set_devices((!nodes.is_empty()).then_some(nodes));
    linux.set_cgroups_path(resources::cgroups_path(input));
    let mut root = Root::default();
    root.set_path(PathBuf::from("rootfs")).set_readonly(Some(input.options.files.read_only));
    let mut spec = Spec::default();
    let version = if input.options.runtime.is_some() { OLDEST_OCI_VERSION } else { OCI_VERSION };
    spec.set_version(version.to_owned())
        .set_root(Some(root))
        .set_mounts(Some(mounts::all(input)))
        .set_process(Some(process::first(input)?))
        .set_hostname(namespaces::has_own_uts(input).then(|| input.hostname.to_owned()))
        .set_domainname(input.options.network.domainname.clone())
        .set_annotations((!input.annotations.is_empty()).then(|| input.annotations.clone()))
        .set_linux(Some(linux));
    Ok(spec)
}

/// An error where a kernel parameter is of a namespace that the container shares with the host.
pub fn check_sysctls(flags: &Isolation, network: Network) -> Result<()> {
    flags.sysctl.iter().try_for_each(|(key, _)| namespaces::namespaced(flags, network, key).map(drop))
}

/// The name of a capability that there is, or ALL, as the user wrote it.
pub fn capability(name: &str) -> Result<String, String> {
    match capabilities::is_known(name) {
        true => Ok(name.to_owned()),
        false => {
            let upper = name.to_ascii_uppercase();
            let long = format!("CAP_{}", upper.strip_prefix("CAP_").unwrap_or(&upper));
            Err(format!("invalid capability: {long:?}; names are those of capabilities(7), as NET_ADMIN, or ALL"))
        }
    }
}

/// The capabilities these flags give.
pub fn capabilities(flags: &Isolation) -> Result<Capabilities> {
    capabilities::decide(flags.privileged, &flags.cap_add, &flags.cap_drop)
}

/// All capabilities in all sets but the inheritable and ambient ones: `exec --privileged`.
pub fn all_capabilities() -> LinuxCapabilities {
    let all = Some(capabilities::all());
    let mut rights = LinuxCapabilities::default();
    rights.set_bounding(all.clone()).set_effective(all.clone()).set_permitted(all);
    rights.set_inheritable(None).set_ambient(None);
    rights
}

/// A path as an option's text; paths of ours are UTF-8 unless the store's folder is not.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
