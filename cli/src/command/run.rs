// SPDX-License-Identifier: Apache-2.0
//! `kelp run`: make a container and start it.

use crate::caller::Caller;
use crate::container::find::Container;
use crate::container::start::{self, Left, Stay};
use crate::container::{create, remove};
use crate::error::{Error, Kind, Result};
use crate::flags::Options;
use crate::output;
use clap::Args;
use std::io::IsTerminal;
use std::process::ExitCode;

/// Run a program in a new container
#[derive(Debug, Args)]
#[command(override_usage = "kelp run [OPTIONS] IMAGE [COMMAND] [ARG...]")]
pub(crate) struct Run {
    /// Leave it running and print its id
    #[arg(short, long)]
    detach: bool,
    /// Attach only these: stdin, stdout, stderr
    #[arg(short, long, value_name = "STREAM", value_parser = stream, conflicts_with = "detach")]
    attach: Vec<Stream>,
    /// Pass signals on to the program
    #[arg(long, value_name = "BOOL", default_value_t = true, num_args = 0..=1, require_equals = true,
        default_missing_value = "true", action = clap::ArgAction::Set, hide_possible_values = true)]
    sig_proxy: bool,
    #[command(flatten)]
    options: Options,
}

/// What a terminal or a pipe of ours is attached to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    Stdin,
    Stdout,
    Stderr,
}

fn stream(text: &str) -> std::result::Result<Stream, String> {
    match text.to_ascii_lowercase().as_str() {
        "stdin" => Ok(Stream::Stdin),
        "stdout" => Ok(Stream::Stdout),
        "stderr" => Ok(Stream::Stderr),
        _ => Err("valid streams are STDIN, STDOUT and STDERR".to_owned()),
    }
}

/// Performs the command.
pub(crate) fn run(args: &Run, caller: &Caller) -> Result<ExitCode> {
    make_and_start(args, caller).map_err(|error| misplaced(args, error).with_run_status())
}

/// The same error with a hint, where what should be the program is a flag of ours.
fn misplaced(args: &Run, error: Error) -> Error {
    let [image, flag, ..] = args.options.image_and_command.as_slice() else { return error };
    match error.kind() == Kind::ProgramNotFound && flag.starts_with('-') {
        true => error.hint(format!("flags go before the image: kelp run {flag} {image}")),
        false => error,
    }
}

fn make_and_start(args: &Run, caller: &Caller) -> Result<ExitCode> {
    let stay = stay(args, caller)?;
    let mut shim = None;
    let container = create::create(caller, &args.options.request(caller)?, |id| {
        shim = Some(start::call_shim(caller, id)?);
        Ok(())
    })?;
    match start::start_with(caller, &container, &stay, shim) {
        Ok(Left::Exited(code)) => Ok(exit_code(code)),
        Ok(Left::Lost(error)) => Err(error),
        Ok(Left::Running) => {
            if args.detach {
                output::line(&container.record.id)?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(error) if args.options.rm => Err(undo(caller, &container, error)),
        // As in Docker, it stays as it was made: `inspect` says why it did not start.
        Err(error) => Err(error),
    }
}

/// `--rm` is for a container whose program never ran, too.
fn undo(caller: &Caller, container: &Container, error: Error) -> Error {
    match remove::container(caller, container, remove::Force::Yes, true) {
        Ok(()) => error,
        Err(undo) => error.and_also(&undo),
    }
}

fn stay(args: &Run, caller: &Caller) -> Result<Stay> {
    let options = &args.options;
    if args.detach {
        return Ok(Stay::Detached);
    }
    if options.interactive && options.tty && !std::io::stdin().is_terminal() {
        let because = "-t with -i needs a terminal, and stdin is none";
        return Err(Error::new(Kind::BadInput, "cannot attach to the container's terminal", because)
            .hint("leave out -t, or give stdin a terminal: script -qc 'kelp run -it …' /dev/null"));
    }
    Ok(Stay::Attached {
        stdin: options.interactive && wants(args, Stream::Stdin),
        stdout: wants(args, Stream::Stdout),
        stderr: wants(args, Stream::Stderr),
        joined: output::is_joined(),
        detach_keys: super::detach_keys(options.detach_keys.as_ref(), caller)?,
        proxy_signals: args.sig_proxy,
    })
}

fn wants(args: &Run, stream: Stream) -> bool {
    args.attach.is_empty() || args.attach.contains(&stream)
}

/// The program's status as ours.
pub(crate) fn exit_code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}
