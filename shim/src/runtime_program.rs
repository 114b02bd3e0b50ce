// SPDX-License-Identifier: Apache-2.0
//! What any OCI runtime answers when it is called as a program: its log, the pid it writes, the terminal it sends.
//!
//! Runs in kelp-shim for a container's first program, in `kelp` for those of `exec`.

use crate::error::{Doing, Error, Kind};
use kelp_sys::rustix::event::{PollFd, PollFlags, poll};
use kelp_sys::rustix::fs::Timespec;
use kelp_sys::rustix::io::Errno;
use kelp_sys::rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use kelp_sys::rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::fs;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;

/// How long a runtime that has ended well may take to hand the terminal over.
const CONSOLE_TIMEOUT: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// The process that a runtime has written to its `--pid-file`.
///
/// # Errors
/// The file cannot be read, or names no process.
pub fn read_pid(file: &Path) -> Result<(i32, OwnedFd), Error> {
    let doing = || format!("cannot hold on to the process that {} names", file.display());
    let pid: i32 = fs::read_to_string(file).doing(doing)?.trim().parse().doing(doing)?;
    let process = Pid::from_raw(pid).filter(|_| pid > 1).ok_or(Errno::SRCH).doing(doing)?;
    Ok((pid, pidfd_open(process, PidfdFlags::empty()).doing(doing)?))
}

/// Receives a terminal's master at a `--console-socket`.
///
/// # Errors
/// It does not come, or something else does.
pub fn receive_console(listener: &UnixListener) -> Result<OwnedFd, Error> {
    let doing = || "cannot receive the terminal from the runtime";
    let mut fds = [PollFd::new(listener, PollFlags::IN)];
    if poll(&mut fds, Some(&CONSOLE_TIMEOUT)).doing(doing)? == 0 {
        return Err(Error::new(doing(), "the runtime has not sent it within 5 s")
            .hint("process.terminal in config.json must be true, as in the launch"));
    }
    let (socket, _) = listener.accept().doing(doing)?;
    let mut space = [MaybeUninit::uninit(); kelp_sys::rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut name = [0u8; 4096];
    recvmsg(&socket, &mut [IoSliceMut::new(&mut name)], &mut control, RecvFlags::CMSG_CLOEXEC).doing(doing)?;
    let master = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    master.ok_or_else(|| Error::new(doing(), "no descriptor came with the message"))
}

/// The last complaint in a log of JSON lines: `{"level":"error","msg":"…","time":"…"}`.
#[must_use]
pub fn last_message(log: &str) -> Option<String> {
    log.lines().rev().find_map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        matches!(line.get("level")?.as_str()?, "error" | "fatal")
            .then(|| line.get("msg")?.as_str().map(str::to_owned))
            .flatten()
    })
}

/// Runtimes say in words only that a program or a name is not free or not there, and Docker reads the same words.
#[must_use]
pub fn kind_of(message: &str) -> Kind {
    let message = message.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    match () {
        () if says(&["already exists"]) => Kind::AlreadyExists,
        () if !says(&["exec", "chdir"]) => Kind::Other,
        () if says(&["executable file not found", "executable file `", "no such file or directory"]) => {
            if says(&["permission denied"]) { Kind::ProgramNotExecutable } else { Kind::ProgramNotFound }
        }
        () if says(&["permission denied", "is a directory", "exec format error"]) => Kind::ProgramNotExecutable,
        () => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runc_and_crun_say_of_a_missing_program_is_understood() {
        for (message, kind) in [
            (r#"exec: "nope": executable file not found in $PATH"#, Kind::ProgramNotFound),
            ("executable file `nope` not found in $PATH: No such file or directory", Kind::ProgramNotFound),
            (r#"exec: "/nope": stat /nope: no such file or directory"#, Kind::ProgramNotFound),
            (r#"chdir to cwd ("/nope") set in config.json failed: no such file or directory"#, Kind::ProgramNotFound),
            (r#"exec: "/etc/passwd": permission denied"#, Kind::ProgramNotExecutable),
            ("exec container process `/bin/x`: Exec format error", Kind::ProgramNotExecutable),
            ("open /dev/null: permission denied", Kind::Other),
            ("container with given ID already exists", Kind::AlreadyExists),
        ] {
            assert_eq!(kind_of(message), kind, "{message}");
        }
    }

    #[test]
    fn the_last_error_of_the_log_is_the_reason() {
        let log = "{\"level\":\"error\",\"msg\":\"first\"}\n{\"level\":\"error\",\"msg\":\"last\"}\n\
                   {\"level\":\"warning\",\"msg\":\"no\"}\nnot json\n";
        assert_eq!(last_message(log).as_deref(), Some("last"));
        assert_eq!(last_message(""), None);
    }
}
