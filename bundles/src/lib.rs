// SPDX-License-Identifier: Apache-2.0
//! Images to OCI bundles: references, registries, blobs, layers, and what an image's config asks of a process.
//!
//! Everything blocks; threads, not an executor, overlap the stages. Nothing here prints.
//!
//! ```text
//! // main, before anything else (single-threaded): the hidden child that works inside the user's id map.
//! if let Some(status) = kelp_bundles::job::run_if_asked() { return status; }        // -> Option<ExitCode>
//!
//! let store = Store::open(root)?;                          // root: the whole of Kelp's store, e.g. ~/.local/share/kelp
//! store.list()?                        -> Vec<Listed>      // { name: Option<Reference>, manifest: Digest, platform … }; never waits
//! store.find("web" | "sha256:…" | "3f2a", &Platform::host())? -> Image       // Kind::NotFound: pull it
//! store.resolve(&reference, &Platform::host())?               -> Image       // Kind::WrongPlatform has a hint
//! store.tag(&image_or_name, &reference)?;
//! store.remove("web", Force::No)?      -> Removed { untagged, deleted }      // and collects what no ref reaches
//! store.collect(partials)?             -> Freed                              // garbage alone
//! store.prune(Prune::Unused, partials, &spare)?  -> (Removed, Freed)         // images without a container, in one go
//! store.usage(&map)?                   -> Usage                              // what takes how much, as du counts
//! store.summaries()?                   -> Vec<Summary>                       // a list of a thousand images, from one file
//!
//! pull::pull(&store, &reference, &pull::Options::default(), &progress)? -> Image
//! load::load(&store, load::Source::Path(path) | Source::Open(file) | Source::Stream(&mut read), &progress)? -> Vec<Image>
//!
//! save::archive(&store, &images, save::Format::Docker, out)?;
//! import::import(&store, &mut tar, &Import { name, changes, … })? -> Image
//! commit::commit(&store, &container_dir, &Files { top: Top::Upper(dir), mount_points }, &map, &Commit { … })? -> Image
//! bundle::write(&store, &image, dir, &map, &bundle::Options::default(), &progress)? -> Written     // for any OCI runtime
//!
//! image: { names: Vec<Reference>, manifest: Digest, id: Digest /* config digest */, config: ImageConfiguration, layers: Vec<Layer> }
//!
//! // Containers hold layers by a file `layers.json` in their own folder: pin first, then unpack, then mount.
//! store.pin(&container_dir, &image)?;
//! let map = IdMap::of_caller()?;                           // Host (root) | Ranges | Single(reason): also for config.json's uidMappings
//! store.unpack(&image, &map, &progress)? -> Unpacked { lower: Vec<PathBuf> /* lowest first */, skipped_devices: u64 }
//!
//! process::defaults(&image.config, &LayerStack::open_inside(&unpacked.lower, &map)?, &Overrides { entrypoint, cmd, env, user, workdir })?
//!     -> Defaults { args, env, cwd, uid, gid, additional_gids, home, stop_signal, volumes, exposed_ports, labels }
//!
//! // Things that must happen inside the id map (files of other owners):
//! job::remove_tree(&path, &map)?; job::copy_tree(&lower, &to, &map)?;         // copy_tree: the merged view of the layers, as one plain folder
//! ```
//!
//! Errors are one struct, [`Error`]: doing, because, hint, kind.

mod at;
mod base64;
pub mod bundle;
mod change;
pub mod changes;
pub mod commit;
mod compose;
mod compression;
pub mod config;
pub mod copy;
pub mod digest;
mod error;
#[doc(hidden)]
pub mod foreign;
pub mod idmap;
pub mod import;
pub mod job;
mod limits;
pub mod load;
mod lock;
pub mod login;
mod measure;
mod pack;
pub mod platform;
pub mod process;
pub mod progress;
pub mod pull;
pub mod push;
pub mod reference;
pub mod registries;
mod registry;
pub mod save;
pub mod search;
mod stack;
pub mod store;
mod tar;
mod tree;
mod unpack;
pub mod user;

pub use config::ImageConfig;
pub use digest::Digest;
pub use error::{Error, Kind, Result};
pub use idmap::IdMap;
pub use limits::Limits;
pub use platform::Platform;
pub use progress::{Event, Progress, Quiet};
pub use reference::Reference;
pub use registry::{Credentials, Rate};
pub use stack::LayerStack;
pub use store::{Image, Store};
pub use unpack::Unpacked;
