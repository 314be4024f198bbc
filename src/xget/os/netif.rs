//! Interfaces, addresses and routes over rtnetlink(7).
//!
//! One message form for IPv4 and IPv6. The bytes are made by pure functions;
//! one function sends them and waits for the kernel's word.

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    socket,
};
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

const ACKED: u16 = (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
const NEW: u16 = (libc::NLM_F_CREATE | libc::NLM_F_REPLACE) as u16;
/// linux/if_link.h
const IFLA_VLAN_ID: u16 = 1;
const HEADER_LEN: usize = 16;
const ANSWER_LEN_MAX: usize = 4096;
/// Answers to other questions that are skipped before giving up.
const SKIPS_MAX: usize = 64;

/// A request under construction: header, fixed part, attributes.
struct Message(Vec<u8>);

impl Message {
    fn new(kind: u16, flags: u16, fixed: &[u8]) -> Message {
        let mut bytes = vec![0; HEADER_LEN];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(ACKED | flags).to_ne_bytes());
        bytes.extend_from_slice(fixed);
        Message(bytes)
    }

    fn attribute(mut self, kind: u16, value: &[u8]) -> Message {
        put(&mut self.0, kind, value);
        self
    }

    fn finish(mut self, sequence: u32) -> Vec<u8> {
        let len = self.0.len() as u32;
        self.0[..4].copy_from_slice(&len.to_ne_bytes());
        self.0[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.0
    }
}

/// An attribute: length, kind, value, padding.
fn put(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend_from_slice(&((value.len() + 4) as u16).to_ne_bytes());
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

fn family(address: IpAddr) -> u8 {
    (if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 }) as u8
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// struct ifinfomsg: family, pad, type, index, flags, change.
fn link_message(index: u32, flags: u16, [device_flags, change]: [u32; 2]) -> Message {
    let mut fixed = [0; 16];
    for (at, word) in [index, device_flags, change].into_iter().enumerate() {
        fixed[4 + at * 4..8 + at * 4].copy_from_slice(&word.to_ne_bytes());
    }
    Message::new(libc::RTM_NEWLINK, flags, &fixed)
}

fn link(index: u32, up: bool) -> Message {
    let flag = libc::IFF_UP as u32;
    link_message(index, 0, [if up { flag } else { 0 }, flag])
}

fn new_vlan(name: &str, lower: u32, id: u16) -> Message {
    let flags = (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
    let (mut info, mut data) = (Vec::new(), Vec::new());
    put(&mut data, IFLA_VLAN_ID, &id.to_ne_bytes());
    put(&mut info, libc::IFLA_INFO_KIND, b"vlan");
    put(&mut info, libc::IFLA_INFO_DATA, &data);
    link_message(0, flags, [0; 2])
        .attribute(libc::IFLA_IFNAME, &c_string(name))
        .attribute(libc::IFLA_LINK, &lower.to_ne_bytes())
        .attribute(libc::IFLA_LINKINFO, &info)
}

fn c_string(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

/// struct ifaddrmsg: family, prefix length, flags, scope, index.
/// `valid_s` is for how long; `u32::MAX` for ever.
fn address(new: bool, index: u32, address: IpAddr, prefix_len: u8, valid_s: u32) -> Message {
    let mut fixed = vec![family(address), prefix_len, 0, 0];
    fixed.extend_from_slice(&index.to_ne_bytes());
    let (kind, flags) = if new { (libc::RTM_NEWADDR, NEW) } else { (libc::RTM_DELADDR, 0) };
    let bytes = octets(address);
    let mut message = Message::new(kind, flags, &fixed)
        .attribute(libc::IFA_LOCAL, &bytes)
        .attribute(libc::IFA_ADDRESS, &bytes);
    if valid_s != u32::MAX {
        // struct ifa_cacheinfo: preferred, valid, and two times of the kernel's.
        let valid = valid_s.to_ne_bytes();
        message = message.attribute(libc::IFA_CACHEINFO, &[valid, valid, [0; 4], [0; 4]].concat());
    }
    match address {
        IpAddr::V4(v4) if prefix_len < 31 => {
            let host_bits = u32::MAX.checked_shr(u32::from(prefix_len)).unwrap_or(0);
            let broadcast = v4.to_bits() | host_bits;
            message.attribute(libc::IFA_BROADCAST, &broadcast.to_be_bytes())
        }
        _ => message,
    }
}

/// struct rtmsg: family, prefix length of destination and source, tos, table,
/// protocol, scope, type, flags.
fn route(net: IpAddr, prefix_len: u8, gateway: Option<IpAddr>, index: u32) -> Message {
    let scope = if gateway.is_some() { libc::RT_SCOPE_UNIVERSE } else { libc::RT_SCOPE_LINK };
    let fixed = [
        family(net),
        prefix_len,
        0,
        0,
        libc::RT_TABLE_MAIN,
        libc::RTPROT_BOOT,
        scope,
        libc::RTN_UNICAST,
        0,
        0,
        0,
        0,
    ];
    let mut message = Message::new(libc::RTM_NEWROUTE, NEW, &fixed);
    if prefix_len > 0 {
        message = message.attribute(libc::RTA_DST, &octets(net));
    }
    if let Some(gateway) = gateway {
        message = message.attribute(libc::RTA_GATEWAY, &octets(gateway));
    }
    message.attribute(libc::RTA_OIF, &index.to_ne_bytes())
}

/// The kernel's word on `sequence` in one datagram: `None` if it is not there.
fn verdict(bytes: &[u8], sequence: u32) -> Option<io::Result<()>> {
    let mut rest = bytes;
    while rest.len() >= HEADER_LEN {
        let word =
            |at: usize| u32::from_ne_bytes([rest[at], rest[at + 1], rest[at + 2], rest[at + 3]]);
        let len = word(0) as usize;
        let kind = u16::from_ne_bytes([rest[4], rest[5]]);
        if len < HEADER_LEN || len > rest.len() {
            return None;
        }
        if i32::from(kind) == libc::NLMSG_ERROR && word(8) == sequence && len >= HEADER_LEN + 4 {
            let errno = -(word(HEADER_LEN) as i32);
            return Some(match errno {
                0 => Ok(()),
                errno => Err(io::Error::from_raw_os_error(errno)),
            });
        }
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or(&[]);
    }
    None
}

/// A socket to the kernel's tables of interfaces, addresses and routes.
pub struct Netlink {
    fd: OwnedFd,
    sequence: u32,
}

impl Netlink {
    pub fn open() -> io::Result<Netlink> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let kind = SockProtocol::NetlinkRoute;
        let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, kind)?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        Ok(Netlink { fd, sequence: 0 })
    }

    pub fn set_link(&mut self, index: u32, up: bool) -> io::Result<()> {
        self.request(link(index, up))
    }

    pub fn add_vlan(&mut self, name: &str, lower: u32, id: u16) -> io::Result<()> {
        self.request(new_vlan(name, lower, id))
    }

    /// The link has to be down.
    pub fn rename(&mut self, index: u32, name: &str) -> io::Result<()> {
        let message = link_message(index, 0, [0; 2]);
        self.request(message.attribute(libc::IFLA_IFNAME, &c_string(name)))
    }

    /// For so many seconds, `u32::MAX` for ever.
    pub fn add_address(
        &mut self,
        index: u32,
        ip: IpAddr,
        prefix_len: u8,
        valid_s: u32,
    ) -> io::Result<()> {
        self.request(address(true, index, ip, prefix_len, valid_s))
    }

    pub fn remove_address(&mut self, index: u32, ip: IpAddr, prefix_len: u8) -> io::Result<()> {
        self.request(address(false, index, ip, prefix_len, u32::MAX))
    }

    pub fn add_route(
        &mut self,
        net: IpAddr,
        prefix_len: u8,
        gateway: Option<IpAddr>,
        index: u32,
    ) -> io::Result<()> {
        self.request(route(net, prefix_len, gateway, index))
    }

    fn request(&mut self, message: Message) -> io::Result<()> {
        self.sequence += 1;
        let bytes = message.finish(self.sequence);
        send(self.fd.as_raw_fd(), &bytes, MsgFlags::empty())?;
        let mut answer = [0; ANSWER_LEN_MAX];
        for _ in 0..SKIPS_MAX {
            match recv(self.fd.as_raw_fd(), &mut answer, MsgFlags::empty()) {
                Ok(len) => {
                    if let Some(verdict) = verdict(&answer[..len], self.sequence) {
                        return verdict;
                    }
                }
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Err(io::Error::other("the kernel does not answer on rtnetlink"))
    }
}

/// What a router said on one link, as the kernel took it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterWord {
    pub index: u32,
    pub what: Advertised,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Advertised {
    /// The flags of the link's IPv6, of all that was ever advertised there.
    Flags(u32),
    /// Name servers, in the place of those before (RFC 8106, 5.1).
    NameServers(Vec<Ipv6Addr>),
}

/// Of `Advertised::Flags`: addresses, and other things, are to be had by DHCPv6
/// (IF_RA_MANAGED and IF_RA_OTHERCONF of the kernel's net/if_inet6.h).
pub const MANAGED: u32 = 0x40;
pub const OTHER: u32 = 0x80;

/// linux/if_link.h, linux/rtnetlink.h: struct nduseroptmsg has 16 bytes.
const IFLA_INET6_FLAGS: u16 = 1;
const RTM_NEWNDUSEROPT: u16 = 68;
const RTNLGRP_ND_USEROPT: u32 = 20;
/// RFC 8106: in units of eight octets, with type, length, reserved, lifetime.
const RDNSS: u8 = 25;
/// Of one router.
const NAME_SERVERS_MAX: usize = 3;

/// What a router said, in one message of rtnetlink.
fn router_word(message: &[u8]) -> Option<RouterWord> {
    let kind = u16::from_ne_bytes(*message.get(4..)?.first_chunk()?);
    let body = message.get(HEADER_LEN..)?;
    if i32::from(*body.first()?) != libc::AF_INET6 {
        return None;
    }
    let (index, what) = match kind {
        libc::RTM_NEWLINK => {
            let info = find(body.get(16..)?, libc::IFLA_PROTINFO)?;
            let flags = find(info, IFLA_INET6_FLAGS)?.first_chunk()?;
            (body.get(4..8)?, Advertised::Flags(u32::from_ne_bytes(*flags)))
        }
        RTM_NEWNDUSEROPT => {
            let options_len = u16::from_ne_bytes(*body.get(2..)?.first_chunk()?);
            let options = body.get(16..)?.get(..usize::from(options_len))?;
            (body.get(4..8)?, Advertised::NameServers(name_servers(options)?))
        }
        _ => return None,
    };
    Some(RouterWord { index: u32::from_ne_bytes(*index.first_chunk()?), what })
}

/// The value of the first attribute of this kind.
fn find(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let (len, rest) = attributes.split_first_chunk()?;
        let (kind, _) = rest.split_first_chunk()?;
        let len = usize::from(u16::from_ne_bytes(*len));
        // Without the bit that says that there are attributes within.
        if u16::from_ne_bytes(*kind) & 0x3fff == wanted {
            return attributes.get(4..len);
        }
        attributes = attributes.get(len.next_multiple_of(4).max(4)..)?;
    }
}

/// Of the first such option among those that a router sent.
fn name_servers(mut options: &[u8]) -> Option<Vec<Ipv6Addr>> {
    while let [kind, len, ..] = *options {
        let len = usize::from(len) * 8;
        if kind == RDNSS {
            let (addresses, _) = options.get(8..len)?.as_chunks::<16>();
            // A lifetime of 0: to be used no more.
            let is_over = options[4..8] == [0; 4];
            let most = if is_over { 0 } else { NAME_SERVERS_MAX };
            return Some(addresses.iter().take(most).map(|a| Ipv6Addr::from(*a)).collect());
        }
        options = options.get(len.max(8)..)?;
    }
    None
}

/// Wakes whoever polls it when a link changes; what changed is in sysfs, but for
/// what routers say.
pub struct LinkNews {
    fd: OwnedFd,
}

impl LinkNews {
    pub fn open() -> io::Result<LinkNews> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let kind = SockProtocol::NetlinkRoute;
        let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, kind)?;
        let groups = libc::RTMGRP_LINK | libc::RTMGRP_IPV6_IFADDR | libc::RTMGRP_IPV6_IFINFO;
        let groups = groups as u32 | 1 << (RTNLGRP_ND_USEROPT - 1);
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
        Ok(LinkNews { fd })
    }

    /// The next word of a router; others are taken away. `None`: no more news.
    pub fn next(&self) -> Option<RouterWord> {
        let mut bytes = [0; ANSWER_LEN_MAX];
        loop {
            match recv(self.fd.as_raw_fd(), &mut bytes, MsgFlags::empty()) {
                Ok(len) => match router_word(&bytes[..len]) {
                    None => {}
                    word => return word,
                },
                // Overrun: there was more than fits. Routers repeat themselves.
                Err(Errno::ENOBUFS | Errno::EINTR) => {}
                Err(_) => return None,
            }
        }
    }
}

impl AsFd for LinkNews {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_up_byte_for_byte() {
        let bytes = link(2, true).finish(7);
        let expected: Vec<u8> = [
            &32u32.to_ne_bytes()[..],
            &16u16.to_ne_bytes(),
            &5u16.to_ne_bytes(),
            &7u32.to_ne_bytes(),
            &[0; 4],
            &[0; 4],
            &2u32.to_ne_bytes(),
            &1u32.to_ne_bytes(),
            &1u32.to_ne_bytes(),
        ]
        .concat();
        assert_eq!(bytes, expected);
    }

    #[test]
    fn a_vlan_byte_for_byte() {
        // `ip link add link #3 name v5 type vlan id 5`, on a little-endian machine.
        let expected: [u8; 72] = [
            72, 0, 0, 0, 16, 0, 5, 6, 1, 0, 0, 0, 0, 0, 0, 0, // header
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // struct ifinfomsg
            7, 0, 3, 0, b'v', b'5', 0, 0, // IFLA_IFNAME
            8, 0, 5, 0, 3, 0, 0, 0, // IFLA_LINK
            24, 0, 18, 0, 8, 0, 1, 0, b'v', b'l', b'a', b'n', // LINKINFO, INFO_KIND
            12, 0, 2, 0, 6, 0, 1, 0, 5, 0, 0, 0, // INFO_DATA, VLAN_ID
        ];
        assert_eq!(new_vlan("v5", 3, 5).finish(1), expected);
    }

    #[test]
    fn address_has_a_broadcast() {
        let bytes = address(true, 3, "10.1.2.3".parse().unwrap(), 23, u32::MAX).finish(1);
        assert_eq!(bytes[16..20], [2, 23, 0, 0]);
        assert_eq!(bytes[bytes.len() - 4..], [10, 1, 3, 255]);
        let bytes = address(true, 3, "10.1.2.3".parse().unwrap(), 31, u32::MAX).finish(1);
        assert_eq!(bytes[bytes.len() - 4..], [10, 1, 2, 3]);
        let bytes = address(false, 3, "fe80::1".parse().unwrap(), 64, u32::MAX).finish(1);
        assert_eq!((bytes[16], bytes.len()), (10, 24 + 20 + 20));
        let bytes = address(true, 3, "fd00::1".parse().unwrap(), 64, 120).finish(1);
        let lifetimes = [20, 0, 6, 0, 120, 0, 0, 0, 120, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(bytes[64..], lifetimes);
    }

    #[test]
    fn default_route_has_no_destination() {
        let zero = "0.0.0.0".parse().unwrap();
        let bytes = route(zero, 0, "10.0.0.1".parse().ok(), 2).finish(1);
        assert_eq!(bytes[16..28], [2, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0]);
        assert_eq!(bytes.len(), 28 + 8 + 8);
        let bytes = route("10.9.0.0".parse().unwrap(), 16, None, 2).finish(1);
        assert_eq!(bytes[22], 253);
        assert_eq!(bytes.len(), 28 + 8 + 8);
    }

    fn answer(kind: u16, sequence: u32, errno: i32) -> Vec<u8> {
        [
            &20u32.to_ne_bytes()[..],
            &kind.to_ne_bytes(),
            &[0; 2],
            &sequence.to_ne_bytes(),
            &[0; 4],
            &(-errno).to_ne_bytes(),
        ]
        .concat()
    }

    #[test]
    fn the_kernels_word_is_found() {
        let other = answer(2, 6, 0);
        assert!(verdict(&other, 7).is_none());
        let both = [other, answer(2, 7, libc::ENODEV)].concat();
        let error = verdict(&both, 7).unwrap().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
        assert!(verdict(&answer(2, 7, 0), 7).unwrap().is_ok());
        assert!(verdict(&answer(16, 7, 0), 7).is_none());
        for len in 0..20 {
            assert!(verdict(&answer(2, 7, 0)[..len], 7).is_none());
        }
        assert!(verdict(&[0; 64], 7).is_none());
    }

    /// A message of rtnetlink, on a little-endian machine.
    fn news(kind: u16, body: &[u8]) -> Vec<u8> {
        let len = (HEADER_LEN + body.len()) as u32;
        [&len.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10], body].concat()
    }

    #[test]
    fn the_words_of_routers_are_read() {
        let mut body = vec![10, 0, 1, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        // An address before it; PROTINFO with the flags after another attribute.
        body.extend([10, 0, 1, 0, 1, 2, 3, 4, 5, 6, 0, 0]);
        body.extend([20, 0, 12, 0x80, 8, 0, 5, 0, 9, 9, 9, 9, 8, 0, 1, 0, 0x60, 0, 0, 0]);
        let good = news(16, &body);
        let word = RouterWord { index: 3, what: Advertised::Flags(0x60) };
        assert_eq!(router_word(&good), Some(word));
        body[0] = 2;
        assert_eq!(router_word(&news(16, &body)), None, "not of IPv6");
        let mut body = vec![10, 0, 48, 0, 4, 0, 0, 0, 134, 0, 0, 0, 0, 0, 0, 0];
        body.extend([24, 1, 0, 0, 0, 0, 0, 0, 25, 5, 0, 0, 0, 0, 7, 8]);
        body.extend([[0xfd; 16], [0xfe; 16]].concat());
        let servers = vec![Ipv6Addr::from([0xfd; 16]), Ipv6Addr::from([0xfe; 16])];
        let word = RouterWord { index: 4, what: Advertised::NameServers(servers) };
        let named = news(68, &body);
        assert_eq!(router_word(&named), Some(word));
        body[28..32].fill(0);
        let word = RouterWord { index: 4, what: Advertised::NameServers(Vec::new()) };
        assert_eq!(router_word(&news(68, &body)), Some(word));
        for whole in [good, named] {
            for len in 0..whole.len() {
                assert_eq!(router_word(&whole[..len]), None, "{len}");
            }
            // No end of an option or attribute makes it run for ever.
            for at in HEADER_LEN..whole.len() {
                let mut broken = whole.clone();
                broken[at] = 0;
                router_word(&broken);
            }
        }
    }

    #[test]
    fn an_interface_that_is_not_there() {
        let mut netlink = Netlink::open().unwrap();
        let error = netlink.set_link(0x7fff_fff0, true).unwrap_err();
        assert!(matches!(error.raw_os_error(), Some(libc::ENODEV | libc::EPERM)), "{error}");
    }
}
