//! The interface that this boot goes by, once it has an address.
//!
//! Sets and removes what it was given, and keeps its lease alive. How it came
//! to be chosen is `network`'s.

use super::dhcp::{CLIENT_PORT, DhcpClient, DhcpEffect, Lease, SERVER_PORT, SERVERS6};
use super::ipconfig::{IpRule, Method, Route};
use super::links::{self, Link};
use super::settings::Settings;
use crate::driver::{Host, first_hosts, parse_host};
use crate::os::netif::Netlink;
use crate::os::packet::{DATAGRAM_LEN_MAX, UdpOnDevice};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// What a message needs to be on the wire: an ARP exchange, and a little more.
const RELEASE_PAUSE: Duration = Duration::from_millis(200);
/// Datagrams read in one turn.
const READS_MAX: usize = 16;

/// Who sees to it that the address stays valid.
pub enum Renewal {
    /// Nobody has to: it is static, or the kernel's from router advertisements.
    None,
    Dhcp {
        client: Box<DhcpClient>,
        /// Open only while a question is: nobody reads it else.
        socket: Option<UdpOnDevice>,
        /// From where it asks.
        own: SocketAddr,
    },
}

impl Renewal {
    /// Of a lease of IPv4, which is asked for from its own address.
    pub fn of_ipv4(client: Box<DhcpClient>, lease: &Lease) -> Renewal {
        let own = SocketAddr::new(lease.address, CLIENT_PORT);
        Renewal::Dhcp { client, socket: None, own }
    }
}

/// An address that may be used, and who keeps it.
pub struct Found {
    /// Without an address where the kernel has made it.
    pub lease: Lease,
    pub renewal: Renewal,
}

pub struct Uplink {
    pub link: Link,
    /// The address, or the link itself, is from the command line: nobody on the
    /// network tells the next system of it.
    pub by_hand: bool,
    /// Who may be the master, as the network says.
    pub masters: Vec<Host>,
    /// It says so of a master, and not of somebody who may be one as well.
    pub is_master_named: bool,
    held: Option<(IpAddr, u8)>,
    renewal: Renewal,
}

/// Where an address is from, for people.
fn origin(lease: &Lease, renewal: &Renewal) -> String {
    let Lease { address, prefix_len, server, times, .. } = lease;
    match renewal {
        Renewal::Dhcp { .. } if times.lease_s < u32::MAX => {
            format!("{address}/{prefix_len} from {server}, for {} s", times.lease_s)
        }
        Renewal::Dhcp { .. } => format!("{address}/{prefix_len} from {server}, for ever"),
        Renewal::None if address.is_unspecified() => "IPv6 address by the kernel".into(),
        Renewal::None => format!("{address}/{prefix_len} from ip="),
    }
}

/// What `ip=` says, as a lease that nobody takes away.
pub fn static_lease(rule: &IpRule) -> Option<Lease> {
    let mut lease = Lease::of(rule.address?);
    lease.prefix_len = rule.prefix_len;
    lease.master_guesses.extend(rule.server.map(|server| server.to_string()));
    let default = |gateway| Route { net: any(gateway), prefix_len: 0, gateway: Some(gateway) };
    lease.routes.extend(rule.gateway.map(default));
    Some(lease)
}

impl Uplink {
    /// Sets what a lease grants. Where it has no address, the kernel has made one.
    #[inline(never)]
    pub fn new(
        link: &Link,
        rule: &IpRule,
        settings: &Settings,
        netlink: &mut Netlink,
        Found { lease, renewal }: Found,
    ) -> Result<Uplink, String> {
        set_mtu(link, settings.network.mtu.or(rule.mtu).or(lease.mtu));
        let (address, prefix_len) = (lease.address, lease.prefix_len);
        let held = (!address.is_unspecified()).then_some((address, prefix_len));
        if held.is_some() {
            give(link, &lease, netlink)?;
        }
        for route in &lease.routes {
            set_route(link, route, netlink);
        }
        for asked in &settings.network.routes {
            let is_here = asked.device.as_ref().is_none_or(|device| link.is(device));
            if is_here && asked.route.net.is_ipv4() == address.is_ipv4() {
                set_route(link, &asked.route, netlink);
            }
        }
        let servers = rule.dns.iter().chain(&lease.dns).copied();
        write_resolver(link, settings, servers, lease.domain.as_deref());
        set_hostname(rule.hostname.as_deref().or(lease.hostname.as_deref()));
        log::info!("{}: {}", link.label(), origin(&lease, &renewal));
        Ok(Uplink {
            link: link.clone(),
            by_hand: rule.method == Method::Static || settings.network.stacked.has(&link.name),
            is_master_named: lease.master.is_some(),
            masters: masters_of(&lease, settings.image.port),
            held,
            renewal,
        })
    }

