// SPDX-License-Identifier: Apache-2.0
//! `kelp cp`: files into a container and out of it.

use crate::caller::Caller;
use crate::container::find::{self, Container};
use crate::container::inside::{self, Inside};
use crate::copy_job::{self, Task};
use crate::error::{Doing, Error, Kind, Result};
use clap::Args;
use kelp_bundles::copy::{self, Into, LeftOut, Origin, Owner};
use std::io::{BufReader, BufWriter, IsTerminal};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode, Stdio};

/// Copy files between a container and this machine
#[derive(Debug, Args)]
#[command(override_usage = "kelp cp [OPTIONS] CONTAINER:PATH PATH|-\n       kelp cp [OPTIONS] PATH|- CONTAINER:PATH")]
pub(crate) struct Cp {
    /// Keep owners
    #[arg(short, long)]
    archive: bool,
    /// Copy what a link leads to
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Say nothing: so it is without it
    #[arg(short, long)]
    quiet: bool,
    /// From where
    source: String,
    /// To where
    target: String,
}

/// Performs the command. A container need not run.
pub(crate) fn run(args: &Cp, caller: &Caller) -> Result<ExitCode> {
    let wrong = |because| {
        Err(Error::new(Kind::BadInput, format!("cannot copy {} to {}", args.source, args.target), because)
            .hint("kelp cp CONTAINER:PATH PATH, or kelp cp PATH CONTAINER:PATH"))
    };
    match (split(&args.source), split(&args.target)) {
        _ if args.source.is_empty() => wrong("source can not be empty"),
        _ if args.target.is_empty() => wrong("destination can not be empty"),
        (Some((name, path)), None) => {
            let container = find::one(caller, name)?;
            inside::with(caller, &container, |inside| out_of(args, caller, &container, inside, path))
        }
        (None, Some((name, path))) => {
            let container = find::one(caller, name)?;
            inside::with(caller, &container, |inside| into(args, inside, path))
        }
        (Some(_), Some(_)) => wrong("both are in containers"),
        (None, None) => wrong("neither is in a container"),
    }
}

/// `CONTAINER:PATH`, by Docker's rule: what begins with `/` or `.` is a path here, colons or not.
fn split(text: &str) -> Option<(&str, &str)> {
    if text.starts_with(['/', '.']) {
        return None;
    }
    text.split_once(':').filter(|(name, _)| !name.contains('/'))
}

fn out_of(args: &Cp, caller: &Caller, container: &Container, inside: &Inside, path: &str) -> Result<ExitCode> {
    let source = PathBuf::from(path);
    let contents = copy::contents_of(&source);
    let task = Task::Pack { path: source, follow: args.follow_link };
    if args.target == "-" {
        if std::io::stdout().is_terminal() {
            let doing = format!("cannot copy files of container {}", container.record.name);
            return Err(Error::new(Kind::BadInput, doing, "standard output is a terminal"));
        }
        return finish(copy_job::start(inside, &task, Some(Stdio::inherit()))?, Ok(()));
    }
    let mut child = copy_job::start(inside, &task, None)?;
    let Some(packed) = child.stdout.take() else { return finish(child, Ok(())) };
    let owner = if args.archive && is_root() { Owner::Kept } else { Owner::Ours };
    let how = Into { as_is: false, contents, owner, origin: Origin::Container };
    let done = here(&args.target)
        .and_then(|(root, path)| copy::unpack(&root, &path, how, BufReader::new(packed)).map_err(Error::from));
    if let Ok(left_out) = &done {
        say(caller, container, *left_out);
    }
    finish(child, done.map(drop))
}

/// Once for all files.
fn say(caller: &Caller, container: &Container, left_out: LeftOut) {
    let LeftOut { set_ids, devices } = left_out;
    let name = &container.record.name;
    if set_ids > 0 {
        caller.note(format_args!(
            "{set_ids} set-user-ID or set-group-ID files of container {name} were copied without that bit"
        ));
    }
    if devices > 0 {
        caller.note(format_args!(
            "{devices} device nodes of container {name} were not copied: a tar has them (kelp cp {name}:PATH -)"
        ));
    }
}

fn into(args: &Cp, inside: &Inside, path: &str) -> Result<ExitCode> {
    let as_is = args.source == "-";
    let contents = copy::contents_of(Path::new(&args.source));
    let task = Task::Unpack { path: PathBuf::from(path), as_is, contents, keep_owner: args.archive };
    if as_is {
        return finish(copy_job::start(inside, &task, Some(Stdio::inherit()))?, Ok(()));
    }
    let (root, source) = here(&args.source)?;
    let mut child = copy_job::start(inside, &task, None)?;
    let Some(to) = child.stdin.take() else { return finish(child, Ok(())) };
    let done = copy::pack(&root, &source, args.follow_link, BufWriter::new(to)).map_err(Error::from);
    finish(child, done)
}

/// A path of this machine, from its root.
fn here(path: &str) -> Result<(OwnedFd, PathBuf)> {
    let doing = || format!("cannot use the path {path}");
    let mut absolute = std::env::current_dir().doing(doing)?.into_os_string();
    if path.starts_with('/') {
        absolute.clear();
    } else {
        absolute.push("/");
    }
    // As it is written: what it ends with has a meaning.
    absolute.push(path);
    Ok((copy::root(Path::new("/"))?, PathBuf::from(absolute)))
}

fn is_root() -> bool {
    kelp_sys::rustix::process::geteuid().is_root()
}

/// What went wrong in the child has been said, and is why our side was cut off; or it was cut off itself, and said nothing.
fn finish(mut child: Child, done: Result<()>) -> Result<ExitCode> {
    let status = child.wait().doing(|| "cannot wait for the helper that copies files")?;
    match status.code() {
        Some(0) => done.map(|()| ExitCode::SUCCESS),
        // We closed its pipe, and know why.
        Some(code) if code == i32::from(copy_job::CUT_OFF) => done.map(|()| ExitCode::FAILURE),
        _ => Ok(ExitCode::FAILURE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_what_stands_before_a_colon() {
        assert_eq!(split("web:/etc/x"), Some(("web", "/etc/x")));
        assert_eq!(split("web:a:b"), Some(("web", "a:b")));
        for here in ["/a:b", "./a:b", "../a:b", "a/b:c", "plain", "-"] {
            assert_eq!(split(here), None, "{here}");
        }
    }
}
