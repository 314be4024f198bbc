//! Whom the master may have us call.
//!
//! Whoever says which addresses others connect to can turn them against a third.
//! So only addresses of the kind that the master has itself are called, and only so
//! many in a time. Refuses to know whom they belong to and what is asked there.

use crate::rate::Rate;
use core::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Calls of peers at once ...
const CALLS_AT_ONCE: u64 = 32;
/// ... and one more in each so much time.
const CALL_EACH_MS: u64 = 250;

/// The address as it is called: IPv4 in IPv6 as IPv4, and one that means something on
/// one link only on the link of the master. What is wrong with it if it is not called.
#[inline(never)]
pub(super) fn check(addr: SocketAddr, master: SocketAddr) -> Result<SocketAddr, &'static str> {
    let (ip, master_ip) = (addr.ip().to_canonical(), master.ip().to_canonical());
    let mut addr = SocketAddr::new(ip, addr.port());
    if addr.port() == 0 || !is_unicast(ip) {
        return Err("is nobody's address");
    }
    if ip.is_loopback() && !master_ip.is_loopback() {
        return Err("is an address of this machine, and the master's is not");
    }
    if is_link_local(ip) {
        if !is_link_local(master_ip) {
            return Err("is an address of one link, and the master's is not");
        }
        if let (SocketAddr::V6(ours), SocketAddr::V6(its)) = (&mut addr, master) {
            ours.set_scope_id(its.scope_id());
        }
    }
    Ok(addr)
}

fn is_unicast(ip: IpAddr) -> bool {
    match ip {
        // 0/8 is this host, 240/4 and broadcast are reserved (RFC 6890).
        IpAddr::V4(ip) => !ip.is_multicast() && (1..240).contains(&ip.octets()[0]),
        IpAddr::V6(ip) => !ip.is_multicast() && ip != Ipv6Addr::UNSPECIFIED,
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// The calls that were made.
#[derive(Debug, Default)]
pub(super) struct CallRate(Rate);

impl CallRate {
    /// Whether another may be made now, which is noted then.
    pub fn allows(&mut self, now_ms: u64) -> bool {
        self.0.allows(now_ms, CALL_EACH_MS, CALLS_AT_ONCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(addr: &str, master: &str) -> Option<SocketAddr> {
        check(addr.parse().unwrap(), master.parse().unwrap()).ok()
    }

    #[test]
    fn only_addresses_of_the_masters_kind_are_called() {
        let plain = "10.0.0.1:20004";
        for addr in ["10.0.0.9:5", "192.168.1.255:5", "[2001:db8::5]:5"] {
            assert_eq!(checked(addr, plain), addr.parse().ok(), "{addr}");
            assert_eq!(checked(addr, "127.0.0.1:5"), addr.parse().ok(), "{addr}");
        }
        for addr in [
            "10.0.0.9:0",
            "0.0.0.0:5",
            "0.1.2.3:5",
            "127.0.0.1:5",
            "169.254.0.1:5",
            "224.0.0.1:5",
            "240.0.0.1:5",
            "255.255.255.255:5",
            "[::]:5",
            "[::1]:5",
            "[ff02::1]:5",
            "[fe80::1]:5",
            "[::ffff:127.0.0.1]:5",
            "[::ffff:224.0.0.1]:5",
        ] {
            assert_eq!(checked(addr, plain), None, "{addr}");
        }
    }

    #[test]
    fn what_is_near_is_called_where_the_master_is_as_near() {
        for (addr, master) in [
            ("127.0.0.2:5", "127.0.0.1:9"),
            ("[::1]:5", "127.0.0.1:9"),
            ("169.254.0.1:5", "169.254.9.9:9"),
        ] {
            assert_eq!(checked(addr, master), addr.parse().ok(), "{addr}");
        }
        assert_eq!(checked("[fe80::1]:5", "[fe80::9%3]:9"), "[fe80::1%3]:5".parse().ok());
        assert_eq!(checked("[::ffff:10.0.0.9]:5", "10.0.0.1:9"), "10.0.0.9:5".parse().ok());
    }

    #[test]
    fn so_many_calls_are_made_at_once_and_then_some_each_second() {
        let mut rate = CallRate::default();
        let made = |rate: &mut CallRate, now_ms| (0..999).filter(|_| rate.allows(now_ms)).count();
        assert_eq!(made(&mut rate, 5_000), CALLS_AT_ONCE as usize);
        assert_eq!(made(&mut rate, 5_000 + CALL_EACH_MS - 1), 0);
        assert_eq!(made(&mut rate, 7_000), 2_000 / CALL_EACH_MS as usize);
        assert_eq!(made(&mut rate, 1_000_000), CALLS_AT_ONCE as usize);
    }
}
