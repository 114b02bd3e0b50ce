// SPDX-License-Identifier: Apache-2.0
//! Moves network devices of the host into the container's network namespace, with their addresses, and sets them up.
//!
//! Runs in the runtime when init is born, before any hook. Where the namespace ends, the kernel gives physical devices back
//! and removes virtual ones; the runtime does not.
//! Spec: config-linux.md "Network Devices". Kernel: rtnetlink(7).

use crate::error::{Doing, Error, Kind, Result};
use crate::netlink::{Message, Netlink, kind};
use crate::plan::NetDevice;
use kelp_sys::rustix::fd::{AsFd, AsRawFd, OwnedFd};
use kelp_sys::rustix::fs::{CWD, Mode, OFlags, openat};
use kelp_sys::rustix::io::Errno;

/// Attributes and flags of linux/if_link.h, linux/if_addr.h and net/if.h.
mod constant {
    pub(super) const IFLA_IFNAME: u16 = 3;
    pub(super) const IFLA_NET_NS_FD: u16 = 28;
    pub(super) const IFA_LABEL: u16 = 3;
    pub(super) const IFA_FLAGS: u16 = 8;
    pub(super) const IFA_CACHEINFO: u16 = 6;
    pub(super) const IFA_F_PERMANENT: u32 = 0x80;
    pub(super) const IFF_UP: u32 = 0x1;
    /// `NLM_F_CREATE | NLM_F_EXCL`
    pub(super) const CREATE: u16 = 0x600;
}
use constant::{CREATE, IFA_CACHEINFO, IFA_F_PERMANENT, IFA_FLAGS, IFA_LABEL, IFF_UP, IFLA_IFNAME, IFLA_NET_NS_FD};

/// Moves them all to where the process is.
///
/// # Errors
/// There is no such device; its name is taken in the container; we may not.
pub(crate) fn move_all(devices: &[NetDevice], pid: i32) -> Result<()> {
    if devices.is_empty() {
        return Ok(());
    }
    let path = format!("/proc/{pid}/ns/net");
    let namespace = openat(CWD, path.as_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .doing(|| format!("cannot open {path}"))?;
    let ours = Netlink::open().doing(|| "cannot speak with our network".into())?;
    let theirs = Netlink::open_in(namespace.as_fd()).doing(|| "cannot speak with the container's network".into())?;
    devices.iter().try_for_each(|device| move_one(device, &ours, &theirs, &namespace))
}

fn move_one(device: &NetDevice, ours: &Netlink, theirs: &Netlink, namespace: &OwnedFd) -> Result<()> {
    let doing = || format!("cannot move the network device {} into the container as {}", device.host, device.name);
    let link = find(ours, &device.host).doing(doing)?;
    let index = link.ok_or_else(|| Error::bad_input(doing()).because("the host has no network device of this name"))?;
    let addresses = addresses_to_keep(ours, index).doing(doing)?;
    // Looked for before anything is moved: a device whose new name is taken would be stranded.
    let taken = names(theirs).doing(doing)?;
    let name = free_name(&device.name, &taken)
        .ok_or_else(|| Error::bad_input(doing()).because("the container has a network device of this name"))?;
    let request = Message::link(signed(index), 0, 0)
        .with(IFLA_NET_NS_FD, &namespace.as_raw_fd().to_ne_bytes())
        .with(IFLA_IFNAME, &text(&name));
    ours.change(kind::NEW_LINK, 0, &request).map_err(|errno| refused(errno, doing()))?;
    settle(theirs, &name, &addresses).doing(doing)
}

fn refused(errno: Errno, doing: String) -> Error {
    let error = Error::new(doing).because(std::io::Error::from(errno));
    match errno {
        Errno::PERM => error
            .hint("it takes CAP_NET_ADMIN over the host's network and over the container's")
            .of_kind(Kind::Permission),
        Errno::INVAL | Errno::OPNOTSUPP => error.hint("this kind of device cannot change its network namespace"),
        _ => error,
    }
}

/// In the container: the addresses, then up.
fn settle(theirs: &Netlink, name: &str, addresses: &[Message]) -> std::result::Result<(), Errno> {
    let index = find(theirs, name)?.ok_or(Errno::NODEV)?;
    for address in addresses {
        let mut address = address.clone();
        address.fixed.splice(4..8, index.to_ne_bytes());
        match theirs.change(kind::NEW_ADDRESS, CREATE, &address) {
            // The kernel gives some devices an address by itself.
            Err(Errno::EXIST) => {}
            result => result?,
        }
    }
    theirs.change(kind::NEW_LINK, 0, &Message::link(signed(index), IFF_UP, IFF_UP))
}

/// Permanent ones of global scope; the kernel drops all when the device leaves.
fn addresses_to_keep(ours: &Netlink, index: u32) -> std::result::Result<Vec<Message>, Errno> {
    let kept = |message: &Message| {
        let flags = message.attribute(IFA_FLAGS).and_then(|flags| flags.try_into().ok()).map(u32::from_ne_bytes);
        let flags = flags.or_else(|| message.fixed.get(2).map(|flags| (*flags).into())).unwrap_or(0);
        let global = message.fixed.get(3) == Some(&0);
        message.number(4) == Some(index) && global && flags & IFA_F_PERMANENT != 0
    };
    let mut addresses: Vec<_> = ours.addresses()?.into_iter().filter(kept).collect();
    for address in &mut addresses {
        // A label begins with the device's name, which changes; the times of a permanent address are for ever.
        address.attributes.retain(|(kind, _)| !matches!(*kind, IFA_LABEL | IFA_CACHEINFO));
    }
    Ok(addresses)
}

fn find(socket: &Netlink, name: &str) -> std::result::Result<Option<u32>, Errno> {
    let name = text(name);
    Ok(socket.links()?.iter().find(|link| link.attribute(IFLA_IFNAME) == Some(&name)).and_then(|link| link.number(4)))
}

fn names(socket: &Netlink) -> std::result::Result<Vec<Vec<u8>>, Errno> {
    Ok(socket.links()?.iter().filter_map(|link| link.attribute(IFLA_IFNAME).map(<[u8]>::to_owned)).collect())
}

fn free_name(wanted: &str, taken: &[Vec<u8>]) -> Option<String> {
    let free = |name: &String| !taken.contains(&text(name));
    if !wanted.contains("%d") {
        return Some(wanted.to_owned()).filter(free);
    }
    (0..=u16::MAX).map(|number| wanted.replacen("%d", &number.to_string(), 1)).find(free)
}

fn text(name: &str) -> Vec<u8> {
    [name.as_bytes(), b"\0"].concat()
}

fn signed(index: u32) -> i32 {
    i32::try_from(index).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_gets_the_first_free_number() {
        let taken = ["lo", "eth0", "eth1"].map(text);
        assert_eq!(free_name("eth%d", &taken).as_deref(), Some("eth2"));
        assert_eq!(free_name("net", &taken).as_deref(), Some("net"));
        assert_eq!(free_name("eth0", &taken), None);
    }
}
