// SPDX-License-Identifier: Apache-2.0
//! The names of everything that is done on the way from a bundle to a running program.
//!
//! One list serves error texts, failure injection in tests, the trace, and the table in docs.

use kelp_sys::rustix::io::Errno;

macro_rules! steps {
    ($($(#[doc = $doc:literal])+ $name:ident => $doing:literal,)+) => {
        /// A step of the container's life, in the order in which steps are first reached.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Step { $($(#[doc = $doc])+ $name,)+ }

        impl Step {
            /// Every step.
            pub const ALL: &'static [Step] = &[$(Step::$name,)+];

            /// The step's name, as failure injection and the trace spell it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Step::$name => stringify!($name),)+ }
            }

            /// What is being done, for an error text: “cannot …”.
            #[must_use]
            pub const fn doing(self) -> &'static str {
                match self { $(Step::$name => $doing,)+ }
            }
        }
    };
}

steps! {
    /// Runtime: take the container's id by making its state directory.
    ClaimId => "claim the container's id",
    /// Runtime: open the journal.
    OpenJournal => "open the journal",
    /// Runtime: make the cgroup and write its limits.
    MakeCgroup => "make the cgroup",
    /// Runtime: load and attach the device program.
    DeviceProgram => "attach the device program",
    /// Runtime: a class of service in resctrl.
    Resctrl => "make the class of service",
    /// Runtime: the socket pair to init.
    OpenChannel => "open the channel to init",
    /// Runtime: the socket on which init will wait for `start`.
    OpenGate => "open the start gate",
    /// Runtime: clone3.
    Clone => "clone a process into the container's namespaces",
    /// Helper: enter namespaces that are given by path, or a container's.
    JoinNamespaces => "join the namespace",
    /// Runtime: write uid_map and gid_map.
    WriteIdMaps => "map the ids of the user namespace",
    /// Init: a session of its own.
    Session => "open a session",
    /// Init: stdin, stdout, stderr.
    Stdio => "place stdin, stdout and stderr",
    /// Init: host and domain name.
    Hostname => "set the host name",
    /// Init: `lo` up.
    Loopback => "bring the loopback interface up",
    /// Init: cut the mounts off from the host's.
    Private => "cut the mounts off from the host's",
    /// Init: wait for the id maps.
    AwaitMaps => "wait for the id maps",
    /// Init: a time namespace with clocks of its own.
    TimeOffsets => "set the clocks of the time namespace",
    /// Init: become the root of the user namespace.
    BecomeRoot => "become root of the user namespace",
    /// Init: a session keyring of its own.
    Keyring => "join a new session keyring",
    /// Init: mount or bind the root file system.
    MountRoot => "mount the root file system",
    /// Init: one mount of the spec.
    Mount => "mount",
    /// Init: find or make the place of one mount below the root.
    MountTarget => "find the place to mount",
    /// Init: what a tmpfs takes over from the folder that it covers.
    CopyUp => "copy up to the mount",
    /// Init: attributes and propagation of one mount.
    MountAttributes => "set the attributes of the mount",
    /// Init: one device.
    Device => "make the device",
    /// Init: one symbolic link in /dev.
    DeviceLink => "make the link in /dev",
    /// Runtime: network devices of the host.
    NetDevices => "move the network devices",
    /// Runtime: prestart and createRuntime hooks.
    RuntimeHooks => "run the hook",
    /// Init: createContainer hooks.
    ContainerHooks => "run the createContainer hook",
    /// Init: the terminal.
    Console => "open the terminal",
    /// Init: pivot_root.
    Pivot => "make the root file system the root",
    /// Init: propagation of the new root.
    RootPropagation => "set the propagation of the root",
    /// Init: one sysctl.
    Sysctl => "set the sysctl",
    /// Init: one read-only path.
    ReadonlyPath => "make the path read-only",
    /// Init: one masked path.
    MaskPath => "mask the path",
    /// Init: the user's home folder, where the environment does not say it.
    Home => "find the user's home folder",
    /// Init: the working directory.
    WorkingDirectory => "enter the working directory",
    /// Init: a read-only root.
    ReadonlyRoot => "make the root read-only",
    /// Runtime: rlimits, oom_score_adj and priorities of init.
    ProcessLimits => "set the limits of the process",
    /// Runtime: compile the seccomp profile.
    CompileSeccomp => "compile the seccomp profile",
    /// Runtime: write the container's state.
    WriteState => "write the container's state",
    /// Init: wait for the runtime's part.
    AwaitRuntime => "wait for the runtime",
    /// Init: execution domain.
    Personality => "set the personality",
    /// Init: from which nodes memory comes.
    MemoryPolicy => "set the memory policy",
    /// Init: AppArmor or SELinux label of the program.
    Label => "set the security label",
    /// Init: user, groups.
    User => "become the user",
    /// Init: capability sets.
    Capabilities => "set the capabilities",
    /// Init: no_new_privs.
    NoNewPrivileges => "set no_new_privs",
    /// Init: look for the program.
    FindProgram => "find the program",
    /// Init: say that the container is created.
    Ready => "report that the container is created",
    /// Init: wait for `start`.
    Gate => "wait for start",
    /// Init: startContainer hooks.
    StartHooks => "run the startContainer hook",
    /// Init: load the seccomp filter.
    Seccomp => "load the seccomp filter",
    /// Init: hand the listener of the filter to the runtime.
    Listener => "hand the seccomp listener over",
    /// Init: execute the program.
    Execute => "execute the program",
    /// Runtime: publish the state as created; write the pid file.
    Publish => "publish the container",
    /// Delete: end the container's processes.
    EndProcesses => "end the container's processes",
    /// Delete: remove the cgroup, or the scope of systemd.
    RemoveCgroup => "remove the cgroup",
    /// Delete: remove the class of service.
    RemoveResctrl => "remove the class of service",
    /// Delete: remove the pid file.
    RemovePidFile => "remove the pid file",
    /// Delete: remove the container's state directory, after which nothing knows of it.
    RemoveState => "remove the container's state",
    /// Update: write limits.
    UpdateLimits => "change the limits",
}

impl Step {
    /// The step with this number, as a report carries it.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// Why a life ended before its time: the step, which of its objects (the fifth mount, …), and the kernel's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// What was being done.
    pub step: Step,
    /// To which one, where a step is done for several things.
    pub index: u32,
    /// Why it could not be done.
    pub errno: Errno,
}

/// Names the step in which an errno happened.
pub(crate) trait During<T> {
    fn during(self, step: Step) -> Result<T, Stop>;
    fn during_nth(self, step: Step, index: usize) -> Result<T, Stop>;
}

impl<T> During<T> for Result<T, Errno> {
    fn during(self, step: Step) -> Result<T, Stop> {
        self.map_err(|errno| Stop { step, index: 0, errno })
    }

    fn during_nth(self, step: Step, index: usize) -> Result<T, Stop> {
        self.map_err(|errno| Stop { step, index: u32::try_from(index).unwrap_or(u32::MAX), errno })
    }
}
