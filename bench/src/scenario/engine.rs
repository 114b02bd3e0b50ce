// SPDX-License-Identifier: Apache-2.0
//! What people type: `kelp run` beside `podman run`, rootless and warm, and what stays in memory afterwards.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::image;
use crate::lab::{Lab, Subject};
use crate::report::{Curve, Report, Runs};
use crate::timing::{Line, attempt, output, succeed};

/// How many detached containers are looked at.
const COUNTS: [usize; 4] = [1, 5, 10, 20];

/// An engine with Docker's command line, and the options without which it cannot run outside of a login session.
struct Engine<'a> {
    name: &'static str,
    path: &'a Path,
    options: &'static [&'static str],
}

impl Engine<'_> {
    fn line(&self, lab: &Lab, dir: &Path, words: &[&str]) -> Line {
        let head = std::iter::once(self.path.as_os_str());
        let words = self.options.iter().chain(words).map(AsRef::as_ref);
        lab.user_line(Line::new(dir, head.chain(words)))
    }
}

fn engines(lab: &Lab) -> Vec<Engine<'_>> {
    let podman = ["--cgroup-manager=cgroupfs", "--events-backend=file"].as_slice();
    let all = [("kelp", &lab.tools.kelp, [].as_slice()), ("podman", &lab.tools.podman, podman)];
    all.into_iter().filter_map(|(name, path, options)| Some(Engine { name, path: path.as_deref()?, options })).collect()
}

/// Engines that have loaded the image; the others are left out with their reason.
fn loaded<'a>(lab: &'a Lab, title: &str, dir: &Path, report: &mut Report) -> Result<Vec<Engine<'a>>> {
    let archive = dir.join("image.tar");
    image::write(&archive, &lab.work.join("image"), &lab.tools.busybox)?;
    let mut ready = Vec::new();
    for engine in engines(lab) {
        let archive = archive.to_string_lossy();
        match output(&engine.line(lab, dir, &["load", "-q", "-i", &archive]), &lab.errors()) {
            Ok(_) => ready.push(engine),
            Err(e) => report.left_out.push(format!("{title}: {}: load: {}", engine.name, e.because())),
        }
    }
    if ready.is_empty() {
        return Err(Error::new("cannot measure", "no engine could load the image"));
    }
    Ok(ready)
}

/// Without a network: what the engines themselves take.
pub(super) fn alone(lab: &Lab, title: &str, report: &mut Report) -> Result<()> {
    run_rm(lab, title, &["--network", "none"], report)
}

/// With the network that each gives a user who asks for none.
pub(super) fn networked(lab: &Lab, title: &str, report: &mut Report) -> Result<()> {
    run_rm(lab, title, &[], report)
}

fn run_rm(lab: &Lab, title: &str, network: &[&str], report: &mut Report) -> Result<()> {
    let dir = lab.user_dir("engine")?;
    let ready = loaded(lab, title, &dir, report)?;
    let words = [&["run", "--rm"], network, &[image::NAME, "/bin/true"]].concat();
    let subjects: Vec<_> = ready
        .iter()
        .map(|engine| Subject {
            name: engine.name.into(),
            line: Box::new(|_| engine.line(lab, &dir, &words)),
            undo: None,
        })
        .collect();
    lab.interleave(title, &subjects, report)
}

pub(super) fn resident(lab: &Lab, title: &str, report: &mut Report) -> Result<()> {
    let dir = lab.user_dir("resident")?;
    for engine in loaded(lab, title, &dir, report)? {
        let mut names = Vec::new();
        let points = grow(lab, &engine, &dir, &mut names);
        for name in &names {
            // Killed first: podman's `rm -f` gives a program ten seconds to end by itself.
            attempt(&engine.line(lab, &dir, &["kill", name]), &lab.work.join("undo"))?;
            attempt(&engine.line(lab, &dir, &["rm", "-f", name]), &lab.work.join("undo"))?;
        }
        let mut runs = Runs::default();
        match points {
            Ok(points) => {
                let last = points.last().ok_or("nothing was measured".to_owned());
                runs.push(last.map(|(count, megabytes)| megabytes / count));
                report.curves.push(Curve {
                    scenario: "resident memory against detached containers".into(),
                    subject: engine.name.into(),
                    x: "detached containers".into(),
                    y: "PSS of everything but the program, MB".into(),
                    points,
                });
            }
            Err(e) => runs.push(Err(e.because().to_owned())),
        }
        report.rows.push(runs.row(title, engine.name, "MB"));
    }
    Ok(())
}

/// Starts detached containers; after some of them, what they keep resident in all.
fn grow(lab: &Lab, engine: &Engine<'_>, dir: &Path, names: &mut Vec<String>) -> Result<Vec<(f64, f64)>> {
    let uid = lab.user.as_ref().map(|u| u.uid).ok_or_else(|| Error::new("cannot measure", "there is no user"))?;
    let before = pids_of(uid);
    let mut points = Vec::new();
    for count in COUNTS {
        while names.len() < count {
            let name = format!("bench-{}-{}", std::process::id(), names.len());
            let words = ["run", "-d", "--network", "none", "--name", &name, image::NAME, "/bin/sleep", "100000"];
            succeed(&engine.line(lab, dir, &words), &lab.errors())?;
            names.push(name);
        }
        sleep(Duration::from_millis(500));
        let pids: Vec<_> = pids_of(uid).difference(&before).copied().collect();
        let kib = pids.into_iter().filter_map(|pid| pss_unless_program(pid).transpose()).sum::<Result<u64>>()?;
        #[expect(clippy::cast_precision_loss, reason = "no machine has 2^52 KiB")]
        points.push((count as f64, kib as f64 * 1024.0 / 1e6));
    }
    Ok(points)
}

fn pids_of(uid: u32) -> BTreeSet<u32> {
    let Ok(all) = fs::read_dir("/proc") else { return BTreeSet::new() };
    let mine = all.flatten().filter(|e| e.metadata().is_ok_and(|m| m.uid() == uid || m.uid() == 0));
    let mine = mine.filter(|e| real_uid(&e.path()) == Some(uid));
    mine.filter_map(|e| e.file_name().to_str()?.parse().ok()).collect()
}

/// A process that is not dumpable belongs to root in /proc, whoever runs it.
fn real_uid(process: &Path) -> Option<u32> {
    let status = fs::read_to_string(process.join("status")).ok()?;
    status.lines().find_map(|l| l.strip_prefix("Uid:"))?.split_whitespace().next()?.parse().ok()
}

/// KiB; `None` for the container's own program (busybox), and for a process that has ended.
fn pss_unless_program(pid: u32) -> Result<Option<u64>> {
    let process = format!("/proc/{pid}");
    let Ok(name) = fs::read_to_string(format!("{process}/comm")) else { return Ok(None) };
    if name.trim() == "sleep" {
        return Ok(None);
    }
    let rollup = fs::read_to_string(format!("{process}/smaps_rollup"))
        .map_err(|e| Error::new("cannot measure", format!("smaps_rollup of {} ({pid}): {e}", name.trim())))?;
    let pss = rollup.lines().find_map(|l| l.strip_prefix("Pss:"));
    Ok(pss.and_then(|v| v.trim().trim_end_matches(" kB").parse().ok()))
}
