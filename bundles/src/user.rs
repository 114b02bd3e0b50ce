// SPDX-License-Identifier: Apache-2.0
//! Users and groups by the image's own files, read as text: NSS belongs to the host, the files to whoever made the image.
//!
//! Rules as in Docker (moby/sys/user `GetExecUser`): a number is always an id, the first matching line wins, a group that is
//! named replaces the user's own and his additional ones.

use crate::error::{Error, Kind, Result};
use crate::stack::LayerStack;

/// How large /etc/passwd and /etc/group may be.
const LIMIT: u64 = 8 << 20;

/// Who a process is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// All groups, the first one included: without that, a process could lose a group that denies it something
    /// (CVE-2022-36109).
    pub additional_gids: Vec<u32>,
    /// His folder.
    pub home: String,
}

/// The user `text` means (`name`, `uid`, `name:group`, `uid:gid`, …; empty is root) by the files of these layers.
///
/// # Errors
/// No line has this name.
pub fn find(text: &str, layers: &LayerStack) -> Result<User> {
    let passwd = layers.read("/etc/passwd", LIMIT)?.unwrap_or_default();
    let group = layers.read("/etc/group", LIMIT)?.unwrap_or_default();
    find_in(text, &String::from_utf8_lossy(&passwd), &String::from_utf8_lossy(&group))
}

fn find_in(text: &str, passwd: &str, group: &str) -> Result<User> {
    let (wanted, wanted_group) = text.split_once(':').map_or((text, ""), |(user, group)| (user, group));
    let wanted = if wanted.is_empty() { "0" } else { wanted };
    let line = find_passwd(wanted, passwd);
    let (uid, gid, home, name) = match (&line, wanted.parse::<u32>()) {
        (Some(line), _) => (line.uid, line.gid, line.home, Some(line.name)),
        (None, Ok(uid)) if is_id(uid) => (uid, 0, "/", None),
        _ => return Err(no_such("user", wanted, "/etc/passwd")),
    };
    let mut user =
        User { uid, gid, additional_gids: Vec::new(), home: if home.is_empty() { "/" } else { home }.to_owned() };
    if wanted_group.is_empty() {
        user.additional_gids = groups_of(name, group);
    } else {
        user.gid = find_group(wanted_group, group)?;
    }
    if !user.additional_gids.contains(&user.gid) {
        user.additional_gids.insert(0, user.gid);
    }
    Ok(user)
}

struct PasswdLine<'t> {
    name: &'t str,
    uid: u32,
    gid: u32,
    home: &'t str,
}

fn find_passwd<'t>(wanted: &str, passwd: &'t str) -> Option<PasswdLine<'t>> {
    let mut lines = passwd.lines().filter_map(|line| {
        let fields: Vec<&str> = line.trim().split(':').collect();
        let [name, _, uid, gid, _, home, ..] = fields[..] else { return None };
        Some(PasswdLine { name, uid: uid.parse().ok()?, gid: gid.parse().ok()?, home })
    });
    match wanted.parse::<u32>() {
        Ok(uid) => lines.find(|line| line.uid == uid),
        Err(_) => lines.find(|line| line.name == wanted),
    }
}

/// Name, id, members.
fn group_lines(group: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    group.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?.parse().ok()?);
        Some((name, gid, fields.next().unwrap_or_default()))
    })
}

fn groups_of(user: Option<&str>, group: &str) -> Vec<u32> {
    let Some(user) = user else { return Vec::new() };
    let mut gids: Vec<u32> = Vec::new();
    for (_, gid, members) in group_lines(group) {
        if members.split(',').any(|member| member == user) && !gids.contains(&gid) {
            gids.push(gid);
        }
    }
    gids
}

/// The id of the group `wanted` means by these layers' /etc/group (for `--group-add`).
///
/// # Errors
/// No line has this name.
pub fn group(wanted: &str, layers: &LayerStack) -> Result<u32> {
    let group = layers.read("/etc/group", LIMIT)?.unwrap_or_default();
    find_group(wanted, &String::from_utf8_lossy(&group))
}

fn find_group(wanted: &str, group: &str) -> Result<u32> {
    match wanted.parse::<u32>() {
        Ok(gid) if is_id(gid) => Ok(gid),
        _ => {
            let found = group_lines(group).find(|(name, ..)| *name == wanted);
            found.map(|(_, gid, _)| gid).ok_or_else(|| no_such("group", wanted, "/etc/group"))
        }
    }
}

/// Docker takes what fits into a signed number.
fn is_id(id: u32) -> bool {
    i32::try_from(id).is_ok()
}

fn no_such(what: &str, name: &str, file: &str) -> Error {
    Error::new(
        Kind::NotFound,
        format!("looking for the {what} {name}"),
        format!("no line of the image's {file} has it"),
    )
    .hint("use a number, or a name of the image")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nbad line\nweb:x:33:33:web:/var/www:/bin/false\n1000:x:7:7::/seven:\nann:x:1000:1000:::/x\n";
    const GROUP: &str = "root:x:0:\nwww:x:33:\nssl:x:101:web,ann\ndisk:x:6:root,web\nempty:x:9:\n";

    fn user(text: &str) -> (u32, u32, Vec<u32>, String) {
        let user = find_in(text, PASSWD, GROUP).unwrap();
        (user.uid, user.gid, user.additional_gids, user.home)
    }

    #[test]
    fn names_numbers_and_groups_are_found_as_docker_does() {
        assert_eq!(user(""), (0, 0, vec![0, 6], "/root".into()));
        assert_eq!(user("web"), (33, 33, vec![33, 101, 6], "/var/www".into()));
        assert_eq!(user("33"), (33, 33, vec![33, 101, 6], "/var/www".into()));
        assert_eq!(user("web:disk"), (33, 6, vec![6], "/var/www".into()));
        assert_eq!(user("web:4000"), (33, 4000, vec![4000], "/var/www".into()));
        assert_eq!(user("4000"), (4000, 0, vec![0], "/".into()));
        assert_eq!(user("1000"), (1000, 1000, vec![1000, 101], "/".into()), "a number is an id even if it is a name");
        assert!(find_in("nobody", PASSWD, GROUP).is_err());
        assert!(find_in("web:none", PASSWD, GROUP).is_err());
        assert!(find_in("4294967295", PASSWD, GROUP).is_err());
        assert_eq!(find_in("0", "", "").unwrap().home, "/");
    }
}
