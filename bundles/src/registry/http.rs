// SPDX-License-Identifier: Apache-2.0
//! Requests, with the patience registries need: a token when asked for one, again after 429, 5xx and lost connections.

use std::io::Read;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ureq::http::{HeaderMap, Method, Request, Response, StatusCode, request};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{Connector, DefaultConnector};
use ureq::{Agent, AsSendBody, Proxy};

use super::address::{self, is_local, next_page, origin, redirection};
use super::auth::{self, Credentials};
use super::pace::{Paced, Rate};
use super::{Opener, proxy, trust, unreachable};
use crate::error::{Doing, Error, Kind, Result};
use crate::progress::{Event, Progress};

pub(crate) use ureq::Body;

/// Docker Hub calls itself by another name than its registry has.
pub(super) const HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");
/// How many pages a list may have.
const PAGES: usize = 200;
/// How often a registry may send us elsewhere for one thing.
const REDIRECTS: usize = 10;
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
    /// Below which rate it is given up on, where that is not what the environment says.
    pub(crate) rate: Option<Rate>,
}

/// A connection pool to one registry.
pub(super) struct Http {
    agent: Agent,
    registry: String,
    /// `https://host:port`
    base: String,
    /// What we want to be allowed to do there.
    scopes: Vec<String>,
    credentials: Option<Credentials>,
    verify: bool,
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
    /// Whether what the registry gave us to log in goes along.
    login: bool,
    /// Its body or a header is a secret of the host it is for.
    secret: bool,
}

/// The answer of another host than the registry.
#[derive(Clone)]
struct Elsewhere;

/// Why a request has no answer.
pub(super) enum Failure {
    /// The network or the registry failed.
    Http(ureq::Error),
    /// We do not want it.
    Refused(String),
}

impl From<ureq::Error> for Failure {
    fn from(e: ureq::Error) -> Self {
        Self::Http(e)
    }
}

impl From<ureq::http::Error> for Failure {
    fn from(e: ureq::http::Error) -> Self {
        Self::Refused(e.to_string())
    }
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
        Self { method, path: path.to_owned(), headers: Vec::new(), body: Sending::Nothing, login: true, secret: false }
    }

    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// The same for a token server, even if that is the registry itself.
    pub(super) fn without_login(self) -> Self {
        Self { login: false, ..self }
    }

    /// The same, and no other host may hear it.
    pub(super) fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    pub(super) fn body(self, body: Sending<'b>) -> Self {
        Self { body, ..self }
    }
}

impl Http {
    /// Finds out how the registry speaks. One on this machine may do without certificates, and without TLS, as in Docker.
    pub(super) fn connect(registry: &str, scopes: Vec<String>, options: &Options) -> Result<Self> {
        let host = if registry == HUB.0 { HUB.1 } else { registry };
        let refused = |why: String| Error::new(Kind::BadInput, "reaching a registry", why);
        address::check_host(host).map_err(refused)?;
        let insecure = !options.verify || is_local(host);
        let rate = options.rate.map_or_else(Rate::of_environment, Ok)?;
        let mut http = Self {
            agent: agent(host, !insecure, rate)?,
            registry: registry.to_owned(),
            base: format!("https://{host}"),
            scopes,
            credentials: options.credentials.clone(),
            verify: !insecure,
            authorization: Mutex::new(None),
            retry: options.retry,
        };
        if insecure && http.once(&Call::get("/v2/")).is_err() {
            http.base = format!("http://{host}");
        }
        Ok(http)
    }

    pub(super) fn registry(&self) -> &str {
        &self.registry
    }

    pub(super) fn retry(&self) -> Retry {
        self.retry
    }

    /// Whether what we say can be read by nobody else on the way.
    pub(super) fn is_private(&self) -> bool {
        self.base.starts_with("https://")
    }

    /// Whether this address is the registry's own.
    pub(super) fn is_own(&self, address: &str) -> bool {
        address.strip_prefix(&self.base).is_some_and(|rest| rest.starts_with('/'))
    }

    /// Sends a request until it is answered by something worth reading, logged in if the registry asks for that.
    pub(super) fn call(&self, call: &Call<'_>) -> Result<Response<Body>> {
        self.with_login(|| self.patiently(call))
    }

    /// The same once: for what cannot simply be sent again.
    pub(super) fn call_once(&self, call: &Call<'_>) -> Result<Response<Body>> {
        self.with_login(|| self.once(call).map_err(|e| self.unreachable(e)))
    }

