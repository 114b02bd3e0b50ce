// SPDX-License-Identifier: Apache-2.0
//! For whom an operation is done, and who hears of it meanwhile.
//!
//! A command line makes one from its process; a server makes one for each of its clients.

use crate::places::Places;
use kelp_bundles::progress::{self, Progress};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::{Debug, Display};
use std::path::{Path, PathBuf};

/// For whom an operation is done.
#[derive(Debug)]
pub struct Caller {
    /// Where images, containers and volumes are.
    pub places: Places,
    /// His variables: programs of ours are found by them, and `-e NAME` takes its value from them.
    pub environment: Environment,
    /// Kelp's command line, which shims execute when a container with `--rm` has ended or its network is to be made anew.
    pub program: PathBuf,
    /// Hears notes and progress.
    pub sink: Box<dyn Sink>,
}

/// Hears what is not the result: one line for people, or how far a long work has come.
pub trait Sink: Debug + Send + Sync {
    /// One sentence about what is being done.
    fn note(&self, text: &str);

    /// A listener for one long work.
    fn progress(&self, work: Work) -> Box<dyn Progress>;
}

/// Why a long work is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// It was asked for: each step is news.
    Asked,
    /// Something else needs it, such as a layer that is unpacked for a container.
    Implied,
}

/// Nobody listens.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Sink for Silent {
    fn note(&self, _: &str) {}

    fn progress(&self, _: Work) -> Box<dyn Progress> {
        Box::new(progress::Quiet)
    }
}

impl Caller {
    /// A caller for tests, whose store and run folder are both `root`.
    #[cfg(test)]
    pub(crate) fn in_folder(root: PathBuf) -> Caller {
        Caller {
            places: Places { store: root.clone(), run: root },
            environment: Environment::default(),
            program: PathBuf::new(),
            sink: Box::new(Silent),
        }
    }

    /// The OCI runtime with his state folder.
    pub fn runtime(&self) -> kelp_runtime::Runtime {
        kelp_runtime::Runtime::new(self.places.runtime())
    }

    /// Tells him something about what is being done.
    pub fn note(&self, text: impl Display) {
        self.sink.note(&text.to_string());
    }
}

/// Environment variables as they were when the caller was made.
#[derive(Debug, Clone, Default)]
pub struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// The value of a variable, if it is set.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str)
    }

    /// The same as text; nothing if it is not UTF-8.
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name)?.to_str().map(str::to_owned)
    }

    /// A path; an empty variable counts as unset (XDG Base Directory Specification).
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name).filter(|value| !value.is_empty()).map(PathBuf::from)
    }

    /// Where a shell looks for a program, in this order; what is there is not looked at.
    pub fn in_path(&self, program: &Path) -> impl Iterator<Item = PathBuf> {
        std::env::split_paths(self.get("PATH").unwrap_or_default()).map(move |folder| folder.join(program))
    }
}

impl FromIterator<(OsString, OsString)> for Environment {
    fn from_iter<I: IntoIterator<Item = (OsString, OsString)>>(variables: I) -> Self {
        Self(variables.into_iter().collect())
    }
}