    /// Renews the lease when it is time. The error is why the address can no
    /// longer be used; it is removed then.
    pub fn tick(&mut self, now_ms: u64, netlink: &mut Netlink) -> Result<(), String> {
        let Renewal::Dhcp { client, socket, own } = &mut self.renewal else { return Ok(()) };
        let mut effects: Vec<DhcpEffect> = client.tick(now_ms).into_iter().collect();
        let mut buffer = [0; DATAGRAM_LEN_MAX];
        for _ in 0..READS_MAX {
            let received = socket.as_ref().and_then(|socket| socket.receive(&mut buffer));
            let Some((len, from)) = received else { break };
            effects.extend(client.receive(now_ms, from, &buffer[..len]));
        }
        for effect in effects {
            match effect {
                DhcpEffect::Unicast(server, bytes) => {
                    ask(socket, &self.link, *own, server_at(*own, server), &bytes);
                }
                DhcpEffect::Rebind(bytes) => {
                    let to = server_at(*own, Ipv4Addr::BROADCAST.into());
                    ask(socket, &self.link, *own, to, &bytes);
                }
                DhcpEffect::Renewed(mut lease) => {
                    log::debug!("{} goes on for {} s", lease.address, lease.times.lease_s);
                    lease.prefix_len = self.held.map_or(lease.prefix_len, |(_, len)| len);
                    give(&self.link, &lease, netlink)?;
                    *socket = None;
                }
                DhcpEffect::Lost(why) => {
                    self.take_down(netlink);
                    return Err(why);
                }
                DhcpEffect::Broadcast(_) | DhcpEffect::Bound(_) => {}
            }
        }
        Ok(())
    }

    /// Leaves the address as it is, to who uses it from now on.
    pub fn let_go(&mut self) {
        self.held = None;
        self.renewal = Renewal::None;
    }

    /// Whether there is a lease of IPv4, under the id that has the MAC address in it.
    pub fn has_lease_of_mac(&self) -> bool {
        let is_leased = matches!(self.renewal, Renewal::Dhcp { .. });
        is_leased && matches!(self.held, Some((IpAddr::V4(_), _))) && self.link.mac().is_some()
    }

    /// Gives a lease back and removes its address: the next system may ask under
    /// another id, and would get a second one, or none. Whether there was one.
    pub fn release(&mut self, now_ms: u64, netlink: &mut Netlink) -> bool {
        let Renewal::Dhcp { client, socket, own } = &mut self.renewal else { return false };
        let Some((address, _)) = self.held else { return false };
        let Some((server, bytes)) = client.release(now_ms) else { return false };
        ask(socket, &self.link, *own, server_at(*own, server), &bytes);
        // Nobody answers, and the address of the server may have to be asked for
        // before the message leaves.
        std::thread::sleep(RELEASE_PAUSE);
        log::info!("{}: {address} given back to {server}", self.link.label());
        self.take_down(netlink);
        true
    }

    /// Removes the address, and keeps the lease: whoever asks for it later under
    /// the same id gets it.
    pub fn take_down(&mut self, netlink: &mut Netlink) {
        if let Some((address, prefix_len)) = self.held.take()
            && let Err(error) = netlink.remove_address(self.link.index, address, prefix_len)
        {
            log::debug!("cannot remove {address} from {}: {error}", self.link.name);
        }
        self.renewal = Renewal::None;
    }
}

/// Gives a link the address of a lease. The kernel takes an IPv6 address away when
/// its time is over, whoever is there then (RFC 4862, 5.5.4).
pub fn give(link: &Link, lease: &Lease, netlink: &mut Netlink) -> Result<(), String> {
    let (address, prefix_len) = (lease.address, lease.prefix_len);
    let valid_s = if address.is_ipv6() { lease.times.lease_s } else { u32::MAX };
    netlink
        .add_address(link.index, address, prefix_len, valid_s)
        .map_err(|error| format!("cannot give {address}/{prefix_len} to {}: {error}", link.name))
}

/// Where a server is asked; those of DHCPv6 are all at one address.
fn server_at(own: SocketAddr, server: IpAddr) -> SocketAddr {
    if own.is_ipv4() { SocketAddr::new(server, SERVER_PORT) } else { SERVERS6 }
}