    fn with_login(&self, send: impl Fn() -> Result<Response<Body>>) -> Result<Response<Body>> {
        let response = send()?;
        // Who asks for a login must be the registry, not somebody it sent us to: its challenge names who gets the password.
        if response.status() != StatusCode::UNAUTHORIZED || response.extensions().get::<Elsewhere>().is_some() {
            return Ok(response);
        }
        // No token yet, or one that has run out.
        let header = auth::answer(self, response.headers(), &self.scopes, self.credentials.as_ref())
            .map_err(|e| e.while_doing(format!("logging in to {}", self.registry)))?;
        *self.authorization.lock().unwrap_or_else(PoisonError::into_inner) = header;
        send()
    }

    /// Again after 429, 5xx and lost connections.
    pub(super) fn patiently(&self, call: &Call<'_>) -> Result<Response<Body>> {
        let mut tries = 0;
        loop {
            tries += 1;
            let last = tries >= self.retry.tries;
            match self.once(call) {
                Ok(response) if !last && is_busy(response.status()) => {
                    self.retry.wait(tries, retry_after(response.headers()));
                }
                Ok(response) => return Ok(response),
                Err(Failure::Http(e)) if !last && unreachable::is_passing(&e) => self.retry.wait(tries, None),
                Err(failure) => return Err(self.unreachable(failure)),
            }
        }
    }

