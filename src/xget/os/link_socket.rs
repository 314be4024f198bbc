//! Datagrams to and from those on the same link, and nobody else.
//!
//! What was not routed has come with the highest hop limit that there is (RFC 5082): all that
//! leaves has it, all that arrives with another is thrown away by the kernel, and answers go
//! by no gateway. Refuses to know what is said.

#![allow(unsafe_code)]

use nix::errno::Errno;
use nix::net::if_::if_nameindex;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, SockaddrStorage, bind, recvfrom, sendto, socket,
};
use std::io;
use std::mem::size_of;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

const HOPS: libc::c_int = 255;
const ON: libc::c_int = 1;
/// Where these are in a packet's header.
const HOPS_AT_4: u32 = 8;
const HOPS_AT_6: u32 = 7;
/// All of this machine, where no link is.
const LOOPBACK_ALL: Ipv4Addr = Ipv4Addr::new(127, 255, 255, 255);

/// A link to ask on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    pub is_loopback: bool,
}

/// All links there are, those that are down too: what cannot be sent there is not.
pub fn links() -> Vec<Link> {
    let Ok(list) = if_nameindex() else { return Vec::new() };
    let link = |name: &std::ffi::CStr, index| Link { index, is_loopback: name == c"lo" };
    list.iter().map(|one| link(one.name(), one.index())).collect()
}

/// UDP of one family.
pub struct LinkSocket {
    fd: OwnedFd,
    is_ipv6: bool,
}

impl LinkSocket {
    /// At a port that others may have as well: what is sent to everybody reaches each. Port 0
    /// takes one that nobody has.
    pub fn open(is_ipv6: bool, port: u16) -> io::Result<LinkSocket> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let family = if is_ipv6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
        let fd = socket(family, SockType::Datagram, flags, None)?;
        let own = if is_ipv6 {
            set(&fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, &ON)?;
            set(&fd, libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS, &HOPS)?;
            set(&fd, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_HOPS, &HOPS)?;
            SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))
        } else {
            set(&fd, libc::SOL_SOCKET, libc::SO_BROADCAST, &ON)?;
            set(&fd, libc::IPPROTO_IP, libc::IP_TTL, &HOPS)?;
            SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))
        };
        if port > 0 {
            set(&fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, &ON)?;
        }
        keep_unrouted(&fd, if is_ipv6 { HOPS_AT_6 } else { HOPS_AT_4 })?;
        bind(fd.as_raw_fd(), &SockaddrStorage::from(own))?;
        Ok(LinkSocket { fd, is_ipv6 })
    }

    /// Hears what is said to the group on a link; again is no error. IPv4 hears all anyway.
    pub fn join(&self, group: Ipv6Addr, index: u32) -> io::Result<()> {
        if !self.is_ipv6 {
            return Ok(());
        }
        let request = libc::ipv6_mreq {
            ipv6mr_multiaddr: libc::in6_addr { s6_addr: group.octets() },
            ipv6mr_interface: index,
        };
        match set(&self.fd, libc::IPPROTO_IPV6, libc::IPV6_ADD_MEMBERSHIP, &request) {
            Err(error) if error.raw_os_error() == Some(libc::EADDRINUSE) => Ok(()),
            result => result,
        }
    }

    /// Says something to all on a link: by broadcast, or to the group.
    pub fn say(&self, link: Link, group: Ipv6Addr, port: u16, bytes: &[u8]) -> io::Result<()> {
        let to = if self.is_ipv6 {
            SocketAddr::V6(SocketAddrV6::new(group, port, 0, link.index))
        } else {
            // Of the link, and with its address (ip(7)); the number is in network order.
            let index = if link.is_loopback { 0 } else { link.index.to_be() };
            set(&self.fd, libc::IPPROTO_IP, libc::IP_UNICAST_IF, &index)?;
            let all = if link.is_loopback { LOOPBACK_ALL } else { Ipv4Addr::BROADCAST };
            SocketAddr::from((all, port))
        };
        self.send(to, bytes, MsgFlags::empty())
    }

    /// Answers somebody on a link of ours; whom only a gateway leads to gets nothing. False
    /// where that is the other family's.
    pub fn answer(&self, to: SocketAddr, bytes: &[u8]) -> io::Result<bool> {
        if to.is_ipv6() != self.is_ipv6 {
            return Ok(false);
        }
        self.send(to, bytes, MsgFlags::from_bits_retain(libc::MSG_DONTROUTE)).map(|()| true)
    }

    fn send(&self, to: SocketAddr, bytes: &[u8], flags: MsgFlags) -> io::Result<()> {
        sendto(self.fd.as_raw_fd(), bytes, &SockaddrStorage::from(to), flags)?;
        Ok(())
    }

    /// The next datagram, if there is one, and who sent it.
    pub fn receive(&self, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        let (len, from) = recvfrom::<SockaddrStorage>(self.fd.as_raw_fd(), buffer).ok()?;
        let from = from?;
        let v6 = from.as_sockaddr_in6().map(|from| {
            SocketAddr::V6(SocketAddrV6::new(from.ip(), from.port(), 0, from.scope_id()))
        });
        let v4 = from.as_sockaddr_in().map(|from| SocketAddr::from((from.ip(), from.port())));
        v6.or(v4).map(|from| (len, from))
    }
}

