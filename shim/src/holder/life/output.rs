// SPDX-License-Identifier: Apache-2.0
//! What the program says and hears: output goes to the log and to clients, input comes from them.
//!
//! Runs in kelp-shim.

use super::{Holder, QUIET_MAX, Stage};
use crate::complain;
use crate::holder::stdio::Output;
use kelp_shim::protocol::Stream;
use std::time::Instant;

/// How much output is read at once.
const READ_MAX: usize = 16 << 10;
/// How much of it waits in memory for clients that do not read, once the program has ended.
const SPOOL_MAX: usize = 4 << 20;

impl Holder {
    pub(super) fn has_room(&self) -> bool {
        match self.stage {
            Stage::Draining { .. } => self.spool.bytes() < SPOOL_MAX,
            _ => self.spool.bytes() == 0,
        }
    }

    /// Reads one piece of output into the log and to the clients.
    pub(super) fn pump(&mut self, stream: Stream) -> Output {
        if !self.has_room() {
            return Output::Nothing;
        }
        let output = self.stdio.read(stream, &mut self.buffer[..READ_MAX]);
        match output {
            Output::Bytes(length) => {
                let bytes = &self.buffer[..length];
                let logged = self.log.write(stream, bytes);
                if self.clients.iter().any(|client| client.wants(stream)) {
                    self.spool.push(stream, bytes);
                }
                self.note_log_failure(logged);
                self.flush_clients();
            }
            Output::End => {
                self.stdio.close_output(stream);
                if let (Stage::Draining { status, .. }, false) = (&self.stage, self.stdio.has_output()) {
                    self.finish(*status);
                }
            }
            Output::Nothing => {}
        }
        if let (Stage::Draining { quiet, .. }, Output::Bytes(_)) = (&mut self.stage, output) {
            *quiet = Instant::now() + QUIET_MAX;
        }
        output
    }

    /// Reads what the ended program has left in its pipes, without waiting for more.
    pub(super) fn drain(&mut self) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            while matches!(self.stage, Stage::Draining { end, .. } if Instant::now() < end)
                && self.stdio.output(stream).is_some()
                && matches!(self.pump(stream), Output::Bytes(_))
            {}
        }
        if let (Stage::Draining { status, .. }, false) = (&self.stage, self.stdio.has_output()) {
            self.finish(*status);
        }
    }

    /// A full disk must not stop the program: its lines are lost, and that is said once until it works again.
    pub(super) fn note_log_failure(&mut self, logged: std::io::Result<()>) {
        match logged {
            Ok(()) => self.log_failed = false,
            Err(error) if !self.log_failed => {
                self.log_failed = true;
                complain(&format_args!("cannot write the log, output is lost: {error}"));
            }
            Err(_) => {}
        }
    }

    /// Writes queued input; who sent it may send more.
    pub(in super::super) fn write_input(&mut self) {
        let clients = &mut self.clients;
        self.stdio.input.write_some(|id, bytes| {
            if let Some(client) = clients.iter_mut().find(|client| client.id == id) {
                client.stdin_under_way -= bytes.min(client.stdin_under_way);
                client.owed.stdin_taken += u32::try_from(bytes).unwrap_or(u32::MAX);
            }
        });
    }
}
