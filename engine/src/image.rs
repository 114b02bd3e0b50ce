// SPDX-License-Identifier: Apache-2.0
//! From the name on the command line to layers on disk and what the image asks of a process.
//!
//! The engine's side of `kelp_bundles`: found in the store, embedded, or pulled.

use crate::caller::{Caller, Work};
use crate::config::Program;
use crate::error::{Error, Kind, Result};
use crate::events;
use crate::request::{Create, Pull, env};
use crate::{hello, near};
use kelp_bundles::idmap::IdMap;
use kelp_bundles::process::{self, Overrides};
use kelp_bundles::progress::{Progress, Quiet};
use kelp_bundles::{Image, ImageConfig, LayerStack, Platform, Reference, Store, job, load, pull, registries};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// An image of the store.
pub struct Chosen {
    store: Store,
    image: Image,
    /// It is the one embedded in this program.
    is_hello: bool,
}

/// What the image and the user's options ask for.
#[derive(Debug)]
pub struct Wanted {
    /// The program.
    pub program: Program,
    /// The words of it that are the entrypoint: the user's, or the image's.
    pub entrypoint: Option<Vec<String>>,
    /// Paths whose content outlives the container.
    pub volumes: Vec<String>,
    /// Ports the image exposes, as `80/tcp`.
    pub exposed: Vec<String>,
    /// The image's labels.
    pub labels: BTreeMap<String, String>,
    /// Asks the program to end.
    pub stop_signal: Option<String>,
    /// The image's user, as it is written there.
    pub user: Option<String>,
}

impl Wanted {
    /// The program's words after the entrypoint.
    pub fn cmd(&self) -> &[String] {
        let words = self.entrypoint.as_ref().map_or(0, Vec::len);
        self.program.args.get(words..).unwrap_or_default()
    }
}

/// The image the user means: from the store, from this program, or from a registry.
pub fn resolve(caller: &Caller, options: &Create) -> Result<Chosen> {
    let store = Store::open(&caller.places.store)?;
    let platform = match &options.platform {
        Some(text) => text.parse()?,
        None => Platform::host(),
    };
    let name = options.image();
    let found = match options.pull {
        Pull::Always => None,
        Pull::Missing | Pull::Never => match present(&store, name, &platform) {
            Err(error) if options.platform.is_none() => Some(emulated(caller, &store, name, error)?),
            Err(error) if options.pull == Pull::Missing && error.kind() == Kind::Unsupported => {
                // That another machine's is here must be known where this one's cannot be had.
                Some(fetch_asked(caller, &store, options, &platform).map_err(|pull| error.and_also(&pull))?)
            }
            found => found?,
        },
    };
    let (image, is_hello) = match found {
        Some(image) => (image, false),
        None if name == hello::NAME && options.pull != Pull::Always => (unpack_hello(&store)?, true),
        None if options.pull == Pull::Never => return Err(absent(&store, name)),
        None => (fetch_asked(caller, &store, options, &platform)?, false),
    };
    let is_hello = is_hello || name == hello::NAME;
    Ok(Chosen { store, image, is_hello })
}

/// Fetches the image. Where a platform was asked for it must be of that: a registry that has one image alone gives it to all.
fn fetch_asked(caller: &Caller, store: &Store, options: &Create, platform: &Platform) -> Result<Image> {
    let name = options.image();
    let image = match options.pull {
        Pull::Always => fetch(caller, store, name, platform, options.quiet)?,
        Pull::Missing | Pull::Never => fetch_missing(caller, store, name, platform, options.quiet)?,
    };
    if options.platform.is_some() {
        present(store, name, platform)?;
    }
    Ok(image)
}

/// The image of this name as it is here, or the one for this platform.
pub fn look(store: &Store, name: &str, platform: Option<&str>) -> Result<Image> {
    match platform {
        None => Ok(store.find_any(name)?),
        Some(text) => Ok(store.find(name, &text.parse()?)?),
    }
}

/// The image of this name for this platform: the store's, the one in this program, or a registry's.
pub fn find_or_pull(caller: &Caller, store: &Store, name: &str, platform: &Platform, quiet: bool) -> Result<Image> {
    match present(store, name, platform)? {
        Some(image) => Ok(image),
        None if name == hello::NAME => unpack_hello(store),
        None => fetch_missing(caller, store, name, platform, quiet),
    }
}

