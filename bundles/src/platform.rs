// SPDX-License-Identifier: Apache-2.0
//! Which machine an image is for, and which of a list fits this one.
//!
//! Spec: image-index.md "Platform Variants". Names are Go's: `linux/amd64`, `linux/arm64/v8`.

use std::fmt;
use std::fs;
use std::path::Path;
use std::str::FromStr;

use oci_spec::image::Descriptor;

use crate::error::{Error, Kind, Result};

/// Where the kernel shows interpreters of foreign programs.
const BINFMT: &str = "/proc/sys/fs/binfmt_misc";

/// An operating system, an architecture, and perhaps a variant of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// `v7`, `v8`, …
    pub variant: Option<String>,
    /// The highest variant that the processor has, where nobody asked for one. It chooses and is written nowhere.
    processor: Option<u32>,
}

impl Platform {
    /// This platform; an empty variant is none.
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let variant = variant.filter(|variant| !variant.is_empty()).map(Into::into);
        Self { os: os.into(), architecture: architecture.into(), variant, processor: None }
    }

    /// The machine we run on: it takes the best image that its processor can run.
    pub fn host() -> Self {
        let (architecture, variant) = go_name(std::env::consts::ARCH);
        Self { processor: processor_level(), ..Self::new("linux", architecture, variant) }
    }

    /// Whether programs for this run on this machine: by themselves, or because binfmt_misc(5) has an interpreter for them.
    pub fn runs_here(&self) -> bool {
        self.architecture.is_empty() || Self::host().accepts(self) || self.is_emulated(Path::new(BINFMT))
    }

    /// Whether an enabled interpreter is registered under the name that qemu's packages give it.
    fn is_emulated(&self, registered: &Path) -> bool {
        let name = match self.architecture.as_str() {
            "amd64" => "x86_64",
            "386" => "i386",
            "arm64" => "aarch64",
            "mips64le" => "mips64el",
            "loong64" => "loongarch64",
            same => same,
        };
        let enabled = |file: &str| fs::read_to_string(registered.join(file)).is_ok_and(|t| t.starts_with("enabled"));
        // A name comes from an image: one with a slash is no file of that folder.
        self.os == "linux" && !name.contains('/') && (enabled(&format!("qemu-{name}")) || enabled(name))
    }

    /// Whether an image for `offered` runs where `self` is wanted.
    pub fn accepts(&self, offered: &Self) -> bool {
        self.rank(offered).is_some()
    }

    /// How well `offered` fits: more is better, `None` is not at all.
    fn rank(&self, offered: &Self) -> Option<u32> {
        if self.os != offered.os || self.architecture != offered.architecture {
            return None;
        }
        let (wanted, offered) = (self.level(), offered.level());
        match (wanted, offered) {
            (Some(wanted), Some(offered)) if offered > wanted => None,
            (_, offered) => Some(offered.unwrap_or(0) + 1),
        }
    }

    /// The variant's number. A missing one is what this processor has, or what the architecture starts with.
    fn level(&self) -> Option<u32> {
        if self.variant.is_none() && self.processor.is_some() {
            return self.processor;
        }
        let default = match self.architecture.as_str() {
            "arm64" => Some("v8"),
            "arm" => Some("v7"),
            "amd64" => Some("v1"),
            _ => None,
        };
        let variant = self.variant.as_deref().filter(|v| !v.is_empty()).or(default)?;
        variant.strip_prefix('v').unwrap_or(variant).split('.').next()?.parse().ok()
    }

    /// The best of a list's entries. An entry that does not say its platform is not chosen.
    pub(crate) fn choose<'d>(&self, offers: &'d [Descriptor]) -> Option<&'d Descriptor> {
        let ranked = offers.iter().filter_map(|d| Some((self.rank(&Self::of(d)?)?, d)));
        // The first of equals wins, as in Docker.
        ranked.reduce(|best, next| if next.0 > best.0 { next } else { best }).map(|(_, d)| d)
    }

    /// What a list's entry says it is for.
    pub(crate) fn of(descriptor: &Descriptor) -> Option<Self> {
        let platform = descriptor.platform().as_ref()?;
        let (os, architecture) = (platform.os().to_string(), platform.architecture().to_string());
        Some(Self::new(&os, &architecture, platform.variant().as_deref()))
    }

    /// The error for an image that is for other machines only.
    pub(crate) fn mismatch(&self, name: &str, offered: &[Self]) -> Error {
        let mut offers: Vec<String> = offered.iter().map(ToString::to_string).collect();
        offers.dedup();
        let wanted = match offered.iter().any(|it| it.architecture == self.architecture) {
            true => self.with_level(),
            false => self.clone(),
        };
        Error::new(
            Kind::WrongPlatform,
            format!("choosing a platform of {name}"),
            format!("it is for {}, wanted is {wanted}", offers.join(", ")),
        )
        .hint(format!("take an image built for {wanted}, or name another platform with --platform"))
    }

    /// The same with the processor's variant spelled out, for people.
    fn with_level(&self) -> Self {
        let level = self.processor.filter(|_| self.variant.is_none()).map(|level| format!("v{level}"));
        Self { variant: self.variant.clone().or(level), ..self.clone() }
    }
}

