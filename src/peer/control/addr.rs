//! Addresses as the conversation writes them.

use alloc::format;
use alloc::string::String;
use core::net::{IpAddr, SocketAddr};

/// Where a stripe comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ParentAddr {
    /// The master itself: `me`, as the `redir` file of the paper's section 3
    /// says it.
    Master,
    /// Another client, at the port that it serves on: `<ip>!<port>`.
    Peer(SocketAddr),
}

const MASTER: &str = "me";

impl ParentAddr {
    /// One word.
    pub(super) fn word(self) -> String {
        match self {
            ParentAddr::Master => MASTER.into(),
            ParentAddr::Peer(addr) => format_addr(addr),
        }
    }

    /// The parent that a word is; `None` if it is neither form.
    pub(crate) fn parse(word: &str) -> Option<ParentAddr> {
        match word {
            MASTER => Some(ParentAddr::Master),
            word => parse_addr(word).map(ParentAddr::Peer),
        }
    }
}

/// `ip!port`, as Plan 9's dial(2) and the original write addresses; an IPv4
/// address in an IPv6 one as IPv4. An IPv6 scope is not written: it means
/// nothing to another host.
pub(crate) fn format_addr(addr: SocketAddr) -> String {
    format!("{}!{}", addr.ip().to_canonical(), addr.port())
}

/// The address that `ip!port` or `tcp!ip!port` is; no names. `None` for
/// anything else.
pub(crate) fn parse_addr(text: &str) -> Option<SocketAddr> {
    let text = text.strip_prefix("tcp!").unwrap_or(text);
    let (ip, port) = text.rsplit_once('!')?;
    Some(SocketAddr::new(ip.parse::<IpAddr>().ok()?, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_of_both_families_and_never_names() {
        for (text, addr) in
            [("10.0.0.1!20004", "10.0.0.1:20004"), ("2001:db8::5!9", "[2001:db8::5]:9")]
        {
            let addr: SocketAddr = addr.parse().unwrap();
            assert_eq!(format_addr(addr), text);
            assert_eq!(parse_addr(text), Some(addr));
            assert_eq!(parse_addr(&format!("tcp!{text}")), Some(addr));
        }
        let mapped = "[::ffff:10.0.0.1]:20004".parse().unwrap();
        assert_eq!(format_addr(mapped), "10.0.0.1!20004", "IPv4 in IPv6 is written plain");
        for text in ["", "!", "10.0.0.1", "10.0.0.1!", "10.0.0.1!70000", "[::1]!5", "host!5"] {
            assert_eq!(parse_addr(text), None, "{text}");
        }
        assert_eq!(ParentAddr::parse("me"), Some(ParentAddr::Master));
        assert_eq!(ParentAddr::parse("Me"), None);
    }
}
