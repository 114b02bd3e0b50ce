// SPDX-License-Identifier: Apache-2.0
//! Making a container: a folder with everything its shim needs to run it. Nothing runs yet.
//!
//! The record is written last and makes it a container; until then the folder is claimed, and undone on any error.

use super::claim::Claim;
use super::find::Container;
use super::record::{Record, Storage};
use super::volumes::Mounted;
use super::{etc, id, init, name, network, remove, runtime, volumes};
use crate::caller::Caller;
use crate::config::{self, Attachment, Device, Maps, RootFilesystem};
use crate::error::{Doing, Error, Kind, Result};
use crate::events;
use crate::image::{self, Chosen, Wanted};
use crate::overlay::{self, Overlay};
use crate::places::make_private;
use crate::request::network::Network;
use crate::request::{self, Create, Namespace, env, log, signal};
use crate::{ids, time};
use kelp_bundles::idmap::IdMap;
use kelp_shim::Restart;
use oci_spec::runtime::LinuxSeccomp;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Docker's time from the stop signal to SIGKILL.
pub(crate) const STOP_TIMEOUT: i64 = 10;

/// Makes a container of these options. `begun` hears its id when nothing that takes long is left to do: the image is here.
pub fn create(caller: &Caller, options: &Create, begun: impl FnOnce(&str) -> Result<()>) -> Result<Container> {
    if let Some(name) = &options.name {
        name::check(name)?;
    }
    check(options)?;
    let runtime = options.runtime.as_deref().map(|program| runtime::find(caller, program)).transpose()?;
    let network = network::decide(caller, &options.network)?;
    let chosen = image::resolve(caller, options)?;
    let ids = ids::of_caller()?;
    if options.isolation.userns == Some(Namespace::Host) && ids != IdMap::Host {
        let because = "only root can do without a user namespace";
        return Err(Error::new(Kind::BadInput, "cannot use --userns host", because).hint("leave it out, or be root"));
    }
    ids::tell(caller, &ids);
    let (id, folder, claim) = new_folder(caller)?;
    let _span = tracing::info_span!("create", container = %id, image = %chosen.id()).entered();
    let mut maker =
        Maker { caller, options, chosen, ids, network, runtime, id, folder, name: None, mounted: Mounted::default() };
    let made = begun(&maker.id).and_then(|()| maker.make());
    let container = made.map_err(|error| maker.undo(error))?;
    drop(claim);
    Ok(container)
}

/// Refuses what contradicts itself, before anything is made.
fn check(options: &Create) -> Result<()> {
    let Create { life, rm, .. } = options;
    if *rm && life.restart != Restart::No {
        let because = "it contradicts --rm: what is removed when it exits cannot be started again";
        return Err(Error::new(Kind::BadInput, "cannot use --restart", because));
    }
    if life.log_driver == log::Driver::None && !life.log_opt.is_empty() {
        let because = "invalid logging opts for driver none: it keeps nothing";
        return Err(Error::new(Kind::BadInput, "cannot use --log-opt", because));
    }
    let named = options.network.hostname.as_ref().or(options.network.domainname.as_ref());
    if options.isolation.uts == Some(Namespace::Host) && named.is_some_and(|name| !name.is_empty()) {
        let because = "conflicting options: hostname and the UTS mode; with --uts host the names are the host's";
        return Err(Error::new(Kind::BadInput, "cannot set the names of the container", because));
    }
    options.cidfile.as_deref().map_or(Ok(()), check_cidfile)?;
    config::resources::of(&options.limits).map(drop)
}

/// A folder with a claim on it. It gets its name when it is claimed: nobody ever sees it without its maker.
fn new_folder(caller: &Caller) -> Result<(String, PathBuf, Claim)> {
    make_private(&caller.places.containers())?;
    loop {
        let id = id::random()?;
        let (new, folder) =
            (caller.places.containers().join(format!(".new-{id}")), caller.places.containers().join(&id));
        let doing = || format!("cannot make {}", folder.display());
        DirBuilder::new().mode(0o700).create(&new).doing(doing)?;
        match Claim::make(&new).and_then(|claim| fs::rename(&new, &folder).map(|()| claim)) {
            Ok(claim) => return Ok((id, folder, claim)),
            // A sweep took it for the leftover of a maker that was killed.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::WouldBlock) => {}
            Err(error) => return Err(error).doing(doing),
        }
    }
}

