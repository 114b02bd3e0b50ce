// SPDX-License-Identifier: Apache-2.0
//! The kernel takes our filters, and they do what they say.

use std::thread;

use kelp_sys::rustix;
use kelp_sys::seccomp::load;
use oci_spec::runtime::{
    Arch, Capabilities, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArgBuilder, LinuxSeccompBuilder,
    LinuxSeccompOperator, LinuxSyscallBuilder,
};
use rustix::io::Errno;

use crate::seccomp::{NATIVE, compile, default_profile};

/// Confines a thread of its own with `profile`, and does `what` there.
fn confined<T: Send + 'static>(profile: &LinuxSeccomp, what: impl FnOnce() -> T + Send + 'static) -> T {
    let program = compile(profile, NATIVE).unwrap();
    let inside = move || {
        rustix::thread::set_no_new_privs(true).unwrap();
        assert!(load(&program.filter, program.flags).unwrap().is_none());
        what()
    };
    thread::spawn(inside).join().unwrap()
}

/// The errno that a socket of the address family `family` fails with, if it does.
fn socket(family: u16) -> Option<Errno> {
    let family = rustix::net::AddressFamily::from_raw(family);
    rustix::net::socket(family, rustix::net::SocketType::STREAM, None).err()
}

fn chroot() -> Option<i32> {
    std::os::unix::fs::chroot("/no/such/folder").err()?.raw_os_error()
}

#[test]
fn the_kernel_takes_the_default_profile_and_stops_what_it_stops() {
    let (chroot, vsock, unix, pid) = confined(&default_profile(&Capabilities::new(), NATIVE), || {
        (chroot(), socket(40), socket(1), rustix::process::getpid())
    });
    assert_eq!((chroot, vsock, unix), (Some(1), Some(Errno::PERM), None));
    assert_eq!(pid.as_raw_nonzero().get() as u32, std::process::id());
}

#[test]
fn a_rule_is_about_its_arguments_alone() {
    let arg = LinuxSeccompArgBuilder::default().index(0_usize).op(LinuxSeccompOperator::ScmpCmpMaskedEq);
    let arg = arg.value(0xff_u64).value_two(1_u64).build().unwrap();
    let errno = |name: &str, errno: u32| {
        let rule = LinuxSyscallBuilder::default().names([name.to_owned()]).action(LinuxSeccompAction::ScmpActErrno);
        rule.errno_ret(errno)
    };
    let rules = [errno("socket", 77).args([arg]).build().unwrap(), errno("chroot", 78).build().unwrap()];
    let profile = LinuxSeccompBuilder::default().default_action(LinuxSeccompAction::ScmpActAllow).syscalls(rules);
    let seen = confined(&profile.build().unwrap(), || (chroot(), socket(1), socket(2)));
    assert_eq!(seen, (Some(78), Some(Errno::from_raw_os_error(77)), None));
}

#[test]
fn a_profile_with_notify_comes_with_a_listener() {
    let rule = LinuxSyscallBuilder::default().names(["chroot".to_owned()]).action(LinuxSeccompAction::ScmpActNotify);
    let profile = LinuxSeccompBuilder::default()
        .default_action(LinuxSeccompAction::ScmpActAllow)
        .architectures([Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32])
        .syscalls([rule.build().unwrap()]);
    let program = compile(&profile.build().unwrap(), NATIVE).unwrap();
    let listener = thread::spawn(move || {
        rustix::thread::set_no_new_privs(true).unwrap();
        load(&program.filter, program.flags).unwrap()
    });
    assert!(listener.join().unwrap().is_some());
}
