//! The parameters `ip=`, in the kernel's syntax and dracut's, and `rd.route=`.
//!
//! Pure text to values. Sources: Documentation/admin-guide/nfs/nfsroot.rst,
//! dracut.cmdline(7) and dracut's net-lib.sh (ip_to_var). Refuses to know
//! which interfaces exist and how an address is set.

use super::hex;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

/// An Ethernet address, as an interface is owned by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Six pairs of hexadecimal digits between ':' or '-'.
    pub fn parse(text: &str) -> Option<Mac> {
        hex::separated(text, &[':', '-'])?.try_into().ok().map(Mac)
    }

    /// `BOOTIF=`: PXELINUX writes the hardware type and dashes
    /// (`01-52-54-00-12-34-56`); others write ':' or no type.
    pub fn parse_bootif(text: &str) -> Option<Mac> {
        let typed = text.len() == 20 && hex::byte(text.get(..2)?).is_some();
        Mac::parse(if typed { text.get(3..)? } else { text })
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// How `ip=` names an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Device {
    Name(String),
    Mac(Mac),
}

impl Device {
    #[inline(never)]
    pub fn parse(text: &str) -> Option<Device> {
        match Mac::parse(text) {
            Some(mac) => Some(Device::Mac(mac)),
            None => (!text.is_empty()).then(|| Device::Name(text.to_string())),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Name(name) => f.write_str(name),
            Device::Mac(mac) => mac.fmt(f),
        }
    }
}

/// What is wrong with an `ip=`: the field.
pub type IpError = &'static str;

/// Where an address comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// As given in the parameter itself.
    Static,
    /// IPv4 by DHCP, or IPv6 as the routers say, where a master is known by it.
    Any,
    /// IPv4.
    Dhcp,
    /// IPv6 as the routers say: made by the kernel, by DHCPv6, or both.
    Auto6,
    /// IPv6 by DHCPv6, whatever routers say.
    Dhcp6,
    /// IPv6 link-local only.
    Link6,
    /// No network at all.
    Off,
}

/// One `ip=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpRule {
    pub method: Method,
    pub device: Option<Device>,
    pub address: Option<IpAddr>,
    pub prefix_len: u8,
    pub server: Option<IpAddr>,
    pub gateway: Option<IpAddr>,
    pub hostname: Option<String>,
    pub dns: Vec<IpAddr>,
    pub mtu: Option<u32>,
}

impl IpRule {
    pub fn of(method: Method) -> IpRule {
        IpRule {
            method,
            device: None,
            address: None,
            prefix_len: 0,
            server: None,
            gateway: None,
            hostname: None,
            dns: Vec::new(),
            mtu: None,
        }
    }

    /// Reads the value of one `ip=`.
    ///
    /// # Errors
    ///
    /// The first field that is wrong.
    #[inline(never)]
    pub fn parse(text: &str) -> Result<IpRule, IpError> {
        let fields = fields(text);
        let first = fields.first().copied().unwrap_or("");
        if let [only] = fields[..]
            && address(only).is_none()
        {
            // `dhcp,<client-id-type>,<value>` only concerns the client id.
            let word = only.split(',').next().unwrap_or(only);
            return Ok(IpRule::of(method(word)?));
        }
        if first.is_empty() || address(first).is_some() {
            kernel_form(&fields)
        } else {
            dracut_form(&fields)
        }
    }
}

/// Splits at ':' outside of brackets, and takes the brackets off. Six pairs
/// of hexadecimal digits in a row are one MAC address.
pub fn fields(text: &str) -> Vec<&str> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        if let Some(mac) = rest.get(..17)
            && Mac::parse(mac).is_some()
            && rest[17..].bytes().next().is_none_or(|next| next == b':')
        {
            fields.push(mac);
            rest = &rest[17..];
        } else if let Some(inner) = rest.strip_prefix('[')
            && let Some(end) = inner.find(']')
        {
            fields.push(&inner[..end]);
            rest = &inner[end + 1..];
        } else {
            let end = rest.find(':').unwrap_or(rest.len());
            fields.push(&rest[..end]);
            rest = &rest[end..];
        }
        match rest.strip_prefix(':') {
            Some(more) => rest = more,
            None => return fields,
        }
    }
}

