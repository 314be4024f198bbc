//! The interfaces that exist, and which of them this boot may use.
//!
//! Reads /sys/class/net; the choice is pure. Interfaces are owned by their
//! hardware address and their index, never by a name that may change.

use super::dhcp::Hardware;
use super::hex;
use super::ipconfig::{Device, IpRule, Mac};
use super::settings::NetworkSettings;
use crate::os::names;
use std::fs;
use std::path::{Path, PathBuf};

/// ARPHRD_ numbers.
const ETHERNET: u32 = 1;
const INFINIBAND: u32 = 32;
/// More interfaces than this are not looked at.
const LINKS_MAX: usize = 64;
/// The others wait so long for the interface that the boot ROM came by.
pub const HEAD_START_MS: u64 = 10_000;

/// One interface of Ethernet or InfiniBand with hardware behind it, or made upon
/// such a one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub name: String,
    pub index: u32,
    pub hardware: Hardware,
    /// The link's address of everybody.
    pub broadcast: Vec<u8>,
}

impl Link {
    pub fn mac(&self) -> Option<Mac> {
        if u32::from(self.hardware.arp_type) != ETHERNET {
            return None;
        }
        self.hardware.address.as_slice().try_into().ok().map(Mac)
    }

    pub fn is(&self, device: &Device) -> bool {
        match device {
            Device::Name(_) => self.has_name(device),
            Device::Mac(mac) => self.mac() == Some(*mac),
        }
    }

    pub fn has_name(&self, device: &Device) -> bool {
        matches!(device, Device::Name(name) if *name == self.name)
    }

    /// For people: `eth0 (52:54:00:12:34:56)`.
    pub fn label(&self) -> String {
        match self.mac() {
            Some(mac) => format!("{} ({mac})", self.name),
            None => self.name.clone(),
        }
    }

    /// One of its files in sysfs.
    pub fn file(&self, name: &str) -> PathBuf {
        Path::new(CLASS).join(&self.name).join(name)
    }

    /// Whether it has a carrier; false when it is down.
    pub fn has_carrier(&self) -> bool {
        fs::read_to_string(self.file("carrier")).is_ok_and(|text| text.trim() == "1")
    }
}

pub const CLASS: &str = "/sys/class/net";

/// All usable interfaces, by index.
pub fn list() -> Vec<Link> {
    list_in(Path::new(CLASS))
}

fn list_in(class: &Path) -> Vec<Link> {
    let names = names::of(class, usize::MAX).into_iter();
    let mut links: Vec<Link> = Vec::new();
    for link in names.filter_map(|name| link(class, name)) {
        let at = links.partition_point(|known| known.index < link.index);
        links.insert(at, link);
        links.truncate(LINKS_MAX);
    }
    links
}

#[inline(never)]
fn link(class: &Path, name: String) -> Option<Link> {
    let path = class.join(&name);
    let read = |name: &str| fs::read_to_string(path.join(name)).ok();
    let number = |name: &str| read(name)?.trim().parse::<u32>().ok();
    let arp_type = number("type").filter(|number| [ETHERNET, INFINIBAND].contains(number))?;
    let index = number("ifindex")?;
    // Tunnels and their like have no device behind them. A VLAN names the link
    // below it, a bond those that belong to it.
    let is_stacked = number("iflink").is_some_and(|lower| ![0, index].contains(&lower))
        || read("bonding/slaves").is_some_and(|slaves| slaves.trim() != "");
    if !path.join("device").exists() && !is_stacked {
        return None;
    }
    // In most modes a bond gives its own address to all that belong to it.
    let address = read("bonding_slave/perm_hwaddr").or_else(|| read("address"))?;
    Some(Link {
        name,
        index,
        hardware: Hardware { arp_type: arp_type as u8, address: bytes(&address)? },
        broadcast: bytes(&read("broadcast")?)?,
    })
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    hex::separated(text.trim(), &[':'])
}

/// The rule for an interface and how long it has to wait, or `None` if it is
/// not to be touched.
pub fn rule_for(link: &Link, settings: &NetworkSettings) -> Option<(IpRule, u64)> {
    if settings.bootdev.as_ref().is_some_and(|device| !link.is(device)) {
        return None;
    }
    let by_name = |rule: &IpRule| rule.device.as_ref().is_some_and(|d| link.has_name(d));
    if settings.stacked.carries(link) && !settings.ip.iter().any(by_name) {
        return None;
    }
    let named = settings.ip.iter().find(|rule| rule.device.as_ref().is_some_and(|d| link.is(d)));
    let rule = named.or_else(|| settings.ip.iter().find(|rule| rule.device.is_none()))?;
    let first = settings.bootif.is_none() || settings.bootif == link.mac();
    Some((rule.clone(), if first { 0 } else { HEAD_START_MS }))
}

/// A wait for the interface of `BOOTIF` makes no sense where there is none, or
/// where it may not be used.
pub fn bootif_is_missing(links: &[Link], settings: &NetworkSettings) -> bool {
    let is_first =
        |link: &Link| link.mac() == settings.bootif && rule_for(link, settings).is_some();
    settings.bootif.is_some() && !links.iter().any(is_first)
}

/// Links that are not there, for tests of all who choose among them.
#[cfg(test)]
pub mod testing {
    use super::{Hardware, Link};

