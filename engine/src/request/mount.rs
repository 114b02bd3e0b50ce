// SPDX-License-Identifier: Apache-2.0
//! What the user wants mounted: `-v`, `--mount`, `--tmpfs`. Reading only; `container::volumes` makes them real.

use serde::{Deserialize, Serialize};
use std::path::{Component, Path, PathBuf};

/// Where a mount's content comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// A path of the host.
    Host {
        /// Absolute, or relative to the caller's folder.
        path: PathBuf,
        /// `-v` makes a missing folder, `--mount` refuses.
        make: bool,
    },
    /// A volume of ours; made on first use.
    Volume(String),
    /// A volume without a name, removed with the container by `rm -v` and `--rm`.
    Anonymous,
    /// Memory.
    Tmpfs,
}

/// One wish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// From where.
    pub source: Source,
    /// To where in the container: absolute, without `..`.
    pub target: PathBuf,
    /// Not writable.
    pub read_only: bool,
    /// A volume's first use copies what the image has at `target`, unless `nocopy`.
    pub copy: bool,
    /// Further mount options: propagation, or tmpfs's own.
    pub options: Vec<String>,
}

const PROPAGATIONS: [&str; 6] = ["private", "rprivate", "shared", "rshared", "slave", "rslave"];

/// `-v [SOURCE:]TARGET[:OPTIONS]`.
pub fn volume(text: &str) -> Result<Wish, String> {
    let mut parts = text.split(':');
    let (source, target, options) = match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(target), None, ..) => (Source::Anonymous, target, ""),
        (Some(source), Some(target), options, None) => (named_or_host(source)?, target, options.unwrap_or("")),
        _ => return Err("expected [SOURCE:]TARGET[:OPTIONS]".to_owned()),
    };
    let target = place(target, &source)?;
    let mut wish = Wish { source, target, read_only: false, copy: true, options: Vec::new() };
    let options: Vec<&str> = if options.is_empty() { Vec::new() } else { options.split(',').collect() };
    if let Some(two) = contradiction(&options) {
        return Err(format!("invalid mode: {}; {two}", options.join(",")));
    }
    for option in &options {
        match *option {
            "ro" | "readonly" => wish.read_only = true,
            "rw" => wish.read_only = false,
            "nocopy" => wish.copy = false,
            // Docker relabels for SELinux here. Where SELinux is not enforced that is nothing to do, and Docker says nothing either.
            "z" | "Z" => {}
            "cached" | "delegated" | "consistent" => {}
            "U" => {
                return Err(
                    "U (change the owner of the source) is podman's; chown it, or use a named volume".to_owned()
                );
            }
            propagation if PROPAGATIONS.contains(&propagation) => wish.options.push(propagation.to_owned()),
            flag @ ("noexec" | "nosuid" | "nodev" | "exec" | "suid" | "dev") => wish.options.push(flag.to_owned()),
            "" => return Err(format!("invalid mode: {}; an option is empty", options.join(","))),
            other => return Err(format!("invalid mode: {}; {other} is not an option of a volume", options.join(","))),
        }
    }
    Ok(wish)
}

/// Options of which a mount has one, as Docker counts them.
const ONE_OF: [&[&str]; 7] = [
    &["ro", "readonly", "rw"],
    &["nocopy"],
    &["z", "Z"],
    &["cached", "delegated", "consistent"],
    &PROPAGATIONS,
    &["exec", "noexec"],
    &["suid", "nosuid"],
];

/// The sentence about two options that say something of the same thing.
fn contradiction(options: &[&str]) -> Option<String> {
    ONE_OF.iter().find_map(|known| match options.iter().filter(|option| known.contains(option)).collect::<Vec<_>>()[..]
    {
        [first, second, ..] => Some(format!("one of {first} and {second} is enough")),
        _ => None,
    })
}

fn named_or_host(source: &str) -> Result<Source, String> {
    if source.starts_with('~') {
        return Err("~ is a word of the shell, which expands it unless it is quoted; write $HOME".to_owned());
    }
    if source.starts_with('/') || source.starts_with('.') {
        return Ok(Source::Host { path: PathBuf::from(source), make: true });
    }
    volume_name(source).map(Source::Volume).map_err(|why| format!("{why}; a path starts with / or ./"))
}

/// A volume's name: `[a-zA-Z0-9][a-zA-Z0-9_.-]*`.
pub fn volume_name(name: &str) -> Result<String, String> {
    let mut chars = name.chars();
    let good = chars.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    if good { Ok(name.to_owned()) } else { Err(format!("{name:?} is not a name: use letters, digits, _ . -")) }
}

