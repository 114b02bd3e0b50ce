// SPDX-License-Identifier: Apache-2.0
//! A container's life, from its first instruction to the user's program.
//!
//! Runs in the cloned process. Must not allocate, lock or return. Its counterpart in the runtime is `verb/create.rs`:
//! read them side by side.
//! Spec: runtime.md "Lifecycle", config.md.

use crate::channel::Report;
use crate::script::Script;
use crate::step::{During, Step, Stop};
use crate::{born, confine, console, cover, dev, gate, home, hook, mount, program, root, stdio};
use core::convert::Infallible;

/// Lives: performs the script and becomes the program. If that cannot be, says why and ends with status 1.
///
/// `space` is for the runtime's last word, of at most [`ORDER_SIZE`](crate::ORDER_SIZE) bytes: made before the clone, since
/// the limits that the runtime sets meanwhile may leave no memory for it.
pub fn live(script: &Script<'_>, space: &mut [u8]) -> ! {
    let Err(stop) = attempt(script, space);
    script.channel().last_word(stop, None)
}

fn attempt(script: &Script<'_>, space: &mut [u8]) -> Result<Infallible, Stop> {
    // Born: alone in our namespaces, still seeing the host's files.
    born::let_go(script.strays).during(Step::Clone)?;
    // What takes capabilities alone is done while newuidmap and newgidmap start.
    born::settle(script)?;
    let private = root::cut_off(script)?;
    let mapped = born::map_ids(script)?;
    if script.console.is_none() {
        stdio::give(&script.process)?;
    }

    // Furnished. Nothing we mount can be seen by the host; what we make in it belongs to whom it shall.
    let rootfs = root::mount(script, &private, mapped)?;
    mount::perform_all(script, &rootfs)?;
    dev::populate(script, &rootfs)?;
    let states = hook::pause_and_run_container_hooks(script, &rootfs)?;
    console::open(script, &rootfs)?;

    // Moved in. Beyond this point no path can name anything on the host (CVE-2024-21626: no descriptor is kept that can).
    let rooted = root::pivot(script, private, rootfs)?;
    cover::write_sysctls(script)?;
    cover::make_readonly(script)?;
    cover::mask(script)?;
    home::find(script.fail_at, &script.process)?;
    let entered = confine::enter_working_directory(script.fail_at, &script.process, confine::Missing::Make)?;
    mount::make_read_only(script)?;
    root::make_readonly(script)?;

    // Confined. The runtime has written limits and state meanwhile; its last word carries the filter.
    script.begin(Step::AwaitRuntime)?;
    let (filter, flags) = script.channel().await_finish(space).during(Step::AwaitRuntime)?;
    let confined = confine::drop_rights(script.fail_at, &script.process, entered, rooted)?;
    let program = program::find(script.fail_at, &script.process)?;

    // Created: wait for `start`, unless the program shall run at once. Errors go to whoever started us.
    let listener = gate::await_start(script)?;
    let answer = listener.as_ref().map_or(script.channel(), gate::Starter::channel);
    let confinement = hook::Confinement { filter, flags, answer, rights: &confined };
    let Err(stop) = gone(script, &states, &confinement, program);
    answer.last_word(stop, states.said_before(stop))
}

/// Gone: the startContainer hooks, then the filter as late as it can be, then the program.
fn gone(
    script: &Script<'_>,
    states: &hook::States,
    confinement: &hook::Confinement<'_>,
    program: program::Program<'_>,
) -> Result<Infallible, Stop> {
    hook::run_start_hooks(script, states, confinement)?;
    confine::close_descriptors(&script.process)?;
    let hook::Confinement { filter, flags, answer, rights } = *confinement;
    confine::filter(script.fail_at, filter, flags, answer, rights)?;
    program::execute(script.fail_at, &script.process, program)
}

/// Runs in the helper that a container needs which joins namespaces by path, or whose cgroup takes no clone from where the
/// runtime is: enters the namespaces, makes init, tells the runtime its pid, and ends.
pub fn help(script: &Script<'_>, space: &mut [u8]) -> ! {
    let made = born::join_and_clone(script);
    match made {
        Ok(born::Helped::Init) => live(script, space),
        Ok(born::Helped::Helper { pid }) => {
            let told = script.channel().report(Report::Born(pid), None);
            kelp_sys::clone::exit(i32::from(told.is_err()))
        }
        Err(stop) => script.channel().last_word(stop, None),
    }
}
