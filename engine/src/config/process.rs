// SPDX-License-Identifier: Apache-2.0
//! `process`: the program, its user, environment, limits and rights.

use super::{INIT, Input, capabilities};
use crate::error::Result;
use crate::request::security::SecurityOption;
use oci_spec::runtime::{LinuxCapabilities, Process, User};

/// The container's first process.
pub(super) fn first(input: &Input<'_>) -> Result<Process> {
    let flags = &input.options.process;
    let (program, isolation) = (input.program, &input.options.isolation);
    let mut process = Process::default();
    process
        .set_terminal(input.options.tty.then_some(true))
        .set_user(user(input))
        .set_args(Some(words(input)))
        .set_env(Some(environment(input)))
        .set_cwd(program.cwd.clone())
        .set_capabilities(Some(rights(input)?))
        .set_rlimits((!flags.ulimit.is_empty()).then(|| flags.ulimit.clone()))
        .set_no_new_privileges(Some(isolation.security_opt.contains(&SecurityOption::NoNewPrivileges(true))))
        .set_oom_score_adj(flags.oom_score_adj)
        .set_apparmor_profile(apparmor(&isolation.security_opt));
    Ok(process)
}

/// The program, behind our init where that is asked for.
fn words(input: &Input<'_>) -> Vec<String> {
    let init = input.options.process.init.then(|| [INIT.to_owned(), "--".to_owned()]);
    init.into_iter().flatten().chain(input.program.args.iter().cloned()).collect()
}

fn user(input: &Input<'_>) -> User {
    let program = input.program;
    let mut user = User::default();
    user.set_uid(program.uid)
        .set_gid(program.gid)
        .set_additional_gids((!program.groups.is_empty()).then(|| program.groups.clone()));
    user
}

/// The program's environment with what every container has: HOSTNAME, and TERM where there is a terminal.
fn environment(input: &Input<'_>) -> Vec<String> {
    let given = &input.program.env;
    let has = |key: &str| given.iter().any(|entry| entry.split_once('=').is_some_and(|(name, _)| name == key));
    let mut environment = given.clone();
    if !has("HOSTNAME") {
        environment.push(format!("HOSTNAME={}", input.hostname));
    }
    if input.options.tty && !has("TERM") {
        environment.push("TERM=xterm".to_owned());
    }
    environment
}

fn rights(input: &Input<'_>) -> Result<LinuxCapabilities> {
    let isolation = &input.options.isolation;
    let set = capabilities::decide(isolation.privileged, &isolation.cap_add, &isolation.cap_drop)?;
    // A user other than root has no rights until it executes a file that gives some: what the kernel does at exec.
    let effective = if input.program.uid == 0 { set.clone() } else { Default::default() };
    let mut rights = LinuxCapabilities::default();
    rights
        .set_bounding(Some(set))
        .set_effective(Some(effective.clone()))
        .set_permitted(Some(effective))
        // Inheritable capabilities would survive into programs of other users (CVE-2022-24769).
        .set_inheritable(None)
        .set_ambient(None);
    Ok(rights)
}

fn apparmor(options: &[SecurityOption]) -> Option<String> {
    options.iter().find_map(|option| match option {
        SecurityOption::Apparmor(profile) if profile != "unconfined" => Some(profile.clone()),
        _ => None,
    })
}
