// SPDX-License-Identifier: Apache-2.0
//! The plan as text: what `kelp-runtime plan` prints and what tests compare.

use super::device::DeviceHowPlan;
use super::{Ids, Maps, MountPlan, Plan, ProcessPlan, WhatPlan};
use kelp_init::script::{Inherits, Setting};
use kelp_sys::clone::Namespaces;
use kelp_sys::mount::Reach;
use std::ffi::CStr;
use std::fmt::{Display, Formatter, Result};

const KINDS: [(Namespaces, &str); 8] = [
    (Namespaces::USER, "user"),
    (Namespaces::MOUNT, "mount"),
    (Namespaces::PID, "pid"),
    (Namespaces::NETWORK, "network"),
    (Namespaces::IPC, "ipc"),
    (Namespaces::UTS, "uts"),
    (Namespaces::CGROUP, "cgroup"),
    (Namespaces::TIME, "time"),
];

fn names(namespaces: Namespaces) -> String {
    let names: Vec<&str> = KINDS.iter().filter(|(kind, _)| namespaces.has(*kind)).map(|(_, name)| *name).collect();
    names.join(" ")
}

fn show(text: &CStr) -> std::borrow::Cow<'_, str> {
    text.to_string_lossy()
}

impl Display for Plan {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        writeln!(f, "container   {}", self.id)?;
        writeln!(f, "bundle      {}", self.bundle.display())?;
        writeln!(f, "new         {}", names(self.namespaces))?;
        for joined in &self.joins {
            writeln!(f, "join        {} {}", names(joined.namespace), show(&joined.path))?;
        }
        write_maps(f, &self.maps)?;
        for (word, name) in [("hostname", &self.hostname), ("domainname", &self.domainname), ("keyring", &self.keyring)]
        {
            if let Some(name) = name {
                writeln!(f, "{word:<11} {}", show(name))?;
            }
        }
        if let Some(offsets) = &self.time_offsets {
            writeln!(f, "clocks      {}", show(offsets).trim_end().replace('\n', ", "))?;
        }
        if let Some(rdt) = &self.intel_rdt {
            let monitor = rdt.monitor.as_ref().map_or_else(String::new, |name| format!(" monitored as {name}"));
            writeln!(f, "resctrl     class /{} {}{monitor}", rdt.class, rdt.schemata.join(" "))?;
        }
        for device in &self.net_devices {
            writeln!(f, "netdevice   {} as {}", device.host, device.name)?;
        }
        if self.loopback {
            writeln!(f, "loopback    up")?;
        }
        self.write_root(f)?;
        for mount in &self.mounts {
            write_mount(f, mount)?;
        }
        self.write_rest(f)
    }
}

impl Plan {
    fn write_root(&self, f: &mut Formatter<'_>) -> Result {
        let (propagation, reach) = self.root.propagation;
        let readonly = if self.root.readonly { " read-only" } else { "" };
        writeln!(f, "root        {} {propagation:?} {reach:?}{readonly}", show(&self.root.path))?;
        match &self.root.overlay {
            Some(overlay) => writeln!(f, "overlay     {}", show(&overlay.data)),
            None => Ok(()),
        }
    }

    fn write_rest(&self, f: &mut Formatter<'_>) -> Result {
        for device in &self.devices {
            match &device.how {
                DeviceHowPlan::Make { kind, mode, device: (major, minor), .. } => {
                    writeln!(f, "device      /{} {kind:?} {major}:{minor} {mode:o}", show(&device.path))?;
                }
                DeviceHowPlan::Bind { source } => {
                    writeln!(f, "device      /{} bind {}", show(&device.path), show(source))?
                }
            }
        }
        for (name, paths) in [("readonly", &self.readonly_paths), ("masked", &self.masked_paths)] {
            for path in paths {
                writeln!(f, "{name:<11} /{}", show(path))?;
            }
        }
        for (path, value) in &self.sysctls {
            writeln!(f, "sysctl      {} = {}", show(path), show(value))?;
        }
        self.write_process(f)
    }

    fn write_process(&self, f: &mut Formatter<'_>) -> Result {
        let process = &self.process;
        let groups = process.groups.as_ref().map_or("not settable".into(), |groups| format!("{groups:?}"));
        writeln!(f, "user        {}:{} groups {groups} umask {:03o}", process.uid, process.gid, process.umask)?;
        let sets = process.capabilities;
        writeln!(
            f,
            "capability  bounding {:x} effective {:x} permitted {:x} inheritable {:x} ambient {:x}",
            sets.bounding, sets.effective, sets.permitted, sets.inheritable, sets.ambient
        )?;
        for (file, text) in &process.labels {
            writeln!(f, "label       {} {}", show(file), show(text))?;
        }
        writeln!(f, "privileges  no_new_privs {} seccomp {}", process.no_new_privileges, process.seccomp)?;
        if let Some(agent) = &self.seccomp_agent {
            writeln!(f, "notifies    {} {:?}", agent.path.display(), agent.metadata.as_deref().unwrap_or_default())?;
        }
        for limit in &process.limits {
            writeln!(f, "limit       {} {:?} {:?}", limit.name, limit.value.current, limit.value.maximum)?;
        }
        write_priorities(f, process)?;
        writeln!(f, "cwd         {}", show(&process.cwd))?;
        for entry in &process.env {
            writeln!(f, "env         {}", show(entry))?;
        }
        if process.finds_home {
            writeln!(f, "env         HOME= of uid {} in /etc/passwd", process.uid)?;
        }
        let args: Vec<_> = process.argv.iter().map(|arg| format!("{:?}", show(arg))).collect();
        writeln!(f, "program     {}", args.join(" "))
    }
}

