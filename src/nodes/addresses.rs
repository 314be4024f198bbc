//! Ranges of IP addresses: one, a network, or from one to another.
//!
//! IPv4 is compared in its form within IPv6, so that there is one order.

use core::net::IpAddr;

/// Which addresses. IPv4 ones are those of `::ffff:0:0/96`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Addresses {
    from: u128,
    to: u128,
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().into(),
        IpAddr::V6(v6) => v6.into(),
    }
}

impl Addresses {
    /// `None` for what is written like none of them.
    pub fn parse(text: &str) -> Option<Result<Addresses, &'static str>> {
        let parse = |text: &str| text.parse::<IpAddr>().ok();
        if let Some((from, to)) = text.split_once('-') {
            let (from, to) = (parse(from)?, parse(to)?);
            let range = Addresses { from: number(from), to: number(to) };
            let is_range = range.from <= range.to && from.is_ipv4() == to.is_ipv4();
            return Some(is_range.then_some(range).ok_or("the range runs backwards"));
        }
        let Some((address, prefix)) = text.split_once('/') else {
            let one = number(parse(text)?);
            return Some(Ok(Addresses { from: one, to: one }));
        };
        let address = parse(address)?;
        let len_max: u32 = if address.is_ipv4() { 32 } else { 128 };
        let len = prefix.parse::<u32>().ok().filter(|len| *len <= len_max);
        let Some(len) = len else { return Some(Err("the length of a prefix is expected")) };
        let host = 1_u128.checked_shl(len_max - len).unwrap_or(0).wrapping_sub(1);
        let from = number(address);
        let is_network = from & host == 0;
        let range = Addresses { from, to: from | host };
        Some(is_network.then_some(range).ok_or("the first address of the network is expected"))
    }

    /// Whether it is one of them, and which, from 0 on, as far as that can be counted.
    pub fn place(&self, ip: IpAddr) -> Option<u32> {
        let ip = number(ip);
        (self.from <= ip && ip <= self.to).then(|| (ip - self.from) as u32)
    }

    /// The one at a place, from 0 on.
    pub fn at(&self, place: u32) -> Option<IpAddr> {
        let number = self.from.checked_add(place.into()).filter(|number| *number <= self.to)?;
        Some(IpAddr::V6(number.into()).to_canonical())
    }

    /// The first and the last.
    pub fn ends(&self) -> (IpAddr, IpAddr) {
        let ip = |number: u128| IpAddr::V6(number.into()).to_canonical();
        (ip(self.from), ip(self.to))
    }

    /// How many there are, or as many as fit.
    pub fn count(&self) -> u32 {
        u32::try_from(self.to - self.from).map_or(u32::MAX, |last| last.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_its_address() {
        let at = |range: &str, place| Addresses::parse(range).unwrap().unwrap().at(place);
        assert_eq!(at("10.0.0.11-10.0.0.50", 2), "10.0.0.13".parse().ok());
        assert_eq!(at("10.0.0.7", 1), None);
        assert_eq!(at("fd00::/64", 5), "fd00::5".parse().ok());
    }

    fn place(range: &str, ip: &str) -> Option<u32> {
        Addresses::parse(range).unwrap().unwrap().place(ip.parse().unwrap())
    }

    #[test]
    fn an_address_has_its_place_in_a_range() {
        assert_eq!(place("10.0.0.7", "10.0.0.7"), Some(0));
        assert_eq!(place("10.0.0.7", "::ffff:10.0.0.7"), Some(0));
        assert_eq!(place("10.0.0.7", "10.0.0.8"), None);
        assert_eq!(place("10.0.1.0/24", "10.0.1.255"), Some(255));
        assert_eq!(place("10.0.1.0/24", "10.0.2.0"), None);
        assert_eq!(place("0.0.0.0/0", "255.255.255.255"), Some(u32::MAX));
        assert_eq!(place("0.0.0.0/0", "fe80::1"), None);
        assert_eq!(place("10.0.0.9-10.0.0.40", "10.0.0.10"), Some(1));
        assert_eq!(place("fd00::/64", "fd00::5"), Some(5));
        assert_eq!(place("::/0", "fd00::5").is_some(), place("::/0", "10.0.0.1").is_some());
        assert_eq!(place("fd00::1-fd00::9", "fd00::9"), Some(8));
    }

    #[test]
    fn what_is_an_address_but_no_range_is_an_error_and_all_else_none() {
        for text in ["10.0.0.9-10.0.0.1", "10.0.0.1-fd00::1", "10.0.0.1/24", "10.0.0.0/33"] {
            assert!(matches!(Addresses::parse(text), Some(Err(_))), "{text}");
        }
        for text in ["n1", "n1-2", "", "-", "/", "10.0.0", "10.0.0.256", "10.0.0.1-n"] {
            assert!(Addresses::parse(text).is_none(), "{text}");
        }
    }
}
