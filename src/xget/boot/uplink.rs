//! The interface that this boot goes by, once it has an address.
//!
//! Sets and removes what it was given, and keeps its lease alive. How it came
//! to be chosen is `network`'s.

use super::dhcp::message::{CLIENT_PORT, SERVER_PORT};
use super::dhcp::{Client, Effect, Lease};
use super::ipconfig::IpRule;
use super::links::Link;
use super::settings::{Master, Settings, parse_masters};
use crate::os::netif::Netlink;
use crate::os::packet::{DATAGRAM_LEN_MAX, UdpOnDevice};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Datagrams read in one turn.
const READS_MAX: usize = 16;

/// What keeps the address.
enum Keeper {
    /// Set by hand, or by the kernel from router advertisements.
    Nobody,
    Lease {
        client: Box<Client>,
        socket: Option<UdpOnDevice>,
    },
}

pub struct Uplink {
    pub link: Link,
    /// From `ip=` and not from anybody on the network.
    pub is_static: bool,
    /// Who may be the master, as the network says.
    pub masters: Vec<Master>,
    held: Option<(IpAddr, u8)>,
    keeper: Keeper,
}

impl Uplink {
    /// Sets what a lease grants.
    pub fn by_lease(
        link: &Link,
        rule: &IpRule,
        settings: &Settings,
        netlink: &mut Netlink,
        client: Client,
        lease: &Lease,
    ) -> Result<Uplink, String> {
        let mtu = settings.mtu.or(rule.mtu).or(lease.mtu.map(u32::from));
        set_mtu(link, mtu, netlink);
        let address = IpAddr::V4(lease.address);
        set_address(link, address, lease.prefix_len, netlink)?;
        for route in &lease.routes {
            let gateway = route.gateway.map(IpAddr::V4);
            set_route(link, IpAddr::V4(route.net), route.prefix_len, gateway, netlink);
        }
        let servers = lease.dns.iter().map(|server| IpAddr::V4(*server));
        write_resolver(settings, servers, lease.domain.as_deref());
        set_hostname(rule.hostname.as_deref().or(lease.hostname.as_deref()));
        log::info!(
            "{}: {address}/{} from {}, for {}",
            link.label(),
            lease.prefix_len,
            lease.server,
            if lease.lease_s == u32::MAX { "ever".into() } else { format!("{} s", lease.lease_s) },
        );
        Ok(Uplink {
            link: link.clone(),
            is_static: false,
            masters: masters_of(lease, settings.port),
            held: Some((address, lease.prefix_len)),
            keeper: Keeper::Lease { client: Box::new(client), socket: None },
        })
    }

    /// Sets what `ip=` says.
    pub fn by_hand(
        link: &Link,
        rule: &IpRule,
        settings: &Settings,
        netlink: &mut Netlink,
    ) -> Result<Uplink, String> {
        let address = rule.address.ok_or("ip= has no address")?;
        set_mtu(link, settings.mtu.or(rule.mtu), netlink);
        set_address(link, address, rule.prefix_len, netlink)?;
        if let Some(gateway) = rule.gateway {
            set_route(link, any(gateway), 0, Some(gateway), netlink);
        }
        write_resolver(settings, rule.dns.iter().copied(), None);
        set_hostname(rule.hostname.as_deref());
        log::info!("{}: {address}/{} from ip=", link.label(), rule.prefix_len);
        let server =
            rule.server.map(|server| Master { host: server.to_string(), port: settings.port });
        Ok(Uplink {
            link: link.clone(),
            is_static: true,
            masters: server.into_iter().collect(),
            held: Some((address, rule.prefix_len)),
            keeper: Keeper::Nobody,
        })
    }

    /// Takes the IPv6 address that the kernel has made itself.
    pub fn by_kernel(link: &Link, rule: &IpRule, settings: &Settings) -> Uplink {
        write_resolver(settings, rule.dns.iter().copied(), None);
        set_hostname(rule.hostname.as_deref());
        log::info!("{}: IPv6 address by the kernel", link.label());
        Uplink {
            link: link.clone(),
            is_static: false,
            masters: Vec::new(),
            held: None,
            keeper: Keeper::Nobody,
        }
    }

    /// Renews the lease when it is time. The error is why the address can no
    /// longer be used; it is removed then.
    pub fn tick(&mut self, now_ms: u64, netlink: &mut Netlink) -> Result<(), String> {
        let Keeper::Lease { client, socket } = &mut self.keeper else { return Ok(()) };
        let Some((IpAddr::V4(address), _)) = self.held else { return Ok(()) };
        let mut effects: Vec<Effect> = client.tick(now_ms).into_iter().collect();
        let mut buffer = [0; DATAGRAM_LEN_MAX];
        for _ in 0..READS_MAX {
            let Some(len) = socket.as_ref().and_then(|socket| socket.receive(&mut buffer)) else {
                break;
            };
            effects.extend(client.receive(now_ms, &buffer[..len]));
        }
        for effect in effects {
            match effect {
                Effect::Unicast(server, bytes) => {
                    ask(socket, &self.link, address, server, &bytes);
                }
                Effect::Rebind(bytes) => {
                    ask(socket, &self.link, address, Ipv4Addr::BROADCAST, &bytes);
                }
                Effect::Renewed(lease) => {
                    log::debug!("{address} goes on for {} s", lease.lease_s);
                    // Open only while a question is: nobody reads it else.
                    *socket = None;
                }
                Effect::Lost(why) => {
                    self.take_down(netlink);
                    return Err(why);
                }
                Effect::Broadcast(_) | Effect::Bound(_) => {}
            }
        }
        Ok(())
    }

