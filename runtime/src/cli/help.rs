// SPDX-License-Identifier: Apache-2.0
//! Help texts.

use kelp_runtime::{Error, Result};

pub(crate) const OVERVIEW: &str = "\
kelp-runtime: runs OCI bundles, as root or as an ordinary user

Usage: kelp-runtime [GLOBAL OPTIONS] COMMAND [OPTIONS] [OPERANDS]

  spec       write an example config.json
  plan       print what would be done with a bundle, and do nothing
  run        create and start a container, wait for it, delete it
  create     create a container: its program waits for start
  start      start the program of a created container
  exec       run another program in a running container
  state      print the state of a container
  kill       send a signal to a container
  update     change the limits of a container
  events     print what a container uses, and that its memory has run out
  checkpoint write a container's processes to files, with criu
  restore    make them anew from the files
  pause      stop all processes of a container where they are
  resume     let them go on
  delete     remove a stopped container
  list       list containers
  ps         list the processes of a container
  features   print what this runtime can do
  steps      list the steps of a container's life, which errors and traces name

Global options:
  --root DIR                where containers' states are kept
  --log FILE                write messages to FILE as well
  --log-format text|json    how
  --trace FILE              draw what was done when, in FILE: open it with https://ui.perfetto.dev
  --systemd-cgroup          have systemd make the cgroups
  --cgroup-manager NAME     cgroupfs, systemd, disabled
  --rootless auto|true|false  accepted as runc's; means nothing here
  --criu PATH               the program for checkpoint and restore
  --debug                   log what is asked for, too
  --version, --help

kelp-runtime COMMAND --help tells a command's options.
";

const CREATE: &str = "\
  -b, --bundle DIR           the bundle; the current directory by default
      --console-socket PATH  a socket that gets the terminal
      --pid-file FILE        gets the program's pid
      --pidfd-socket PATH    a socket that gets a pidfd of the program
      --preserve-fds N       pass N descriptors beyond 0, 1, 2
      --no-pivot             chroot instead of pivot_root
      --no-new-keyring       keep the session keyring
";

const RUN: &str = "\
  -d, --detach               do not wait
      --keep                 do not delete the container when it ends
      --no-subreaper         do not adopt orphans
";

const EXEC: &str = "\
  -p, --process FILE         the process as JSON, as in config.json
  -t, --tty                  a terminal
  -d, --detach               do not wait
  -e, --env NAME=VALUE       add to the environment
  -u, --user UID[:GID]       as this user
  -g, --additional-gids GID  and this group
      --cwd DIR              in this directory
  -c, --cap NAME             with this capability too
      --no-new-privs         set no_new_privs
      --apparmor PROFILE, --process-label LABEL
      --cgroup PATH          in this cgroup, which exists below the container's
      --console-socket PATH, --pidfd-socket PATH, --pid-file FILE, --preserve-fds N, --ignore-paused

The program gets our own standard streams, and whoever has them can read a terminal and rewrite a file behind them: give it
pipes or --tty where the container is not trusted. `kelp exec` does.
";

const UPDATE: &str = "\
  -r, --resources FILE|-     linux.resources as JSON; the other options do not count then
      --memory, --memory-reservation, --memory-swap BYTES (100m, 1g; -1: no limit; swap counts memory and swap together)
      --cpu-share N, --cpu-quota US, --cpu-period US, --cpu-burst US, --cpu-idle 0|1
      --cpuset-cpus LIST, --cpuset-mems LIST, --pids-limit N, --blkio-weight N
      --l3-cache-schema LINES, --mem-bw-schema LINE  shares of a container that has linux.intelRdt
";

const EVENTS: &str = "\
      --stats                print the statistics once, and end
      --interval DURATION    how often to print them: 5s, 1m30s
";

const CRIU: &str = "\
      --image-path DIR       the folder of criu's files; ./checkpoint by default
      --work-path DIR        the folder of criu's logs; that of the files by default
      --tcp-established, --ext-unix-sk, --shell-job, --file-locks, --auto-dedup, --empty-ns network
      --manage-cgroups-mode soft|full|strict|ignore
";

const DUMP: &str = "\
      --leave-running        let the container go on
      --pre-dump             memory only, and let it go on
      --parent-path DIR      the files of a pre-dump, relative to --image-path
      --page-server ADDRESS:PORT
      --link-remap, --tcp-skip-in-flight
";

const RESTORE: &str = "\
  -b, --bundle DIR           the bundle; the current directory by default
  -d, --detach               do not wait
      --console-socket PATH, --pid-file FILE, --no-subreaper
      --lsm-profile NAME, --lsm-mount-context CONTEXT
";

pub(crate) fn version() -> String {
    format!("kelp-runtime version {}\nspec: 1.3.0\n", env!("CARGO_PKG_VERSION"))
}

/// The help of one command.
pub(crate) fn of(verb: &str) -> Result<String> {
    let (usage, options) = match verb {
        "create" => ("create [OPTIONS] ID", CREATE.to_owned()),
        "run" => ("run [OPTIONS] ID", format!("{CREATE}{RUN}")),
        "exec" => ("exec [OPTIONS] ID [--] PROGRAM [ARG…]", EXEC.into()),
        "update" => ("update [OPTIONS] ID", UPDATE.into()),
        "events" => ("events [OPTIONS] ID", EVENTS.into()),
        "checkpoint" => ("checkpoint [OPTIONS] ID", format!("{CRIU}{DUMP}")),
        "restore" => ("restore [OPTIONS] ID", format!("{CRIU}{RESTORE}")),
        "kill" => ("kill [-a|--all] ID [SIGNAL]", String::new()),
        "delete" => ("delete [-f|--force] ID…", String::new()),
        "list" => ("list [-q|--quiet] [-f|--format table|json]", String::new()),
        "ps" => ("ps [-f|--format table|json] ID [OPTIONS OF ps]", String::new()),
        "spec" => ("spec [-b|--bundle DIR] [--rootless]", String::new()),
        "plan" => ("plan [BUNDLE]", String::new()),
        "start" | "state" | "pause" | "resume" => return Ok(format!("Usage: kelp-runtime {verb} ID\n")),
        "features" | "steps" => (verb, String::new()),
        "help" | "h" => return Ok(OVERVIEW.into()),
        other => return Err(unknown_command(other)),
    };
    let options = if options.is_empty() { options } else { format!("\nOptions:\n{options}") };
    Ok(format!("Usage: kelp-runtime {usage}\n{options}"))
}

pub(crate) fn unknown_command(name: &str) -> Error {
    Error::bad_input("cannot tell what to do")
        .because(format!("No help topic for '{name}': there is no such command"))
        .hint("kelp-runtime --help lists them")
}
