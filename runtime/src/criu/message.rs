// SPDX-License-Identifier: Apache-2.0
//! criu's messages: Protocol Buffers of a handful of kinds, written and read here. Numbers are those of images/rpc.proto.

use std::collections::HashMap;

/// Varints and byte strings, one after the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message(Vec<u8>);

impl Message {
    /// The bytes, for the wire.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// An integer or an enum's value.
    pub(crate) fn number(&mut self, field: u64, value: u64) {
        self.varint(field << 3);
        self.varint(value);
    }

    /// A bool; false is what it is when it is not said.
    pub(crate) fn flag(&mut self, field: u64, value: bool) {
        if value {
            self.number(field, 1);
        }
    }

    /// A string.
    pub(crate) fn text(&mut self, field: u64, text: &str) {
        self.varint(field << 3 | 2);
        self.varint(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }

    /// A message within.
    pub(crate) fn message(&mut self, field: u64, message: &Message) {
        self.varint(field << 3 | 2);
        self.varint(message.0.len() as u64);
        self.0.extend_from_slice(&message.0);
    }
}

/// The fields of a message that was received; of those that come twice the last. None: it is no such message.
#[derive(Debug, Default)]
pub(super) struct Fields<'a> {
    pub(super) numbers: HashMap<u64, u64>,
    pub(super) strings: HashMap<u64, &'a [u8]>,
}

impl<'a> Fields<'a> {
    pub(super) fn read(mut bytes: &'a [u8]) -> Option<Self> {
        let mut fields = Self::default();
        while !bytes.is_empty() {
            let key = varint(&mut bytes)?;
            match key & 7 {
                0 => drop(fields.numbers.insert(key >> 3, varint(&mut bytes)?)),
                1 => bytes = bytes.get(8..)?,
                2 => {
                    let length = usize::try_from(varint(&mut bytes)?).ok()?;
                    let (string, rest) = bytes.split_at_checked(length)?;
                    fields.strings.insert(key >> 3, string);
                    bytes = rest;
                }
                5 => bytes = bytes.get(4..)?,
                _ => return None,
            }
        }
        Some(fields)
    }

    pub(super) fn number(&self, field: u64) -> Option<u64> {
        self.numbers.get(&field).copied()
    }

    pub(super) fn text(&self, field: u64) -> Option<String> {
        self.strings.get(&field).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    pub(super) fn message(&self, field: u64) -> Option<Fields<'a>> {
        Fields::read(self.strings.get(&field)?)
    }
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// What criu is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Dump = 1,
    Restore = 2,
    PreDump = 4,
    Notify = 6,
    Version = 10,
}

/// What criu does with cgroups, as runc names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CgroupMode {
    /// criu's own choice, which is soft.
    #[default]
    Default,
    /// Properties of cgroups that it makes are restored.
    Soft,
    /// All properties are restored.
    Full,
    /// No cgroup may be there before.
    Strict,
    /// Cgroups are left alone.
    Ignore,
}

impl CgroupMode {
    pub(super) fn number(self) -> u64 {
        match self {
            Self::Ignore => 0,
            Self::Soft => 3,
            Self::Full => 4,
            Self::Strict => 5,
            Self::Default => 6,
        }
    }
}

/// `criu_opts`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request(Message);