/// What is settled before a volume is made.
struct Decided {
    devices: Vec<Device>,
    seccomp: Option<LinuxSeccomp>,
    labels: env::LabelFiles,
    exposed: Vec<String>,
}

/// What the steps of making share.
struct Maker<'a> {
    caller: &'a Caller,
    options: &'a Create,
    chosen: Chosen,
    ids: IdMap,
    network: Network,
    runtime: Option<PathBuf>,
    id: String,
    folder: PathBuf,
    name: Option<String>,
    mounted: Mounted,
}

impl Maker<'_> {
    fn make(&mut self) -> Result<Container> {
        let name = self.take_name()?;
        tracing::debug!(name, "it has a name");
        self.name = Some(name.clone());
        let lower = self.chosen.unpack(self.caller, &self.folder, &self.ids)?;
        let hostname = self.options.network.hostname.clone().unwrap_or_else(|| self.default_hostname());
        let mut wanted = self.chosen.wanted(self.caller, &lower, &self.ids, self.options)?;
        if let IdMap::Single { because, .. } = &self.ids {
            if !self.options.process.group_add.is_empty() {
                let because = format!("there are no further groups inside: {because}");
                return Err(Error::new(Kind::Unsupported, "cannot use --group-add", because).hint(ASK_FOR_A_RANGE));
            }
            // A user who maps only his own ids may not set groups; the process keeps the caller's.
            wanted.program.groups.clear();
        }
        let mut files = self.etc_files(&hostname)?;
        if self.options.process.init {
            files.push(init::make(self.caller, &self.folder)?);
        }
        let decided = self.decide(&wanted)?;
        // From here on volumes are made, which stay where the container does not.
        self.mounted = volumes::make(self.caller, self.options.files.wishes(), &wanted.volumes)?;
        self.fill_volumes(&lower)?;
        let root = self.root_filesystem(&lower)?;
        self.configure(&wanted, &hostname, &files, &root, &decided)?;
        let record = self.record(name, &wanted, hostname, &root, decided)?;
        if let Some(file) = &self.options.cidfile {
            write_cidfile(file, &self.id)?;
        }
        tracing::debug!("its files, volumes and configuration are made");
        // From here on it is a container.
        record.write(&self.folder)?;
        events::container(self.caller, &record, "create");
        Ok(Container { folder: self.folder.clone(), record, damage: None })
    }

    /// Undoes; what cannot be undone is added to the error, and swept later.
    fn undo(&self, error: Error) -> Error {
        match remove::unfinished(self.caller, &self.id, self.name.as_deref(), &self.mounted.anonymous) {
            Ok(()) => error,
            Err(undo) => error.and_also(&undo),
        }
    }

    fn etc_files(&self, hostname: &str) -> Result<Vec<Attachment>> {
        let read_only = self.options.files.read_only;
        etc::make(&self.folder, &self.options.network, self.network, hostname, read_only)
    }

    fn take_name(&self) -> Result<String> {
        match &self.options.name {
            Some(name) => name::take(self.caller, name, &self.id).map(|()| name.clone()),
            None => name::take_random(self.caller, &self.id),
        }
    }

    fn default_hostname(&self) -> String {
        let host = || kelp_sys::rustix::system::uname().nodename().to_string_lossy().into_owned();
        if self.network == Network::Host { host() } else { id::short(&self.id).to_owned() }
    }

    /// Native overlay, or a copy where the kernel or the filesystem refuses.
    fn root_filesystem(&self, lower: &[PathBuf]) -> Result<RootFilesystem> {
        let make = |name: &str| -> Result<PathBuf> {
            let folder = self.folder.join(name);
            fs::create_dir(&folder).doing(|| format!("cannot make {}", folder.display()))?;
            // As the root of an image: readable by every user inside, whatever our umask.
            let mode = fs::Permissions::from_mode(0o755);
            fs::set_permissions(&folder, mode).doing(|| format!("cannot make {}", folder.display()))?;
            Ok(folder)
        };
        let rootfs = make("rootfs")?;
        if self.options.runtime.is_some() {
            // A mount at `/` is for Kelp's own runtime to make: crun refuses it.
            kelp_bundles::job::copy_tree(lower, &rootfs, &self.ids)?;
            mark(&rootfs)?;
            return Ok(RootFilesystem::Copy);
        }
        match overlay::probe(self.caller)? {
            Overlay::Works => {
                let upper = make("upper")?;
                mark(&upper)?;
                Ok(RootFilesystem::Overlay { lower: lower.to_vec(), upper, work: make("work")? })
            }
            Overlay::Refused { because, news } => {
                if news {
                    self.caller.note(format!("no overlay here ({because}): each container gets a copy of its image"));
                }
                kelp_bundles::job::copy_tree(lower, &rootfs, &self.ids)?;
                mark(&rootfs)?;
                Ok(RootFilesystem::Copy)
            }
        }
    }

    /// A volume's first use copies what the image has at its place.
    fn fill_volumes(&self, lower: &[PathBuf]) -> Result<()> {
        for (target, volume) in &self.mounted.to_fill {
            volume.fill_once(|data| image::copy_folder(lower, target, data, &self.ids))?;
        }
        Ok(())
    }

    /// All that can be refused without a volume or a root filesystem.
    fn decide(&self, wanted: &Wanted) -> Result<Decided> {
        let isolation = &self.options.isolation;
        check_user(wanted, ids::maps(&self.ids).as_ref(), &self.ids)?;
        config::check_sysctls(isolation, self.network)?;
        Ok(Decided {
            devices: devices(&self.options.files.device)?,
            seccomp: config::seccomp::decide(isolation, &config::capabilities(isolation)?)?,
            labels: env::label_files(&self.options.process.label_file)?,
            exposed: network::exposed(&self.options.network, wanted.exposed.iter().cloned())?,
        })
    }

    fn configure(
        &self,
        wanted: &Wanted,
        hostname: &str,
        files: &[Attachment],
        root: &RootFilesystem,
        decided: &Decided,
    ) -> Result<()> {
        let maps = ids::maps(&self.ids);
        let annotations = self.options.process.annotation.iter().cloned().collect();
        let input = config::Input {
            id: &self.id,
            options: self.options,
            program: &wanted.program,
            hostname,
            network: self.network,
            maps: maps.as_ref(),
            last_group: ids::last_group()?,
            root,
            files,
            attachments: &self.mounted.attachments,
            devices: &decided.devices,
            seccomp: decided.seccomp.clone(),
            annotations,
            host_has: Path::is_dir,
        };
        super::record::write(&self.folder, "config.json", &config::build(&input)?)
    }

    fn record(
        &self,
        name: String,
        wanted: &Wanted,
        hostname: String,
        root: &RootFilesystem,
        decided: Decided,
    ) -> Result<Record> {
        let (options, life) = (self.options, &self.options.life);
        let Decided { labels: files, exposed, .. } = decided;
        let mut labels = wanted.labels.clone();
        for key in files.left {
            self.caller
                .note(format!("the label {key} has no value in its file, so it is none; {key}= makes it an empty one"));
        }
        labels.extend(files.labels);
        labels.extend(options.process.label.iter().cloned());
        let image_signal = wanted.stop_signal.as_deref().and_then(|name| signal::parse(name).ok());
        Ok(Record {
            id: self.id.clone(),
            name,
            created: time::now(),
            image: options.image().to_owned(),
            image_id: self.chosen.id(),
            command: wanted.program.args.clone(),
            entrypoint: wanted.entrypoint.clone(),
            cmd: Some(wanted.cmd().to_vec()),
            request: Some(Box::new(options.clone())),
            labels,
            mounts: self.mounted.records.clone(),
            anonymous_volumes: self.mounted.anonymous.clone(),
            network: self.network,
            ports: network::ports(&options.network, self.network, &exposed)?,
            exposed,
            hostname,
            storage: if *root == RootFilesystem::Copy { Storage::Copy } else { Storage::Overlay },
            restart: life.restart,
            auto_remove: options.rm,
            tty: options.tty,
            interactive: options.interactive,
            privileged: options.isolation.privileged,
            stop_signal: life.stop_signal.or(image_signal).unwrap_or(signal::TERM),
            stop_timeout: life.stop_timeout.unwrap_or(STOP_TIMEOUT),
            runtime: self.runtime.clone(),
            log: log::limits(life),
            init: options.process.init,
            limited: options.limits.any(),
            network_sysctls: options.isolation.sysctl.iter().any(|(key, _)| network::is_sysctl(key)),
            env: wanted.program.env.clone(),
            working_dir: wanted.program.cwd.clone(),
            user: options.process.user.clone().or_else(|| wanted.user.clone()).unwrap_or_default(),
        })
    }
}