    /// Removes the address. The lease is kept: the next kernel asks for it
    /// under the same id.
    pub fn take_down(&mut self, netlink: &mut Netlink) {
        if let Some((address, prefix_len)) = self.held.take()
            && let Err(error) = netlink.remove_address(self.link.manifest, address, prefix_len)
        {
            log::debug!("cannot remove {address} from {}: {error}", self.link.name);
        }
        self.keeper = Keeper::Nobody;
    }
}

/// Sends to a DHCP server through a socket that is opened when first needed.
fn ask(socket: &mut Option<UdpOnDevice>, link: &Link, from: Ipv4Addr, to: Ipv4Addr, bytes: &[u8]) {
    let sent = (|| -> io::Result<()> {
        if socket.is_none() {
            *socket = Some(UdpOnDevice::open(&link.name, from, CLIENT_PORT)?);
        }
        socket.as_ref().map_or(Ok(()), |socket| socket.send(to, SERVER_PORT, bytes))
    })();
    if let Err(error) = sent {
        log::warn!("{}: cannot ask {to} to renew the lease: {error}", link.name);
    }
}

fn masters_of(lease: &Lease, port: u16) -> Vec<Master> {
    if let Some(text) = &lease.master {
        match parse_masters(text, port) {
            Ok(masters) => return masters,
            Err(reason) => log::warn!("the master in the lease: {reason}"),
        }
    }
    let guesses = lease.master_guesses.iter();
    guesses.filter_map(|text| parse_masters(text, port).ok()).flatten().collect()
}

fn set_mtu(link: &Link, mtu: Option<u32>, netlink: &mut Netlink) {
    let Some(mtu) = mtu else { return };
    match netlink.set_link(link.manifest, true, Some(mtu)) {
        Ok(()) => log::info!("{}: MTU {mtu}", link.name),
        Err(error) => log::warn!("{}: cannot set the MTU to {mtu}: {error}", link.name),
    }
}

fn set_address(
    link: &Link,
    address: IpAddr,
    prefix_len: u8,
    netlink: &mut Netlink,
) -> Result<(), String> {
    netlink
        .add_address(link.manifest, address, prefix_len)
        .map_err(|error| format!("cannot give {address}/{prefix_len} to {}: {error}", link.name))
}

fn any(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

/// A gateway outside of the net is first made a neighbour, as clouds with
/// /32 addresses want it.
fn set_route(
    link: &Link,
    net: IpAddr,
    prefix_len: u8,
    gateway: Option<IpAddr>,
    netlink: &mut Netlink,
) {
    let mut done = netlink.add_route(net, prefix_len, gateway, link.manifest);
    if let (Err(_), Some(gateway)) = (&done, gateway) {
        let host_len = if gateway.is_ipv4() { 32 } else { 128 };
        done = netlink
            .add_route(gateway, host_len, None, link.manifest)
            .and_then(|()| netlink.add_route(net, prefix_len, Some(gateway), link.manifest));
    }
    if let Err(error) = done {
        log::warn!("{}: cannot set the route to {net}/{prefix_len}: {error}", link.name);
    }
}

/// musl's resolver asks at most this many servers (resolv.conf(5), MAXNS).
const SERVERS_MAX: usize = 3;

/// The command line's servers first.
fn write_resolver(
    settings: &Settings,
    servers: impl Iterator<Item = IpAddr>,
    domain: Option<&str>,
) {
    let all = settings.nameservers.iter().copied().chain(servers).take(SERVERS_MAX);
    let mut text: String = all.map(|server| format!("nameserver {server}\n")).collect();
    if let Some(domain) = domain {
        text.push_str(&format!("search {domain}\n"));
    }
    if let Err(error) = fs::write("/etc/resolv.conf", text) {
        log::warn!("cannot write /etc/resolv.conf: {error}");
    }
}

fn set_hostname(name: Option<&str>) {
    let Some(name) = name else { return };
    if let Err(error) = fs::write("/proc/sys/kernel/hostname", name) {
        log::debug!("cannot set the host name {name}: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::dhcp::message::tests::{identity, reply};
    use crate::boot::dhcp::message::{Reply, decode};

    fn lease(options: &[&[u8]]) -> Lease {
        let server: &[u8] = &[54, 4, 10, 0, 0, 1];
        let bytes = reply(7, 2, [10, 0, 0, 9], &[&[server], options].concat());
        match decode(&bytes, 7, &identity().hardware) {
            Some(Reply::Offer(lease)) => lease,
            other => panic!("{other:?}"),
        }
    }

    fn hosts(lease: &Lease) -> Vec<String> {
        masters_of(lease, 20004).iter().map(Master::text).collect()
    }

    #[test]
    fn a_named_master_shuts_guesses_out() {
        let named = lease(&[&[224, 3, b'h', b':', b'7'], &[66, 1, b'g']]);
        assert_eq!(hosts(&named), ["h:7"]);
        assert_eq!(hosts(&lease(&[&[66, 1, b'g']])), ["g:20004", "10.0.0.1:20004"]);
        // What cannot be read is as good as not there.
        assert_eq!(hosts(&lease(&[&[224, 3, b'h', b':', b'x']])), ["10.0.0.1:20004"]);
    }
}