impl Request {
    pub(crate) const IMAGES_DIR_FD: u64 = 1;
    pub(crate) const PID: u64 = 2;
    pub(crate) const LEAVE_RUNNING: u64 = 3;
    pub(crate) const EXT_UNIX_SK: u64 = 4;
    pub(crate) const TCP_ESTABLISHED: u64 = 5;
    pub(crate) const EVASIVE_DEVICES: u64 = 6;
    pub(crate) const SHELL_JOB: u64 = 7;
    pub(crate) const FILE_LOCKS: u64 = 8;
    pub(crate) const LOG_LEVEL: u64 = 9;
    pub(crate) const LOG_FILE: u64 = 10;
    pub(crate) const PAGE_SERVER: u64 = 11;
    pub(crate) const NOTIFY_SCRIPTS: u64 = 12;
    pub(crate) const ROOT: u64 = 13;
    pub(crate) const PARENT_IMG: u64 = 14;
    pub(crate) const TRACK_MEM: u64 = 15;
    pub(crate) const AUTO_DEDUP: u64 = 16;
    pub(crate) const WORK_DIR_FD: u64 = 17;
    pub(crate) const LINK_REMAP: u64 = 18;
    const EXT_MNT: u64 = 23;
    pub(crate) const MANAGE_CGROUPS: u64 = 24;
    const CG_ROOT: u64 = 25;
    pub(crate) const RST_SIBLING: u64 = 26;
    const INHERIT_FD: u64 = 27;
    pub(crate) const MANAGE_CGROUPS_MODE: u64 = 34;
    pub(crate) const EXTERNAL: u64 = 37;
    pub(crate) const EMPTY_NS: u64 = 38;
    const JOIN_NS: u64 = 39;
    pub(crate) const FREEZE_CGROUP: u64 = 44;
    pub(crate) const TCP_SKIP_IN_FLIGHT: u64 = 46;
    pub(crate) const ORPHAN_PTS_MASTER: u64 = 50;
    pub(crate) const LSM_PROFILE: u64 = 53;
    pub(crate) const LSM_MOUNT_CONTEXT: u64 = 63;

    pub(crate) fn number(&mut self, field: u64, value: u64) {
        self.0.number(field, value);
    }

    pub(crate) fn flag(&mut self, field: u64, value: bool) {
        self.0.flag(field, value);
    }

    pub(crate) fn text(&mut self, field: u64, text: &str) {
        self.0.text(field, text);
    }

    fn pair(&mut self, field: u64, first: &str, second: &str) {
        let mut pair = Message::default();
        pair.text(1, first);
        pair.text(2, second);
        self.0.message(field, &pair);
    }

    /// A mount that criu does not save: its place in the container and its name (dump), its name and its source (restore).
    pub(crate) fn external_mount(&mut self, key: &str, value: &str) {
        self.pair(Self::EXT_MNT, key, value);
    }

    /// The cgroup that takes the place of the dumped root.
    pub(crate) fn cgroup_root(&mut self, path: &str) {
        self.pair(Self::CG_ROOT, "", path);
    }

    /// A namespace to join: its kind, and a file that is one.
    pub(crate) fn join_namespace(&mut self, kind: &str, file: &str) {
        self.pair(Self::JOIN_NS, kind, file);
    }

    /// A descriptor of criu's own that takes the place of what was dumped under this name.
    pub(crate) fn inherit_fd(&mut self, key: &str, fd: u64) {
        let mut inherited = Message::default();
        inherited.text(1, key);
        inherited.number(2, fd);
        self.0.message(Self::INHERIT_FD, &inherited);
    }

    /// Where memory goes instead of into files.
    pub(crate) fn page_server(&mut self, address: &str, port: u16) {
        let mut server = Message::default();
        server.text(1, address);
        server.number(2, port.into());
        self.0.message(Self::PAGE_SERVER, &server);
    }

    /// The whole request.
    pub(super) fn whole(&self, kind: Kind) -> Message {
        let mut whole = Message::default();
        whole.number(1, kind as u64);
        whole.message(2, &self.0);
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut inner = Message::default();
        inner.text(1, "pipe:[300]");
        inner.number(2, 300);
        let mut whole = Message::default();
        whole.flag(2, true);
        whole.flag(3, false);
        whole.number(7, u64::MAX);
        whole.message(5, &inner);
        let fields = Fields::read(whole.bytes()).unwrap();
        assert_eq!([fields.number(2), fields.number(3), fields.number(7)], [Some(1), None, Some(u64::MAX)]);
        let inner = fields.message(5).unwrap();
        assert_eq!((inner.text(1).as_deref(), inner.number(2)), (Some("pipe:[300]"), Some(300)));
    }

    #[test]
    fn bytes_are_those_of_the_protocol() {
        let mut message = Message::default();
        message.number(1, 150);
        message.text(2, "testing");
        // The examples of the encoding's own documentation.
        assert_eq!(message.bytes(), b"\x08\x96\x01\x12\x07testing");
    }

    #[test]
    fn what_is_cut_short_is_no_message() {
        for bytes in [b"\x08".as_slice(), b"\x08\x80", b"\x12\x05ab", b"\x0b", &[0xff; 11]] {
            assert!(Fields::read(bytes).is_none(), "{bytes:?}");
        }
    }
}