/// Docker's sign for programs that ask whether they are in a container: an empty file. An image may have one.
fn mark(root: &Path) -> Result<()> {
    let file = root.join(".dockerenv");
    let made = OpenOptions::new().write(true).create_new(true).open(&file);
    match made.and_then(|made| made.set_permissions(fs::Permissions::from_mode(0o755))) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(error).doing(|| format!("cannot make {}", file.display()))
        }
        _ => Ok(()),
    }
}

const ASK_FOR_A_RANGE: &str = "have root add a range for you to /etc/subuid and /etc/subgid";

/// A user the map does not have would make the runtime fail late, with the kernel's EINVAL.
fn check_user(wanted: &Wanted, maps: Option<&Maps>, ids: &IdMap) -> Result<()> {
    let (program, Some(maps)) = (&wanted.program, maps) else { return Ok(()) };
    let group = program.groups.iter().find(|group| !maps.has_gid(**group));
    let doing = match (maps.has_uid(program.uid) && maps.has_gid(program.gid), group) {
        (true, None) => return Ok(()),
        (true, Some(group)) => format!("cannot run the program as a member of group {group}"),
        (false, _) => format!("cannot run the program as user {}:{}", program.uid, program.gid),
    };
    Err(match ids {
        IdMap::Single { because, .. } => {
            Error::new(Kind::Unsupported, doing, format!("there is no such id inside: {because}"))
                .hint(format!("{ASK_FOR_A_RANGE}, or be root inside: --user 0"))
        }
        _ => Error::new(Kind::BadInput, doing, "the ids granted in /etc/subuid and /etc/subgid do not reach that far"),
    })
}

