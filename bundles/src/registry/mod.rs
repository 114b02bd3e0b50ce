// SPDX-License-Identifier: Apache-2.0
//! Speaking with a registry.
//!
//! Spec: distribution-spec. Blocking HTTP/1.1 (docs/decisions/0202-ureq.md): what takes time is one stream per blob, and a
//! thread each feeds the pipeline that hashes and unpacks.

mod address;
mod auth;
mod http;
mod pace;
mod proxy;
mod trust;
mod unreachable;

use std::io::{self, Read};

use ureq::http::{Method, Response, StatusCode};

pub use auth::Credentials;
pub(crate) use http::{Options, Retry, note_retry};
pub use pace::Rate;
pub(crate) use trust::files;
pub(crate) use unreachable::broken;

use crate::digest::Digest;
use crate::error::{Doing, Error, Kind, Result};
use http::{Body, Call, Http, Sending};

/// Every kind of manifest we can read, best first.
const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// How many names are asked for at once.
const PAGE: usize = 1000;

/// Begins a blob's content anew.
pub(crate) type Opener<'b> = dyn Fn() -> io::Result<Box<dyn Read + 'b>> + 'b;

/// One repository of a registry.
pub(crate) struct Repository {
    http: Http,
    name: String,
    document_limit: u64,
}

/// Where an image can be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// Host and port.
    pub(crate) registry: String,
    /// The path within it.
    pub(crate) repository: String,
    /// Certificates are not checked, and plain HTTP will do.
    pub(crate) insecure: bool,
}

/// What is to be done there.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Access<'a> {
    Pull,
    /// And take blobs from these other repositories.
    Push(&'a [String]),
}

/// A manifest or a list, as the registry sent it.
pub(crate) struct Document {
    pub(crate) bytes: Vec<u8>,
    pub(crate) digest: Digest,
    pub(crate) media_type: String,
}

/// A part of a blob on its way.
pub(crate) struct Arriving {
    /// Where it starts: a registry may not know ranges.
    pub(crate) offset: u64,
    /// The bytes.
    pub(crate) body: Box<dyn Read + Send>,
}

/// Whether the registry takes our credentials.
pub(crate) fn check(registry: &str, options: &Options) -> Result<()> {
    let doing = || format!("logging in to {registry}");
    let http = Http::connect(registry, Vec::new(), options)?;
    let response = http.call(&Call::get("/v2/")).map_err(|e| e.while_doing(doing()))?;
    match response.status() {
        StatusCode::OK => Ok(()),
        status => {
            let said = http::errors_of(response);
            let error = Error::new(Kind::Unauthorized, doing(), format!("the registry answered {status}{said}"));
            Err(error.hint("check the name and the password"))
        }
    }
}

impl Repository {
    pub(crate) fn open(place: &Place, options: &Options, access: Access<'_>, document_limit: u64) -> Result<Self> {
        let scopes = match access {
            Access::Pull => vec![format!("repository:{}:pull", place.repository)],
            Access::Push(siblings) => {
                let siblings = siblings.iter().map(|name| format!("repository:{name}:pull"));
                std::iter::once(format!("repository:{}:pull,push", place.repository)).chain(siblings).collect()
            }
        };
        let options = Options { verify: options.verify && !place.insecure, ..options.clone() };
        let http = Http::connect(&place.registry, scopes, &options)?;
        Ok(Self { http, name: place.repository.clone(), document_limit })
    }

    /// The manifest or list that a tag or a digest names.
    pub(crate) fn manifest(&self, target: &str) -> Result<Document> {
        let path = format!("/v2/{}/manifests/{target}", self.name);
        let doing = || format!("asking {} for {}:{target}", self.http.registry(), self.name);
        let call = Call::get(&path).header("accept", ACCEPT);
        let (headers, bytes) = self.http.document(&call, self.document_limit, &doing)?;
        let text = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
        let media_type = text("content-type").unwrap_or_default();
        let claimed = text("docker-content-digest");
        let digest = Digest::of(&bytes);
        let wanted = target.parse::<Digest>().ok().or_else(|| claimed?.parse().ok());
        if wanted.is_some_and(|wanted| wanted != digest) {
            return Err(Error::new(
                Kind::BadInput,
                doing(),
                format!("the answer is {digest}, which was not asked for"),
            )
            .hint("the registry is broken or lies: nothing of it was kept"));
        }
        Ok(Document { media_type: media_type_of(&bytes, &media_type), bytes, digest })
    }

    /// All tags, page after page.
    pub(crate) fn tags(&self) -> Result<Vec<String>> {
        #[derive(serde::Deserialize)]
        struct Page {
            // distribution says `null` of a repository that lost its last one.
            tags: Option<Vec<String>>,
        }
        let doing = || format!("listing the tags of {} at {}", self.name, self.http.registry());
        let first = format!("/v2/{}/tags/list?n={PAGE}", self.name);
        let tags = self.http.pages(&first, self.document_limit, &doing, |page: Page| page.tags.unwrap_or_default())?;
        Ok(tags)
    }

