//! Links that the command line names or makes: `ifname=`, `bond=`, `vlan=`, and
//! the VLAN that `ip=eth0.5:dhcp` means.
//!
//! Text to values, and the making of them through rtnetlink and the files of
//! /sys/class/net (Documentation/networking/bonding.rst). Sources:
//! dracut.cmdline(7). Refuses to know how such a link gets an address.

use super::drivers::Drivers;
use super::ipconfig::{Device, IpRule, fields};
use super::links::{self, CLASS, Link};
use crate::os::netif::Netlink;
use std::fs;
use std::io;
use std::path::Path;

/// IFNAMSIZ without its zero byte.
const NAME_LEN_MAX: usize = 15;
/// 0 only tags a priority, 4095 is reserved (IEEE 802.1Q).
const VLAN_ID_MAX: u16 = 4094;
/// A link that breaks is noticed within a tenth of a second, where the command
/// line says nothing else; the kernel's own default is never.
const MONITOR: &str = "miimon=100";

/// In the order of making: a bond goes by new names, a VLAN may be on a bond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Name,
    Bond,
    Vlan,
}

const KINDS: [Kind; 3] = [Kind::Name, Kind::Bond, Kind::Vlan];
/// The words for them: of the command line, what they want there, and for people.
const WORDS: [(&str, &str, &str); 3] = [
    ("ifname", "NAME:MAC", "the name of"),
    ("bond", "NAME[:SLAVES[:OPTIONS[:MTU]]]", "a bond with"),
    ("vlan", "NAME:DEVICE, with a number from 1 to 4094 at the end of NAME", "a VLAN on"),
];

/// One link of the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stacked {
    kind: Kind,
    name: String,
    /// What it is made upon, or what gets the name.
    lower: Vec<Device>,
    /// Of a bond: NAME=VALUE between commas, several values between ';'.
    options: String,
    /// Of a VLAN.
    id: u16,
    /// Of a bond, as it was written.
    mtu: String,
}

impl Stacked {
    /// Reads the value of the word `name`: `None` if it is none of these words,
    /// and what is wanted in place of a value that cannot be used.
    pub fn parse(name: &str, text: &str) -> Option<Result<Stacked, &'static str>> {
        let at = WORDS.iter().position(|words| words.0 == name)?;
        Some(parse(KINDS[at], text).ok_or(WORDS[at].1))
    }
}

fn parse(kind: Kind, text: &str) -> Option<Stacked> {
    let fields = fields(text);
    let field = |at: usize, default| match fields.get(at).copied() {
        None | Some("") => default,
        Some(text) => text,
    };
    // dracut's defaults are bond0 over eth0 and eth1.
    let (name, lower) = match kind {
        Kind::Bond => (field(0, "bond0"), field(1, "eth0,eth1")),
        _ => (field(0, ""), field(1, "")),
    };
    let lower: Vec<Device> = lower.split(',').filter_map(Device::parse).collect();
    // `vlan5`, `vlan0005`, `eth0.5`, `eth0.0005`.
    let digits_at = name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let id = name[digits_at..].parse().unwrap_or(0);
    let fits = match kind {
        Kind::Name => matches!(lower[..], [Device::Mac(_)]),
        Kind::Bond => true,
        Kind::Vlan => lower.len() == 1 && (1..=VLAN_ID_MAX).contains(&id),
    };
    // As the kernel takes them (net/core/dev.c, dev_valid_name).
    let plain = name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/');
    if !fits || !plain || name.len() > NAME_LEN_MAX || matches!(name, "" | "." | "..") {
        return None;
    }
    let options = field(2, "mode=balance-rr").to_string();
    Some(Stacked { kind, name: name.into(), lower, options, id, mtu: field(3, "").into() })
}

/// All that the command line asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StackedLinks(Vec<Stacked>);

impl StackedLinks {
    /// `ip=eth0.5:dhcp` means a VLAN, unless that name is somebody else's.
    #[inline(never)]
    pub fn new(mut all: Vec<Stacked>, rules: &[IpRule]) -> StackedLinks {
        for rule in rules {
            if let Some(Device::Name(name)) = &rule.device
                && !all.iter().any(|link| link.name == *name)
                && let Some((lower, _)) = name.split_once('.')
            {
                all.extend(parse(Kind::Vlan, &[name, ":", lower].concat()));
            }
        }
        StackedLinks(all)
    }

    fn made(&self) -> impl Iterator<Item = &Stacked> {
        self.0.iter().filter(|link| link.kind != Kind::Name)
    }

    /// Whether a bond or VLAN of this name is asked for.
    pub fn has(&self, name: &str) -> bool {
        self.made().any(|link| link.name == name)
    }

