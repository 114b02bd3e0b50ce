// SPDX-License-Identifier: Apache-2.0
//! A container's state directory as somebody else left it: the record, what exec needs, the journal.

use kelp_runtime::journal::Journal;
use kelp_runtime::state::{ExecDefaults, Record, State, check_id};

/// See the module.
pub fn run(bytes: &[u8]) {
    drop(serde_json::from_slice::<Record>(bytes));
    drop(serde_json::from_slice::<ExecDefaults>(bytes));
    drop(serde_json::from_slice::<State>(bytes));
    if let Ok(id) = std::str::from_utf8(bytes) {
        drop(check_id(id));
    }
    let folder = crate::scratch::empty("state");
    std::fs::write(folder.join("journal"), bytes).expect("a journal");
    drop(Journal::read(&folder));
}
