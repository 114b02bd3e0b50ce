// SPDX-License-Identifier: Apache-2.0
//! What an image's config, and what a person says on the command line, make of a process: Docker's rules.
//!
//! Spec: image-spec conversion.md.

use std::collections::{BTreeMap, HashMap};

use crate::config::{ImageConfig, RunConfig};
use crate::error::{Error, Kind, Result};
use crate::stack::LayerStack;
use crate::user::{self, User};

/// Docker's PATH where the image has none.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a person says on the command line. Empty means: as the image says.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--entrypoint`; one empty word takes the image's away.
    pub entrypoint: Option<Vec<String>>,
    /// The words after the image.
    pub cmd: Vec<String>,
    /// `-e NAME=value`; a bare `NAME` takes the variable away.
    pub env: Vec<String>,
    /// `-u`.
    pub user: Option<String>,
    /// `-w`.
    pub workdir: Option<String>,
    /// `--group-add`: names or numbers.
    pub groups: Vec<String>,
}

/// A process, as the runtime spec wants it, and what else the image says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults {
    /// The program and its arguments.
    pub args: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Where it starts. It may be missing in the image: Docker makes it then.
    pub cwd: String,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// All groups, the first one included.
    pub additional_gids: Vec<u32>,
    /// How it wants to be stopped: a name or a number.
    pub stop_signal: Option<String>,
    /// Folders with data of their own.
    pub volumes: Vec<String>,
    /// `80/tcp`.
    pub exposed_ports: Vec<String>,
    /// The image's labels.
    pub labels: BTreeMap<String, String>,
}

/// Combines image and command line.
///
/// # Errors
/// There is nothing to run; the image has no such user; the working folder is not absolute.
pub fn defaults(config: &ImageConfig, layers: &LayerStack, overrides: &Overrides) -> Result<Defaults> {
    let run = config.run();
    let wanted = overrides.user.as_deref().or(run.user.as_deref()).unwrap_or_default();
    let mut user = user::find(wanted, layers)?;
    for group in &overrides.groups {
        let gid = user::group(group, layers)?;
        if !user.additional_gids.contains(&gid) {
            user.additional_gids.push(gid);
        }
    }
    let keys =
        |map: Option<BTreeMap<String, serde_json::Value>>| map.map(|m| m.into_keys().collect()).unwrap_or_default();
    Ok(Defaults {
        args: args(&run, overrides)?,
        env: env(&run, overrides, &user),
        cwd: cwd(&run, overrides)?,
        uid: user.uid,
        gid: user.gid,
        additional_gids: user.additional_gids,
        stop_signal: run.stop_signal.filter(|s| !s.is_empty()),
        volumes: keys(run.volumes),
        exposed_ports: keys(run.exposed_ports),
        labels: run.labels.unwrap_or_default(),
    })
}

/// ENTRYPOINT then CMD. Words on the command line replace CMD; `--entrypoint` replaces both.
fn args(run: &RunConfig, overrides: &Overrides) -> Result<Vec<String>> {
    let (entrypoint, cmd) = match &overrides.entrypoint {
        Some(entrypoint) => (Some(entrypoint.clone()), overrides.cmd.clone()),
        None if overrides.cmd.is_empty() => (run.entrypoint.clone(), run.cmd.clone().unwrap_or_default()),
        None => (run.entrypoint.clone(), overrides.cmd.clone()),
    };
    // One empty word is how `--entrypoint ""` arrives.
    let entrypoint = entrypoint.filter(|words| words.len() != 1 || !words[0].is_empty()).unwrap_or_default();
    let args = [entrypoint, cmd].concat();
    if args.is_empty() {
        return Err(Error::new(
            Kind::BadInput,
            "choosing the program to run",
            "the image names none, and you named none",
        )
        .hint("write a program after the image's name"));
    }
    Ok(args)
}

