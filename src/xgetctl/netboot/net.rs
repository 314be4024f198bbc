//! The interface that nodes boot from, and the addresses that are lent there.
//!
//! Asks ip(8). Refuses to know what is done with it.

use crate::failure::{Failure, Outcome, Status};
use crate::program;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Addresses lent at most: as many as nodes can be told apart.
const LENT_MAX: u32 = nodes::NODES_MAX as u32;
/// A net of four addresses has one for the head and one for a node.
const PREFIX_MAX: u8 = 30;
const PREFIX6: u8 = 64;
/// What is lent of a net of 64 bits: as many as nodes can be told apart.
const FROM6: u128 = 0x1_0000;
const TO6: u128 = 0x1_ffff;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Net {
    pub interface: String,
    /// The head's.
    pub address: Ipv4Addr,
    /// The first and last that are lent: the upper half of the net.
    pub from: Ipv4Addr,
    pub to: Ipv4Addr,
    pub mask: Ipv4Addr,
    /// The head's of IPv6, where that is wanted.
    pub address6: Option<Ipv6Addr>,
}

#[derive(Debug, Deserialize)]
struct Link {
    ifname: String,
    #[serde(default)]
    addr_info: Vec<Address>,
}

#[derive(Debug, Deserialize)]
struct Address {
    local: Ipv4Addr,
    prefixlen: u8,
}

#[derive(Debug, Deserialize)]
struct Link6 {
    #[serde(default)]
    addr_info: Vec<Address6>,
}

#[derive(Debug, Deserialize)]
struct Address6 {
    local: Ipv6Addr,
    prefixlen: u8,
    scope: String,
    /// One that its owner changes from day to day (RFC 8981).
    #[serde(default)]
    temporary: bool,
}

impl Net {
    /// That of an interface; of the only one if none is named.
    pub fn find(interface: Option<&str>) -> Outcome<Net> {
        choose(&links::<Link>("-4", interface)?, interface)
    }

    /// The same, with its address of IPv6.
    pub fn with_ipv6(self) -> Outcome<Net> {
        let found = links::<Link6>("-6", Some(&self.interface))?;
        let address6 = Some(choose6(&found, &self.interface)?);
        Ok(Net { address6, ..self })
    }

    pub fn new(interface: &str, address: Ipv4Addr, prefix: u8) -> Outcome<Net> {
        if prefix > PREFIX_MAX {
            return Err(unusable(format!(
                "{interface} has {address}/{prefix}: no room for nodes; give it a net of /30 or \
                 larger"
            )));
        }
        let host = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
        let net = address.to_bits() & !host;
        let last = net + host - 1;
        let first = net + host / 2 + 1;
        // What a small net has below the half is not wasted on the head alone.
        let first = if first > last { last } else { first };
        let first = first.max(last.saturating_sub(LENT_MAX - 1));
        // dnsmasq never lends its own, and wants another in the range.
        let first = if first == last && last == address.to_bits() { net + 1 } else { first };
        Ok(Net {
            interface: interface.into(),
            address,
            from: first.into(),
            to: last.into(),
            mask: (!host).into(),
            address6: None,
        })
    }
}

impl Net {
    /// Whether one of these addresses is of this net.
    pub fn meets(&self, from: Ipv4Addr, to: Ipv4Addr) -> bool {
        let (first, last) = (self.address & self.mask, self.address | !self.mask);
        from <= last && to >= first
    }

    /// What is left of the range that is lent, in its order.
    pub fn range_without(&self, known: &[(Ipv4Addr, Ipv4Addr)]) -> Vec<(Ipv4Addr, Ipv4Addr)> {
        let number = |address: Ipv4Addr| u128::from(address.to_bits());
        let known = known.iter().map(|(from, to)| (number(*from), number(*to)));
        let left = without(number(self.from), number(self.to), known.collect());
        let address = |number: u128| Ipv4Addr::from(number as u32);
        left.into_iter().map(|(from, to)| (address(from), address(to))).collect()
    }

    /// The same of IPv6, whole addresses; nothing without it.
    pub fn range6_without(&self, known: &[(Ipv6Addr, Ipv6Addr)]) -> Vec<(Ipv6Addr, Ipv6Addr)> {
        let Some(address6) = self.address6 else { return Vec::new() };
        let prefix = address6.to_bits() >> PREFIX6 << PREFIX6;
        let known = known.iter().map(|(from, to)| (from.to_bits(), to.to_bits()));
        let left = without(prefix | FROM6, prefix | TO6, known.collect());
        left.into_iter().map(|(from, to)| (from.into(), to.into())).collect()
    }
}

