// SPDX-License-Identifier: Apache-2.0
//! The life of a process that joins a container: `exec`.
//!
//! Runs in a helper and then in the process itself. The container is hostile: we enter it untraceable, with no descriptor that
//! names anything outside, and take nothing from it on trust.
//! Spec: runc's `exec`; setns(2) with a pidfd, since Linux 5.8.

use crate::born;
use crate::channel::{Channel, Report, fail_here};
use crate::script::Join;
use crate::step::{During, Step, Stop};
use crate::{confine, console, home, program, root, stdio};
use core::convert::Infallible;
use kelp_sys::clone::{Clone, Cloned, Namespaces, Parent, clone3, exit};
use kelp_sys::mount::here;
use kelp_sys::rustix::process::setsid;
use kelp_sys::rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};

/// Runs in the helper: enters the container's namespaces, makes the process as a child of the runtime, tells its pid, ends.
/// `space` is for the runtime's last word, as in [`live`](crate::life::live).
pub fn join(script: &Join<'_>, space: &mut [u8]) -> ! {
    let channel = Channel(script.channel);
    let outcome = enter_and_clone(script);
    let stop = match outcome {
        Ok(Cloned::Parent { pid, .. }) => match channel.report(Report::Born(pid), None).during(Step::Clone) {
            Ok(()) => exit(0),
            Err(stop) => stop,
        },
        Ok(Cloned::Child) => {
            let Err(stop) = live(script, space);
            stop
        }
        Err(stop) => stop,
    };
    channel.last_word(stop, None)
}

fn enter_and_clone(script: &Join<'_>) -> Result<Cloned, Stop> {
    fail_here(script.fail_at, Step::JoinNamespaces)?;
    // The process inherits it from us.
    born::set_oom_score(script.oom_score_adj)?;
    born::hide().during(Step::JoinNamespaces)?;
    if !script.namespaces.is_empty() {
        let types = ThreadNameSpaceType::from_bits_retain(script.namespaces.bits() as u32);
        move_into_thread_name_spaces(script.init, types).during(Step::JoinNamespaces)?;
    }
    root::follow(script.fail_at, script.root)?;
    fail_here(script.fail_at, Step::Clone)?;
    // From the clone on processes of the container can see us: there is nothing left in our hands by then.
    born::let_go(script.strays).during(Step::Clone)?;
    // In our cgroup, which is the container's. From in here no other could be named: see the runtime's cgroup/enter.rs.
    let request = Clone { namespaces: Namespaces::NONE, cgroup: None, parent: Parent::CallersParent };
    clone3(&request).during(Step::Clone)
}

fn live(script: &Join<'_>, space: &mut [u8]) -> Result<Infallible, Stop> {
    if script.become_root {
        fail_here(script.fail_at, Step::BecomeRoot)?;
        born::become_root().during(Step::BecomeRoot)?;
        born::hide().during(Step::BecomeRoot)?;
    }
    settle(script)?;
    home::find(script.fail_at, &script.process)?;
    let entered = confine::enter_working_directory(script.fail_at, &script.process, confine::Missing::Refuse)?;
    fail_here(script.fail_at, Step::AwaitRuntime)?;
    let (filter, flags) = Channel(script.channel).await_finish(space).during(Step::AwaitRuntime)?;
    let confined = confine::drop_rights_in_place(script.fail_at, &script.process, entered)?;
    let program = program::find(script.fail_at, &script.process)?;
    confine::close_descriptors(&script.process)?;
    confine::filter(script.fail_at, filter, flags, Channel(script.channel), &confined)?;
    program::execute(script.fail_at, &script.process, program)
}

fn settle(script: &Join<'_>) -> Result<(), Stop> {
    // What is made in the container depends on no umask of the caller's; the program gets its own with its user.
    born::set_umask();
    fail_here(script.fail_at, Step::Session)?;
    setsid().map(drop).during(Step::Session)?;
    fail_here(script.fail_at, Step::Stdio)?;
    kelp_sys::process::default_signals().during(Step::Stdio)?;
    if let Some(stdio) = script.stdio {
        born::place_stdio(stdio).during(Step::Stdio)?;
    }
    if script.console.is_none() {
        stdio::give(&script.process)?;
    }
    if let Some(name) = script.keyring {
        fail_here(script.fail_at, Step::Keyring)?;
        born::join_keyring(name).during(Step::Keyring)?;
    }
    if let Some(console) = script.console {
        fail_here(script.fail_at, Step::Console)?;
        console::place(Channel(script.channel), here(), console, script.process.uid).during(Step::Console)?;
    }
    Ok(())
}
