// SPDX-License-Identifier: Apache-2.0
//! As whom the programs run: root, the unprivileged user, or a stranger to the system's account files.

use std::fs;

/// The role in which a test runs Kelp's programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The superuser of this machine.
    Root,
    /// An ordinary account with subordinate id ranges.
    User,
    /// An id without an account and without subordinate ids: what a minimal system grants.
    Stranger,
}

/// An id that no account on a Debian system has.
const STRANGER: u32 = 61_234;

/// The numbers and the name under which commands run.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) name: Option<String>,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Who {
    /// The account of this role, or why there is none here.
    pub(crate) fn account(self) -> Result<Account, String> {
        let suite = rustix::process::geteuid();
        match (self, suite.is_root()) {
            (Who::Root, true) => Ok(Account { name: Some("root".into()), uid: 0, gid: 0 }),
            (Who::Root, false) => Err("the suite does not run as root".into()),
            (Who::User, true) => unprivileged_account(),
            (Who::User, false) => {
                let gid = rustix::process::getegid().as_raw();
                Ok(Account { name: name_of(suite.as_raw()), uid: suite.as_raw(), gid })
            }
            (Who::Stranger, true) => Ok(Account { name: None, uid: STRANGER, gid: STRANGER }),
            (Who::Stranger, false) => Err("only a suite that runs as root can become another id".into()),
        }
    }
}

fn unprivileged_account() -> Result<Account, String> {
    let name = std::env::var("KELP_TEST_USER").unwrap_or_else(|_| "kelp-test".into());
    accounts()
        .into_iter()
        .find(|account| account.name.as_deref() == Some(&name))
        .ok_or_else(|| format!("no account {name}; create it or set KELP_TEST_USER"))
}

fn name_of(uid: u32) -> Option<String> {
    accounts().into_iter().find(|account| account.uid == uid)?.name
}

fn accounts() -> Vec<Account> {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    passwd.lines().filter_map(account_of_line).collect()
}

fn account_of_line(line: &str) -> Option<Account> {
    let mut fields = line.split(':');
    let name = fields.next()?.to_owned();
    let uid = fields.nth(1)?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    Some(Account { name: Some(name), uid, gid })
}
