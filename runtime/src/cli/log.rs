// SPDX-License-Identifier: Apache-2.0
//! `--log` and `--log-format`: lines that podman, docker and containerd parse. Errors go to stderr too.

use super::Global;
use super::output::complain;
use kelp_runtime::error::Doing;
use kelp_runtime::{Error, Result, visible};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::SystemTime;

/// Where messages go.
pub(crate) struct Log {
    file: Option<File>,
    json: bool,
}

pub(crate) fn is_json(format: &str) -> Result<bool> {
    match format {
        "json" => Ok(true),
        "text" => Ok(false),
        other => {
            let because = format!("invalid log-format: {other}: it is neither text nor json");
            Err(Error::bad_input(format!("cannot use --log-format {other:?}")).because(because))
        }
    }
}

impl Log {
    /// Opens the file.
    ///
    /// # Errors
    /// It cannot be opened: an engine would look in vain for what happened.
    pub(crate) fn open(global: &Global) -> Result<Self> {
        let open = |path: &PathBuf| {
            let opened = OpenOptions::new().create(true).append(true).mode(0o644).open(path);
            opened.doing(|| format!("cannot open the log {}", path.display()))
        };
        Ok(Self { file: global.log.as_ref().map(open).transpose()?, json: global.log_json })
    }

    /// A log of nothing but stderr.
    pub(crate) fn to_stderr(global: &Global) -> Self {
        Self { file: None, json: global.log_json }
    }

    /// An error: the long form on stderr, one line in the log.
    pub(crate) fn error(&self, error: &Error) {
        self.write("error", &error.to_string());
        match (&self.file, self.json) {
            (None, true) => complain(visible::text(&line("error", &error.to_string(), true))),
            _ => complain(visible::text(&format!("error: {error:#}"))),
        }
    }

    /// Something odd that stopped nobody.
    pub(crate) fn warn(&self, text: &str) {
        match self.file {
            Some(_) => self.write("warning", text),
            None => complain(visible::text(&format!("warning: {text}"))),
        }
    }

    /// What only `--debug` wants to know.
    pub(crate) fn debug(&self, text: &str) {
        match self.file {
            Some(_) => self.write("debug", text),
            None => complain(line("debug", text, self.json)),
        }
    }

    /// All of them; the exit status is 0 all the same.
    pub(crate) fn warn_all(&self, errors: &[Error]) -> u8 {
        errors.iter().for_each(|error| self.warn(&error.to_string()));
        0
    }

    fn write(&self, level: &str, text: &str) {
        let Some(mut file) = self.file.as_ref() else { return };
        if let Err(error) = file.write_all(format!("{}\n", line(level, text, self.json)).as_bytes()) {
            complain(format_args!("warning: cannot write the log: {error}"));
        }
    }
}

/// As logrus writes it, which is what the callers read.
fn line(level: &str, text: &str, json: bool) -> String {
    let time = humantime::format_rfc3339_seconds(SystemTime::now());
    if json {
        serde_json::json!({ "level": level, "msg": text, "time": time.to_string() }).to_string()
    } else {
        format!("time=\"{time}\" level={level} msg={text:?}")
    }
}
