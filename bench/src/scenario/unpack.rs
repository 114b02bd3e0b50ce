// SPDX-License-Identifier: Apache-2.0
//! From an image in a folder to layers on disk: `kelp load` beside podman, umoci and containerd, and what any of them
//! must do at least: write the files (`tar -x`) and inflate.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::error::{Doing, Error, Result};
use crate::lab::Lab;
use crate::layer::{self, Shape};
use crate::report::{Report, Runs};
use crate::timing::{self, Line, output};
use crate::tools::in_path;

/// podman takes a minute for what tar does in five seconds.
const PATIENCE: Duration = Duration::from_secs(600);
/// Each run writes a gigabyte: a few say enough.
const RUNS: usize = 3;
/// The image's name in its layout.
const NAME: &str = "bench";
/// Images for `kelp images`.
const MANY: usize = 1000;

pub(super) fn one_layer(lab: &Lab, title: &str, report: &mut Report) -> Result<()> {
    compare(lab, title, &[Shape { files: 29_000, bytes: 991_000_000 }], report)
}

pub(super) fn twenty_layers(lab: &Lab, title: &str, report: &mut Report) -> Result<()> {
    compare(lab, title, &[Shape { files: 700, bytes: 20_000_000 }; 20], report)
}

/// The same by a user, whose files belong to a range of ids.
pub(super) fn rootless(lab: &Lab, title: &str, report: &mut Report) -> Result<()> {
    let source = Source::make(lab, &[Shape { files: 29_000, bytes: 991_000_000 }])?;
    let subjects = [tar(&source), kelp(lab, &source)?, podman(lab, &source)];
    let rows = interleave(lab, &subjects.into_iter().flatten().collect::<Vec<_>>(), &|line| lab.user_line(line));
    report.rows.extend(rows?.into_iter().map(|(name, runs)| runs.row(title, name, "ms")));
    Ok(())
}

/// `kelp images` with many of them.
pub(super) fn many_images(lab: &Lab, title: &str, report: &mut Report) -> Result<()> {
    let kelp = lab.tools.kelp.as_ref().ok_or_else(|| Error::new("cannot measure", "there is no kelp"))?;
    let (layout, store) = (lab.work.join("many"), lab.work.join("many-store"));
    layer::write_many(&layout, "localhost/bench", MANY)?;
    let line = |words: &[&std::ffi::OsStr]| {
        let head = [kelp.as_os_str(), "--root".as_ref(), store.as_os_str()];
        Line::new(&lab.work, head.iter().chain(words)).patient(PATIENCE)
    };
    timing::succeed(&line(&["load".as_ref(), "-q".as_ref(), layout.as_os_str()]), &lab.errors())?;
    let mut runs = Runs::default();
    for n in 0..lab.runs + 3 {
        let outcome = timing::time(&line(&["images".as_ref()]), &lab.errors())?;
        if n >= 3 {
            runs.push(outcome);
        }
    }
    report.rows.push(runs.row(title, "kelp", "ms"));
    remove(&layout)?;
    remove(&store)
}

/// The image, in the forms the programs want it.
struct Source {
    layout: PathBuf,
    /// The first layer's blob, and the plain tar in it.
    blob: PathBuf,
    plain: PathBuf,
    layers: usize,
}

impl Source {
    fn make(lab: &Lab, layers: &[Shape]) -> Result<Self> {
        need_room(lab, 25)?;
        let dir = lab.user_dir("unpack")?;
        let (layout, plain) = (dir.join("layout"), dir.join("plain.tar"));
        layer::write_layout(&layout, NAME, layers, Some(&plain))?;
        let blobs = fs::read_dir(layout.join("blobs/sha256")).doing(|| "cannot list blobs".into())?;
        let blobs = blobs.flatten().map(|e| (e.metadata().map_or(0, |m| m.len()), e.path()));
        let blob = blobs.max().map(|b| b.1).ok_or_else(|| Error::new("cannot measure", "there is no blob"))?;
        // Whoever reads it first must not pay for the disk.
        Command::new("sync").status().doing(|| "cannot sync".into())?;
        open_to_all(&dir)?;
        Ok(Self { layout, blob, plain, layers: layers.len() })
    }

    fn archive(&self) -> Result<PathBuf> {
        let path = self.layout.with_extension("tar");
        let doing = || format!("cannot write {}", path.display());
        if !path.exists() {
            let mut tar = tar::Builder::new(fs::File::create(&path).doing(doing)?);
            tar.append_dir_all("", &self.layout).doing(doing)?;
            tar.into_inner().doing(doing)?;
        }
        Ok(path)
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        // Best effort: what stays goes with the lab.
        drop(self.layout.parent().map(remove));
        drop(self.layout.parent().and_then(Path::parent).map(|work| remove(&work.join("unpacked"))));
    }
}

