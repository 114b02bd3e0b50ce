// SPDX-License-Identifier: Apache-2.0
//! Where measuring happens: a folder, the tools, who we are, and the loop that interleaves runs.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use crate::bundle::{self, Ids, Size};
use crate::error::{Doing, Result};
use crate::host::{self, Delegated, User};
use crate::report::{Report, Runs};
use crate::timing::{self, Line};
use crate::tools::{Runtime, Tools};

/// Runs before the measured ones, so that caches are warm for everybody.
const WARM_UP: usize = 3;

/// The folder to work in, when root has made it for the user: root can remove what the user's engines leave there.
pub(crate) const WORK: &str = "KELP_BENCH_WORK";

/// Everything a scenario needs.
pub(crate) struct Lab {
    pub(crate) work: PathBuf,
    /// States and sockets go where /run is on the machines of users: to a tmpfs.
    volatile: PathBuf,
    pub(crate) tools: Tools,
    pub(crate) runs: usize,
    /// How many containers the scenarios that need many of them make.
    pub(crate) many: usize,
    /// The unprivileged user: who we are, or as whom root may measure.
    pub(crate) user: Option<User>,
    delegated: Option<Delegated>,
}

/// Makes the command line for a container id.
type MakeLine<'a> = Box<dyn Fn(&str) -> Line + 'a>;

/// One program to be timed.
pub(crate) struct Subject<'a> {
    pub(crate) name: String,
    pub(crate) line: MakeLine<'a>,
    /// Cleans up after a run that failed.
    pub(crate) undo: Option<MakeLine<'a>>,
}

impl Lab {
    pub(crate) fn open(runs: usize, many: usize, user: Option<User>, programs: Option<&Path>) -> Result<Self> {
        // Short: sockets below it have paths of at most 107 bytes.
        let work = match std::env::var_os(WORK) {
            Some(given) => PathBuf::from(given),
            None => std::env::temp_dir().join(format!("kb-{}", std::process::id())),
        };
        fs::create_dir_all(&work).doing(|| format!("cannot make {}", work.display()))?;
        let tools = Tools::find(&work, programs)?;
        let volatile = match host::tmpfs() {
            Some(tmpfs) => tmpfs.join(format!("kb-{}", std::process::id())),
            None => work.join("v"),
        };
        fs::create_dir_all(&volatile).doing(|| format!("cannot make {}", volatile.display()))?;
        let mut me = Self { work, volatile, tools, runs, many, user, delegated: None };
        me.user_dir("home")?;
        me.make_for_user(&me.volatile.join("x"))?;
        let delegated = me.user.as_ref().filter(|_| host::is_root()).map(Delegated::make).transpose()?;
        me.delegated = delegated;
        Ok(me)
    }

    pub(crate) fn as_root(&self) -> bool {
        host::is_root()
    }

    pub(crate) fn errors(&self) -> PathBuf {
        self.work.join("stderr")
    }

    /// `line` as the user, who has a home and a runtime folder of his own here, so that nothing of his is touched.
    pub(crate) fn user_line(&self, mut line: Line) -> Line {
        for (key, folder) in [("HOME", self.work.join("home")), ("XDG_RUNTIME_DIR", self.volatile.join("x"))] {
            line.env.push((key.into(), folder.into()));
        }
        match (&self.user, &self.delegated) {
            (Some(user), Some(delegated)) => line.under(user.become_words(&delegated.session())),
            _ => line,
        }
    }

    /// A folder of this run that the user may write to.
    pub(crate) fn user_dir(&self, name: &str) -> Result<PathBuf> {
        let dir = self.work.join(name);
        self.make_for_user(&dir).map(|()| dir)
    }

    fn make_for_user(&self, dir: &Path) -> Result<()> {
        fs::create_dir_all(dir).doing(|| format!("cannot make {}", dir.display()))?;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700))
            .doing(|| format!("cannot close {}", dir.display()))?;
        if let (true, Some(user)) = (self.as_root(), &self.user) {
            chown(dir, Some(user.uid), Some(user.gid)).doing(|| format!("cannot give away {}", dir.display()))?;
        }
        Ok(())
    }

    pub(crate) fn bundle(&self, name: &str, ids: Ids, size: Size, args: &[&str]) -> Result<PathBuf> {
        bundle::make(&self.work.join(name), &self.tools.busybox, ids, size, args)
    }

    /// `RUNTIME --root STATE WORDS…`, started in `dir`.
    pub(crate) fn runtime(&self, runtime: &Runtime, dir: &Path, words: &[&str]) -> Line {
        let state = self.volatile.join("state").join(&runtime.name);
        let head = [runtime.path.as_os_str(), "--root".as_ref(), state.as_os_str()];
        Line::new(dir, head.into_iter().chain(words.iter().map(AsRef::as_ref)))
    }

    /// `run` of a bundle by one runtime.
    pub(crate) fn run_subject<'a>(&'a self, runtime: &'a Runtime, bundle: &'a Path) -> Subject<'a> {
        Subject {
            name: runtime.name.clone(),
            line: Box::new(move |id| self.runtime(runtime, bundle, &["run", id])),
            undo: Some(Box::new(move |id| self.runtime(runtime, bundle, &["delete", "-f", id]))),
        }
    }

    /// A B C A B C …: a noisy machine disturbs all alike. A subject that fails in every warm-up run is not tried again.
    pub(crate) fn interleave(&self, scenario: &str, subjects: &[Subject<'_>], report: &mut Report) -> Result<()> {
        let mut runs: Vec<Runs> = subjects.iter().map(|_| Runs::default()).collect();
        let mut hopeless = vec![0; subjects.len()];
        for n in 0..self.runs + WARM_UP {
            for (at, subject) in subjects.iter().enumerate() {
                if hopeless[at] == WARM_UP {
                    continue;
                }
                let id = format!("bench-{}-{}-{n}", std::process::id(), subject.name.replace(' ', "-"));
                let outcome = self.once(subject, &id)?;
                if n >= WARM_UP {
                    runs[at].push(outcome);
                } else if outcome.is_err() {
                    hopeless[at] += 1;
                    if hopeless[at] == WARM_UP {
                        runs[at].push(outcome);
                    }
                }
            }
        }
        for (subject, runs) in subjects.iter().zip(runs) {
            report.rows.push(runs.row(scenario, &subject.name, "ms"));
        }
        Ok(())
    }

    fn once(&self, subject: &Subject<'_>, id: &str) -> Result<std::result::Result<f64, String>> {
        let outcome = timing::time(&(subject.line)(id), &self.errors())?;
        if let (Err(_), Some(undo)) = (&outcome, &subject.undo) {
            timing::attempt(&undo(id), &self.work.join("undo"))?;
        }
        Ok(outcome)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.delegated = None;
        // Best effort: what is left behind is a folder in /tmp, and a panic here would hide the report.
        drop(fs::remove_dir_all(&self.volatile));
        drop(fs::remove_dir_all(&self.work));
    }
}
