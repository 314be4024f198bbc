//! A master's address as people write it, and what it resolves to.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

/// The original's port.
pub const MASTER_PORT: u16 = 20004;

/// A master as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    Addr(SocketAddr),
    Name(String, u16),
}

/// `host`, `host:port`, `1.2.3.4:port`, `[v6]`, `[v6]:port`, or a bare `v6`.
pub fn parse_host(text: &str, port: u16) -> Result<Host, String> {
    if let Ok(addr) = text.parse::<SocketAddr>()
        && addr.port() > 0
    {
        return Ok(Host::Addr(addr));
    }
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(Host::Addr(SocketAddr::new(ip, port)));
    }
    let (name, port) = match text.rsplit_once(':') {
        Some((name, digits)) => match digits.parse() {
            Ok(port) if port > 0 => (name, port),
            _ => return Err(format!("{text:?}: {digits:?} is no port")),
        },
        None => (text, port),
    };
    // What is not ASCII may stand in /etc/hosts.
    let plain =
        |byte: u8| !byte.is_ascii() || byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || !name.bytes().all(plain) {
        return Err(format!("{text:?} is no host: name, IPv4 or [IPv6] address, and :PORT"));
    }
    Ok(Host::Name(name.into(), port))
}

/// The addresses of a master as it was written.
pub fn resolve(host: &Host) -> Result<Vec<SocketAddr>, String> {
    match host {
        Host::Addr(addr) => Ok(vec![*addr]),
        Host::Name(name, port) => {
            let found = (name.as_str(), *port).to_socket_addrs();
            let addrs: Vec<SocketAddr> = found
                .map_err(|error| format!("{name}: cannot find its address: {error}"))?
                .collect();
            if addrs.is_empty() { Err(format!("{name} has no address")) } else { Ok(addrs) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_in_all_their_forms() {
        let addr = |text: &str| Ok(Host::Addr(text.parse().unwrap()));
        assert_eq!(parse_host("10.0.0.1", 5), addr("10.0.0.1:5"));
        assert_eq!(parse_host("10.0.0.1:7", 5), addr("10.0.0.1:7"));
        assert_eq!(parse_host("[fe80::1]:7", 5), addr("[fe80::1]:7"));
        assert_eq!(parse_host("[fe80::1]", 5), addr("[fe80::1]:5"));
        assert_eq!(parse_host("fe80::1", 5), addr("[fe80::1]:5"));
        assert_eq!(parse_host("head-1.cluster", 5), Ok(Host::Name("head-1.cluster".into(), 5)));
        for text in ["10.0.0.1:0", "[fe80::1]:0", "he/ad", "he ad", "a@b", "[a]", "h:70000", ""] {
            assert!(parse_host(text, 5).is_err(), "{text}");
        }
    }
}