fn without(first: u128, last: u128, mut known: Vec<(u128, u128)>) -> Vec<(u128, u128)> {
    let mut at = first;
    known.retain(|(from, to)| *from <= last && *to >= first);
    known.sort_unstable();
    let mut left = Vec::new();
    for (from, to) in known.into_iter().chain([(last + 1, last + 1)]) {
        if from > at {
            left.push((at, from - 1));
        }
        at = at.max(to.saturating_add(1));
    }
    left
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Net { interface, address, from, to, address6, .. } = self;
        write!(f, "{interface}: {address} lends {from} to {to}")?;
        address6.map_or(Ok(()), |address6| write!(f, ", {address6} its net's"))
    }
}

/// What ip(8) says of interfaces and their addresses of a family.
fn links<T: DeserializeOwned>(family: &str, interface: Option<&str>) -> Outcome<Vec<T>> {
    let ip = program::need("ip", "iproute2", "looking at interfaces")?;
    let mut command = program::command(&ip)?;
    command.args(["-j", family, "address", "show"]);
    if let Some(interface) = interface {
        command.args(["dev", interface]);
    }
    let shown = program::capture(&mut command, "look at interfaces");
    let bytes = shown.map_err(|failure| match interface {
        Some(_) => unusable(failure.text),
        None => failure,
    })?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Failure::machine(format!("cannot read what ip(8) says: {error}")))
}

/// dnsmasq lends of nets of 64 bits, and machines make addresses in no other.
fn choose6(links: &[Link6], interface: &str) -> Outcome<Ipv6Addr> {
    let all = links.iter().flat_map(|link| &link.addr_info);
    let mut fit = all.filter(|a| a.scope == "global" && a.prefixlen == PREFIX6 && !a.temporary);
    fit.next().map(|address| address.local).ok_or_else(|| {
        unusable(format!(
            "{interface} has no IPv6 address with a net of /{PREFIX6} that stays: `ip address add \
             fd00::1/{PREFIX6} dev {interface}`, and in the configuration of this machine"
        ))
    })
}

fn choose(links: &[Link], interface: Option<&str>) -> Outcome<Net> {
    // One that is named is taken, whatever it is.
    let is_one = |link: &&Link| interface.is_some() || !link.addr_info.iter().all(is_loopback);
    let found: Vec<&Link> = links.iter().filter(is_one).collect();
    match (found.as_slice(), interface) {
        ([link], _) if !link.addr_info.is_empty() => {
            let Address { local, prefixlen } = link.addr_info[0];
            Net::new(&link.ifname, local, prefixlen)
        }
        (_, Some(interface)) => Err(unusable(format!(
            "{interface} has no IPv4 address: `ip address add 10.0.0.1/24 dev {interface}`, and \
             in the configuration of this machine"
        ))),
        ([], None) => Err(unusable(
            "no interface has an IPv4 address: give one to that \
             which nodes are on, and name it by --interface",
        )),
        (many, None) => {
            let names: Vec<&str> = many.iter().map(|link| &*link.ifname).collect();
            Err(Failure::usage(format!(
                "which of these are the nodes on? --interface {}",
                names.join(" or ")
            )))
        }
    }
}

fn unusable(text: impl Into<String>) -> Failure {
    Failure::new(Status::Interface, text)
}

