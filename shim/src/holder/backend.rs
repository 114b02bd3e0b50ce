// SPDX-License-Identifier: Apache-2.0
//! Who creates the container: kelp-runtime as a library, or any program with runc's command line.
//!
//! Runs in kelp-shim. Whichever it is, the container's init ends as our child: the library clones it, a program's
//! orphan is ours because we are a subreaper.

mod library;
mod program;

pub(crate) use library::ours;

use kelp_runtime::OnBirth;
use kelp_shim::{Error, Launch, Runtime};
use std::os::fd::OwnedFd;
use std::path::Path;

/// The standard streams a container is created with.
#[derive(Debug)]
pub(crate) enum Streams {
    /// Input, output, errors.
    Three([OwnedFd; 3]),
    /// A pty, made by the runtime inside the container.
    Terminal,
}

/// A container whose init waits for `start`.
#[derive(Debug)]
pub(crate) struct Created {
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
    /// The pty's master.
    pub(crate) console: Option<OwnedFd>,
}

/// The runtime of one container.
#[derive(Debug)]
pub(crate) enum Backend {
    Library(library::Library),
    Program(program::Program),
}

impl Backend {
    /// `folder` is the holder's own, for sockets and pid files.
    pub(crate) fn new(launch: &Launch, folder: &Path) -> Backend {
        match &launch.runtime {
            Runtime::Library { cgroups } => Backend::Library(library::Library::new(launch, *cgroups)),
            Runtime::Program { path, args } => Backend::Program(program::Program::new(launch, path, args, folder)),
        }
    }

    /// `on_birth` may be told when there is more than nothing of it: another program does not say.
    pub(crate) fn create(&self, streams: Streams, on_birth: Option<OnBirth<'_>>) -> Result<Created, Error> {
        match self {
            Backend::Library(library) => library.create(streams, on_birth),
            Backend::Program(program) => program.create(streams),
        }
    }

    pub(crate) fn start(&self) -> Result<(), Error> {
        match self {
            Backend::Library(library) => library.start(),
            Backend::Program(program) => program.start(),
        }
    }

    /// Removes all that the runtime keeps of the container, which has ended; what still runs of it is killed.
    pub(crate) fn delete(&self) -> Result<(), Error> {
        match self {
            Backend::Library(library) => library.delete(),
            Backend::Program(program) => program.delete(),
        }
    }
}
