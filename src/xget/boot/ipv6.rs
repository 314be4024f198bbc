//! One interface's way to an IPv6 address.
//!
//! The kernel makes addresses from what routers advertise and looks whether they
//! are in use (RFC 4862); DHCPv6 is asked where a router or the command line says
//! so, from the link-local address, once that is known to be nobody else's. Name
//! servers of routers come through rtnetlink. Which address is used in the end is
//! `network`'s.

use super::dhcp::{CLIENT_PORT6, DhcpClient, DhcpEffect, Family, Identity, Lease, SERVERS6};
use super::hex;
use super::ipconfig::Method;
use super::links::Link;
use super::system::System;
use super::uplink::{self, Found, Renewal};
use crate::os::netif::{MANAGED, Netlink, OTHER};
use crate::os::packet::{DATAGRAM_LEN_MAX, UdpOnDevice};
use crate::os::poll::{Poll, READABLE};
use std::fs;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// An address that the kernel made waits so long for what DHCPv6 has to add.
const PATIENCE_MS: u64 = 10_000;
/// Without a router's word on the net, it is taken to be one of SLAAC's length.
const PREFIX_LEN: u8 = 64;
const READS_MAX: usize = 16;

/// An address of a link, as /proc/net/if_inet6 has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    address: Ipv6Addr,
    scope: Scope,
    state: Probe,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Link,
    Global,
}

/// Whether somebody else has it (RFC 4862, 5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probe {
    Going,
    Free,
    InUse,
}

/// Lines of address, index, prefix length, scope, flags, name
/// (net/ipv6/addrconf.c, if6_seq_show).
fn held(text: &str, name: &str) -> Vec<Held> {
    /// IFA_F_DADFAILED and IFA_F_TENTATIVE.
    const FAILED: u32 = 0x08;
    const TENTATIVE: u32 = 0x40;
    let line = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [address, _, _, scope, flags, device] = fields[..] else { return None };
        let scope = match scope {
            "00" | "40" => Scope::Global,
            "20" => Scope::Link,
            _ => return None,
        };
        let state = match u32::from_str_radix(flags, 16).ok()? {
            flags if flags & FAILED != 0 => Probe::InUse,
            flags if flags & TENTATIVE != 0 => Probe::Going,
            _ => Probe::Free,
        };
        let octets: [u8; 16] = hex::joined(address)?.try_into().ok()?;
        (device == name).then_some(Held { address: octets.into(), scope, state })
    };
    text.lines().filter_map(line).collect()
}

/// What became of an address that the link was given. One that is lent for a time the
/// kernel takes away when it is somebody else's; any other it keeps, and marks
/// (net/ipv6/addrconf.c, addrconf_dad_stop).
fn probed(held: &[Held], address: IpAddr, is_lent: bool) -> Probe {
    match held.iter().find(|held| IpAddr::V6(held.address) == address) {
        Some(held) => held.state,
        None if is_lent => Probe::InUse,
        None => Probe::Going,
    }
}

/// The question to DHCPv6, and what came of it.
struct Asking {
    client: Box<DhcpClient>,
    socket: UdpOnDevice,
    own: SocketAddr,
    began_ms: u64,
}

/// An interface on its way to an IPv6 address.
pub struct Attempt6 {
    /// What is to be used once it is known to be free, or was told.
    lease: Option<Lease>,
    asking: Option<Asking>,
}

impl Attempt6 {
    /// `given` is an address of `ip=`, which has to be free as any other.
    pub fn new(given: Option<Lease>) -> Attempt6 {
        Attempt6 { lease: given, asking: None }
    }

    /// How many times DHCPv6 was asked; none if it was not.
    pub fn sends(&self) -> Option<u32> {
        self.asking.as_ref().map(|asking| asking.client.sends())
    }

    /// Has its packets awaited too; says when it is next wanted in any case.
    pub fn await_packets(&self, poll: &mut Poll) -> u64 {
        self.asking.as_ref().map_or(u64::MAX, |asking| {
            poll.add(&asking.socket, READABLE);
            asking.client.due_ms()
        })
    }