/// `--tmpfs TARGET[:OPTIONS]`.
pub fn tmpfs(text: &str) -> Result<Wish, String> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    let options = super::tmpfs::options(options)?;
    Ok(Wish { source: Source::Tmpfs, target: place(target, &Source::Tmpfs)?, read_only: false, copy: false, options })
}

/// `--mount type=…,source=…,target=…[,readonly][,…]`.
pub fn mount(text: &str) -> Result<Wish, String> {
    let mut fields = Fields::default();
    for field in text.split(',') {
        let (key, value) = field.split_once('=').map_or((field, None), |(key, value)| (key, Some(value)));
        fields.set(key, value)?;
    }
    fields.finish()
}

/// What one `--mount` said so far.
#[derive(Default)]
struct Fields<'a> {
    kind: Option<&'a str>,
    source: Option<&'a str>,
    target: Option<&'a str>,
    read_only: bool,
    no_copy: bool,
    options: Vec<String>,
    /// The type of mount that the fields said so far belong to, by the beginning of their names.
    belongs: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    fn set(&mut self, key: &'a str, value: Option<&'a str>) -> Result<(), String> {
        let truth = |value: Option<&str>| match value {
            None | Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(other) => Err(format!("invalid value for {key}: {other}; expected true or false")),
        };
        let kinds = ["bind", "volume", "tmpfs"].into_iter();
        self.belongs.extend(kinds.filter(|kind| key.strip_prefix(kind).is_some_and(|rest| rest.starts_with('-'))));
        match (key, value) {
            ("type", Some(kind)) => self.kind = Some(kind),
            ("source" | "src", Some(source)) => self.source = Some(source),
            ("target" | "destination" | "dst", Some(target)) => self.target = Some(target),
            ("readonly" | "ro", value) => self.read_only = truth(value)?,
            ("volume-nocopy", value) => self.no_copy = truth(value)?,
            ("bind-propagation", Some(value)) if PROPAGATIONS.contains(&value) => self.options.push(value.to_owned()),
            ("bind-propagation", Some(value)) => return Err(format!("invalid propagation mode: {value}")),
            ("tmpfs-size", Some(size)) => self.options.push(format!("size={}", super::size::bytes(size)?)),
            ("tmpfs-mode", Some(mode)) if super::tmpfs::is_mode(mode) => self.options.push(format!("mode={mode}")),
            ("tmpfs-mode", Some(mode)) => return Err(format!("invalid value for tmpfs-mode: {mode}")),
            ("consistency", Some("default" | "consistent" | "cached" | "delegated")) => {}
            ("consistency", Some(value)) => return Err(format!("invalid value for consistency: {value}")),
            (key, None) => return Err(format!("invalid field '{key}' must be a key=value pair")),
            (key, Some(value)) => return Err(format!("unexpected key '{key}' in '{key}={value}'")),
        }
        Ok(())
    }

    fn finish(self) -> Result<Wish, String> {
        let target = self.target.ok_or("target is required")?;
        let kind = self.kind.unwrap_or("volume");
        if let Some(other) = self.belongs.iter().find(|other| **other != kind) {
            return Err(format!("cannot mix '{other}-*' options with mount type '{kind}'"));
        }
        let source = match (kind, self.source) {
            ("bind", None | Some("")) => return Err("field Source must not be empty: source= is missing".to_owned()),
            ("bind", Some(path)) => Source::Host { path: path.into(), make: false },
            ("volume", Some(name)) => Source::Volume(volume_name(name)?),
            ("volume", None) => Source::Anonymous,
            ("tmpfs", None) => Source::Tmpfs,
            ("tmpfs", Some(_)) => return Err("a tmpfs has no source".to_owned()),
            (other, _) => return Err(format!("{other} is not a type of mount; bind, volume and tmpfs are")),
        };
        let target = place(target, &source)?;
        Ok(Wish { source, target, read_only: self.read_only, copy: !self.no_copy, options: self.options })
    }
}

/// Files of /proc that programs like lxcfs may replace: runc's list.
const OF_PROC: [&str; 11] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/net/dev",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/crypto/fips_enabled",
];