fn method(word: &str) -> Result<Method, IpError> {
    match word {
        "" | "on" | "any" | "both" | "auto" => Ok(Method::Any),
        "dhcp" | "bootp" | "single-dhcp" => Ok(Method::Dhcp),
        "off" | "none" => Ok(Method::Off),
        "auto6" | "either6" => Ok(Method::Auto6),
        "dhcp6" => Ok(Method::Dhcp6),
        "link6" | "link-local" => Ok(Method::Link6),
        _ => Err("method"),
    }
}

/// `<client>:<server>:<gw>:<mask>:<host>:<device>:<autoconf>:<dns0>:<dns1>:<ntp>`,
/// where dracut has `[:<mtu>][:<mac>]` in place of the name servers.
#[inline(never)]
fn kernel_form(fields: &[&str]) -> Result<IpRule, IpError> {
    let field = |at: usize| fields.get(at).copied().unwrap_or("");
    let mut rule = IpRule::of(method(field(6))?);
    rule.address = optional("client address", field(0))?;
    rule.server = optional("server address", field(1))?;
    rule.gateway = optional("gateway", field(2))?;
    // A '.' splits off the NIS domain (nfsroot.rst).
    let host = field(4).split('.').next().filter(|host| !host.is_empty());
    rule.hostname = host.map(str::to_string);
    rule.device = Device::parse(field(5));
    if let Some(client) = rule.address {
        rule.method = Method::Static;
        rule.prefix_len = prefix_len(field(3), client)?;
    }
    for text in fields.iter().skip(7).take(2).filter(|text| !text.is_empty()) {
        match (text.parse(), Mac::parse(text)) {
            (Ok(mtu), _) => rule.mtu = Some(mtu),
            (_, Some(_)) => {}
            _ => rule.dns.extend(optional("name server", text)?),
        }
    }
    Ok(rule)
}

/// `<device>:<method>[:[<mtu>][:<mac>]]`
fn dracut_form(fields: &[&str]) -> Result<IpRule, IpError> {
    let field = |at: usize| fields.get(at).copied().unwrap_or("");
    let mut rule = IpRule::of(method(field(1))?);
    rule.device = Device::parse(field(0));
    if !field(2).is_empty() {
        let mtu = field(2).parse().map_err(|_| "MTU")?;
        rule.mtu = Some(mtu);
    }
    Ok(rule)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    pub net: IpAddr,
    pub prefix_len: u8,
    /// `None`: on the link itself.
    pub gateway: Option<IpAddr>,
}

/// `rd.route=NET/MASK:GATEWAY[:DEVICE]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteRule {
    pub route: Route,
    /// `None`: the one that is used.
    pub device: Option<Device>,
}

impl RouteRule {
    pub const FORM: &str = "NET/MASK:GATEWAY[:DEVICE]";

    /// Reads the value of one `rd.route=`.
    #[inline(never)]
    pub fn parse(text: &str) -> Option<RouteRule> {
        let fields = fields(text);
        let field = |at: usize| fields.get(at).copied().unwrap_or("");
        let (net, mask) = field(0).split_once('/')?;
        let net = address(net)?;
        let gateway = optional("gateway", field(1)).ok()?;
        let device = Device::parse(field(2));
        if gateway.is_none() && device.is_none() {
            return None;
        }
        let prefix_len = prefix_len(mask, net).ok()?;
        Some(RouteRule { route: Route { net, prefix_len, gateway }, device })
    }
}

fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

/// Empty and all zeroes mean "not given".
fn optional(field: IpError, text: &str) -> Result<Option<IpAddr>, IpError> {
    if text.is_empty() {
        return Ok(None);
    }
    let address = address(text).ok_or(field)?;
    Ok((!address.is_unspecified()).then_some(address))
}