    /// A whole document; one that breaks off is asked for again.
    pub(super) fn document(
        &self,
        call: &Call<'_>,
        limit: u64,
        doing: &dyn Fn() -> String,
    ) -> Result<(HeaderMap, Vec<u8>)> {
        let mut tries = 0;
        loop {
            tries += 1;
            let response = self.call(call).map_err(|e| e.while_doing(doing()))?;
            let response = self.expect(response, &[StatusCode::OK], doing)?;
            let headers = response.headers().clone();
            match read_all(response, limit) {
                Ok(bytes) => return Ok((headers, bytes)),
                Err(e) if e.kind() == Kind::Network && tries < self.retry.tries => self.retry.wait(tries, None),
                Err(e) => return Err(e.while_doing(doing())),
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
            let (headers, text) = self.document(&Call::get(&path), limit, doing)?;
            let link = headers.get("link").and_then(|link| link.to_str().ok());
            next = link.and_then(|link| next_page(link, &path));
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

    /// One try, wherever the registry sends us for it. Once it sends us to another host, no credential goes along any
    /// more, even if that host sends us back.
    fn once(&self, call: &Call<'_>) -> std::result::Result<Response<Body>, Failure> {
        let whole = call.path.starts_with("http://") || call.path.starts_with("https://");
        let first = if whole { call.path.clone() } else { format!("{}{}", self.base, call.path) };
        let mut address = first.clone();
        let mut at_home = true;
        for _ in 0..=REDIRECTS {
            if self.verify && self.is_private() && !address.starts_with("https://") {
                return Err(Failure::Refused(format!("it leads from https to {}", origin(&address))));
            }
            address::check(&address).map_err(Failure::Refused)?;
            at_home = at_home && origin(&address) == origin(&first);
            let mut response = self.send(call, &address, at_home)?;
            let Some(next) = redirection(&response, &address) else {
                if !at_home || !self.is_own(&address) {
                    response.extensions_mut().insert(Elsewhere);
                }
                return Ok(response);
            };
            let reading = call.method == Method::GET || call.method == Method::HEAD;
            if !reading && response.status().as_u16() < 307 {
                return Ok(response);
            }
            if call.secret && origin(&next) != origin(&first) {
                let why = format!("it sends what is secret on to {}, which was not done", origin(&next));
                return Err(Failure::Refused(why));
            }
            address = next;
        }
        Err(Failure::Refused(format!("it was sent elsewhere more than {REDIRECTS} times")))
    }

    fn send(&self, call: &Call<'_>, address: &str, at_home: bool) -> std::result::Result<Response<Body>, Failure> {
        let mut request = Request::builder().method(call.method.clone()).uri(address);
        for (name, value) in &call.headers {
            // Nobody else gets our password, wherever we are sent.
            if at_home || *name != "authorization" {
                request = request.header(*name, value);
            }
        }
        let authorization = self.authorization.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(authorization) = authorization.filter(|_| call.login && at_home && self.is_own(address)) {
            request = request.header("authorization", authorization);
        }
        match &call.body {
            Sending::Nothing if call.method == Method::POST || call.method == Method::PUT => {
                self.run(request.header("content-length", "0"), ())
            }
            Sending::Nothing => self.run(request, ()),
            Sending::Bytes(bytes) => self.run(request, *bytes),
            Sending::Stream(size, open) => {
                let mut content = open().map_err(ureq::Error::Io)?;
                let body = ureq::SendBody::from_reader(&mut content);
                self.run(request.header("content-length", size.to_string()), body)
            }
        }
    }

    fn run<B: AsSendBody>(&self, request: request::Builder, body: B) -> std::result::Result<Response<Body>, Failure> {
        let request = request.body(body)?;
        let through = match proxy::for_address(request.uri()) {
            Some(address) => Some(Proxy::new(&address).map_err(|e| {
                // Without its name and password.
                let shown = address.rsplit('@').next().unwrap_or_default();
                Failure::Refused(format!("the proxy {shown} of the environment has no good address: {e}"))
            })?),
            None => None,
        };
        Ok(self.agent.run(self.agent.configure_request(request).proxy(through).build())?)
    }

    fn unreachable(&self, failure: Failure) -> Error {
        match failure {
            Failure::Refused(why) => Error::new(Kind::BadInput, format!("reaching {}", self.registry), why),
            Failure::Http(e) => unreachable::explain(&self.registry, &e),
        }
    }
}

/// A document of the registry.
pub(super) fn read_all(response: Response<Body>, limit: u64) -> Result<Vec<u8>> {
    let doing = || "reading the answer";
    let mut bytes = Vec::new();
    let body = response.into_body().into_reader().take(limit + 1).read_to_end(&mut bytes);
    body.map_err(|e| unreachable::broken(doing(), &e))?;
    match bytes.len() as u64 > limit {
        true => Err(Error::new(Kind::TooBig, doing(), format!("it is larger than the {limit} bytes it may have"))),
        false => Ok(bytes),
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

/// A client that trusts what the system trusts, and what the usual folders add for this registry. It follows no
/// redirections and asks no proxy by itself: both are decided here.
fn agent(host: &str, verify: bool, rate: Rate) -> Result<Agent> {
    let config = Agent::config_builder()
        .tls_config(trust::config(host, verify)?)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .user_agent(concat!("kelp/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(Duration::from_secs(30)))
        .timeout_recv_response(Some(Duration::from_secs(60)))
        .timeout_per_read(Some(Duration::from_secs(60)))
        .timeout_per_write(rate.patience())
        .input_buffer_size(256 << 10)
        .build();
    let connector = DefaultConnector::new().chain(Paced(rate));
    Ok(Agent::with_parts(config, connector, DefaultResolver::default()))
}

/// Tells of a try that is repeated.
pub(crate) fn note_retry(progress: &dyn Progress, what: &str, error: &Error) {
    progress.event(Event::Note(&format!("{what}: {}; trying again", error.because())));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::thread;

    /// A registry that is reached by TLS, and the header that it accepted.
    fn private() -> Http {
        let options = Options { verify: true, credentials: None, retry: Retry::DEFAULT, rate: None };
        let http = Http::connect("registry.tld", Vec::new(), &options).unwrap();
        *http.authorization.lock().unwrap() = Some("Bearer secret".to_owned());
        http
    }

    /// An upload to where an answer's `location` leads.
    fn upload(listener: &TcpListener) -> Call<'static> {
        let port = listener.local_addr().unwrap().port();
        Call::new(Method::PUT, &format!("http://127.0.0.1:{port}/up?digest=x")).body(Sending::Bytes(b"blob"))
    }

    #[test]
    fn an_upload_does_not_lead_from_https_to_http() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let Err(Failure::Refused(why)) = private().once(&upload(&listener)) else { panic!("it went there") };
        assert!(why.contains("from https to http://127.0.0.1"), "{why}");
        listener.set_nonblocking(true).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "nobody connected");
    }

    #[test]
    fn an_upload_without_tls_gets_no_login_of_a_registry_with_tls() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let call = upload(&listener);
        let heard = thread::spawn(move || {
            let (client, _) = listener.accept().unwrap();
            let lines = BufReader::new(&client).lines().map(Result::unwrap);
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            (&client).write_all(b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
            head.join("\n").to_lowercase()
        });
        let Ok(response) = (Http { verify: false, ..private() }).once(&call) else { panic!("it is allowed") };
        let heard = heard.join().unwrap();
        assert!(response.status() == StatusCode::CREATED && heard.starts_with("put /up"), "{heard}");
        assert!(!heard.contains("authorization") && !heard.contains("secret"), "{heard}");
    }
}