    /// Whether a link carries others, and so is not used for itself.
    pub fn carries(&self, link: &Link) -> bool {
        // A VLAN or bond has the address of what is below it.
        let by_mac = !self.has(&link.name);
        let below = |device: &Device| link.is(device) && (by_mac || link.has_name(device));
        self.made().any(|made| made.lower.iter().any(below))
    }

    /// Makes what can be made of what is there. `done` has what is whole or has
    /// failed, and is the caller's to keep.
    #[inline(never)]
    pub fn make(&self, done: &mut Vec<usize>, netlink: &mut Netlink, drivers: &mut Drivers) {
        for kind in KINDS {
            for (at, wanted) in self.0.iter().enumerate() {
                if wanted.kind != kind || done.contains(&at) {
                    continue;
                }
                let made = wanted.make(netlink, drivers);
                if let Err(error) = &made {
                    log::warn!("{} cannot be {} …: {error}", wanted.name, WORDS[kind as usize].2);
                }
                if made.unwrap_or(true) {
                    done.push(at);
                }
            }
        }
    }
}

impl Stacked {
    /// Whether nothing is left to be done.
    #[inline(never)]
    fn make(&self, netlink: &mut Netlink, drivers: &mut Drivers) -> io::Result<bool> {
        // What was made a moment ago is there now.
        let there = links::list();
        let find = |device: &Device| there.iter().find(|link| link.is(device));
        let lower: Vec<&Link> = self.lower.iter().filter_map(find).collect();
        let Some(first) = lower.first() else { return Ok(false) };
        // The network may be set up again: what is so already is no error.
        let is_there = Path::new(CLASS).join(&self.name).exists();
        match self.kind {
            Kind::Name if first.name != self.name => {
                netlink.set_link(first.index, false)?;
                netlink.rename(first.index, &self.name)?;
            }
            Kind::Vlan => {
                // Also for one that is there: after a kexec that came back.
                netlink.set_link(first.index, true)?;
                if is_there {
                    return Ok(true);
                }
                drivers.load("8021q");
                netlink.add_vlan(&self.name, first.index, self.id)?;
            }
            Kind::Bond => {
                // It may wait for others for long.
                if !self.make_bond(&lower, netlink, drivers)? {
                    return Ok(lower.len() == self.lower.len());
                }
            }
            _ => return Ok(true),
        }
        log::info!("{} is {} {}", self.name, WORDS[self.kind as usize].2, first.label());
        Ok(lower.len() == self.lower.len())
    }

    /// Whether anything was added to it.
    #[inline(never)]
    fn make_bond(
        &self,
        lower: &[&Link],
        netlink: &mut Netlink,
        drivers: &mut Drivers,
    ) -> io::Result<bool> {
        drivers.load("bonding");
        let add = |path: &Path, name: &str| fs::write(path, ["+", name].concat());
        let link = Path::new(CLASS).join(&self.name);
        // The module may have made one of this name by itself.
        if !link.exists() {
            add(&Path::new(CLASS).join("bonding_masters"), &self.name)?;
        }
        let files = link.join("bonding");
        let slaves = fs::read_to_string(files.join("slaves"))?;
        if slaves.trim().is_empty() {
            self.set_options(&files);
        }
        let mut has_grown = false;
        for lower in lower {
            if !slaves.split_ascii_whitespace().any(|slave| slave == lower.name) {
                netlink.set_link(lower.index, false)?;
                add(&files.join("slaves"), &lower.name)?;
                has_grown = true;
            }
            netlink.set_link(lower.index, true)?;
        }
        if has_grown && !self.mtu.is_empty() {
            fs::write(link.join("mtu"), &self.mtu)?;
        }
        Ok(has_grown)
    }