    /// To be called on news, packets and deadlines. The error ends it.
    #[inline(never)]
    pub fn advance(
        &mut self,
        link: &Link,
        method: Method,
        system: &mut System,
        now_ms: u64,
    ) -> Result<Option<Found>, String> {
        let System { netlink, routers, firmware, seed, .. } = system;
        let text = fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
        let held = held(&text, &link.name);
        let (flags, servers) = routers.of(link.index);
        let own = held.iter().find(|held| held.scope == Scope::Link && held.state == Probe::Free);
        if let Some(lease) = self.lease.take_if(|lease| !lease.address.is_unspecified()) {
            match probed(&held, lease.address, self.asking.is_some()) {
                Probe::Free => return Ok(Some(self.found(lease, servers))),
                Probe::InUse => self.refuse(link, &lease, netlink, now_ms)?,
                Probe::Going => self.lease = Some(lease),
            }
            return Ok(None);
        }
        let asks = asks(method, flags);
        if let (Some(family), None, Some(own)) = (asks, &self.asking, own) {
            self.asking =
                Some(begin(link, own.address, family, (firmware.dhcp(link), *seed), now_ms)?);
        }
        let offered = self.asking.as_mut().and_then(|asking| asking.answer(now_ms));
        if let Some(mut lease) = offered {
            if !lease.address.is_unspecified() {
                // The routers say what else is on the link (RFC 5942).
                lease.prefix_len = if flags & MANAGED != 0 { 128 } else { PREFIX_LEN };
                uplink::give(link, &lease, netlink)?;
            }
            self.lease = Some(lease);
        }
        let scope = if method == Method::Link6 { Scope::Link } else { Scope::Global };
        let is_made = held.iter().any(|held| held.scope == scope && held.state == Probe::Free);
        let is_late = self.asking.as_ref().is_some_and(|a| now_ms >= a.began_ms + PATIENCE_MS);
        let told = self.lease.as_ref().map(|lease| lease.address.is_unspecified());
        let is_whole = asks.is_none() || is_late || told == Some(true);
        if method == Method::Dhcp6 || !is_made || !is_whole || told == Some(false) {
            return Ok(None);
        }
        self.asking = None;
        let nothing = || Lease::of(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        let lease = self.lease.take().unwrap_or_else(nothing);
        Ok(Some(self.found(lease, servers)))
    }

    fn found(&mut self, mut lease: Lease, servers: &[Ipv6Addr]) -> Found {
        lease.dns.extend(servers.iter().map(|server| IpAddr::V6(*server)));
        let renewal = match self.asking.take() {
            Some(Asking { client, socket, own, .. }) => {
                Renewal::Dhcp { client, socket: Some(socket), own }
            }
            None => Renewal::None,
        };
        Found { lease, renewal }
    }

    /// Somebody else has the address.
    fn refuse(
        &mut self,
        link: &Link,
        lease: &Lease,
        netlink: &mut Netlink,
        now_ms: u64,
    ) -> Result<(), String> {
        let why = format!("{}: another machine has {}", link.label(), lease.address);
        let _ = netlink.remove_address(link.index, lease.address, lease.prefix_len);
        let Some(asking) = &mut self.asking else { return Err(why) };
        log::warn!("{why}");
        let decline = asking.client.decline(now_ms);
        asking.send(decline);
        Ok(())
    }
}

/// What DHCPv6 is asked for (RFC 4861, 4.2): an address, the rest, or nothing.
fn asks(method: Method, flags: u32) -> Option<Family> {
    match method {
        Method::Link6 => None,
        Method::Dhcp6 => Some(Family::V6),
        _ if flags & MANAGED != 0 => Some(Family::V6),
        _ if flags & OTHER != 0 => Some(Family::Inform6),
        _ => None,
    }
}

#[inline(never)]
fn begin(
    link: &Link,
    own: Ipv6Addr,
    family: Family,
    (identity, seed): (Identity, u64),
    now_ms: u64,
) -> Result<Asking, String> {
    let own = SocketAddr::V6(SocketAddrV6::new(own, CLIENT_PORT6, 0, link.index));
    let socket = UdpOnDevice::open(&link.name, own)
        .map_err(|error| format!("{}: no socket for DHCPv6: {error}", link.label()))?;
    let client = Box::new(DhcpClient::new(family, identity, seed, now_ms));
    log::info!("{}: asking DHCPv6", link.label());
    Ok(Asking { client, socket, own, began_ms: now_ms })
}

impl Asking {
    /// What a server grants or tells.
    fn answer(&mut self, now_ms: u64) -> Option<Lease> {
        let question = self.client.tick(now_ms);
        self.send(question);
        let mut buffer = [0; DATAGRAM_LEN_MAX];
        for _ in 0..READS_MAX {
            let (len, from) = self.socket.receive(&mut buffer)?;
            match self.client.receive(now_ms, from, &buffer[..len]) {
                Some(DhcpEffect::Bound(lease)) => return Some(lease),
                next => self.send(next),
            }
        }
        None
    }

    fn send(&self, effect: Option<DhcpEffect>) {
        if let Some(DhcpEffect::Broadcast(bytes)) = effect
            && let Err(error) = self.socket.send(SERVERS6, &bytes)
        {
            log::debug!("cannot ask DHCPv6: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routers_and_the_command_line_say_what_dhcpv6_is_asked_for() {
        assert_eq!(asks(Method::Auto6, 0), None);
        assert_eq!(asks(Method::Auto6, OTHER), Some(Family::Inform6));
        assert_eq!(asks(Method::Auto6, OTHER | MANAGED), Some(Family::V6));
        assert_eq!(asks(Method::Dhcp6, 0), Some(Family::V6));
        assert_eq!(asks(Method::Link6, OTHER | MANAGED), None);
    }

    #[test]
    fn addresses_of_the_kernel() {
        let text = "\
fe80000000000000505400fffe123456 02 40 20 80     eth0
20010db8000000000000000000000002 02 40 00 40     eth0
20010db8000000000000000000000003 03 40 00 48     eth1
00000000000000000000000000000001 01 80 10 80       lo
nonsense

";
        let [local, global] = held(text, "eth0")[..] else { panic!() };
        assert_eq!((local.scope, local.state), (Scope::Link, Probe::Free));
        assert_eq!((global.scope, global.state), (Scope::Global, Probe::Going));
        assert_eq!(global.address, "2001:db8::2".parse::<Ipv6Addr>().unwrap());
        assert_eq!(held(text, "eth1")[0].state, Probe::InUse);
        let probe = |ip: &str, is_lent| probed(&held(text, "eth0"), ip.parse().unwrap(), is_lent);
        assert_eq!(probe("2001:db8::2", true), Probe::Going);
        assert_eq!(probe("2001:db8::7", true), Probe::InUse, "taken away again");
        assert_eq!(probe("2001:db8::7", false), Probe::Going, "not there yet");
        assert!(held(text, "lo").is_empty());
    }
}
