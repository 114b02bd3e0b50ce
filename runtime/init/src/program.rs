// SPDX-License-Identifier: Apache-2.0
//! Finds the program and becomes it.
//!
//! Runs in init and in a process that joins, with the program's own rights.
//! Spec: config.md "process.args" (execvp(3) semantics with the PATH of process.env).

use crate::channel::fail_here;
use crate::script::Process;
use crate::step::{During, Step, Stop};
use core::convert::Infallible;
use core::ffi::CStr;
use kelp_sys::clone::execve;
use kelp_sys::rustix::fs::{Access, AtFlags, CWD, FileType, accessat, statat};
use kelp_sys::rustix::io::Errno;

/// The path that will be executed.
pub(crate) struct Program<'a>(&'a CStr);

/// The first candidate that is a file which we may execute. `EACCES` where there was one that we may not, else `ENOENT`.
pub(crate) fn find<'a>(fail_at: Option<Step>, process: &Process<'a>) -> Result<Program<'a>, Stop> {
    fail_here(fail_at, Step::FindProgram)?;
    let mut worst = Errno::NOENT;
    for candidate in process.candidates {
        match examine(candidate) {
            Ok(()) => return Ok(Program(candidate)),
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(errno) => worst = errno,
        }
    }
    Err(worst).during(Step::FindProgram)
}

fn examine(path: &CStr) -> Result<(), Errno> {
    let stat = statat(CWD, path, AtFlags::empty())?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS),
        FileType::Directory => Err(Errno::ISDIR),
        _ => Err(Errno::ACCESS),
    }
}

/// `execve(2)`: on success nothing of us is left, and the channel closes.
pub(crate) fn execute(fail_at: Option<Step>, process: &Process<'_>, program: Program<'_>) -> Result<Infallible, Stop> {
    fail_here(fail_at, Step::Execute)?;
    Err(execve(program.0, process.argv, process.envp)).during(Step::Execute)
}
