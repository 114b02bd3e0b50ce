// SPDX-License-Identifier: Apache-2.0
//! Packets between a client and the shim: what is decoded is encoded as something that means the same.

use kelp_shim::protocol::{Reply, Request};

/// See the module.
pub fn run(packet: &[u8]) {
    if let Ok(request) = Request::decode(packet) {
        let mut again = Vec::new();
        request.encode(&mut again);
        assert_eq!(Request::decode(&again), Ok(request));
    }
    if let Ok(reply) = Reply::decode(packet) {
        let mut again = Vec::new();
        reply.encode(&mut again);
        assert_eq!(Reply::decode(&again), Ok(reply));
    }
}
