// SPDX-License-Identifier: Apache-2.0
//! `/proc/self/mountinfo` and `/proc/self/cgroup`: mount points have any name that somebody gave them, and are found
//! under that name.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use kelp_runtime::foreign::cgroups;

/// The bytes as the files, and then as three names, one a line: a cgroup, where it is mounted, and of what.
pub fn run(bytes: &[u8]) {
    drop(cgroups(bytes));
    let mut names = bytes.splitn(3, |byte| *byte == b'\n');
    let mut next = || names.next().unwrap_or_default();
    let (root, at, source) = ([b"/", next()].concat(), [b"/", next()].concat(), next());
    let mut line = b"36 35 0:31 ".to_vec();
    line.extend(escape(&root));
    line.push(b' ');
    line.extend(escape(&at));
    line.extend(b" rw,nosuid shared:7 master:1 - cgroup2 ");
    line.extend(escape(source));
    line.extend(b" rw,nsdelegate\n");
    let path = |bytes| PathBuf::from(OsString::from_vec(bytes));
    assert_eq!(cgroups(&line), [(path(root), path(at))], "{}", String::from_utf8_lossy(&line));
}

/// As the kernel's `mangle` and `seq_path` do.
fn escape(name: &[u8]) -> Vec<u8> {
    let one = |byte: &u8| match byte {
        b' ' | b'\t' | b'\n' | b'\\' | b'#' => format!("\\{byte:03o}").into_bytes(),
        byte => vec![*byte],
    };
    name.iter().flat_map(one).collect()
}
