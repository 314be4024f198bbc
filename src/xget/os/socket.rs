//! TCP sockets that never block.
//!
//! Knows the options that a transfer wants; refuses to know what is sent.

#![allow(unsafe_code)]

use nix::errno::Errno;
use nix::sys::sendfile::sendfile;
use nix::sys::socket::{
    self, AddressFamily, MsgFlags, SockFlag, SockType, SockaddrStorage, setsockopt, sockopt,
};
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// A thousand nodes that boot together connect within one round trip.
const BACKLOG: i32 = 4096;
/// Bytes that the kernel holds unsent before it calls a socket full: enough
/// for a round trip, so little that what we send next is never stale.
const UNSENT_BYTES: libc::c_int = 256 * 1024;
/// What a peer has not acknowledged, or has had no room for, after so long it never will:
/// its machine has vanished. The kernel's own patience is a quarter of an hour.
const UNHEARD_MS: u32 = 60_000;
/// The same of one that nothing is sent to: the kernel asks whether it is there.
const KEEP_IDLE_S: u32 = 15;
const KEEP_INTERVAL_S: u32 = 5;
const KEEP_COUNT: u32 = 3;

/// Listens on all addresses, IPv6 and IPv4 alike, or on IPv4 alone where the
/// kernel has no IPv6. Port 0 takes any.
pub fn listen(port: u16) -> io::Result<TcpListener> {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).or_else(|error| match error
        .raw_os_error()
    {
        Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL) => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))
        }
        _ => Err(error),
    })?;
    listener.set_nonblocking(true)?;
    // SAFETY: the descriptor is open; listen(2) on a listening socket only
    // changes its backlog, which std fixes at 128 and nix limits to 511.
    Errno::result(unsafe { libc::listen(listener.as_raw_fd(), BACKLOG) })?;
    Ok(listener)
}

/// Begins to connect: the socket becomes writable when that has ended, and
/// `take_error` says how.
pub fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let family = if addr.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let fd: OwnedFd = socket::socket(family, SockType::Stream, flags, None)?;
    match socket::connect(fd.as_raw_fd(), &SockaddrStorage::from(addr)) {
        Ok(()) | Err(Errno::EINPROGRESS) => {}
        Err(errno) => return Err(errno.into()),
    }
    Ok(TcpStream::from(fd))
}

/// Options of every connection. None of them is vital.
pub fn tune(stream: &TcpStream) {
    let _ = stream.set_nonblocking(true);
    let _ = stream.set_nodelay(true);
    let _ = setsockopt(stream, sockopt::KeepAlive, &true);
    let _ = setsockopt(stream, sockopt::TcpKeepIdle, &KEEP_IDLE_S);
    let _ = setsockopt(stream, sockopt::TcpKeepInterval, &KEEP_INTERVAL_S);
    let _ = setsockopt(stream, sockopt::TcpKeepCount, &KEEP_COUNT);
    let _ = setsockopt(stream, sockopt::TcpUserTimeout, &UNHEARD_MS);
    let unsent_bytes = UNSENT_BYTES;
    let value = &raw const unsent_bytes;
    // SAFETY: the descriptor is open while `stream` lives, and the pointer and
    // length are those of one c_int, as tcp(7) wants for TCP_NOTSENT_LOWAT.
    unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_NOTSENT_LOWAT,
            value.cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        );
    }
}

/// Sends what fits; `more` says that bulk data follow at once.
pub fn send(stream: &impl AsRawFd, bytes: &[u8], more: bool) -> io::Result<usize> {
    let more = if more { libc::MSG_MORE } else { 0 };
    let flags = MsgFlags::from_bits_retain(libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT | more);
    Ok(socket::send(stream.as_raw_fd(), bytes, flags)?)
}

/// Sends a stretch of a file without copying it through this process; moves
/// `offset`. `Ok(0)` means that the file ended early.
pub fn send_file(
    stream: &TcpStream,
    file: &File,
    offset: &mut u64,
    len: usize,
) -> io::Result<usize> {
    let mut at = *offset as libc::off_t;
    let sent = sendfile(stream.as_fd(), file.as_fd(), Some(&mut at), len)?;
    *offset = at as u64;
    Ok(sent)
}

/// Takes as many descriptors as the system allows; says how many these are.
pub fn raise_descriptor_limit() -> u64 {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return u64::MAX };
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::getsockopt;

    #[test]
    fn a_machine_that_vanished_is_waited_for_a_minute_also_where_it_owes_an_acknowledgement() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        tune(&stream);
        assert_eq!(getsockopt(&stream, sockopt::TcpUserTimeout).unwrap(), UNHEARD_MS);
        assert!(getsockopt(&stream, sockopt::KeepAlive).unwrap());
    }
}