/// The image's variables, replaced by name; PATH and HOME where nobody set them. An image may have very many.
fn env(run: &RunConfig, overrides: &Overrides, user: &User) -> Vec<String> {
    let mut env = vec![Some(PATH)];
    let mut places = HashMap::from([("PATH", 0)]);
    for variable in run.env.iter().flatten().chain(&overrides.env) {
        match variable.split_once('=') {
            Some((name, _)) if places.contains_key(name) => env[places[name]] = Some(variable),
            Some((name, _)) => {
                places.insert(name, env.len());
                env.push(Some(variable));
            }
            None => places.remove(variable.as_str()).into_iter().for_each(|place| env[place] = None),
        }
    }
    let home = (!places.contains_key("HOME")).then(|| format!("HOME={}", user.home));
    env.into_iter().flatten().map(str::to_owned).chain(home).collect()
}

fn cwd(run: &RunConfig, overrides: &Overrides) -> Result<String> {
    let cwd = overrides.workdir.as_deref().or(run.working_dir.as_deref()).filter(|dir| !dir.is_empty()).unwrap_or("/");
    match cwd.starts_with('/') {
        true => Ok(cwd.to_owned()),
        // Docker's builder always writes absolute ones; buildah's does not.
        false if overrides.workdir.is_none() => Ok(format!("/{cwd}")),
        false => Err(Error::new(Kind::BadInput, format!("starting in {cwd}"), "the working folder is not absolute")
            .hint(format!("write -w /{cwd}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn said(entrypoint: Option<&str>, cmd: &str) -> Result<String> {
        let run =
            RunConfig { entrypoint: Some(words("entry point")), cmd: Some(words("image cmd")), ..RunConfig::default() };
        let entrypoint = entrypoint.map(|e| if e.is_empty() { vec![String::new()] } else { words(e) });
        args(&run, &Overrides { entrypoint, cmd: words(cmd), ..Overrides::default() }).map(|args| args.join(" "))
    }

    #[test]
    fn entrypoint_and_cmd_combine_as_in_docker() {
        assert_eq!(said(None, "").unwrap(), "entry point image cmd");
        assert_eq!(said(None, "mine").unwrap(), "entry point mine");
        assert_eq!(said(Some("other"), "").unwrap(), "other");
        assert_eq!(said(Some("other"), "mine").unwrap(), "other mine");
        assert_eq!(said(Some(""), "mine").unwrap(), "mine");
        assert!(said(Some(""), "").is_err());
    }

    #[test]
    fn variables_are_replaced_in_place_and_completed() {
        let run = RunConfig { env: Some(words("PATH=/bin A=1 B=2 C=")), ..RunConfig::default() };
        let user = User { uid: 0, gid: 0, additional_gids: vec![0], home: "/root".into() };
        let overrides = Overrides { env: words("A=9 B D=4=5"), ..Overrides::default() };
        assert_eq!(env(&run, &overrides, &user), words("PATH=/bin A=9 C= D=4=5 HOME=/root"));
        let overrides = Overrides { env: words("HOME=/x"), ..Overrides::default() };
        assert_eq!(env(&RunConfig::default(), &overrides, &user), [PATH, "HOME=/x"]);
    }

    #[test]
    fn very_many_variables_take_no_time() {
        let many: Vec<String> = (0..80_000).map(|number| format!("V{number}=x")).collect();
        let run = RunConfig { env: Some(many), ..RunConfig::default() };
        let user = User { uid: 0, gid: 0, additional_gids: vec![0], home: "/root".into() };
        let before = std::time::Instant::now();
        assert_eq!(env(&run, &Overrides::default(), &user).len(), 80_002);
        // Comparing each with all others takes many seconds on any machine.
        assert!(before.elapsed().as_secs() < 2, "{:?}", before.elapsed());
    }

    #[test]
    fn the_working_folder_is_absolute() {
        let run = RunConfig { working_dir: Some("srv".into()), ..RunConfig::default() };
        assert_eq!(cwd(&run, &Overrides::default()).unwrap(), "/srv");
        assert!(cwd(&run, &Overrides { workdir: Some("x".into()), ..Overrides::default() }).is_err());
        assert_eq!(cwd(&RunConfig::default(), &Overrides::default()).unwrap(), "/");
    }
}