    /// The blob of this digest from `offset` on.
    pub(crate) fn blob(&self, digest: &Digest, offset: u64) -> Result<Arriving> {
        let path = format!("/v2/{}/blobs/{digest}", self.name);
        let doing = || format!("asking {} for the blob {}", self.http.registry(), digest.short());
        let mut call = Call::get(&path);
        if offset > 0 {
            call = call.header("range", &format!("bytes={offset}-"));
        }
        let response = self.http.call(&call).map_err(|e| e.while_doing(doing()))?;
        let offset = match response.status() {
            StatusCode::PARTIAL_CONTENT if range_of(&response).is_some_and(|(from, _)| from == offset) => offset,
            // It sends all of it, or does not understand: from the start.
            StatusCode::OK => 0,
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE if offset > 0 => {
                return self.blob(digest, 0);
            }
            _ => return Err(self.http.refusal(response, &doing)),
        };
        Ok(Arriving { offset, body: Box::new(response.into_body().into_reader()) })
    }

    /// The bytes of this blob from `from` to before `to`; nothing from a registry that answers with anything else.
    pub(crate) fn range(&self, digest: &Digest, from: u64, to: u64) -> Result<Option<Box<dyn Read + Send>>> {
        let doing = || format!("asking {} for the blob {}", self.http.registry(), digest.short());
        let path = format!("/v2/{}/blobs/{digest}", self.name);
        let call = Call::get(&path).header("range", &format!("bytes={from}-{}", to.saturating_sub(1)));
        let response = self.http.call(&call).map_err(|e| e.while_doing(doing()))?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT if range_of(&response) == Some((from, to)) => {
                Ok(Some(Box::new(response.into_body().into_reader())))
            }
            StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => Ok(None),
            _ => Err(self.http.refusal(response, &doing)),
        }
    }

    /// Whether the registry has the manifest of this digest in this repository.
    pub(crate) fn has_manifest(&self, digest: &Digest) -> Result<bool> {
        let doing = || format!("asking {} for the manifest {}", self.http.registry(), digest.short());
        let path = format!("/v2/{}/manifests/{digest}", self.name);
        let response = self.http.call(&Call::new(Method::HEAD, &path).header("accept", ACCEPT));
        let response = response.map_err(|e| e.while_doing(doing()))?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(false),
            _ => self.http.expect(response, &[StatusCode::OK], &doing).map(|_| true),
        }
    }

    /// Whether the registry has this blob in this repository.
    pub(crate) fn has_blob(&self, digest: &Digest) -> Result<bool> {
        let doing = || format!("asking {} for the blob {}", self.http.registry(), digest.short());
        let call = Call::new(Method::HEAD, &format!("/v2/{}/blobs/{digest}", self.name));
        let response = self.http.call(&call).map_err(|e| e.while_doing(doing()))?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(false),
            _ => self.http.expect(response, &[StatusCode::OK], &doing).map(|_| true),
        }
    }

    /// Sends a blob, or has the registry take it from another of its repositories. Says whether it travelled.
    pub(crate) fn send_blob<'o>(
        &self,
        digest: &Digest,
        from: Option<&str>,
        size: u64,
        open: &'o Opener<'o>,
    ) -> Result<bool> {
        let doing = || format!("sending the blob {} to {}", digest.short(), self.http.registry());
        let mut tries = 0;
        loop {
            tries += 1;
            let (place, travelled) = match self.begin_upload(digest, from, &doing)? {
                Some(place) => (place, true),
                None => return Ok(false),
            };
            let separator = if place.contains('?') { '&' } else { '?' };
            let call = Call::new(Method::PUT, &format!("{place}{separator}digest={digest}"))
                .header("content-type", "application/octet-stream")
                .body(Sending::Stream(size, open));
            // Half a blob may have arrived: an upload that failed is begun anew, not repeated.
            let sent = self.http.call_once(&call).map_err(|e| e.while_doing(doing()));
            let good = [StatusCode::CREATED, StatusCode::NO_CONTENT];
            match sent.and_then(|response| self.http.expect(response, &good, &doing)) {
                Ok(_) => return Ok(travelled),
                Err(e) if e.kind() == Kind::Network && tries < self.http.retry().tries => {
                    self.http.retry().wait(tries, None);
                }
                Err(e) => return Err(e),
            }
        }
    }

    /// Where the registry wants a blob; nothing where it took it from another of its repositories.
    fn begin_upload(&self, digest: &Digest, from: Option<&str>, doing: &dyn Fn() -> String) -> Result<Option<String>> {
        let path = format!("/v2/{}/blobs/uploads/", self.name);
        let mount = from.map(|from| format!("?mount={digest}&from={from}")).unwrap_or_default();
        let call = Call::new(Method::POST, &format!("{path}{mount}"));
        let response = self.http.call(&call).map_err(|e| e.while_doing(doing()))?;
        if response.status() == StatusCode::CREATED {
            return Ok(None);
        }
        let response = self.http.expect(response, &[StatusCode::ACCEPTED], doing)?;
        let place = header(&response, "location")
            .ok_or_else(|| Error::new(Kind::Network, doing(), "the registry does not say where it wants it"))?;
        Ok(Some(address::resolve_location(&place, &path)))
    }

    /// Sends a manifest under a tag or a digest.
    pub(crate) fn send_manifest(&self, target: &str, media_type: &str, bytes: &[u8]) -> Result<()> {
        let doing = || format!("sending the manifest {}:{target} to {}", self.name, self.http.registry());
        let call = Call::new(Method::PUT, &format!("/v2/{}/manifests/{target}", self.name))
            .header("content-type", media_type)
            .body(Sending::Bytes(bytes));
        let response = self.http.call(&call).map_err(|e| e.while_doing(doing()))?;
        self.http.expect(response, &[StatusCode::CREATED, StatusCode::OK, StatusCode::ACCEPTED], &doing).map(drop)
    }
}