/// What root made, the user reads.
fn open_to_all(dir: &Path) -> Result<()> {
    let status = Command::new("chmod").args(["-R", "go+rX"]).arg(dir).status().doing(|| "cannot chmod".into())?;
    match status.success() {
        true => Ok(()),
        false => Err(Error::new("cannot open the image to all", status)),
    }
}

fn remove(path: &Path) -> Result<()> {
    let status = Command::new("rm").arg("-rf").arg(path).status().doing(|| "cannot start rm".into())?;
    match status.success() {
        true => Ok(()),
        false => Err(Error::new(format!("cannot remove {}", path.display()), status)),
    }
}

/// Starts a server for a folder.
type Serve<'a> = Box<dyn Fn(&Path) -> Result<Child> + 'a>;

/// A program that unpacks into a folder that is empty.
struct Unpacker<'a> {
    name: &'static str,
    line: Box<dyn Fn(&Path) -> Line + 'a>,
    /// What must run meanwhile.
    server: Option<Serve<'a>>,
}

fn alone<'a>(name: &'static str, line: impl Fn(&Path) -> Line + 'a) -> Option<Unpacker<'a>> {
    Some(Unpacker { name, line: Box::new(line), server: None })
}

fn words<const N: usize>(dir: &Path, words: [&std::ffi::OsStr; N]) -> Line {
    Line::new(dir, words).patient(PATIENCE)
}

fn tar(source: &Source) -> Option<Unpacker<'_>> {
    // The first layer stands for all, where they are alike.
    alone("tar -x", move |dir| match source.layers {
        1 => words(dir, ["tar".as_ref(), "-xf".as_ref(), source.plain.as_os_str()]),
        count => {
            let script = format!("for n in $(seq {count}); do mkdir $n && tar -xf \"$0\" -C $n; done");
            words(dir, ["sh".as_ref(), "-ec".as_ref(), script.as_ref(), source.plain.as_os_str()])
        }
    })
}

fn inflate(source: &Source) -> Result<Option<Unpacker<'_>>> {
    let me = std::env::current_exe().doing(|| "cannot find myself".into())?;
    Ok(alone("inflate", move |dir| {
        let mut line = words(dir, [me.as_os_str(), "inflate".as_ref()]);
        line.argv.extend(std::iter::repeat_n(source.blob.as_os_str().to_owned(), source.layers));
        line
    }))
}

fn kelp<'a>(lab: &'a Lab, source: &'a Source) -> Result<Option<Unpacker<'a>>> {
    let kelp = lab.tools.kelp.as_ref().ok_or_else(|| Error::new("cannot measure", "there is no kelp"))?;
    Ok(alone("kelp", move |dir| {
        let store = dir.join("store");
        let [root, load, quiet] = ["--root", "load", "-q"].map(AsRef::as_ref);
        words(dir, [kelp.as_os_str(), root, store.as_os_str(), load, quiet, source.layout.as_os_str()])
    }))
}

fn podman<'a>(lab: &'a Lab, source: &'a Source) -> Option<Unpacker<'a>> {
    let podman = lab.tools.podman.as_ref()?;
    alone("podman", move |dir| {
        let (root, run) = (dir.join("root"), dir.join("run"));
        let image = format!("oci:{}:{NAME}", source.layout.display());
        let [at, run_at, pull, quiet] = ["--root", "--runroot", "pull", "-q"].map(AsRef::as_ref);
        let image = image.as_ref();
        words(dir, [podman.as_os_str(), at, root.as_os_str(), run_at, run.as_os_str(), pull, quiet, image])
    })
}

fn umoci(source: &Source) -> Option<Unpacker<'_>> {
    let umoci = in_path("umoci")?;
    alone("umoci", move |dir| {
        let image = format!("{}:{NAME}", source.layout.display());
        let bundle = dir.join("bundle");
        let [unpack, flag] = ["unpack", "--image"].map(AsRef::as_ref);
        words(dir, [umoci.as_os_str(), unpack, flag, image.as_ref(), bundle.as_os_str()])
    })
}