fn write_priorities(f: &mut Formatter<'_>, process: &ProcessPlan) -> Result {
    if let Some(s) = &process.priorities.scheduling {
        write!(f, "schedule    policy {} flags {:#x} nice {} priority {}", s.policy, s.flags, s.nice, s.priority)?;
        writeln!(f, " runtime {} deadline {} period {}", s.runtime, s.deadline, s.period)?;
    }
    if let Some((class, level)) = process.priorities.io {
        writeln!(f, "io          class {class} level {level}")?;
    }
    if let Some(policy) = &process.nature.memory_policy {
        writeln!(f, "memory      policy {:#x} nodes {:x?}", policy.mode, policy.nodes)?;
    }
    process.nature.personality.map_or(Ok(()), |persona| writeln!(f, "personality {persona:#x}"))
}

fn write_maps(f: &mut Formatter<'_>, maps: &Maps) -> Result {
    match maps {
        Maps::None => Ok(()),
        Maps::Own { uid, gid, .. } => writeln!(f, "ids         own uid {} gid {}", show(uid), show(gid)),
        Maps::Write { uid, gid } | Maps::Helpers { uid, gid } => {
            let how = if matches!(maps, Maps::Write { .. }) { "written" } else { "by newuidmap" };
            for (name, lines) in [("uid", uid), ("gid", gid)] {
                for line in lines {
                    writeln!(f, "ids         {how} {name} {} {} {}", line.inside, line.outside, line.count)?;
                }
            }
            Ok(())
        }
    }
}

fn word_of(reach: Reach) -> &'static str {
    if reach == Reach::Tree { "rbind" } else { "bind" }
}

fn write_ids(f: &mut Formatter<'_>, ids: &Ids, reach: Reach) -> Result {
    match ids {
        Ids::Maps { uid, gid } => {
            for (name, lines) in [("uid", uid), ("gid", gid)] {
                lines.iter().try_for_each(|l| write!(f, " {name} {} {} {}", l.inside, l.outside, l.count))?;
            }
        }
        Ids::Namespace(path) => write!(f, " ids of {}", show(path))?,
    }
    write!(f, " on the {}", if reach == Reach::Tree { "tree" } else { "mount" })
}

fn write_mount(f: &mut Formatter<'_>, mount: &MountPlan) -> Result {
    write!(f, "mount       /{} ", show(&mount.target))?;
    match &mount.what {
        WhatPlan::FileSystem { kind, source, flags, data, otherwise } => {
            write!(f, "{} from {} flags {flags:#x}", show(kind), show(source))?;
            if let Some(data) = data {
                write!(f, " {}", show(data))?;
            }
            if let Some((otherwise, _)) = otherwise {
                write!(f, " (else bind {})", show(otherwise))?;
            }
        }
        WhatPlan::Tmpfs { options, inherits } => {
            let inherited = if *inherits == Inherits::All { "copy" } else { "mode" };
            write!(f, "tmpfs with the {inherited} of what it covers")?;
            for (key, value) in options {
                write!(f, " {}", show(key))?;
                value.as_ref().map_or(Ok(()), |value| write!(f, "={}", show(value)))?;
            }
        }
        WhatPlan::Bind { source, reach, .. } => write!(f, "{} {}", word_of(*reach), show(source))?,
        WhatPlan::Prepared { source, reach, ids } => {
            write!(f, "{} {} taken by the runtime", word_of(*reach), show(source))?;
            ids.as_ref().map_or(Ok(()), |(ids, reach)| write_ids(f, ids, *reach))?;
        }
        WhatPlan::Remount { file_system } => match file_system {
            Some((flags, data)) => {
                write!(f, "remount flags {flags:#x} {}", show(data.as_deref().unwrap_or_default()))?;
            }
            None => write!(f, "remount")?,
        },
    }
    for (name, setting) in ["set", "tree"].iter().zip(mount.attributes) {
        if setting != Setting::default() {
            write!(f, " {name} +{:#x} -{:#x}", setting.set.0, setting.clear.0)?;
        }
    }
    for (propagation, reach) in &mount.propagation {
        write!(f, " {propagation:?} {reach:?}")?;
    }
    if mount.read_only_at_last {
        f.write_str(" read-only at last")?;
    }
    writeln!(f)
}