/// Those that Linux and Go have.
const ARCHITECTURES: [&str; 14] = [
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le", "riscv64",
    "s390x", "sparc64",
];

/// The x86-64 level of this processor: the psABI's table of micro-architecture levels, which is containerd's `cpuVariant`.
#[cfg(target_arch = "x86_64")]
fn processor_level() -> Option<u32> {
    macro_rules! has {
        ($($feature:tt)+) => { $(std::arch::is_x86_feature_detected!($feature))&&+ };
    }
    let v2 = has!("sse3" "ssse3" "sse4.1" "sse4.2" "popcnt" "cmpxchg16b");
    let v3 = v2 && has!("avx" "avx2" "bmi1" "bmi2" "f16c" "fma" "lzcnt" "movbe");
    let v4 = v3 && has!("avx512f" "avx512bw" "avx512cd" "avx512dq" "avx512vl");
    Some(1 + u32::from(v2) + u32::from(v3) + u32::from(v4))
}

/// Other architectures' variants are told by their names alone.
#[cfg(not(target_arch = "x86_64"))]
fn processor_level() -> Option<u32> {
    None
}

/// Go's name for the architecture that Rust, or another, calls `arch`.
fn go_name(arch: &str) -> (&str, Option<&str>) {
    match arch {
        "x86_64" | "x86-64" => ("amd64", None),
        "x86" | "i386" => ("386", None),
        "armhf" => ("arm", Some("v7")),
        "armel" => ("arm", Some("v6")),
        "aarch64" => ("arm64", None),
        "arm" => ("arm", Some("v7")),
        "powerpc64" if cfg!(target_endian = "little") => ("ppc64le", None),
        "loongarch64" => ("loong64", None),
        other => (other, None),
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match self.variant.as_deref() {
            Some(variant) if !variant.is_empty() => write!(f, "/{variant}"),
            _ => Ok(()),
        }
    }
}

impl FromStr for Platform {
    type Err = Error;