fn containerd(source: &Source) -> Result<Option<Unpacker<'_>>> {
    let (Some(ctr), Some(daemon)) = (in_path("ctr"), in_path("containerd")) else { return Ok(None) };
    let archive = source.archive()?;
    let line = move |dir: &Path| {
        let [address, images, import, base] = ["-a", "images", "import", "--base-name"].map(AsRef::as_ref);
        let socket = dir.join("s");
        let name = "localhost/bench".as_ref();
        words(dir, [ctr.as_os_str(), address, socket.as_os_str(), images, import, base, name, archive.as_os_str()])
    };
    let server = move |dir: &Path| {
        let config = format!(
            "version = 2\nroot = '{0}/root'\nstate = '{0}/state'\ndisabled_plugins = ['io.containerd.grpc.v1.cri']\n\
             [grpc]\naddress = '{0}/s'\n",
            dir.display()
        );
        fs::write(dir.join("config.toml"), config).doing(|| "cannot write config.toml".into())?;
        let mut command = Command::new(&daemon);
        command.arg("--config").arg(dir.join("config.toml")).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().doing(|| "cannot start containerd".into())?;
        let until = Instant::now() + timing::PATIENCE;
        while !dir.join("s").exists() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(child)
    };
    Ok(Some(Unpacker { name: "containerd", line: Box::new(line), server: Some(Box::new(server)) }))
}

fn compare(lab: &Lab, title: &str, layers: &[Shape], report: &mut Report) -> Result<()> {
    let source = Source::make(lab, layers)?;
    let subjects = [
        tar(&source),
        inflate(&source)?,
        kelp(lab, &source)?,
        podman(lab, &source),
        umoci(&source),
        containerd(&source)?,
    ];
    let subjects: Vec<_> = subjects.into_iter().flatten().collect();
    let rows = interleave(lab, &subjects, &|line| line)?;
    report.rows.extend(rows.into_iter().map(|(name, runs)| runs.row(title, name, "ms")));
    let mut peak = Runs::default();
    if let Some(kelp) = subjects.iter().find(|s| s.name == "kelp") {
        peak.push(in_folder(lab, "peak", |dir| {
            let line = (kelp.line)(dir).under([&lab.tools.meter]);
            let said = output(&line, &lab.errors())?;
            let kib: Option<f64> = said.split_whitespace().last().and_then(|word| word.parse().ok());
            Ok(kib.map(|kib| kib * 1024.0 / 1e6).ok_or_else(|| format!("meter said {said:?}")))
        })?);
    }
    report.rows.push(peak.row(&format!("peak memory, {title}"), "kelp", "MB"));
    Ok(())
}

/// A B C A B C …, each in a folder of its own that nobody pays for.
fn interleave(lab: &Lab, subjects: &[Unpacker<'_>], who: &dyn Fn(Line) -> Line) -> Result<Vec<(&'static str, Runs)>> {
    let mut all: Vec<_> = subjects.iter().map(|s| (s.name, Runs::default())).collect();
    for _ in 0..lab.runs.min(RUNS) {
        for (subject, (name, runs)) in subjects.iter().zip(&mut all) {
            let outcome = in_folder(lab, name, |dir| {
                let mut server = subject.server.as_ref().map(|start| start(dir)).transpose()?;
                let outcome = timing::time(&who((subject.line)(dir)), &lab.errors())?;
                if let Some(server) = &mut server {
                    server.kill().and_then(|()| server.wait()).doing(|| format!("cannot end {name}'s server"))?;
                }
                Ok(outcome)
            })?;
            runs.push(outcome);
        }
    }
    Ok(all)
}

/// Runs in a folder of its own, which stays until the scenario ends: a file system that has just lost many files is slow
/// to make new ones (ext4 shuns their inodes for some time), and the next program must not pay for that.
fn in_folder<T>(lab: &Lab, name: &str, act: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let all = lab.user_dir("unpacked")?;
    let made = fs::read_dir(&all).doing(|| "cannot list a folder".into())?.count();
    let dir = lab.user_dir(&format!("unpacked/{}-{made}", name.replace(' ', "")))?;
    let result = act(&dir);
    // podman leaves its store mounted onto itself.
    drop(Command::new("umount").arg(dir.join("root/overlay")).stderr(Stdio::null()).status());
    Command::new("sync").status().doing(|| "cannot sync".into())?;
    result
}

/// Refuses a disk that cannot hold what all programs make.
fn need_room(lab: &Lab, gigabytes: u64) -> Result<()> {
    let disk = rustix::fs::statvfs(&lab.work).doing(|| "cannot look at the disk".into())?;
    match disk.f_bavail.saturating_mul(disk.f_frsize) / 1_000_000_000 {
        free if free < gigabytes => {
            Err(Error::new("cannot measure", format!("it takes {gigabytes} GB of disk, {free} are free")))
        }
        _ => Ok(()),
    }
}
