// SPDX-License-Identifier: Apache-2.0
//! Which platform's image is meant: `--platform`, or what Docker's variable says where the flag is not given.

use crate::caller::Caller;
use crate::error::Result;
use kelp_bundles::Platform;

/// As in Docker it speaks for `run`, `create`, `pull` and `import`, and not for `push`, `save` and `load`; `bundle` pulls too.
const VARIABLE: &str = "DOCKER_DEFAULT_PLATFORM";

/// The platform that was asked for.
pub(crate) fn asked(flag: Option<&str>, caller: &Caller) -> Option<String> {
    let variable = || caller.environment.text(VARIABLE).filter(|text| !text.is_empty());
    flag.map(str::to_owned).or_else(variable)
}

/// The platform that was asked for, or this machine's.
pub(crate) fn wanted(flag: Option<&str>, caller: &Caller) -> Result<Platform> {
    Ok(asked(flag, caller).map_or_else(|| Ok(Platform::host()), |text| text.parse())?)
}
