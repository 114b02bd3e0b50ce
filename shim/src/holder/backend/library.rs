// SPDX-License-Identifier: Apache-2.0
//! kelp-runtime as a library: creating a container costs no exec of another program.

use super::{Created, Streams};
use crate::complain;
use kelp_runtime::cgroup::Manager;
use kelp_runtime::{CreateRequest, OnBirth, Runtime, Stdio};
use kelp_shim::{Cgroups, Error, Kind, Launch};
use std::path::PathBuf;

#[derive(Debug)]
pub(crate) struct Library {
    runtime: Runtime,
    id: String,
    bundle: PathBuf,
}

impl Library {
    pub(super) fn new(launch: &Launch, cgroups: Cgroups) -> Library {
        let mut runtime = Runtime::new(launch.runtime_root());
        runtime.cgroups = match cgroups {
            Cgroups::Cgroupfs => Manager::Cgroupfs,
            Cgroups::Systemd => Manager::Systemd,
            Cgroups::Disabled => Manager::Disabled,
        };
        Library { runtime, id: launch.id.clone(), bundle: launch.bundle.clone() }
    }

    pub(super) fn create(&self, streams: Streams, on_birth: Option<OnBirth<'_>>) -> Result<Created, Error> {
        let mut request = CreateRequest { on_birth, ..CreateRequest::new(&self.id, &self.bundle) };
        if let Streams::Three(streams) = streams {
            request.stdio = Stdio::Fds(streams);
        }
        let created = self.runtime.create(request).map_err(ours)?;
        for warning in &created.warnings {
            complain(warning);
        }
        Ok(Created { pid: created.pid, pidfd: created.pidfd, console: created.console })
    }

    pub(super) fn start(&self) -> Result<(), Error> {
        self.runtime.start(&self.id).map_err(ours)
    }

    pub(super) fn delete(&self) -> Result<(), Error> {
        self.runtime.delete(&self.id, true).map(complain_of).map_err(ours)
    }
}

/// Hooks that failed where the spec says to go on.
fn complain_of(warnings: Vec<kelp_runtime::Error>) {
    warnings.iter().for_each(|warning| complain(warning));
}

/// Who says `kelp run` gives the runtime no options.
fn without_options_of_the_runtime(hint: &str) -> String {
    hint.replace(", or use --systemd-cgroup", "").replace("COMMAND", "kelp run …")
}

/// The runtime's error in our words, which travel on the socket.
pub(crate) fn ours(error: kelp_runtime::Error) -> Error {
    use kelp_runtime::Kind as Theirs;
    let kind = match error.kind() {
        Theirs::Other => Kind::Other,
        Theirs::BadInput => Kind::BadInput,
        Theirs::Unsupported => Kind::Unsupported,
        Theirs::Permission => Kind::Permission,
        Theirs::NoSuchContainer => Kind::NoSuchContainer,
        Theirs::AlreadyExists => Kind::AlreadyExists,
        Theirs::NotRunning => Kind::NotRunning,
        Theirs::ProgramNotFound => Kind::ProgramNotFound,
        Theirs::ProgramNotExecutable => Kind::ProgramNotExecutable,
    };
    Error {
        doing: error.doing().to_owned(),
        because: error.cause().unwrap_or("the runtime does not say").to_owned(),
        hint: error.advice().map(without_options_of_the_runtime),
        kind,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_hint_names_no_option_that_kelp_does_not_have() {
        let hint = "run it in a delegated cgroup: systemd-run --user COMMAND, or use --systemd-cgroup (or so)";
        let ours = "run it in a delegated cgroup: systemd-run --user kelp run … (or so)";
        assert_eq!(super::without_options_of_the_runtime(hint), ours);
    }
}
