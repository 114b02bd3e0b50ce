// SPDX-License-Identifier: Apache-2.0
//! Docker's config.json of the caller, as far as the command line follows it: proxies of new containers, formats of lists.
//!
//! In DOCKER_CONFIG, else in ~/.docker. Logins are read by `kelp_bundles::login`.
//! <https://docs.docker.com/reference/cli/docker/#docker-cli-configuration-file-configjson-properties>

use crate::caller::Caller;
use crate::error::{Doing, Error, Kind, Result};
use serde_json::Value;
use std::io::ErrorKind;

/// The file. One that is not there is empty.
#[derive(Debug, Default)]
pub(crate) struct DockerConfig(Value);

/// The fields under `proxies`, and the variables that they become.
const PROXIES: [(&str, &str); 5] = [
    ("httpProxy", "HTTP_PROXY"),
    ("httpsProxy", "HTTPS_PROXY"),
    ("ftpProxy", "FTP_PROXY"),
    ("noProxy", "NO_PROXY"),
    ("allProxy", "ALL_PROXY"),
];

impl DockerConfig {
    /// Reads it.
    ///
    /// # Errors
    /// A file that cannot be read, or is no JSON.
    pub(crate) fn read(caller: &Caller) -> Result<Self> {
        let home = || caller.environment.path("HOME").map(|home| home.join(".docker"));
        let Some(folder) = caller.environment.path("DOCKER_CONFIG").or_else(home) else { return Ok(Self::default()) };
        let path = folder.join("config.json");
        let doing = || format!("cannot read {}", path.display());
        match std::fs::read(&path) {
            Ok(text) if text.trim_ascii().is_empty() => Ok(Self::default()),
            Ok(text) => {
                serde_json::from_slice(&text).map(Self).map_err(|error| Error::new(Kind::BadInput, doing(), error))
            }
            // A home that is another user's, as under sudo, is none.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
                Ok(Self::default())
            }
            Err(error) => Err(error).doing(doing),
        }
    }

    /// A text of the file, such as `psFormat` or `detachKeys`; an empty one counts as missing.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str().filter(|text| !text.is_empty())
    }

    /// The variables of `proxies.default` that `given`, the user's `-e`, does not set: each in capitals and small letters.
    pub(crate) fn proxies(&self, given: &[String]) -> Vec<String> {
        let is_given = |name: &str| given.iter().any(|entry| entry.split('=').next() == Some(name));
        let proxies = self.0.pointer("/proxies/default");
        let values = PROXIES.iter().filter_map(|(field, name)| Some((*name, proxies?.get(field)?.as_str()?)));
        let spelled = values.flat_map(|(name, value)| [(name.to_owned(), value), (name.to_ascii_lowercase(), value)]);
        spelled.filter(|(name, value)| !value.is_empty() && !is_given(name)).map(|(k, v)| format!("{k}={v}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn proxies_become_variables_unless_the_user_sets_them() {
        let config = DockerConfig(json!({ "proxies": { "default": { "httpProxy": "http://p:1", "noProxy": "a" } } }));
        let given = ["http_proxy=mine".to_owned(), "NO_PROXY".to_owned()];
        assert_eq!(config.proxies(&given), ["HTTP_PROXY=http://p:1", "no_proxy=a"]);
        assert!(DockerConfig::default().proxies(&[]).is_empty());
    }

    #[test]
    fn an_empty_text_is_missing() {
        let config = DockerConfig(json!({ "psFormat": "", "imagesFormat": "{{.ID}}", "statsFormat": 7 }));
        assert_eq!((config.text("psFormat"), config.text("imagesFormat")), (None, Some("{{.ID}}")));
        assert_eq!((config.text("statsFormat"), config.text("volumesFormat")), (None, None));
    }
}
