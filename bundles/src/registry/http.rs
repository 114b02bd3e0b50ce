// SPDX-License-Identifier: Apache-2.0
//! Requests, with the patience registries need: a token when asked for one, again after 429, 5xx and lost connections.

use std::fs;
use std::io::Read;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ureq::Agent;
use ureq::http::{HeaderMap, Method, Request, Response, StatusCode};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use super::Opener;
use super::auth::{self, Credentials};
use crate::error::{Doing, Error, Kind, Result};
use crate::progress::{Event, Progress};

pub(crate) use ureq::Body;

/// Docker Hub calls itself by another name than its registry has.
const HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");
/// How many pages a list may have.
const PAGES: usize = 200;
/// How much of a registry's complaint is read.
const COMPLAINT: u64 = 16 << 10;

/// How often and how long to wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retry {
    /// Tries without any progress.
    pub(crate) tries: u32,
    /// The first pause; each next one is twice as long, up to half a minute.
    pub(crate) pause: Duration,
}

impl Retry {
    pub(crate) const DEFAULT: Self = Self { tries: 6, pause: Duration::from_millis(300) };

    /// Waits before try number `try_number` (the second is 1), or as long as the registry asked for.
    pub(crate) fn wait(&self, try_number: u32, asked: Option<Duration>) {
        let longest = Duration::from_secs(30);
        let pause = self.pause.saturating_mul(1 << try_number.saturating_sub(1).min(10)).min(longest);
        std::thread::sleep(asked.map_or(pause, |asked| asked.min(Duration::from_secs(120))));
    }
}

/// How to speak with a registry.
#[derive(Clone)]
pub(crate) struct Options {
    /// Whether certificates are checked, and plain HTTP refused.
    pub(crate) verify: bool,
    /// Who we are, where that is known.
    pub(crate) credentials: Option<Credentials>,
    pub(crate) retry: Retry,
}

/// A connection pool to one registry.
pub(super) struct Http {
    agent: Agent,
    registry: String,
    /// `https://host:port`
    base: String,
    scope: String,
    credentials: Option<Credentials>,
    /// The header that was accepted last.
    authorization: Mutex<Option<String>>,
    retry: Retry,
}

/// One request; it may be sent more than once.
pub(super) struct Call<'b> {
    method: Method,
    /// Below the registry, or a whole address it gave us.
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Sending<'b>,
}

/// What goes with a request.
pub(super) enum Sending<'b> {
    Nothing,
    /// A document.
    Bytes(&'b [u8]),
    /// As many bytes, from a stream that is begun anew with every try.
    Stream(u64, &'b Opener<'b>),
}

impl<'b> Call<'b> {
    pub(super) fn get(path: &str) -> Self {
        Self::new(Method::GET, path)
    }

    pub(super) fn new(method: Method, path: &str) -> Self {
        Self { method, path: path.to_owned(), headers: Vec::new(), body: Sending::Nothing }
    }

    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(super) fn body(self, body: Sending<'b>) -> Self {
        Self { body, ..self }
    }
}

impl Http {
    /// Finds out how the registry speaks. One on this machine may do without certificates, and without TLS, as in Docker.
    pub(super) fn connect(registry: &str, scope: String, options: &Options) -> Result<Self> {
        let host = if registry == HUB.0 { HUB.1 } else { registry };
        let insecure = !options.verify || is_local(host);
        let agent = agent(host, !insecure)?;
        let mut http = Self {
            agent,
            registry: registry.to_owned(),
            base: format!("https://{host}"),
            scope,
            credentials: options.credentials.clone(),
            authorization: Mutex::new(None),
            retry: options.retry,
        };
        if insecure && http.ping().is_err() {
            http.base = format!("http://{host}");
        }
        Ok(http)
    }

    pub(super) fn registry(&self) -> &str {
        &self.registry
    }

    /// Whether it speaks this protocol at all. Any answer will do.
    fn ping(&self) -> std::result::Result<(), ureq::Error> {
        self.agent.get(format!("{}/v2/", self.base)).call().map(drop)
    }

    /// Sends a request until it is answered by something worth reading.
    pub(super) fn call(&self, call: &Call<'_>) -> Result<Response<Body>> {
        let mut asked_for_token = false;
        let mut tries = 0;
        loop {
            tries += 1;
            let last = tries >= self.retry.tries;
            let response = match self.once(call) {
                Ok(response) => response,
                Err(e) if last || !is_passing(&e) => return Err(self.unreachable(&e)),
                Err(_) => {
                    self.retry.wait(tries, None);
                    continue;
                }
            };
            match response.status() {
                // A token may have run out: ask once more.
                StatusCode::UNAUTHORIZED if !asked_for_token => {
                    asked_for_token = true;
                    self.authorize(response.headers())?;
                    tries -= 1;
                }
                status if !last && is_busy(status) => self.retry.wait(tries, retry_after(response.headers())),
                _ => return Ok(response),
            }
        }
    }