impl AsFd for LinkSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn set<T>(fd: &OwnedFd, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    let len = size_of::<T>() as libc::socklen_t;
    // SAFETY: the descriptor is open, and pointer and length are those of one value that
    // outlives the call, as ip(7) and ipv6(7) want for the names used above.
    let set = unsafe {
        libc::setsockopt(fd.as_raw_fd(), level, name, std::ptr::from_ref(value).cast(), len)
    };
    Errno::result(set)?;
    Ok(())
}

/// Classic BPF: a byte of the network header is the highest hop limit.
fn keep_unrouted(fd: &OwnedFd, at: u32) -> io::Result<()> {
    let step =
        |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    let of_header = libc::SKF_NET_OFF as u32 + at;
    let mut program = [
        step(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0, of_header),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, HOPS as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
    ];
    // The kernel copies and checks it.
    let wanted = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    set(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::getsockname;
    use std::net::UdpSocket;
    use std::time::{Duration, Instant};

    fn port_of(socket: &LinkSocket) -> u16 {
        let own: SockaddrStorage = getsockname(socket.fd.as_raw_fd()).unwrap();
        let v4 = own.as_sockaddr_in().map(|own| own.port());
        v4.or(own.as_sockaddr_in6().map(|own| own.port())).unwrap()
    }

    fn received(socket: &LinkSocket) -> Option<Vec<u8>> {
        let end = Instant::now() + Duration::from_secs(5);
        let mut buffer = [0; 64];
        while Instant::now() < end {
            if let Some((len, _)) = socket.receive(&mut buffer) {
                return Some(buffer[..len].to_vec());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        None
    }

    #[test]
    fn who_shares_a_port_hears_what_is_said_to_all_and_an_answer_comes_back() {
        let first = LinkSocket::open(false, 0).unwrap();
        let port = port_of(&first);
        drop(first);
        let [one, two] = [0, 1].map(|_| LinkSocket::open(false, port).unwrap());
        let asker = LinkSocket::open(false, 0).unwrap();
        let lo = *links().iter().find(|link| link.is_loopback).unwrap();
        asker.say(lo, Ipv6Addr::UNSPECIFIED, port, b"who?").unwrap();
        assert_eq!(
            (received(&one), received(&two)),
            (Some(b"who?".to_vec()), Some(b"who?".to_vec()))
        );
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port_of(&asker)));
        assert!(one.answer(to, b"me").unwrap());
        assert_eq!(received(&asker).as_deref(), Some(&b"me"[..]));
        assert!(!one.answer("[::1]:5".parse().unwrap(), b"me").unwrap(), "the other family's");
    }

    #[test]
    fn what_may_have_been_routed_is_not_heard() {
        for (is_ipv6, own) in [(false, "127.0.0.1"), (true, "::1")] {
            let socket = LinkSocket::open(is_ipv6, 0).unwrap();
            let to = SocketAddr::new(own.parse().unwrap(), port_of(&socket));
            let plain = UdpSocket::bind(SocketAddr::new(own.parse().unwrap(), 0)).unwrap();
            plain.send_to(b"from far away", to).unwrap();
            let near = LinkSocket::open(is_ipv6, 0).unwrap();
            near.send(to, b"from here", MsgFlags::empty()).unwrap();
            assert_eq!(received(&socket).as_deref(), Some(&b"from here"[..]));
            assert!(socket.receive(&mut [0; 64]).is_none());
        }
    }

    #[test]
    fn who_is_behind_a_gateway_gets_no_answer() {
        let socket = LinkSocket::open(false, 0).unwrap();
        assert!(socket.answer("198.51.100.1:5".parse().unwrap(), b"x").is_err());
    }
}