/// Where something of the user's may be mounted. A /proc that is none would hide from everybody who looks there what the
/// kernel says, security labels too (CVE-2019-19921); the host's own is one.
pub fn place(text: &str, source: &Source) -> Result<PathBuf, String> {
    let target = inside(text)?;
    let is_proc = matches!(source, Source::Host { path, .. } if path.starts_with("/proc"));
    match target.starts_with("/proc") && !is_proc && !OF_PROC.iter().any(|file| target == Path::new(file)) {
        true => Err(format!("{text:?} cannot be mounted because it is inside /proc")),
        false => Ok(target),
    }
}

/// A path inside a container: absolute, its `.` and `//` gone, `..` refused.
pub fn inside(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    if !path.is_absolute() {
        return Err(format!("{text:?} is not absolute; a path in the container starts with /"));
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(format!("{text:?} has .. in it"));
    }
    let clean: PathBuf = path.components().filter(|part| *part != Component::CurDir).collect();
    if clean == Path::new("/") { Err("nothing can be mounted over the container's /".to_owned()) } else { Ok(clean) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v_takes_a_path_a_name_or_nothing() {
        let wish = volume("/srv/data:/data:ro,rslave").unwrap();
        assert_eq!(wish.source, Source::Host { path: "/srv/data".into(), make: true });
        assert_eq!((wish.target.as_path(), wish.read_only), (Path::new("/data"), true));
        assert_eq!(wish.options, ["rslave"]);
        assert_eq!(volume("data:/data").unwrap().source, Source::Volume("data".to_owned()));
        assert_eq!(volume("/data").unwrap().source, Source::Anonymous);
        assert_eq!(volume("data:/data:Z").unwrap().options, [""; 0]);
    }

    #[test]
    fn v_refuses_what_it_cannot_do() {
        for text in ["a b:/data", "data:relative", "data:/", "data:/a/../b", "a:b:c:d", "data:/data:shiny", ""] {
            assert!(volume(text).is_err(), "{text}");
        }
        for mode in ["ro,rw", "ro,ro", "z,Z", "shared,private", "nocopy,nocopy", "exec,noexec", ",", "ro,", "shiny"] {
            assert!(volume(&format!("/a:/b:{mode}")).unwrap_err().contains("invalid mode: "), "{mode}");
        }
        for text in ["~/data:/data", "data:/proc", "/tmp:/proc/self", "/proc", "/tmp:/proc/../proc"] {
            assert!(volume(text).is_err(), "{text}");
        }
        assert!(tmpfs("/proc").unwrap_err().contains("inside /proc") && mount("target=/proc/sys").is_err());
        for text in ["/proc:/proc", "/proc:/host/proc", "/srv/cpuinfo:/proc/cpuinfo", "/tmp:/processes"] {
            assert!(volume(text).is_ok(), "{text}");
        }
        assert!(volume("/a:/b:").is_ok() && volume("/a:/b:ro,z,rslave,noexec,nosuid,nodev").is_ok());
    }

    #[test]
    fn mount_names_its_fields() {
        let wish = mount("type=bind,src=/srv,dst=/data,readonly").unwrap();
        assert_eq!(wish.source, Source::Host { path: "/srv".into(), make: false });
        assert!(wish.read_only);
        assert_eq!(mount("type=tmpfs,target=/t,tmpfs-size=1m").unwrap().options, ["size=1048576"]);
        assert!(mount("type=bind,dst=/x").is_err() && mount("type=npipe,dst=/x").is_err() && mount("src=v").is_err());
        for (fields, words) in [
            ("type=tmpfs,target=/x,tmpfs-mode=abc", "invalid value for tmpfs-mode: abc"),
            ("type=tmpfs,target=/x,tmpfs-mode=99999", "invalid value for tmpfs-mode"),
            ("type=tmpfs,target=/x,bind-propagation=shared", "cannot mix 'bind-*' options with mount type 'tmpfs'"),
            ("type=bind,source=/a,target=/x,tmpfs-size=5", "cannot mix 'tmpfs-*' options with mount type 'bind'"),
            ("type=bind,source=/a,target=/x,volume-nocopy", "cannot mix 'volume-*' options with mount type 'bind'"),
            ("type=bind,source=/a,target=/x,bind-propagation=foo", "invalid propagation mode: foo"),
            ("type=bind,source=,target=/x", "must not be empty"),
            ("type=volume,source=v,target=/x,consistency=foo", "invalid value for consistency: foo"),
            ("type", "invalid field 'type' must be a key=value pair"),
            ("type=tmpfs,target=/x,colour=red", "unexpected key 'colour' in 'colour=red'"),
        ] {
            assert!(mount(fields).unwrap_err().contains(words), "{fields}");
        }
    }
}
