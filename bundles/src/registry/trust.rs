// SPDX-License-Identifier: Apache-2.0
//! Which certificates a registry's are checked against, and which ones we show: the system's, and for a registry of its
//! own those of the folders that Docker and podman read.
//!
//! `HOST:PORT/*.crt` are authorities; `NAME.cert` with `NAME.key` is who we are. Spec: containers-certs.d(5).

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

use crate::error::{Doing, Error, Kind, Result};

/// What TLS needs to know for this host.
pub(super) fn config(host: &str, verify: bool) -> Result<TlsConfig> {
    let mut tls = TlsConfig::builder().disable_verification(!verify);
    let mut roots: Vec<Certificate<'static>> = Vec::new();
    for folder in folders().iter().map(|folder| folder.join(host)) {
        for path in files(&folder)? {
            match path.extension().and_then(|e| e.to_str()) {
                Some("crt") => roots.extend(certificates(&path)?),
                Some("cert") => tls = tls.client_cert(Some(ourselves(&path)?)),
                _ => {}
            }
        }
    }
    if verify {
        let system = rustls_native_certs::load_native_certs();
        roots.extend(system.certs.iter().map(|der| Certificate::from_der(der).to_owned()));
        tls = tls.root_certs(RootCerts::new_with_certs(&roots));
    }
    Ok(tls.build())
}

fn folders() -> Vec<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let own = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")));
    let docker = set("DOCKER_CONFIG").or_else(|| set("HOME").map(|home| home.join(".docker")));
    let own = own.map(|dir| dir.join("containers/certs.d"));
    let system = ["/etc/containers/certs.d", "/etc/docker/certs.d"].map(PathBuf::from);
    own.into_iter().chain(docker.map(|dir| dir.join("certs.d"))).chain(system).collect()
}

/// A folder's files, in the order of their names; none where there is no folder, or none that we may read.
pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let doing = || format!("listing {}", folder.display());
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {
            return Ok(Vec::new());
        }
        Err(e) => return Err(e).doing(doing),
    };
    let mut found = entries.map(|e| e.map(|e| e.path())).collect::<io::Result<Vec<_>>>().doing(doing)?;
    found.sort();
    Ok(found)
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>> {
    let text = fs::read(path).doing(|| format!("reading {}", path.display()))?;
    let mut found = Vec::new();
    for item in parse_pem(&text) {
        match item {
            Ok(PemItem::Certificate(certificate)) => found.push(certificate),
            Ok(_) => {}
            Err(e) => return Err(Error::new(Kind::BadInput, format!("reading {}", path.display()), e)),
        }
    }
    Ok(found)
}

fn ourselves(path: &Path) -> Result<ClientCert> {
    let key = path.with_extension("key");
    let doing = || format!("reading {}", key.display());
    let text = fs::read(&key).doing(doing).map_err(|e| e.hint(format!("{} needs its key", path.display())))?;
    let key = PrivateKey::from_pem(&text).map_err(|e| Error::new(Kind::BadInput, doing(), e))?;
    Ok(ClientCert::new_with_certs(&certificates(path)?, key))
}
