// SPDX-License-Identifier: Apache-2.0
//! A registry on this machine: Debian's docker-registry, filled with skopeo.

use std::net::{TcpListener, TcpStream};
use std::path::Path;

use rustix::process::Signal;

use crate::command::Running;
use crate::world::World;

/// A registry that serves plain HTTP on a port of its own until it is dropped.
#[derive(Debug)]
pub struct Registry<'w> {
    world: &'w World,
    port: u16,
    process: Running<'w>,
}

impl<'w> Registry<'w> {
    /// Starts it, or says what is missing.
    pub fn start(world: &'w World) -> Result<Registry<'w>, String> {
        for program in ["docker-registry", "skopeo"] {
            if !["/usr/bin", "/usr/local/bin"].iter().any(|dir| Path::new(dir).join(program).exists()) {
                return Err(format!("{program} is not installed"));
            }
        }
        let port = free_port();
        let storage = world.dir().join("registry");
        world.make_dir(&storage);
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n\
             http: {{addr: '127.0.0.1:{port}'}}\n",
            storage.display()
        );
        let config = world.write("registry.yml", config);
        let process = world.command("docker-registry").args(["serve", &config.to_string_lossy()]).spawn();
        crate::until("the registry answers", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Ok(Registry { world, port, process })
    }

    /// `localhost:PORT/NAME`.
    pub fn name(&self, name: &str) -> String {
        format!("localhost:{}/{name}", self.port)
    }

    /// Pushes an OCI layout under this name and returns the whole reference.
    pub fn push(&self, layout: &Path, name: &str) -> String {
        let reference = self.name(name);
        self.world
            .command("skopeo")
            .args(["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false", "--dest-no-creds"])
            .args([format!("oci:{}", layout.display()), format!("docker://{reference}")])
            .ok();
        reference
    }
}

impl Drop for Registry<'_> {
    fn drop(&mut self) {
        if self.process.runs() {
            self.process.signal(Signal::KILL);
        }
        crate::until("the registry is gone", || !self.process.runs());
    }
}

/// A TCP port that nobody uses at this moment.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}