/// A dotted mask, a number of bits, or (IPv4) the class of the address.
fn prefix_len(text: &str, client: IpAddr) -> Result<u8, IpError> {
    if text.is_empty() {
        return match client {
            IpAddr::V4(address) => classful(address).ok_or("netmask, nor has the address a class"),
            IpAddr::V6(_) => Ok(64),
        };
    }
    let bits = match text.parse() {
        Ok(mask) => mask_len(mask),
        Err(_) => text.parse().ok(),
    };
    let bits_max = if client.is_ipv4() { 32 } else { 128 };
    bits.filter(|bits| *bits <= bits_max).ok_or("netmask")
}

/// The number of leading ones; `None` when ones follow zeroes.
pub fn mask_len(mask: Ipv4Addr) -> Option<u8> {
    let bits = mask.to_bits();
    let ones = bits.leading_ones();
    (bits.count_ones() == ones).then_some(ones as u8)
}

/// The mask that the class of an address implies (net/ipv4/ipconfig.c);
/// classes D and E imply none.
pub fn classful(address: Ipv4Addr) -> Option<u8> {
    match address.octets()[0] {
        0..=127 => Some(8),
        128..=191 => Some(16),
        192..=223 => Some(24),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn one_word() {
        for word in ["dhcp", "single-dhcp", "dhcp,1,abc"] {
            assert_eq!(IpRule::parse(word), Ok(IpRule::of(Method::Dhcp)), "{word}");
        }
        for word in ["on", "any", "both", ""] {
            assert_eq!(IpRule::parse(word), Ok(IpRule::of(Method::Any)), "{word}");
        }
        assert_eq!(IpRule::parse("eth0:dhcp6").unwrap().method, Method::Dhcp6);
        assert_eq!(IpRule::parse("off").unwrap().method, Method::Off);
        assert_eq!(IpRule::parse("auto6").unwrap().method, Method::Auto6);
        assert_eq!(IpRule::parse("rarp"), Err("method"));
    }

    #[test]
    fn kernel_syntax_in_full() {
        let rule = IpRule::parse(
            "10.1.2.3:10.1.0.1:10.1.0.254:255.255.0.0:n0003.cluster:eth1:off:10.1.0.5:10.1.0.6:10.1.0.7",
        );
        let expected = IpRule {
            method: Method::Static,
            device: Some(Device::Name("eth1".into())),
            address: ip("10.1.2.3"),
            prefix_len: 16,
            server: ip("10.1.0.1"),
            gateway: ip("10.1.0.254"),
            hostname: Some("n0003".into()),
            dns: vec!["10.1.0.5".parse().unwrap(), "10.1.0.6".parse().unwrap()],
            mtu: None,
        };
        assert_eq!(rule, Ok(expected));
    }

    #[test]
    fn address_alone_is_static_and_classful() {
        let rule = IpRule::parse("192.168.7.9").unwrap();
        assert_eq!((rule.method, rule.prefix_len), (Method::Static, 24));
        assert_eq!(IpRule::parse("10.0.0.1:::").unwrap().prefix_len, 8);
        assert_eq!(IpRule::parse("172.16.0.1::").unwrap().prefix_len, 16);
        assert!(IpRule::parse("240.0.0.1").unwrap_err().starts_with("netmask"));
    }

    #[test]
    fn no_client_address_means_dhcp_on_that_device() {
        let rule = IpRule::parse("::::n7:eth2:dhcp").unwrap();
        assert_eq!(rule.method, Method::Dhcp);
        assert_eq!(rule.device, Some(Device::Name("eth2".into())));
        assert_eq!(rule.hostname.as_deref(), Some("n7"));
        assert_eq!(IpRule::parse(":::::eth2:off").unwrap().method, Method::Off);
        assert_eq!(IpRule::parse("0.0.0.0::::::dhcp").unwrap().method, Method::Dhcp);
    }

    #[test]
    fn dracut_device_method_mtu_and_mac() {
        let rule = IpRule::parse("eth0:dhcp:9000:52:54:00:12:34:56").unwrap();
        assert_eq!(rule.device, Some(Device::Name("eth0".into())));
        assert_eq!((rule.method, rule.mtu), (Method::Dhcp, Some(9000)));
        let rule = IpRule::parse("52:54:00:12:34:56:dhcp").unwrap();
        assert_eq!(rule.device, Some(Device::Mac(Mac([0x52, 0x54, 0, 0x12, 0x34, 0x56]))));
        let rule = IpRule::parse("10.0.0.2::10.0.0.1:24:n1:52-54-00-12-34-56:none:1400").unwrap();
        assert_eq!((rule.mtu, rule.prefix_len, rule.method), (Some(1400), 24, Method::Static));
        assert_eq!(rule.device, Device::parse("52:54:00:12:34:56"));
    }

    #[test]
    fn ipv6_stands_in_brackets() {
        let rule =
            IpRule::parse("[2001:db8::2]::[2001:db8::1]:64:n1:eth0:none:[2001:db8::53]").unwrap();
        assert_eq!(rule.address, ip("2001:db8::2"));
        assert_eq!(rule.gateway, ip("2001:db8::1"));
        assert_eq!(rule.dns, ["2001:db8::53".parse::<IpAddr>().unwrap()]);
        assert_eq!((rule.method, rule.prefix_len), (Method::Static, 64));
    }

    #[test]
    fn routes_of_both_families() {
        let route = |text: &str| {
            let RouteRule { route, device } = RouteRule::parse(text)?;
            let Route { net, prefix_len, gateway } = route;
            let name = device.map(|device| device.to_string());
            Some((net.to_string(), prefix_len, gateway, name))
        };
        let expected = ("10.2.0.0".to_string(), 16, ip("10.1.0.1"), None);
        assert_eq!(route("10.2.0.0/16:10.1.0.1"), Some(expected.clone()));
        assert_eq!(route("10.2.0.0/255.255.0.0:10.1.0.1"), Some(expected));
        let six = ("2001:db8:3::".to_string(), 48, ip("2001:db8::1"), Some("eth1".to_string()));
        assert_eq!(route("[2001:db8:3::/48]:[2001:db8::1]:eth1"), Some(six));
        let direct = ("10.2.0.0".to_string(), 16, None, Some("eth1".to_string()));
        assert_eq!(route("10.2.0.0/16::eth1"), Some(direct));
        for text in ["", "10.2.0.0/16", "10.2.0.0/33:10.1.0.1", "x/8:10.1.0.1", "10.2.0.0/16:x"] {
            assert_eq!(route(text), None, "{text}");
        }
    }

    #[test]
    fn wrong_fields_are_named() {
        let wrong = |text: &str| IpRule::parse(text).unwrap_err();
        assert_eq!(wrong("10.0.0.1:::255.0.255.0"), "netmask");
        assert_eq!(wrong("10.0.0.1:::33"), "netmask");
        assert_eq!(wrong("10.0.0.1::nonsense"), "gateway");
        assert_eq!(wrong("eth0:dhcp:fast"), "MTU");
        assert_eq!(wrong("eth0:magic"), "method");
        assert_eq!(wrong("10.0.0.1::::::dhcp:ns"), "name server");
    }

    #[test]
    fn bootif_in_all_its_forms() {
        let mac = Mac([0x52, 0x54, 0, 0xab, 0xcd, 0xef]);
        for text in [
            "01-52-54-00-ab-cd-ef",
            "01-52-54-00-AB-CD-EF",
            "01:52:54:00:ab:cd:ef",
            "52:54:00:ab:cd:ef",
            "52-54-00-ab-cd-ef",
        ] {
            assert_eq!(Mac::parse_bootif(text), Some(mac), "{text}");
        }
        for text in ["", "eth0", "01-52-54-00-ab", "52:54:00:ab:cd:e", "01-52-54-00-ab-cd-eg"] {
            assert_eq!(Mac::parse_bootif(text), None, "{text}");
        }
        assert_eq!(mac.to_string(), "52:54:00:ab:cd:ef");
    }

    #[test]
    fn masks_are_ones_then_zeroes() {
        assert_eq!(mask_len(Ipv4Addr::new(255, 255, 255, 128)), Some(25));
        assert_eq!(mask_len(Ipv4Addr::new(0, 0, 0, 0)), Some(0));
        assert_eq!(mask_len(Ipv4Addr::new(255, 0, 255, 0)), None);
    }
}
