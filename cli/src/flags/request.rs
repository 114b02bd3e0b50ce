// SPDX-License-Identifier: Apache-2.0
//! From flags to requests, field by field: what is missing on one side does not compile.

use super::{FileFlags, IsolationFlags, LifeFlags, LimitFlags, NetworkFlags, Options, ProcessFlags};
use crate::docker_config::DockerConfig;
use crate::platform;
use kelp_engine::caller::Caller;
use kelp_engine::error::Result;
use kelp_engine::request;

impl Options {
    /// What is asked for, with the platform and the proxies of Docker's settings where no flag sets them.
    pub(crate) fn request(&self, caller: &Caller) -> Result<request::Create> {
        let mut request = request::Create::from(self.clone());
        request.platform = platform::asked(self.platform.as_deref(), caller);
        let proxies = DockerConfig::read(caller)?.proxies(&request.process.env);
        request.process.env.extend(proxies);
        Ok(request)
    }
}

impl From<Options> for request::Create {
    fn from(options: Options) -> Self {
        let Options { image_and_command, name, interactive, tty, rm, cidfile, pull, platform, quiet, runtime, .. } =
            options;
        let mut words = image_and_command.into_iter();
        Self {
            image: words.next().unwrap_or_default(),
            command: words.collect(),
            name,
            interactive,
            tty,
            rm,
            cidfile,
            pull,
            platform,
            quiet,
            runtime,
            process: options.process.into(),
            files: options.files.into(),
            network: options.network.into(),
            isolation: options.isolation.into(),
            limits: options.limits.into(),
            life: options.life.into(),
        }
    }
}

impl From<ProcessFlags> for request::Process {
    fn from(flags: ProcessFlags) -> Self {
        let ProcessFlags {
            entrypoint,
            env,
            env_file,
            workdir,
            user,
            group_add,
            ulimit,
            label,
            label_file,
            init,
            annotation,
            oom_score_adj,
            ..
        } = flags;
        Self {
            entrypoint,
            env,
            env_file,
            workdir,
            user,
            group_add,
            ulimit,
            label,
            label_file,
            init,
            annotation,
            oom_score_adj,
        }
    }
}

impl From<FileFlags> for request::Files {
    fn from(flags: FileFlags) -> Self {
        let FileFlags { volume, mount, tmpfs, read_only, shm_size, device } = flags;
        Self { volume, mount, tmpfs, read_only, shm_size, device }
    }
}

impl From<NetworkFlags> for request::Networking {
    fn from(flags: NetworkFlags) -> Self {
        let NetworkFlags {
            network,
            publish,
            publish_all,
            expose,
            hostname,
            domainname,
            add_host,
            dns,
            dns_search,
            dns_option,
        } = flags;
        Self { network, publish, publish_all, expose, hostname, domainname, add_host, dns, dns_search, dns_option }
    }
}

impl From<IsolationFlags> for request::Isolation {
    fn from(flags: IsolationFlags) -> Self {
        let IsolationFlags { cap_add, cap_drop, privileged, security_opt, pid, ipc, uts, cgroupns, userns, sysctl } =
            flags;
        Self { cap_add, cap_drop, privileged, security_opt, pid, ipc, uts, cgroupns, userns, sysctl }
    }
}

impl From<LimitFlags> for request::Limits {
    fn from(flags: LimitFlags) -> Self {
        let LimitFlags {
            memory,
            memory_reservation,
            memory_swap,
            cpus,
            cpu_shares,
            cpu_period,
            cpu_quota,
            cpuset_cpus,
            cpuset_mems,
            pids_limit,
            cgroup_parent,
        } = flags;
        // Docker's empty text is “not said”.
        let said = |text: Option<String>| text.filter(|text| !text.is_empty());
        Self {
            memory,
            memory_reservation,
            memory_swap,
            cpus,
            cpu_shares,
            cpu_period,
            cpu_quota,
            cpuset_cpus: said(cpuset_cpus),
            cpuset_mems: said(cpuset_mems),
            pids_limit,
            cgroup_parent: said(cgroup_parent),
        }
    }
}

impl From<LifeFlags> for request::Life {
    fn from(flags: LifeFlags) -> Self {
        let LifeFlags { restart, stop_signal, stop_timeout, log_driver, log_opt } = flags;
        Self { restart, stop_signal, stop_timeout, log_driver, log_opt }
    }
}