    /// Lists of names, page after page, as `link: <…>; rel="next"` leads on.
    pub(super) fn pages<P: serde::de::DeserializeOwned>(
        &self,
        first: &str,
        limit: u64,
        doing: &dyn Fn() -> String,
        names: impl Fn(P) -> Vec<String>,
    ) -> Result<Vec<String>> {
        let mut all = Vec::new();
        let mut next = Some(first.to_owned());
        for _ in 0..PAGES {
            let Some(path) = next else { return Ok(all) };
            let response = self.call(&Call::get(&path)).map_err(|e| e.while_doing(doing()))?;
            let response = self.expect(response, &[StatusCode::OK], doing)?;
            next = super::header(&response, "link").and_then(|link| next_page(&link, &path));
            let text = read_all(response, limit).map_err(|e| e.while_doing(doing()))?;
            all.extend(names(serde_json::from_slice(&text).doing(doing)?));
        }
        Err(Error::new(Kind::TooBig, doing(), format!("there are more than {PAGES} pages")))
    }

    pub(super) fn expect(
        &self,
        response: Response<Body>,
        good: &[StatusCode],
        doing: &dyn Fn() -> String,
    ) -> Result<Response<Body>> {
        match good.contains(&response.status()) {
            true => Ok(response),
            false => Err(self.refusal(response, doing)),
        }
    }

    /// What an unwelcome answer means.
    pub(super) fn refusal(&self, response: Response<Body>, doing: &dyn Fn() -> String) -> Error {
        let status = response.status();
        let said = errors_of(response);
        let registry = self.registry();
        match status {
            StatusCode::NOT_FOUND => {
                Error::new(Kind::NotFound, doing(), format!("the registry has no such thing{said}"))
                    .hint("check the name and the tag; a private repository needs kelp login first")
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Error::new(Kind::Unauthorized, doing(), format!("access is refused ({status}){said}")).hint(format!(
                    "log in with kelp login {registry}, or check the name: registries hide what you may not see"
                ))
            }
            _ => Error::new(Kind::Network, doing(), format!("the registry answered {status}{said}")),
        }
    }

    fn once(&self, call: &Call<'_>) -> std::result::Result<Response<Body>, ureq::Error> {
        let whole = call.path.starts_with("http://") || call.path.starts_with("https://");
        let address = if whole { call.path.clone() } else { format!("{}{}", self.base, call.path) };
        let mut request = Request::builder().method(call.method.clone()).uri(&address);
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        let authorization = self.authorization.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Nobody but the registry gets our token, wherever it sends us.
        if let Some(authorization) = authorization.filter(|_| address.starts_with(&format!("{}/", self.base))) {
            request = request.header("authorization", authorization);
        }
        match &call.body {
            Sending::Nothing if call.method == Method::POST || call.method == Method::PUT => {
                self.agent.run(request.header("content-length", "0").body(())?)
            }
            Sending::Nothing => self.agent.run(request.body(())?),
            Sending::Bytes(bytes) => self.agent.run(request.body(*bytes)?),
            Sending::Stream(size, open) => {
                let request = request.header("content-length", size.to_string());
                let mut content = open().map_err(ureq::Error::Io)?;
                self.agent.run(request.body(ureq::SendBody::from_reader(&mut content))?)
            }
        }
    }

    fn authorize(&self, headers: &HeaderMap) -> Result<()> {
        let header = auth::answer(&self.agent, headers, &self.scope, self.credentials.as_ref())
            .map_err(|e| e.while_doing(format!("logging in to {}", self.registry)))?;
        *self.authorization.lock().unwrap_or_else(PoisonError::into_inner) = header;
        Ok(())
    }

    fn unreachable(&self, e: &ureq::Error) -> Error {
        let error = Error::new(Kind::Network, format!("reaching {}", self.registry), e.to_string().to_lowercase());
        let refused = matches!(e, ureq::Error::Io(io) if io.kind() == std::io::ErrorKind::ConnectionRefused);
        match e {
            _ if refused => error.hint("nothing listens there: is the registry running, and the port right?"),
            ureq::Error::HostNotFound => error.hint("is the name right, and the network up?"),
            ureq::Error::Tls(_) | ureq::Error::Rustls(_) | ureq::Error::Io(_) => error.hint(format!(
                "put its CA into /etc/containers/certs.d/{}/ca.crt, or use --tls-verify=false for a registry you trust",
                self.registry
            )),
            _ => error,
        }
    }
}

