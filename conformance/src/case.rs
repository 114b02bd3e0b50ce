// SPDX-License-Identifier: Apache-2.0
//! What a case is: one sentence of a specification, a way to find out whether a runtime obeys it, and the lies that
//! must make it fail.

use serde_json::Value;

use crate::facts::Facts;
use crate::trial::{Ran, Trial};

/// Where a sentence was written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Document {
    Runtime,
    RuntimeLinux,
    Config,
    ConfigLinux,
    Features,
    FeaturesLinux,
    /// Not the runtime-spec: the command line of runc, on which container engines rely.
    CommandLine,
}

impl Document {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Document::Runtime => "runtime.md",
            Document::RuntimeLinux => "runtime-linux.md",
            Document::Config => "config.md",
            Document::ConfigLinux => "config-linux.md",
            Document::Features => "features.md",
            Document::FeaturesLinux => "features-linux.md",
            Document::CommandLine => "command line",
        }
    }
}

/// How strongly the sentence speaks (RFC 2119).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Must,
    Should,
}

impl Level {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Level::Must => "MUST",
            Level::Should => "SHOULD",
        }
    }
}

/// What the machine and the caller must have for a case to mean anything.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Need {
    /// Root, outside of a user namespace.
    Root,
    /// More ids than one: root, or a range from /etc/subuid.
    Ids,
    /// A controller in the cgroup2 tree at /sys/fs/cgroup.
    Controller(&'static str),
    /// A file or folder of the host.
    Path(&'static str),
    /// A program of the host.
    Program(&'static str),
    /// The runtime answers `features`.
    Features,
    /// A verb beyond those of the spec is in the runtime's `--help`.
    Verb(&'static str),
}

/// A lie. A case that stays green under one of its lies proves nothing.
#[derive(Clone, Copy)]
pub(crate) enum Mutation {
    /// The config is altered behind the runtime's back, after the case has written it.
    Config(fn(&mut Value)),
    /// The probe in the container tells something else than it saw.
    Facts(fn(&mut Facts)),
    /// The runtime's answer is altered: exit status and output.
    Ran(fn(&mut Ran)),
    /// The runtime says that it has done this verb, and has not.
    Skip(&'static str),
    /// The hooks' diary is altered.
    Diary(fn(&mut Vec<Value>)),
    /// What the kernel shows of the container from outside is altered: a file of /proc, of a cgroup or a mount table.
    Outside(fn(&mut String)),
}

impl Mutation {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Mutation::Config(_) => "config altered",
            Mutation::Facts(_) => "probe lies",
            Mutation::Ran(_) => "runtime's answer altered",
            Mutation::Skip(_) => "verb not performed",
            Mutation::Diary(_) => "hooks' diary altered",
            Mutation::Outside(_) => "view from outside altered",
        }
    }
}

/// Why a case came to no green end.
#[derive(Clone, Debug)]
pub(crate) enum Stop {
    /// The runtime did not do what the sentence says.
    Red(String),
    /// It could not be tried here.
    Skip(String),
}

pub(crate) type Judged<T> = Result<T, Stop>;

/// How to try it.
pub(crate) type Body = fn(&mut Trial<'_>) -> Judged<()>;

/// One sentence, tried.
pub(crate) struct Case {
    /// Unique in its document: `hostname`, `hooks-order`.
    pub(crate) key: &'static str,
    pub(crate) document: Document,
    pub(crate) section: &'static str,
    pub(crate) level: Level,
    /// The sentence.
    pub(crate) quote: &'static str,
    pub(crate) needs: &'static [Need],
    pub(crate) body: Body,
    pub(crate) mutations: &'static [Mutation],
}

impl Case {
    /// `config.md/hostname`
    pub(crate) fn name(&self) -> String {
        format!("{}/{}", self.document.name().replace(' ', "-"), self.key)
    }

    pub(crate) const fn needs(mut self, needs: &'static [Need]) -> Self {
        self.needs = needs;
        self
    }

    pub(crate) const fn should(mut self) -> Self {
        self.level = Level::Should;
        self
    }
}

/// A chapter writes its cases with this: the place once, then one call per sentence.
#[derive(Clone, Copy)]
pub(crate) struct Chapter {
    pub(crate) document: Document,
    pub(crate) section: &'static str,
}

impl Chapter {
    pub(crate) const fn new(document: Document, section: &'static str) -> Self {
        Self { document, section }
    }

    pub(crate) const fn says(
        self,
        key: &'static str,
        quote: &'static str,
        body: Body,
        mutations: &'static [Mutation],
    ) -> Case {
        let Self { document, section } = self;
        Case { key, document, section, level: Level::Must, quote, needs: &[], body, mutations }
    }
}

/// A red end unless `ok`.
pub(crate) fn ensure(ok: bool, otherwise: impl FnOnce() -> String) -> Judged<()> {
    if ok { Ok(()) } else { Err(Stop::Red(otherwise())) }
}

/// A red end that shows both worlds unless they are the same.
pub(crate) fn same<T: PartialEq<U> + std::fmt::Debug, U: std::fmt::Debug>(what: &str, got: T, wanted: U) -> Judged<()> {
    ensure(got == wanted, || format!("{what} is {got:?}, wanted {wanted:?}"))
}

/// The runtime accepts what it must refuse.
pub(crate) const CREATE_ACCEPTS: Mutation = Mutation::Ran(|ran| {
    if ran.verb == "create" {
        ran.code = 0;
    }
});
