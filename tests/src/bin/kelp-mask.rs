// SPDX-License-Identifier: Apache-2.0
//! Executes a program as on a kernel that lacks something: system calls fail as if they, or one of their flags, were not there.
//!
//! Runs in the tests of fallbacks, before the program under test. Sets no_new_privs: setuid programs below it have no effect.
//!
//! ```text
//! kelp-mask RULE[,RULE…] PROGRAM ARGUMENTS…
//! RULE: CALL                        fails with ENOSYS
//!       CALL:ARGUMENT&MASK=ERRNO    fails with this errno where the argument (from 0) has all bits of the mask
//! ```

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

const ENOSYS: u32 = 38;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [rules, program, rest @ ..] = args.as_slice() else {
        return fail("usage: kelp-mask RULE[,RULE…] PROGRAM …");
    };
    for rule in rules.split(',') {
        if let Err(why) = mask(rule) {
            return fail(&format!("cannot mask {rule}: {why}"));
        }
    }
    let error = Command::new(program).args(rest).exec();
    fail(&format!("cannot execute {program}: {error}"))
}

fn fail(why: &str) -> ExitCode {
    // A test that sees the status looks here; where nobody does, nobody misses it.
    writeln!(std::io::stderr(), "kelp-mask: {why}").ok();
    ExitCode::from(99)
}

/// One filter for each rule: the kernel takes the strictest of their verdicts.
fn mask(rule: &str) -> Result<(), String> {
    let (call, condition) = rule.split_once(':').map_or((rule, None), |(call, condition)| (call, Some(condition)));
    let number = number_of(call).ok_or("no number is known for it")?;
    let (rules, errno) = match condition {
        None => (Vec::new(), ENOSYS),
        Some(condition) => {
            let (argument, mask, errno) = parse(condition).ok_or("no ARGUMENT&MASK=ERRNO")?;
            let masked = SeccompCmpOp::MaskedEq(mask);
            let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Qword, masked, mask);
            let rule = condition.and_then(|condition| SeccompRule::new(vec![condition]));
            (vec![rule.map_err(|error| error.to_string())?], errno)
        }
    };
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|error| error.to_string())?;
    let calls = BTreeMap::from([(number, rules)]);
    let filter = SeccompFilter::new(calls, SeccompAction::Allow, SeccompAction::Errno(errno), arch);
    let program: BpfProgram = filter.and_then(TryInto::try_into).map_err(|error| error.to_string())?;
    seccompiler::apply_filter(&program).map_err(|error| error.to_string())
}

fn parse(condition: &str) -> Option<(u8, u64, u32)> {
    let (argument, rest) = condition.split_once('&')?;
    let (mask, errno) = rest.split_once('=')?;
    Some((argument.parse().ok()?, mask.parse().ok()?, errno.parse().ok()?))
}

/// The calls that the table of fallbacks is about.
fn number_of(call: &str) -> Option<i64> {
    Some(match call {
        "copy_file_range" => libc::SYS_copy_file_range,
        "fallocate" => libc::SYS_fallocate,
        "fsconfig" => libc::SYS_fsconfig,
        "keyctl" => libc::SYS_keyctl,
        "memfd_create" => libc::SYS_memfd_create,
        "readlinkat" => libc::SYS_readlinkat,
        "mount_setattr" => libc::SYS_mount_setattr,
        "seccomp" => libc::SYS_seccomp,
        "bpf" => libc::SYS_bpf,
        "set_mempolicy" => libc::SYS_set_mempolicy,
        _ => return None,
    })
}