/// Sends to a DHCP server through a socket that is opened when first needed.
fn ask(
    socket: &mut Option<UdpOnDevice>,
    link: &Link,
    own: SocketAddr,
    to: SocketAddr,
    bytes: &[u8],
) {
    let sent = (|| -> io::Result<()> {
        if socket.is_none() {
            *socket = Some(UdpOnDevice::open(&link.name, own)?);
        }
        socket.as_ref().map_or(Ok(()), |socket| socket.send(to, bytes))
    })();
    if let Err(error) = sent {
        log::warn!("{}: cannot tell {to} about the lease: {error}", link.name);
    }
}

#[inline(never)]
fn masters_of(lease: &Lease, port: u16) -> Vec<Host> {
    if let Some(text) = &lease.master {
        match first_hosts(text, port) {
            Ok((masters, too_many)) => {
                if let Some(why) = too_many {
                    log::warn!("the masters in the lease: {why}");
                }
                return masters;
            }
            Err(reason) => log::warn!("the master in the lease: {reason}"),
        }
    }
    let guesses = lease.master_guesses.iter();
    guesses.filter_map(|text| parse_host(text, port).ok()).collect()
}

#[inline(never)]
fn set_mtu(link: &Link, mtu: Option<u32>) {
    let Some(mtu) = mtu else { return };
    // What a VLAN is on, which has the same address, has to take as much.
    for each in links::list() {
        if each.hardware == link.hardware
            && let Err(error) = fs::write(each.file("mtu"), mtu.to_string())
        {
            log::warn!("{}: cannot set the MTU to {mtu}: {error}", each.name);
        }
    }
}

fn any(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

/// A gateway outside of the net is first made a neighbour, as clouds with
/// /32 addresses want it.
fn set_route(link: &Link, route: &Route, netlink: &mut Netlink) {
    let Route { net, prefix_len, gateway } = *route;
    let mut done = netlink.add_route(net, prefix_len, gateway, link.index);
    if let (Err(_), Some(gateway)) = (&done, gateway) {
        let host_len = if gateway.is_ipv4() { 32 } else { 128 };
        done = netlink
            .add_route(gateway, host_len, None, link.index)
            .and_then(|()| netlink.add_route(net, prefix_len, Some(gateway), link.index));
    }
    if let Err(error) = done {
        log::warn!("{}: cannot set the route to {net}/{prefix_len}: {error}", link.name);
    }
}

/// musl's resolver asks at most this many servers (resolv.conf(5), MAXNS).
const SERVERS_MAX: usize = 3;

/// The command line's servers first.
fn write_resolver(
    link: &Link,
    settings: &Settings,
    servers: impl Iterator<Item = IpAddr>,
    domain: Option<&str>,
) {
    let all = settings.network.nameservers.iter().copied().chain(servers).take(SERVERS_MAX);
    let mut text = String::new();
    for server in all {
        // Of a link, and found on no other.
        let is_local = matches!(server, IpAddr::V6(v6) if v6.is_unicast_link_local());
        let (at, scope) = if is_local { ("%", link.name.as_str()) } else { ("", "") };
        text.push_str(&format!("nameserver {server}{at}{scope}\n"));
    }
    if let Some(domain) = domain {
        text.push_str(&["search ", domain, "\n"].concat());
    }
    if let Err(error) = fs::write("/etc/resolv.conf", text) {
        log::warn!("cannot write /etc/resolv.conf: {error}");
    }
}

pub fn set_hostname(name: Option<&str>) {
    let Some(name) = name else { return };
    if let Err(error) = fs::write("/proc/sys/kernel/hostname", name) {
        log::debug!("cannot set the host name {name}: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::dhcp::testing::offer;

    #[test]
    fn a_named_master_shuts_guesses_out() {
        let name = |name: &str, port: u16| Host::Name(name.into(), port);
        let server = Host::Addr("10.0.0.1:20004".parse().unwrap());
        let named = offer(&[&[224, 3, b'h', b':', b'7'], &[66, 1, b'g']]);
        assert_eq!(masters_of(&named, 20004), [name("h", 7)]);
        let guessed = offer(&[&[66, 1, b'g']]);
        assert_eq!(masters_of(&guessed, 20004), [name("g", 20004), server.clone()]);
        // What cannot be read is as good as not there.
        let unreadable = offer(&[&[224, 3, b'h', b':', b'x']]);
        assert_eq!(masters_of(&unreadable, 20004), [server]);
    }
}