    /// `os/arch[/variant]`, or an `arch` or `os` alone that is known: as containerd reads it.
    fn from_str(text: &str) -> Result<Self> {
        let bad = |because: &str| {
            let error = Error::new(Kind::BadInput, format!("reading the platform {text:?}"), because);
            error.hint("for example linux/arm64")
        };
        let lower = text.to_ascii_lowercase();
        let parts: Vec<&str> = lower.split('/').collect();
        let host = Self::host();
        let (os, arch, variant) = match parts[..] {
            ["linux"] => ("linux", host.architecture.as_str(), host.variant.as_deref()),
            [arch] if ARCHITECTURES.contains(&go_name(arch).0) => ("linux", arch, None),
            [_] => return Err(bad("it is neither an architecture nor an operating system")),
            [os, arch] => (os, arch, None),
            [os, arch, variant] => (os, arch, Some(variant)),
            _ => ("", "", None),
        };
        let is_word = |part: &&str| part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
        if os.is_empty() || arch.is_empty() || !parts.iter().all(is_word) {
            return Err(bad("it is not os/arch[/variant]"));
        }
        let (arch, implied) = go_name(arch);
        Ok(Self::new(os, arch, variant.or(implied)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::digest::Digest;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn an_enabled_interpreter_runs_foreign_programs() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("qemu-s390x"), "enabled\ninterpreter /usr/bin/qemu-s390x\n").unwrap();
        fs::write(dir.path().join("qemu-aarch64"), "disabled\n").unwrap();
        assert!(platform("linux/s390x").is_emulated(dir.path()));
        assert!(!platform("linux/arm64").is_emulated(dir.path()));
        assert!(!platform("linux/riscv64").is_emulated(dir.path()));
        assert!(Platform::host().runs_here());
    }

    fn processor(level: u32) -> Platform {
        Platform { processor: Some(level), ..platform("linux/amd64") }
    }

    fn offer(variant: Option<&str>) -> Descriptor {
        let platform = json!({ "os": "linux", "architecture": "amd64", "variant": variant });
        let digest = Digest::of(variant.unwrap_or_default().as_bytes()).to_string();
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        serde_json::from_value(json!({ "mediaType": media_type, "digest": digest, "size": 1, "platform": platform }))
            .unwrap()
    }

    #[test]
    fn a_processor_takes_the_best_variant_that_it_can_run() {
        let offers = [None, Some("v2"), Some("v3"), Some("v4")].map(offer);
        let taken = |wanted: &Platform| Platform::of(wanted.choose(&offers).unwrap()).unwrap().variant;
        assert_eq!(taken(&processor(1)), None);
        assert_eq!(taken(&processor(2)).as_deref(), Some("v2"));
        assert_eq!(taken(&processor(3)).as_deref(), Some("v3"));
        assert_eq!(taken(&processor(4)).as_deref(), Some("v4"));
        assert_eq!(taken(&platform("linux/amd64")), None, "who asks for amd64 gets what runs on every one");
        assert_eq!(taken(&platform("linux/amd64/v2")).as_deref(), Some("v2"));
        assert_eq!(processor(1).choose(&offers[2..]), None);
    }

    #[test]
    fn the_level_of_the_processor_is_only_written_into_errors() {
        assert_eq!(processor(3).to_string(), "linux/amd64");
        assert_eq!(processor(3).variant, None);
        let text = |offered: &str| processor(3).mismatch("app", &[platform(offered)]).to_string();
        assert!(text("linux/amd64/v4").contains("linux/amd64/v3"), "{}", text("linux/amd64/v4"));
        assert!(!text("linux/arm64").contains("v3"), "{}", text("linux/arm64"));
    }

    #[test]
    fn a_lower_variant_runs_on_a_higher_machine_only() {
        assert!(platform("linux/arm/v7").accepts(&platform("linux/arm/v6")));
        assert!(!platform("linux/arm/v6").accepts(&platform("linux/arm/v7")));
        assert!(platform("linux/arm64").accepts(&platform("linux/arm64/v8")));
        assert!(platform("linux/amd64").accepts(&platform("amd64")));
        assert!(!platform("linux/amd64").accepts(&platform("linux/amd64/v3")));
        assert!(!platform("linux/amd64").accepts(&platform("windows/amd64")));
        assert_eq!(platform("aarch64").to_string(), "linux/arm64");
        assert_eq!(platform("Linux/x86-64").to_string(), "linux/amd64");
        assert_eq!(platform("linux").to_string(), Platform::host().to_string());
        for text in ["a/b/c/d", "foo", "", "linux/", "linux/a m", "/amd64"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }
}