fn is_loopback(address: &Address) -> bool {
    address.local.is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(address: [u8; 4], prefix: u8) -> String {
        let net = Net::new("e", address.into(), prefix).unwrap();
        format!("{}-{}/{}", net.from, net.to, net.mask)
    }

    #[test]
    fn the_upper_half_is_lent_as_far_as_there_is_one() {
        assert_eq!(range([10, 0, 0, 1], 24), "10.0.0.128-10.0.0.254/255.255.255.0");
        assert_eq!(range([10, 0, 0, 200], 24), "10.0.0.128-10.0.0.254/255.255.255.0");
        assert_eq!(range([10, 0, 0, 1], 30), "10.0.0.2-10.0.0.2/255.255.255.252");
        assert_eq!(range([10, 0, 0, 2], 30), "10.0.0.1-10.0.0.2/255.255.255.252");
        assert_eq!(range([127, 0, 0, 1], 8), "127.254.255.255-127.255.255.254/255.0.0.0");
        assert!(Net::new("e", [10, 0, 0, 1].into(), 31).is_err());
    }

    #[test]
    fn addresses_that_are_known_are_not_lent() {
        let net = Net::new("e", [10, 0, 0, 1].into(), 24).unwrap();
        let without = |known: &[(u8, u8)]| {
            let address = |last: u8| Ipv4Addr::new(10, 0, 0, last);
            let known: Vec<_> = known.iter().map(|(a, b)| (address(*a), address(*b))).collect();
            let left = net.range_without(&known);
            left.iter().map(|(a, b)| (a.octets()[3], b.octets()[3])).collect::<Vec<_>>()
        };
        assert_eq!(without(&[]), [(128, 254)]);
        assert_eq!(without(&[(11, 50)]), [(128, 254)]);
        assert_eq!(
            without(&[(200, 201), (11, 130), (150, 150)]),
            [(131, 149), (151, 199), (202, 254)]
        );
        assert_eq!(without(&[(140, 160), (150, 155), (254, 255)]), [(128, 139), (161, 253)]);
        assert_eq!(without(&[(0, 255)]), []);
        let meets = |from: [u8; 4], to: [u8; 4]| net.meets(from.into(), to.into());
        assert!(meets([10, 0, 0, 255], [10, 0, 1, 9]) && !meets([10, 0, 1, 0], [10, 0, 1, 9]));
        assert!(meets([10, 0, 0, 0], [10, 255, 255, 255]), "it can be a part of them");
    }

    #[test]
    fn an_ipv6_address_that_stays_is_taken() {
        let text = r#"[{},{"addr_info":[
            {"local":"fe80::1","prefixlen":64,"scope":"link"},
            {"local":"fd00::9","prefixlen":128,"scope":"global"},
            {"local":"fd00::8","prefixlen":64,"scope":"global","temporary":true},
            {"local":"fd00::1","prefixlen":64,"scope":"global"}]}]"#;
        let links: Vec<Link6> = serde_json::from_str(text).unwrap();
        assert_eq!(choose6(&links, "x").unwrap().to_string(), "fd00::1");
        let none = choose6(&[], "x").unwrap_err();
        assert_eq!(none.status, Status::Interface);
    }

    #[test]
    fn the_only_interface_is_taken_and_of_several_one_is_named() {
        let link = |text: &str| serde_json::from_str::<Vec<Link>>(text).unwrap();
        let lo = r#"{"ifname":"lo","addr_info":[{"local":"127.0.0.1","prefixlen":8}]}"#;
        let a = r#"{"ifname":"a","addr_info":[{"local":"10.0.0.1","prefixlen":24}]}"#;
        let b = r#"{"ifname":"b","addr_info":[{"local":"10.1.0.1","prefixlen":24}]}"#;
        assert_eq!(choose(&link(&format!("[{lo},{a}]")), None).unwrap().interface, "a");
        let many = choose(&link(&format!("[{lo},{a},{b}]")), None).unwrap_err().text;
        assert!(many.ends_with("--interface a or b"), "{many}");
        assert!(choose(&link(&format!("[{lo}]")), None).is_err());
        assert_eq!(choose(&link(&format!("[{lo}]")), Some("lo")).unwrap().interface, "lo");
        // ip(8) gives nothing, or an empty object, for one without an address.
        for text in ["[]", r#"[{"ifname":"x"}]"#] {
            let none = choose(&link(text), Some("x")).unwrap_err().text;
            assert!(none.starts_with("x has no IPv4 address"), "{none}");
        }
    }

    #[test]
    fn addresses_of_ipv6_that_are_known_are_not_lent() {
        let ip = |text: &str| text.parse::<Ipv6Addr>().unwrap();
        let net = Net::new("x", [10, 0, 0, 1].into(), 24).unwrap();
        assert_eq!(net.range6_without(&[]), []);
        let net = Net { address6: Some(ip("fd00::1")), ..net };
        let all = [(ip("fd00::1:0"), ip("fd00::1:ffff"))];
        assert_eq!(net.range6_without(&[(ip("fd01::"), ip("fd01::ffff:ffff"))]), all);
        let known = [(ip("fd00::"), ip("fd00::1:ff")), (ip("fd00::1:200"), ip("fd00::1:200"))];
        let left =
            [(ip("fd00::1:100"), ip("fd00::1:1ff")), (ip("fd00::1:201"), ip("fd00::1:ffff"))];
        assert_eq!(net.range6_without(&known), left);
        assert_eq!(net.range6_without(&[(ip("::"), Ipv6Addr::from(u128::MAX))]), []);
    }
}