    pub fn link(name: &str, last: u8) -> Link {
        let hardware = Hardware { arp_type: 1, address: vec![0x52, 0x54, 0, 0, 0, last] };
        Link { name: name.into(), index: u32::from(last), hardware, broadcast: vec![255; 6] }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::link;
    use super::*;
    use crate::boot::cmdline::Cmdline;
    use crate::boot::ipconfig::Method;
    use crate::boot::settings::Settings;
    use crate::os::scratch::Dir;

    fn rule(line: &str, link: &Link) -> Option<(IpRule, u64)> {
        rule_for(link, &Settings::of(&Cmdline::parse(line)).network)
    }

    #[test]
    fn without_a_word_all_take_part_at_once() {
        for last in [1, 2] {
            let (rule, wait_ms) = rule("", &link("eth0", last)).unwrap();
            assert_eq!((rule.method, wait_ms), (Method::Any, 0));
        }
    }

    #[test]
    fn bootif_gets_a_head_start() {
        let line = "BOOTIF=01-52-54-00-00-00-02 ip=dhcp";
        assert_eq!(rule(line, &link("eth0", 2)).unwrap().1, 0);
        assert_eq!(rule(line, &link("eth1", 1)).unwrap().1, HEAD_START_MS);
        let settings = Settings::of(&Cmdline::parse(line)).network;
        assert!(bootif_is_missing(&[link("eth1", 1)], &settings));
        assert!(!bootif_is_missing(&[link("eth1", 1), link("eth0", 2)], &settings));
    }

    #[test]
    fn a_named_device_shuts_the_others_out() {
        for line in ["bootdev=eth1", "ip=eth1:dhcp", "bootdev=52:54:00:00:00:02", "dhcp_eth=eth1"] {
            assert!(rule(line, &link("eth0", 1)).is_none(), "{line}");
            assert!(rule(line, &link("eth1", 2)).is_some(), "{line}");
        }
    }

    #[test]
    fn each_device_has_its_own_rule() {
        let line = "ip=10.0.0.2::::h:eth0:none ip=eth1:dhcp ip=auto6";
        assert_eq!(rule(line, &link("eth0", 1)).unwrap().0.method, Method::Static);
        assert_eq!(rule(line, &link("eth1", 2)).unwrap().0.method, Method::Dhcp);
        assert_eq!(rule(line, &link("eth2", 3)).unwrap().0.method, Method::Auto6);
    }

    #[test]
    fn what_carries_others_is_used_only_when_it_is_named() {
        for line in ["vlan=v5:eth0", "ip=eth0.5:dhcp", "bond=b0:eth0", "bond=b:eth0 ip=b:dhcp"] {
            assert!(rule(line, &link("eth0", 1)).is_none(), "{line}");
        }
        assert!(rule("vlan=v5:eth0", &link("v5", 1)).is_some());
        assert!(rule("vlan=v5:eth0 ip=eth0:dhcp", &link("eth0", 1)).is_some());
        assert!(rule("bond=b0:eth0,eth1", &link("eth2", 3)).is_some());
        // The bond has the address of one that belongs to it.
        let line = "bond=b0:eth0,eth1 BOOTIF=52:54:00:00:00:01";
        assert_eq!(rule(line, &link("b0", 1)).unwrap().1, 0);
        let settings = Settings::of(&Cmdline::parse(line)).network;
        assert!(bootif_is_missing(&[link("eth0", 1), link("b0", 2)], &settings));
    }

    #[test]
    fn sysfs_is_read_and_what_has_no_device_left_out() {
        let class = Dir::new();
        let ib = "80:00:00:03:fe:80:00:00:00:00:00:00:24:8a:07:03:00:a1:b2:c3";
        for (name, arp_type, index, address, device) in [
            ("eth0", "1", "3", "52:54:00:00:00:01", true),
            ("ib0", "32", "2", ib, true),
            ("v5", "1", "4", "52:54:00:00:00:01", false),
            ("bond0", "1", "6", "52:54:00:00:00:02", false),
            ("bond1", "1", "5", "52:54:00:00:00:01", false),
            ("lo", "772", "1", "00:00:00:00:00:00", false),
        ] {
            let path = class.join(name);
            fs::create_dir_all(&path).unwrap();
            fs::write(path.join("type"), arp_type).unwrap();
            fs::write(path.join("ifindex"), format!("{index}\n")).unwrap();
            fs::write(path.join("address"), address).unwrap();
            fs::write(path.join("broadcast"), address).unwrap();
            if device {
                fs::create_dir(path.join("device")).unwrap();
            }
        }
        fs::create_dir(class.join("bond1/bonding")).unwrap();
        fs::write(class.join("bond1/bonding/slaves"), "eth0\n").unwrap();
        fs::write(class.join("eth0/iflink"), "3\n").unwrap();
        fs::write(class.join("v5/iflink"), "3\n").unwrap();
        let perm = class.join("eth0/bonding_slave");
        fs::create_dir(&perm).unwrap();
        fs::write(perm.join("perm_hwaddr"), "52:54:00:00:00:09\n").unwrap();
        let links = list_in(class.path());
        let names: Vec<&str> = links.iter().map(|link| link.name.as_str()).collect();
        assert_eq!(names, ["ib0", "eth0", "v5", "bond1"]);
        assert_eq!((links[0].hardware.address.len(), links[0].mac()), (20, None));
        assert_eq!(links[1].label(), "eth0 (52:54:00:00:00:09)");
    }
}