    /// The mode first: others depend on it. The kernel knows their names and
    /// values; what it refuses is said.
    #[inline(never)]
    fn set_options(&self, files: &Path) {
        let is_mode = |option: &&str| option.starts_with("mode=");
        let options = || self.options.split(',');
        let others = options().filter(|option| !is_mode(option));
        for option in options().filter(is_mode).chain([MONITOR]).chain(others) {
            let (name, values) = option.split_once('=').unwrap_or((option, ""));
            // Addresses are added, one by one.
            let add = if name.ends_with("_target") { "+" } else { "" };
            for value in values.split(';') {
                if let Err(error) = fs::write(files.join(name), [add, value].concat()) {
                    log::warn!("{}: {option} is refused: {error}", self.name);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::links::testing::link;
    use crate::os::scratch::Dir;
    use proptest::prelude::*;

    fn read(word: &str) -> Option<Stacked> {
        let (name, text) = word.split_once('=').unwrap();
        Stacked::parse(name, text).unwrap().ok()
    }

    fn named(name: &str) -> Device {
        Device::Name(name.into())
    }

    #[test]
    fn vlans_in_the_four_styles() {
        for (name, id) in [("vlan5", 5), ("vlan0005", 5), ("eth0.5", 5), ("eth0.0123", 123)] {
            let vlan = read(&format!("vlan={name}:eth0")).unwrap();
            assert_eq!((vlan.name.as_str(), vlan.id), (name, id));
            assert_eq!(vlan.lower, [named("eth0")]);
        }
        let wrong = ["v", "v:eth0", "v0:eth0", "v4095:eth0", "v5:", "v99999:eth0", "a/5:eth0", ""];
        for text in wrong {
            assert_eq!(read(&format!("vlan={text}")), None, "{text}");
        }
    }

    #[test]
    fn a_bond_in_full_and_by_default() {
        let bond = read("bond=b1:eth2,52-54-00-00-00-01:lacp_rate=fast,mode=802.3ad:9000").unwrap();
        let mac = Device::parse("52:54:00:00:00:01").unwrap();
        assert_eq!(bond.lower, [named("eth2"), mac]);
        assert_eq!(
            (bond.options.as_str(), bond.mtu.as_str()),
            ("lacp_rate=fast,mode=802.3ad", "9000")
        );
        let bond = read("bond=").unwrap();
        assert_eq!((bond.name.as_str(), bond.options.as_str()), ("bond0", "mode=balance-rr"));
        assert_eq!(bond.lower, [named("eth0"), named("eth1")]);
        assert_eq!((read("bond=b/b"), read("bond=0123456789abcdef")), (None, None));
    }

    #[test]
    fn the_mode_is_written_first_and_targets_are_added() {
        let files = Dir::new();
        let text = "bond=b:e:arp_ip_target=10.0.0.1;10.0.0.2,miimon=50,mode=1";
        read(text).unwrap().set_options(files.path());
        let text = |name: &str| fs::read_to_string(files.join(name)).unwrap();
        assert_eq!((text("mode"), text("miimon")), ("1".into(), "50".into()));
        assert_eq!(text("arp_ip_target"), "+10.0.0.2");
        // The kernel refuses what it does not know; here a file cannot be written.
        read("bond=b:e:no/such=1").unwrap().set_options(files.path());
    }

    #[test]
    fn names_belong_to_addresses() {
        let name = read("ifname=net0:52:54:00:00:00:01").unwrap();
        assert_eq!(name.lower, [Device::parse("52:54:00:00:00:01").unwrap()]);
        for text in ["net0", "net0:eth0", ":52:54:00:00:00:01", "..:52:54:00:00:00:01"] {
            assert_eq!(read(&format!("ifname={text}")), None, "{text}");
        }
        assert_eq!(Stacked::parse("vlans", ""), None);
        let form = Stacked::parse("ifname", "").unwrap().unwrap_err();
        assert_eq!(form, "NAME:MAC");
    }

    #[test]
    fn an_address_makes_its_vlan() {
        let given = ["vlan=v5:b0", "bond=b0:eth0", "ifname=eth0:52:54:00:00:00:01"];
        let given = given.map(|word| read(word).unwrap()).to_vec();
        let rules = ["b0.7:dhcp", "v5:dhcp", "eth1:dhcp", "b0.x:dhcp"];
        let rules = rules.map(|text| IpRule::parse(text).unwrap());
        let links = StackedLinks::new(given, &rules);
        assert_eq!(links.0.len(), 4);
        assert!(links.has("b0.7") && !links.has("eth0"));
        assert!(links.carries(&link("b0", 1)) && links.carries(&link("eth0", 1)));
        assert!(!links.carries(&link("v5", 1)) && !links.carries(&link("eth1", 2)));
    }

    #[test]
    fn what_is_below_can_be_named_by_its_address() {
        let links = StackedLinks::new(vec![read("vlan=v5:52-54-00-00-00-01").unwrap()], &[]);
        assert!(links.carries(&link("eth0", 1)));
        assert!(!links.carries(&link("v5", 1)), "it has the same address");
    }

    proptest! {
        #[test]
        fn any_word_is_refused_or_has_a_usable_name(
            name in prop::sample::select(vec!["ifname", "bond", "vlan"]),
            text in r"[a-z0-9./:,=;%-]{0,24}",
        ) {
            if let Some(Ok(link)) = Stacked::parse(name, &text) {
                prop_assert!((1..=NAME_LEN_MAX).contains(&link.name.len()));
                prop_assert!(!link.name.contains(['/', ' ']) && link.name != "..");
                prop_assert!(link.kind != Kind::Vlan || (1..=VLAN_ID_MAX).contains(&link.id));
            }
        }
    }
}