/// A document of the registry.
pub(super) fn read_all(response: Response<Body>, limit: u64) -> Result<Vec<u8>> {
    let doing = || "reading the answer";
    let mut bytes = Vec::new();
    let body = response.into_body().into_reader().take(limit + 1).read_to_end(&mut bytes);
    body.map_err(|e| Error::new(Kind::Network, doing(), e))?;
    match bytes.len() as u64 > limit {
        true => Err(Error::new(Kind::TooBig, doing(), format!("it is larger than the {limit} bytes it may have"))),
        false => Ok(bytes),
    }
}

/// Where `</v2/…?last=x>; rel="next"` leads: elsewhere in the same list, never to another host.
fn next_page(link: &str, current: &str) -> Option<String> {
    let (address, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
    let path = match address.split_once("://") {
        Some((_, rest)) => &rest[rest.find('/')?..],
        None => address,
    };
    let same = path.split('?').next() == current.split('?').next();
    (rest.contains("next") && same && path != current).then(|| path.to_owned())
}

/// What may go away by itself.
fn is_passing(e: &ureq::Error) -> bool {
    match e {
        ureq::Error::Io(io) => {
            io.kind() != std::io::ErrorKind::ConnectionRefused && io.kind() != std::io::ErrorKind::InvalidData
        }
        ureq::Error::Timeout(_) | ureq::Error::ConnectionFailed => true,
        _ => false,
    }
}

fn is_busy(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::REQUEST_TIMEOUT || status.is_server_error()
}

/// `retry-after: 3`.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    // The other form, a date, is for servers that are down for days: our own pauses will do.
    headers.get("retry-after")?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// What the registry says is wrong: ` (NAME_UNKNOWN: repository name not known to registry)`.
pub(super) fn errors_of(response: Response<Body>) -> String {
    #[derive(serde::Deserialize)]
    struct Errors {
        errors: Vec<One>,
    }
    #[derive(serde::Deserialize)]
    struct One {
        code: String,
        #[serde(default)]
        message: String,
    }
    let mut text = Vec::new();
    if response.into_body().into_reader().take(COMPLAINT).read_to_end(&mut text).is_err() {
        return String::new();
    }
    let errors = serde_json::from_slice::<Errors>(&text).map(|e| e.errors).unwrap_or_default();
    match errors.first() {
        Some(one) => format!(" ({}: {})", one.code, one.message),
        None => String::new(),
    }
}

/// `localhost`, `127.…` and `::1`, with or without a port.
fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// A client that trusts what the system trusts, and what the usual folders add for this registry.
fn agent(host: &str, verify: bool) -> Result<Agent> {
    let mut tls = TlsConfig::builder().disable_verification(!verify);
    if verify {
        let mut roots: Vec<Certificate<'static>> = Vec::new();
        let system = rustls_native_certs::load_native_certs();
        roots.extend(system.certs.iter().map(|der| Certificate::from_der(der).to_owned()));
        for folder in ["/etc/containers/certs.d", "/etc/docker/certs.d"] {
            roots.extend(certificates(&Path::new(folder).join(host))?);
        }
        tls = tls.root_certs(RootCerts::new_with_certs(&roots));
    }
    let config = Agent::config_builder()
        .tls_config(tls.build())
        .http_status_as_error(false)
        .user_agent(concat!("kelp/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(Duration::from_secs(30)))
        .timeout_recv_response(Some(Duration::from_secs(60)))
        .timeout_per_read(Some(Duration::from_secs(60)))
        .input_buffer_size(256 << 10)
        .build();
    Ok(config.new_agent())
}

/// The `*.crt` of a folder.
fn certificates(folder: &Path) -> Result<Vec<Certificate<'static>>> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return Ok(found) };
    for entry in entries {
        let path = entry.doing(|| format!("listing {}", folder.display()))?.path();
        if path.extension().is_none_or(|e| e != "crt") {
            continue;
        }
        let text = fs::read(&path).doing(|| format!("reading {}", path.display()))?;
        for item in parse_pem(&text) {
            match item {
                Ok(PemItem::Certificate(certificate)) => found.push(certificate),
                Ok(_) => {}
                Err(e) => return Err(Error::new(Kind::BadInput, format!("reading {}", path.display()), e)),
            }
        }
    }
    Ok(found)
}

/// Tells of a try that is repeated.
pub(crate) fn note_retry(progress: &dyn Progress, what: &str, error: &Error) {
    progress.event(Event::Note(&format!("{what}: {}; trying again", error.because())));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_known_by_its_names() {
        for host in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.1.2.3", "[::1]:5000", "[::1]"] {
            assert!(is_local(host), "{host}");
        }
        for host in ["localhost.tld", "128.0.0.1", "docker.io", "[::2]:5000", "local"] {
            assert!(!is_local(host), "{host}");
        }
    }
}
