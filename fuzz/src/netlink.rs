// SPDX-License-Identifier: Apache-2.0
//! What a netlink socket says of links and addresses.

/// See the module.
pub fn run(datagram: &[u8]) {
    kelp_runtime::foreign::netlink(datagram);
}