/// For the fuzz targets: an answer's header and body.
pub(crate) fn read_foreign(bytes: &[u8]) {
    auth::read_foreign(bytes);
}

/// For the fuzz targets: the line of a challenge, then a token server's answer.
pub(crate) fn read_foreign_login(bytes: &[u8]) {
    auth::read_foreign_login(bytes);
}

/// A header's text.
fn header(response: &Response<Body>, name: &str) -> Option<String> {
    Some(response.headers().get(name)?.to_str().ok()?.to_owned())
}

/// From where to before where the answer goes: `content-range: bytes 5-9/10`.
fn range_of(response: &Response<Body>) -> Option<(u64, u64)> {
    let range = header(response, "content-range")?;
    let (first, last) = range.strip_prefix("bytes ")?.split('/').next()?.split_once('-')?;
    Some((first.trim().parse().ok()?, last.trim().parse::<u64>().ok()?.checked_add(1)?))
}

/// The document's own `mediaType` is signed by its digest; the header is the registry's word.
pub(crate) fn media_type_of(bytes: &[u8], header: &str) -> String {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Typed {
        media_type: Option<String>,
    }
    let own = serde_json::from_slice::<Typed>(bytes).ok().and_then(|t| t.media_type);
    own.unwrap_or_else(|| header.split(';').next().unwrap_or_default().trim().to_owned())
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hit {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) stars: u64,
    pub(crate) official: bool,
}

/// A registry as a whole.
pub(crate) struct Catalog {
    http: Http,
    limit: u64,
}

impl Catalog {
    pub(crate) fn open(registry: &str, options: &Options, limit: u64) -> Result<Self> {
        Ok(Self { http: Http::connect(registry, vec!["registry:catalog:*".to_owned()], options)?, limit })
    }

    /// What the search API finds; nothing where there is none.
    pub(crate) fn search(&self, term: &str, count: usize) -> Result<Option<Vec<Hit>>> {
        #[derive(serde::Deserialize)]
        struct Answer {
            results: Vec<One>,
        }
        #[derive(serde::Deserialize)]
        #[serde(default)]
        #[derive(Default)]
        struct One {
            name: String,
            description: Option<String>,
            star_count: u64,
            is_official: bool,
        }
        let doing = || format!("searching {}", self.http.registry());
        let query = auth::form([("q", term), ("n", &count.to_string())]);
        // Docker's search lives beside its registry.
        let host = if self.http.registry() == http::HUB.0 { "https://index.docker.io" } else { "" };
        let call = Call::get(&format!("{host}/v1/search?{query}")).header("accept", "application/json");
        let (_, text) = match self.http.document(&call, self.limit, &doing) {
            Err(e) if matches!(e.kind(), Kind::NotFound) => return Ok(None),
            other => other?,
        };
        let answer: Answer = serde_json::from_slice(&text).doing(doing)?;
        let hit = |one: One| Hit {
            name: one.name,
            description: one.description.unwrap_or_default(),
            stars: one.star_count,
            official: one.is_official,
        };
        Ok(Some(answer.results.into_iter().take(count).map(hit).collect()))
    }

    /// The names of all repositories.
    pub(crate) fn repositories(&self) -> Result<Vec<String>> {
        #[derive(serde::Deserialize)]
        struct Page {
            repositories: Option<Vec<String>>,
        }
        let doing = || format!("listing the repositories of {}", self.http.registry());
        let first = format!("/v2/_catalog?n={PAGE}");
        self.http.pages(&first, self.limit, &doing, |page: Page| page.repositories.unwrap_or_default())
    }
}
