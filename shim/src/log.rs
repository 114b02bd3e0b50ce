// SPDX-License-Identifier: Apache-2.0
//! The container's output on disk: Docker's json-file format, in files of bounded size.

use serde::Deserialize;
use std::borrow::Cow;

/// One line of `log`. What a program wrote without a line end is one `Line` too, once it is 16 KiB long or the
/// program has ended: a line is over only where `log` ends in `\n`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Line<'a> {
    /// The text; bytes that are not UTF-8 have become U+FFFD.
    #[serde(borrow)]
    pub log: Cow<'a, str>,
    /// `stdout` or `stderr`.
    #[serde(borrow)]
    pub stream: Cow<'a, str>,
    /// RFC 3339 with nanoseconds.
    #[serde(borrow)]
    pub time: Cow<'a, str>,
}