fn present(store: &Store, name: &str, platform: &Platform) -> Result<Option<Image>> {
    match store.find(name, platform) {
        Err(error) if error.kind() == kelp_bundles::Kind::NotFound => {}
        found => return Ok(Some(found?)),
    }
    // A short name may be an alias of a longer one.
    let Ok(full) = registries::complete(name) else { return Ok(None) };
    match store.resolve(&full, platform) {
        Ok(image) => Ok(Some(image)),
        Err(error) if error.kind() == kelp_bundles::Kind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Of another machine, but binfmt_misc has an interpreter: it runs, unless a platform was asked for. As in Docker.
fn emulated(caller: &Caller, store: &Store, name: &str, error: Error) -> Result<Image> {
    if error.kind() != Kind::Unsupported {
        return Err(error);
    }
    match store.find_any(name) {
        Ok(image) if image.config.platform().runs_here() => {
            caller.note(format!("the image is for {}, this machine is {}", image.config.platform(), Platform::host()));
            Ok(image)
        }
        _ => Err(error),
    }
}

/// The embedded image goes into the store like any other archive.
fn unpack_hello(store: &Store) -> Result<Image> {
    let archive = hello::archive();
    let images = load::load(store, load::Source::Stream(&mut archive.as_slice()), &Quiet)?;
    images
        .into_iter()
        .next()
        .ok_or_else(|| Error::new(Kind::Other, "cannot load the embedded image hello", "its archive holds no image"))
}

/// Fetches what was looked for in the store, and says that it was not there.
fn fetch_missing(caller: &Caller, store: &Store, name: &str, platform: &Platform, quiet: bool) -> Result<Image> {
    let reference = registries::complete(name)?;
    if !quiet {
        let machine = if *platform == Platform::host() { String::new() } else { format!(" for {platform}") };
        caller.note(format!("{} is not here{machine}: pulling it", reference.familiar()));
    }
    fetch(caller, store, name, platform, quiet)
}

fn fetch(caller: &Caller, store: &Store, name: &str, platform: &Platform, quiet: bool) -> Result<Image> {
    let reference = registries::complete(name)?;
    let _span = tracing::info_span!("pull", image = %reference).entered();
    let unpack = Some(IdMap::of_caller()?);
    let options = pull::Options { platform: platform.clone(), unpack, ..pull::Options::default() };
    let progress: Box<dyn Progress> = if quiet { Box::new(Quiet) } else { caller.sink.progress(Work::Asked) };
    let image = pull::pull(store, &reference, &options, &*progress).map_err(|error| {
        let error = Error::from(error);
        match near(store, name) {
            Some(other) => error.hint(format!("did you mean {other}? It is here")),
            None => error,
        }
    })?;
    events::transfer(caller, "pull", &reference);
    Ok(image)
}

fn absent(store: &Store, name: &str) -> Error {
    let hint = match near(store, name) {
        Some(other) => format!("did you mean {other}?"),
        None => format!("kelp pull {name}, or kelp load -i FILE; kelp images shows what is there"),
    };
    Error::new(Kind::NotFound, format!("cannot find the image {name}"), "it is not in the store").hint(hint)
}

/// An image whose name, or the last part of it, differs by a slip of the fingers.
fn near(store: &Store, name: &str) -> Option<String> {
    let names: Vec<String> = store.list().ok()?.into_iter().filter_map(|it| Some(it.name?.familiar_name())).collect();
    let last = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
    let wanted = name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).map_or(name, |(name, _)| name);
    near::near(wanted, names.iter().cloned()).or_else(|| {
        let found = near::near(&last(wanted), names.iter().map(|name| last(name)))?;
        names.iter().find(|name| last(name) == found).cloned()
    })
}

impl Chosen {
    /// The image's id: the digest of its configuration.
    pub fn id(&self) -> String {
        self.image.id.to_string()
    }

    /// Layers on disk, lowest first, kept for as long as the container's folder is there.
    pub fn unpack(&self, caller: &Caller, folder: &Path, ids: &IdMap) -> Result<Vec<PathBuf>> {
        let _span = tracing::info_span!("unpack", image = %self.image.id).entered();
        self.store.pin(folder, &self.image)?;
        let unpacked = self.store.unpack(&self.image, ids, &*caller.sink.progress(Work::Implied))?;
        Ok(unpacked.lower)
    }

    /// The program and what goes with it.
    pub fn wanted(&self, caller: &Caller, lower: &[PathBuf], ids: &IdMap, options: &Create) -> Result<Wanted> {
        let flags = &options.process;
        let mut variables = env::collect(&flags.env_file, &flags.env, |key| caller.environment.text(key))?;
        if self.is_hello {
            variables.push(format!("{}={}", hello::CALLER_NAMESPACES, hello::caller_namespaces()));
        }
        let overrides = Overrides {
            entrypoint: flags.entrypoint.clone().map(|program| vec![program]),
            cmd: options.command().to_vec(),
            env: variables,
            user: flags.user.clone(),
            workdir: flags.workdir.clone(),
            groups: flags.group_add.clone(),
        };
        let layers = LayerStack::open_inside(lower, ids)?;
        let defaults = process::defaults(&self.image.config, &layers, &overrides)
            .map_err(|error| Error::from(error).while_doing(format!("cannot run {}", options.image())))?;
        let program = Program {
            args: defaults.args,
            env: defaults.env,
            cwd: PathBuf::from(defaults.cwd),
            uid: defaults.uid,
            gid: defaults.gid,
            groups: defaults.additional_gids,
        };
        let own = || self.image.config.run().entrypoint;
        let entrypoint = overrides.entrypoint.or_else(own);
        Ok(Wanted {
            program,
            entrypoint: entrypoint.filter(|words| words.iter().any(|word| !word.is_empty())),
            volumes: defaults.volumes,
            exposed: defaults.exposed_ports,
            labels: defaults.labels,
            stop_signal: defaults.stop_signal,
            user: self.image.config.run().user.filter(|user| !user.is_empty()),
        })
    }
}

/// An image as `inspect` shows it, whatever machine it is for; nothing if there is none of this name.
pub fn inspect(caller: &Caller, name: &str, platform: Option<&str>) -> Result<Option<Value>> {
    let store = Store::open(&caller.places.store)?;
    let image = match look(&store, name, platform) {
        Ok(image) => image,
        Err(error) if error.kind() == Kind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let names = store.names(&image)?;
    let digests = store.digests(&image)?;
    let config = &image.config;
    let text = |key: &str| config.rest.get(key).cloned().unwrap_or_else(|| "".into());
    let comment = config.history.iter().flatten().last().and_then(|step| step.comment.clone());
    let layers: Vec<String> = image.layers.iter().map(|layer| layer.diff_id.to_string()).collect();
    let unpacked = store.unpacked(&image)?.map(|unpacked| unpacked.lower).unwrap_or_default();
    let lower: Vec<String> = unpacked.iter().rev().map(|path| path.display().to_string()).collect();
    let mut shown = json!({
        "Id": image.id.to_string(),
        "RepoTags": names.iter().filter(|name| name.tag().is_some()).map(Reference::familiar).collect::<Vec<_>>(),
        "RepoDigests": digests.iter().map(Reference::familiar).collect::<Vec<_>>(),
        "Parent": "",
        "Comment": comment.unwrap_or_default(),
        "Created": config.created,
        "DockerVersion": text("docker_version"),
        "Author": text("author"),
        "Config": shown_config(config),
        "Architecture": config.architecture,
        "Os": config.os,
        "Size": store.size(&image),
        "GraphDriver": { "Name": "overlay", "Data": { "LowerDir": lower.join(":") } },
        "RootFS": { "Type": "layers", "Layers": layers },
        "Metadata": { "LastTagTime": "0001-01-01T00:00:00Z" },
        "Descriptor": { "digest": image.manifest.to_string() },
    });
    if let Some(variant) = config.variant.as_deref().filter(|variant| !variant.is_empty()) {
        shown["Variant"] = variant.into();
    }
    Ok(Some(shown))
}

/// The image's configuration with the fields that Docker always has: templates ask for them.
fn shown_config(config: &ImageConfig) -> Value {
    let mut shown = serde_json::to_value(&config.config).unwrap_or_default();
    if !shown.is_object() {
        shown = json!({});
    }
    if let Some(fields) = shown.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
        for (field, usual) in [("User", json!("")), ("WorkingDir", json!(""))] {
            fields.entry(field).or_insert(usual);
        }
        for field in ["Env", "Cmd", "Entrypoint", "Volumes", "Labels", "OnBuild"] {
            fields.entry(field).or_insert(Value::Null);
        }
    }
    shown
}

/// Copies what the image shows at `inside` into `to`, for a volume's first use.
pub fn copy_folder(lower: &[PathBuf], inside: &Path, to: &Path, ids: &IdMap) -> Result<()> {
    Ok(job::copy_folder(lower, inside, to, ids)?)
}
