// SPDX-License-Identifier: Apache-2.0
//! What other engines need to run Kelp's runtime here: an image, cgroup v2 where they look for it, and their daemons.

use std::os::unix::fs::symlink;
use std::path::PathBuf;

use crate::command::{Command, Running};
use crate::world::World;
use crate::{bundle, cgroup};

/// Engines look for cgroup v2 at /sys/fs/cgroup. On a hybrid machine it is elsewhere, and a private mount brings it there.
/// `$1`: where it is.
const WITH_CGROUP2: &str = r#"
at=$1; shift
mount --make-rprivate /
[ "$at" = /sys/fs/cgroup ] || mount --bind "$at" /sys/fs/cgroup
exec "$@"
"#;

impl World {
    /// A program in a mount namespace of its own that has cgroup v2 at /sys/fs/cgroup. For root; or why there can be none.
    pub fn with_cgroup2(&self, program: &str) -> Result<Command<'_>, String> {
        let at = cgroup::root().ok_or("no cgroup v2 here")?;
        Ok(self.command("unshare").args(["-m", "sh", "-c", WITH_CGROUP2, "sh", &at.to_string_lossy(), program]))
    }

    /// The root filesystem of an image of busybox, as a tar.
    pub fn busybox_tar(&self) -> PathBuf {
        let root = self.dir().join("busybox");
        self.make_dir(&root.join("bin"));
        self.write("busybox/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/tmp:/bin/sh\n");
        self.copy(&bundle::busybox(), "busybox/bin/busybox");
        for applet in ["sh", "cat", "echo", "env", "hostname", "id", "ls", "pwd", "sleep", "true"] {
            symlink("busybox", root.join("bin").join(applet)).expect("a new link in a new folder");
        }
        let tar = self.dir().join("busybox.tar");
        self.command("tar").args(["-C", &root.to_string_lossy(), "-cf", &tar.to_string_lossy(), "."]).ok();
        tar
    }
}

/// A daemon of one test.
#[derive(Debug)]
pub struct Daemon<'w> {
    running: Option<Running<'w>>,
}

impl<'w> Daemon<'w> {
    /// Starts it and waits until `socket` is there; or says what it said last.
    pub fn start(command: Command<'w>, socket: &std::path::Path) -> Result<Daemon<'w>, String> {
        let mut running = command.limit(120).spawn();
        let up = crate::within(std::time::Duration::from_secs(40), || socket.exists() || !running.runs());
        if up && running.runs() {
            return Ok(Daemon { running: Some(running) });
        }
        let last = running.stderr().lines().last().unwrap_or("it said nothing").to_owned();
        Err(format!("the daemon does not start: {last}"))
    }

    /// Ends it, and waits until it has.
    pub fn stop(mut self) {
        if let Some(running) = self.running.take() {
            running.signal(rustix::process::Signal::TERM);
            running.output();
        }
    }
}
