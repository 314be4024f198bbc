//! Whether what has to be served can be, and who is in the way.
//!
//! A port is tried as dnsmasq takes it, and then without sharing on the one interface: two
//! servers that share a port both answer. One that is bound to another interface is in
//! nobody's way. Who has it, /proc says where it can.

use super::net::Net;
use crate::failure::{Failure, Outcome, Status, reason};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

const DHCP: u16 = 67;
const TFTP: u16 = 69;
const PROXY: u16 = 4011;
const DNS: u16 = 53;
const DHCP6: u16 = 547;
/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;
/// `st` of a socket that listens; UDP has 7 for one that is bound.
const TCP_LISTEN: &str = "0A";
const UDP_BOUND: &str = "07";

/// That DHCP and TFTP can be served on this net, and what else is wanted.
pub fn check(net: &Net, proxy: bool, dns: bool) -> Outcome {
    let ports = [
        (true, DHCP, "DHCP", Ipv4Addr::UNSPECIFIED),
        (true, TFTP, "TFTP", net.address),
        (proxy, PROXY, "proxy DHCP", Ipv4Addr::UNSPECIFIED),
        (dns, DNS, "DNS", net.address),
    ];
    if net.address6.is_some() {
        let place = SocketAddr::from((Ipv6Addr::UNSPECIFIED, DHCP6));
        let tried = try_udp(None, place).and_then(|()| try_udp(Some(&net.interface), place));
        tried.map_err(|error| taken("udp", DHCP6, "DHCPv6", &error))?;
    }
    for (_, port, what, address) in ports.into_iter().filter(|(wanted, ..)| *wanted) {
        let place = SocketAddr::from((address, port));
        let tried = try_udp(None, place).and_then(|()| try_udp(Some(&net.interface), place));
        tried.map_err(|error| taken("udp", port, what, &error))?;
    }
    Ok(())
}

/// Shared with all that share it, too, or alone on an interface.
fn try_udp(interface: Option<&str>, place: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(place), Type::DGRAM, Some(Protocol::UDP))?;
    if place.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    match interface {
        Some(interface) => socket.bind_device(Some(interface.as_bytes()))?,
        None => {
            socket.set_reuse_address(true)?;
            socket.set_reuse_port(true)?;
        }
    }
    socket.bind(&SockAddr::from(place))
}

/// Listens for HTTP on an address of the net alone.
pub fn listen(address: IpAddr, port: u16) -> Outcome<TcpListener> {
    let listen = || {
        let place = SocketAddr::new(address, port);
        let socket = Socket::new(Domain::for_address(place), Type::STREAM, Some(Protocol::TCP))?;
        // Connections of one that has just ended are in nobody's way.
        socket.set_reuse_address(true)?;
        socket.bind(&SockAddr::from(place))?;
        socket.listen(BACKLOG)?;
        Ok(TcpListener::from(socket))
    };
    listen().map_err(|error| taken("tcp", port, "HTTP", &error))
}

fn taken(protocol: &str, port: u16, what: &str, error: &io::Error) -> Failure {
    if error.kind() != io::ErrorKind::AddrInUse {
        let text = format!("cannot serve {what} on port {port}: {}", reason(error));
        return Failure::machine(text);
    }
    let other = match what {
        "HTTP" => ", or take another --http-port",
        _ => ", or have it serve what `netboot --dir` makes",
    };
    let text = format!(
        "cannot serve {what}: {protocol} port {port} is taken by {}; end that{other}",
        who_has(protocol, port).unwrap_or_else(|| "somebody whom /proc does not show".into())
    );
    Failure::new(Status::Taken, text)
}

/// The programs that have a port, with their numbers.
fn who_has(protocol: &str, port: u16) -> Option<String> {
    let tables = [format!("/proc/net/{protocol}"), format!("/proc/net/{protocol}6")];
    let texts = tables.iter().filter_map(|path| fs::read_to_string(path).ok());
    let inodes: Vec<String> = texts.flat_map(|text| inodes_of(&text, port)).collect();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut names: Vec<String> = processes
        .filter(|process| {
            // What has ended meanwhile has nothing.
            let open = fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
            let targets = open.filter_map(|fd| fs::read_link(fd.path()).ok());
            targets.into_iter().any(|to| {
                let to = to.to_string_lossy();
                inodes.iter().any(|inode| to == format!("socket:[{inode}]"))
            })
        })
        .map(|process| {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            format!("{} (process {})", name.trim(), process.file_name().to_string_lossy())
        })
        .collect();
    names.sort();
    (!names.is_empty()).then(|| names.join(", "))
}

/// The inodes of sockets that wait at this port: proc_pid_net(5).
fn inodes_of(table: &str, port: u16) -> Vec<String> {
    let end = format!(":{port:04X}");
    let mut inodes = Vec::new();
    for line in table.lines().skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let &[_, local, _, state, _, _, _, _, _, inode, ..] = words.as_slice() else { continue };
        if local.ends_with(&end) && [TCP_LISTEN, UDP_BOUND].contains(&state) {
            inodes.push(inode.into());
        }
    }
    inodes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_of_a_port_are_found() {
        let table = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100000A:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 23456 1
   1: 0100000A:0050 0200000A:8050 01 00000000:00000000 00:00000000 00000000     0        0 23457 1
   2: 00000000:0043 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 9 2
   3: 00000000:0050";
        assert_eq!(inodes_of(table, 80), ["23456"]);
        assert_eq!(inodes_of(table, 67), ["9"]);
        assert!(inodes_of(table, 0x8050).is_empty());
    }

    #[test]
    fn who_has_a_port_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let said = who_has("tcp", port).unwrap();
        assert!(said.contains(&format!("(process {})", std::process::id())), "{said}");
        let address = IpAddr::from([127, 0, 0, 1]);
        let failure = listen(address, port).unwrap_err();
        assert_eq!(failure.status, Status::Taken);
        assert!(failure.text.contains(&said), "{}", failure.text);
        drop(listener);
        listen(address, port).unwrap();
    }
}
