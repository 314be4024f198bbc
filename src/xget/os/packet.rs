//! Datagrams of an interface that has no address: packet(7), and a UDP socket
//! of one interface for when it has one.
//!
//! Refuses to know what is in them.

#![allow(unsafe_code)]

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, SockaddrStorage, bind, recv, recvfrom, sendto,
    setsockopt, socket, sockopt,
};
use std::ffi::OsString;
use std::io;
use std::mem::size_of;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// ETH_P_IP in network order.
const IP: u16 = 0x0800u16.to_be();
/// Longest hardware address: InfiniBand's.
const ADDRESS_LEN_MAX: usize = 20;
pub const DATAGRAM_LEN_MAX: usize = 2048;

/// sockaddr_ll with room for the addresses that do not fit into it; the
/// kernel takes them (packet(7); net/packet/af_packet.c, packet_snd).
#[repr(C)]
struct Address {
    family: libc::sa_family_t,
    protocol: u16,
    index: i32,
    hatype: u16,
    pkttype: u8,
    halen: u8,
    addr: [u8; ADDRESS_LEN_MAX],
}

/// IPv4 packets of one interface, without link headers.
pub struct PacketSocket {
    fd: OwnedFd,
    everybody: Address,
}

impl PacketSocket {
    /// Receives only unfragmented UDP to `port`. `broadcast` is the link's
    /// address of everybody.
    pub fn open(index: u32, broadcast: &[u8], port: u16) -> io::Result<PacketSocket> {
        let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: socket(2) takes no pointers; the descriptor is checked, and
        // owned by nobody else. Protocol 0: nothing arrives before the bind.
        let fd = unsafe {
            let fd = libc::socket(libc::AF_PACKET, kind, 0);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        filter(&fd, port)?;
        let mut everybody = Address {
            family: libc::AF_PACKET as libc::sa_family_t,
            protocol: IP,
            index: index as i32,
            hatype: 0,
            pkttype: 0,
            halen: broadcast.len().min(ADDRESS_LEN_MAX) as u8,
            addr: [0; ADDRESS_LEN_MAX],
        };
        let len = usize::from(everybody.halen);
        everybody.addr[..len].copy_from_slice(&broadcast[..len]);
        // SAFETY: the address outlives the call, and bind(2) reads no more
        // than sockaddr_ll of it, which `Address` begins with.
        let bound = unsafe {
            let len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            libc::bind(fd.as_raw_fd(), (&raw const everybody).cast(), len)
        };
        if bound < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(PacketSocket { fd, everybody })
    }

    /// Sends an IPv4 packet to everybody on the link.
    pub fn broadcast(&self, packet: &[u8]) -> io::Result<()> {
        // SAFETY: both buffers outlive the call and have the given lengths.
        let sent = unsafe {
            libc::sendto(
                self.fd.as_raw_fd(),
                packet.as_ptr().cast(),
                packet.len(),
                0,
                (&raw const self.everybody).cast(),
                size_of::<Address>() as libc::socklen_t,
            )
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// The next packet, if there is one.
    pub fn receive(&self, buffer: &mut [u8; DATAGRAM_LEN_MAX]) -> Option<usize> {
        recv(self.fd.as_raw_fd(), buffer, MsgFlags::empty()).ok()
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Classic BPF: protocol is UDP, no fragment, destination port; so that a
/// transfer at full speed does not pass through this socket.
fn filter(fd: &OwnedFd, port: u16) -> io::Result<()> {
    let step =
        |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    let (load, absolute, indirect) = (libc::BPF_LD, libc::BPF_ABS, libc::BPF_IND);
    let equals = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let any_bit = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
    let mut program = [
        step(load | libc::BPF_B | absolute, 0, 0, 9),
        step(equals, 0, 6, 17),
        step(load | libc::BPF_H | absolute, 0, 0, 6),
        step(any_bit, 4, 0, 0x1fff),
        step(libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH, 0, 0, 0),
        step(load | libc::BPF_H | indirect, 0, 0, 2),
        step(equals, 0, 1, u32::from(port)),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
    ];
    let wanted = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the program outlives the call, and its length is its own; the
    // kernel copies and checks it.
    let set = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const wanted).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    if set < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// UDP of one interface and one of its addresses.
pub struct UdpOnDevice {
    fd: OwnedFd,
}

impl UdpOnDevice {
    pub fn open(device: &str, own: SocketAddr) -> io::Result<UdpOnDevice> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let family = if own.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let fd = socket(family, SockType::Datagram, flags, None)?;
        setsockopt(&fd, sockopt::BindToDevice, &OsString::from(device))?;
        setsockopt(&fd, sockopt::Broadcast, &true)?;
        setsockopt(&fd, sockopt::ReuseAddr, &true)?;
        bind(fd.as_raw_fd(), &SockaddrStorage::from(own))?;
        Ok(UdpOnDevice { fd })
    }

    pub fn send(&self, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        let to = SockaddrStorage::from(to);
        sendto(self.fd.as_raw_fd(), bytes, &to, MsgFlags::empty())?;
        Ok(())
    }

    /// The next datagram, if there is one, and who sent it.
    pub fn receive(&self, buffer: &mut [u8; DATAGRAM_LEN_MAX]) -> Option<(usize, IpAddr)> {
        let (len, from) = recvfrom::<SockaddrStorage>(self.fd.as_raw_fd(), buffer).ok()?;
        let from = from?;
        let v6 = from.as_sockaddr_in6().map(|from| IpAddr::V6(from.ip()));
        v6.or(from.as_sockaddr_in().map(|from| IpAddr::V4(from.ip()))).map(|from| (len, from))
    }
}

impl AsFd for UdpOnDevice {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
