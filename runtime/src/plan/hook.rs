// SPDX-License-Identifier: Apache-2.0
//! Hooks that init runs.
//!
//! Spec: config.md "POSIX-platform Hooks".

use super::{path_text, text_of};
use crate::error::{Error, Result};
use oci_spec::runtime::Hook;
use std::ffi::CString;

/// A hook, ready for execve.
#[derive(Debug)]
pub struct HookPlan {
    /// The program.
    pub path: CString,
    /// Arguments, the program's name first.
    pub argv: Vec<CString>,
    /// Environment: what the spec gives and nothing else; where it gives none, that of the container's process, as with runc.
    pub env: Vec<CString>,
    /// Seconds.
    pub timeout: Option<u32>,
}

/// `env`: that of the container's process.
pub(super) fn plan(hooks: Option<&[Hook]>, env: &[CString]) -> Result<Vec<HookPlan>> {
    hooks.unwrap_or_default().iter().map(|hook| plan_one(hook, env)).collect()
}

/// Checks and converts one hook. `inherited`: the environment of one that does not say which.
pub(crate) fn plan_one(hook: &Hook, inherited: &[CString]) -> Result<HookPlan> {
    let path = hook.path();
    let wrong = |cause: &str| Error::bad_input(format!("cannot use the hook {}", path.display())).because(cause);
    if !path.is_absolute() {
        return Err(wrong("its path must be absolute"));
    }
    let timeout = match hook.timeout() {
        None => None,
        Some(seconds) if seconds > 0 => Some(u32::try_from(seconds).unwrap_or(u32::MAX)),
        Some(_) => return Err(wrong("its timeout must be greater than zero")),
    };
    let texts =
        |list: &Option<Vec<String>>| list.iter().flatten().map(|text| text_of("", text)).collect::<Result<Vec<_>>>();
    let mut argv = texts(hook.args())?;
    if argv.is_empty() {
        argv.push(path_text(path)?);
    }
    let env = if hook.env().is_some() { texts(hook.env())? } else { inherited.to_vec() };
    Ok(HookPlan { path: path_text(path)?, argv, env, timeout })
}
