// SPDX-License-Identifier: Apache-2.0
//! A registry on this machine: Debian's docker-registry, filled with skopeo.

use std::net::{TcpListener, TcpStream};
use std::path::Path;

use rustix::process::Signal;

use crate::command::Running;
use crate::world::World;

/// Who may enter a guarded registry, and the file that says so (bcrypt, the only hash a registry takes).
pub const LOGIN: (&str, &str) = ("ann", "forest-42");
const HTPASSWD: &str = "ann:$2b$04$NCXhFYgZZNksFZ/38VpmJe.rc4NAXAqQQvEAGTS71zWjhMS0EqzVK\n";

/// A registry on a port of its own until it is dropped.
#[derive(Debug)]
pub struct Registry<'w> {
    world: &'w World,
    host: &'static str,
    port: u16,
    process: Running<'w>,
}

impl<'w> Registry<'w> {
    /// Starts one that serves anybody over plain HTTP, or says what is missing.
    pub fn start(world: &'w World) -> Result<Registry<'w>, String> {
        Self::serve(world, "localhost", "", "")
    }

    /// Starts one that wants TLS and the [`LOGIN`]. Its certificate is `ca.crt` in the world's folder. Its name is not one of
    /// this machine, for which engines make exceptions: whoever connects to 0.0.0.0 arrives at 127.0.0.1.
    pub fn start_guarded(world: &'w World) -> Result<Registry<'w>, String> {
        let tls = tls(world)?;
        let htpasswd = world.write("htpasswd", HTPASSWD);
        let auth = format!("auth: {{htpasswd: {{realm: tests, path: {}}}}}\n", htpasswd.display());
        Self::serve(world, "0.0.0.0", &format!(", tls: {{{tls}}}"), &auth)
    }

    /// Starts one that serves only those who show the certificate `client.crt` of the world's folder, whose key is
    /// `client.key`. Its own is `ca.crt`, as of [`Registry::start_guarded`].
    pub fn start_for_known_clients(world: &'w World) -> Result<Registry<'w>, String> {
        let tls = tls(world)?;
        certificate(world, "client.key", "client.crt");
        let clients = world.dir().join("client.crt");
        Self::serve(world, "0.0.0.0", &format!(", tls: {{{tls}, clientcas: ['{}']}}", clients.display()), "")
    }

    fn serve(world: &'w World, host: &'static str, tls: &str, more: &str) -> Result<Registry<'w>, String> {
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
             http: {{addr: '127.0.0.1:{port}'{tls}}}\n{more}",
            storage.display()
        );
        let config = world.write("registry.yml", config);
        let process = world.command("docker-registry").args(["serve", &config.to_string_lossy()]).spawn();
        crate::until("the registry answers", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Ok(Registry { world, host, port, process })
    }

    /// `HOST:PORT/NAME`.
    pub fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.host())
    }

    /// `HOST:PORT`.
    pub fn host(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Pushes an OCI layout under this name and returns the whole reference.
    pub fn push(&self, layout: &Path, name: &str) -> String {
        let reference = self.name(name);
        self.world
            .command("skopeo")
            .args(["--insecure-policy", "copy", "--all", "--quiet", "--dest-tls-verify=false", "--dest-no-creds"])
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

/// A certificate that vouches for itself, and its key, in the world's folder.
fn certificate(world: &World, key: &str, certificate: &str) {
    let file = |name: &str| world.dir().join(name).display().to_string();
    let files = ["-keyout", &file(key), "-out", &file(certificate)].map(str::to_owned);
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
    let names = ["-subj", "/CN=kelp-tests", "-addext", "subjectAltName=IP:0.0.0.0"];
    let kind = ["-addext", "basicConstraints=critical,CA:FALSE"];
    world.command("openssl").args(["req", "-x509"]).args(curve).args(names).args(kind).args(files).ok();
}

/// A registry's own certificate, as its configuration names it.
fn tls(world: &World) -> Result<String, String> {
    if !Path::new("/usr/bin/openssl").exists() {
        return Err("openssl is not installed".to_owned());
    }
    certificate(world, "tls.key", "ca.crt");
    let file = |name: &str| world.dir().join(name).display().to_string();
    Ok(format!("certificate: {}, key: {}", file("ca.crt"), file("tls.key")))
}

/// A TCP port that nobody uses at this moment.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}
