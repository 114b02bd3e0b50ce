// SPDX-License-Identifier: Apache-2.0
//! libseccomp, asked through a small C program that is compiled on the spot.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use kelp_sys::seccomp::SockFilter;
use oci_spec::runtime::{Arch, LinuxSeccomp, LinuxSeccompArg};

use crate::seccomp::NATIVE;

const SOURCE: &str = include_str!("oracle.c");

/// A running oracle.
pub(super) struct Oracle {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Oracle {
    /// Compiles and starts it; without a C compiler or libseccomp's headers says so and returns nothing.
    pub(super) fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let (source, program) = (folder.path().join("oracle.c"), folder.path().join("oracle"));
        std::fs::write(&source, SOURCE).unwrap();
        let compiled = Command::new("cc").args(["-O1", "-o"]).args([&program, &source]).arg("-lseccomp").output();
        match compiled {
            Ok(output) if output.status.success() => {}
            Ok(output) => return skip(&String::from_utf8_lossy(&output.stderr)),
            Err(error) => return skip(&format!("cc: {error}")),
        }
        let mut child = Command::new(&program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Some(Self { child, to, from })
    }

    /// The number of `name` on `arch` as libseccomp has it: negative where the architecture has no such call.
    pub(super) fn resolve(&mut self, arch: Arch, name: &str) -> i32 {
        writeln!(self.to, "resolve {:x} {name}", arch as u32).unwrap();
        self.line().parse().unwrap()
    }

    /// libseccomp's filter for `profile`, with the calls to it that runc makes; or its refusal.
    pub(super) fn filter(&mut self, profile: &LinuxSeccomp) -> Result<Vec<SockFilter>, String> {
        let default = profile.default_action().as_u32(profile.default_errno_ret());
        let mut asked = format!("filter {default:x}\n");
        for &arch in profile.architectures().iter().flatten() {
            let arch = if arch == Arch::ScmpArchNative { NATIVE } else { arch };
            asked += &format!("arch {:x}\n", arch as u32);
        }
        let mut rules = 0;
        for entry in profile.syscalls().iter().flatten() {
            let verdict = entry.action().as_u32(entry.errno_ret());
            for name in entry.names().iter().filter(|_| verdict != default) {
                rules += 1;
                asked += &lines(name, verdict, entry.args().as_deref().unwrap_or_default());
            }
        }
        // As runc does for long profiles.
        asked += if rules > 32 { "export 2" } else { "export 1" };
        writeln!(self.to, "{asked}").unwrap();
        let answer = self.line();
        let Some(count) = answer.strip_prefix("ok ") else { return Err(answer) };
        Ok((0..count.parse().unwrap()).map(|_| instruction(&self.line())).collect())
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn skip(why: &str) -> Option<Oracle> {
    eprintln!("skipped: libseccomp cannot be asked: {}", why.lines().next().unwrap_or_default());
    None
}

/// One rule; or, where an argument is tested twice, one for each test.
fn lines(name: &str, verdict: u32, args: &[LinuxSeccompArg]) -> String {
    let twice = args.iter().enumerate().any(|(at, arg)| args[..at].iter().any(|before| before.index() == arg.index()));
    let groups: Vec<&[LinuxSeccompArg]> = if twice { args.chunks(1).collect() } else { vec![args] };
    let mut lines = String::new();
    for group in groups {
        lines += &format!("rule {verdict:x} {name} {}", group.len());
        for arg in group {
            let (index, op, two) = (arg.index(), arg.op() as u32, arg.value_two().unwrap_or(0));
            lines += &format!(" {index} {op} {:x} {two:x}", arg.value());
        }
        lines += "\n";
    }
    lines
}

fn instruction(line: &str) -> SockFilter {
    let words: Vec<u32> = line.split(' ').map(|word| word.parse().unwrap()).collect();
    SockFilter { code: words[0] as u16, jt: words[1] as u8, jf: words[2] as u8, k: words[3] }
}