/// `--device HOST[:CONTAINER[:rwm]]`, looked up on the host.
fn devices(wanted: &[String]) -> Result<Vec<Device>> {
    wanted.iter().map(|text| device(text)).collect()
}

fn device(text: &str) -> Result<Device> {
    let doing = || format!("cannot show the device {text}");
    let asked = request::device::read(text).map_err(|why| Error::new(Kind::BadInput, doing(), why))?;
    let host = PathBuf::from(asked.host);
    let meta = fs::metadata(&host).doing(doing)?;
    let kind = meta.file_type();
    if !kind.is_block_device() && !kind.is_char_device() {
        return Err(Error::new(Kind::BadInput, doing(), "it is not a device"));
    }
    let number = meta.rdev();
    Ok(Device {
        path: PathBuf::from(asked.inside),
        host,
        block: kind.is_block_device(),
        major: i64::from(kelp_sys::rustix::fs::major(number)),
        minor: i64::from(kelp_sys::rustix::fs::minor(number)),
        mode: meta.mode() & 0o7777,
        access: asked.access.to_owned(),
    })
}

fn check_cidfile(file: &Path) -> Result<()> {
    let doing = || format!("cannot write the id to {}", file.display());
    let because = "container ID file found, make sure the other container isn't running or delete it";
    if file.exists() {
        return Err(Error::new(Kind::AlreadyExists, doing(), because));
    }
    match file.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
        Some(folder) => Err(Error::new(Kind::NotFound, doing(), format!("there is no folder {}", folder.display()))),
        None => Ok(()),
    }
}

/// A file that must not exist yet: scripts would take an old one for ours.
fn write_cidfile(file: &Path, id: &str) -> Result<()> {
    let doing = || format!("cannot write the id to {}", file.display());
    let mut file = OpenOptions::new().write(true).create_new(true).open(file).doing(doing)?;
    file.write_all(id.as_bytes()).doing(doing)
}
