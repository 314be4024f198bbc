//! What the kernel command line asks of this boot.
//!
//! Pure: words to values, each parsed once. A name of ours that is wrong or
//! unknown becomes a complaint and the boot goes on without it, except where
//! going on would be unsafe: a digest that cannot be read refuses the boot.

use super::cmdline::Cmdline;
use super::failure::End;
use super::ipconfig::{Device, IpRule, Mac, Method};
use peer::content::digest::Digest;
use std::net::{IpAddr, Ipv6Addr};

/// The port of an xget master.
pub const MASTER_PORT: u16 = 20004;
/// More masters than this in one list are a mistake.
pub const MASTERS_MAX: usize = 16;

/// One candidate master, its name not yet looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Master {
    pub host: String,
    pub port: u16,
}

impl Master {
    /// As it is written in `xget.master=`.
    pub fn text(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// How long each phase may last; `None` is for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until an interface that could serve is there.
    pub nic_ms: Option<u64>,
    /// Until one of them has a carrier.
    pub carrier_ms: Option<u64>,
    /// Until one of those has an address.
    pub dhcp_ms: Option<u64>,
    /// How long a master may stay silent or without the image.
    pub master_ms: Option<u64>,
    /// The whole transfer.
    pub fetch_ms: Option<u64>,
}

impl Timeouts {
    pub const DEFAULT: Timeouts = Timeouts {
        nic_ms: Some(60_000),
        carrier_ms: Some(60_000),
        dhcp_ms: Some(300_000),
        master_ms: Some(600_000),
        fetch_ms: None,
    };
}

/// Everything that was asked for.
#[derive(Clone, Debug)]
pub struct Settings {
    pub masters: Vec<Master>,
    pub port: u16,
    pub image: String,
    pub digest: Option<Digest>,
    pub append: Option<String>,
    pub timeouts: Timeouts,
    pub linger_ms: u64,
    pub room_bytes: Option<u64>,
    pub ip: Vec<IpRule>,
    pub bootif: Option<Mac>,
    pub bootdev: Option<Device>,
    pub nameservers: Vec<IpAddr>,
    pub mtu: Option<u32>,
    pub modules_first: Vec<String>,
    pub modules_never: Vec<String>,
    pub watchdog_s: Option<u32>,
    pub shell: bool,
    pub debug: bool,
    pub panic_s: Option<i64>,
    pub end: End,
    /// To be said on the consoles once they are open.
    pub complaints: Vec<String>,
    /// Why this boot must not go on.
    pub refusal: Option<String>,
}

impl Settings {
    pub fn of(line: &Cmdline) -> Settings {
        let mut complaints = unknown_names(line);
        let port = number(line, "xget.port", &mut complaints).unwrap_or(MASTER_PORT);
        let (digest, refusal) = match line.last("xget.digest").map(parse_pin) {
            Some(Err(reason)) => (None, Some(reason)),
            Some(Ok(digest)) => (Some(digest), None),
            None => (None, None),
        };
        Settings {
            masters: masters(line, port, &mut complaints),
            port,
            image: image(line, &mut complaints),
            digest,
            append: line.last("xget.append").map(str::to_string),
            timeouts: timeouts(line, &mut complaints),
            linger_ms: seconds(line, "xget.linger", &mut complaints).unwrap_or(LINGER_MS),
            room_bytes: room_bytes(line, &mut complaints),
            ip: ip_rules(line, &mut complaints),
            bootif: bootif(line, &mut complaints),
            bootdev: line.last_of(&["bootdev", "dhcp_eth"]).and_then(device_of),
            nameservers: nameservers(line, &mut complaints),
            mtu: number(line, "eth_mtu", &mut complaints),
            modules_first: names(line, &["rd.driver.pre", "enable-kmods"]),
            modules_never: names(line, &["rd.driver.blacklist", "modprobe.blacklist", "noload"]),
            watchdog_s: number(line, "xget.watchdog", &mut complaints),
            shell: line.flag("xget.shell").or(line.flag("rd.shell")).unwrap_or(false),
            debug: line.flag("xget.debug").or(line.flag("rd.debug")).unwrap_or(false),
            panic_s: number(line, "panic", &mut complaints),
            end: end(line, &mut complaints),
            complaints,
            refusal,
        }
    }
}

/// Served to others after one's own fetch when nothing else is asked for.
const LINGER_MS: u64 = 2_000;

const OWN_NAMES: [&str; 17] = [
    "xget.master",
    "xget.port",
    "xget.image",
    "xget.digest",
    "xget.append",
    "xget.linger",
    "xget.tmpfs.size",
    "xget.watchdog",
    "xget.shell",
    "xget.debug",
    "xget.fail",
    "xget.timeout.nic",
    "xget.timeout.carrier",
    "xget.timeout.dhcp",
    "xget.timeout.master",
    "xget.timeout.fetch",
    // Written by the first stage for the system that it starts; seen here
    // when that system is again this one.
    "xget.booted",
];

fn unknown_names(line: &Cmdline) -> Vec<String> {
    let ours = line.params.iter().filter(|param| param.name.starts_with("xget."));
    let unknown = ours.filter(|param| !OWN_NAMES.contains(&param.name.as_str()));
    let mut said: Vec<String> =
        unknown.map(|param| format!("{} is not known and ignored", param.name)).collect();
    let foreign = ["bond", "bridge", "team", "vlan", "ifname", "rd.route"];
    let unable = foreign.iter().filter(|name| line.has(name));
    said.extend(unable.map(|name| format!("{name}= is ignored here (docs/boot.md, limits)")));
    if line.has("kexec-legacy") {
        said.push("kexec-legacy is ignored: only kexec_file_load(2) is used".into());
    }
    said
}

fn number<T: std::str::FromStr>(line: &Cmdline, name: &str, said: &mut Vec<String>) -> Option<T> {
    let text = line.last(name)?;
    let value = text.parse().ok();
    if value.is_none() {
        said.push(format!("{name}={text} is no usable number and ignored"));
    }
    value
}

/// Seconds, as people write them, to milliseconds.
fn seconds(line: &Cmdline, name: &str, said: &mut Vec<String>) -> Option<u64> {
    number::<u32>(line, name, said).map(|seconds| u64::from(seconds) * 1000)
}

/// `HOST[:PORT][,<next>...]`; the error names the part that is wrong.
pub fn parse_masters(text: &str, port: u16) -> Result<Vec<Master>, String> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let masters: Result<Vec<Master>, String> =
        parts.take(MASTERS_MAX).map(|part| parse_master(part, port)).collect();
    match masters {
        Ok(masters) if masters.is_empty() => Err("no master is named".into()),
        other => other,
    }
}

fn parse_master(text: &str, default_port: u16) -> Result<Master, String> {
    let wrong = || format!("'{text}' is not HOST, HOST:PORT or [IPV6]:PORT");
    let (host, port) = if let Some(inner) = text.strip_prefix('[') {
        let (host, rest) = inner.split_once(']').ok_or_else(wrong)?;
        host.parse::<Ipv6Addr>().map_err(|_| wrong())?;
        (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or_else(wrong)?) })
    } else if text.parse::<Ipv6Addr>().is_ok() {
        (text, None)
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?,
        None => default_port,
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
    if host.is_empty() || !host.bytes().all(plain) {
        return Err(wrong());
    }
    Ok(Master { host: host.to_string(), port })
}

/// Perceus says `masterip=`.
fn masters(line: &Cmdline, port: u16, said: &mut Vec<String>) -> Vec<Master> {
    let Some(param) = line.last_of(&["xget.master", "masterip"]) else { return Vec::new() };
    let text = param.value.as_deref().unwrap_or("");
    parse_masters(text, port).unwrap_or_else(|reason| {
        said.push(format!("{}: {reason}", param.name));
        Vec::new()
    })
}

/// A path below the served root; it cannot climb out of it.
fn image(line: &Cmdline, said: &mut Vec<String>) -> String {
    let text = line.last("xget.image").unwrap_or("default").trim_matches('/');
    let climbs = text.split('/').any(|part| part.is_empty() || part == "." || part == "..");
    if climbs {
        said.push(format!("xget.image={text} is no path in the served tree; using 'default'"));
        return "default".into();
    }
    text.to_string()
}

fn parse_pin(text: &str) -> Result<Digest, String> {
    let digest = text.strip_prefix("blake3:").and_then(Digest::parse);
    digest.ok_or_else(|| {
        format!("xget.digest={text} is not blake3: and 64 hexadecimal digits, so nothing can be verified by it")
    })
}

/// Our names first, then those of others who meant the same.
fn timeouts(line: &Cmdline, said: &mut Vec<String>) -> Timeouts {
    let mut first = |names: &[&str], default: Option<u64>| {
        let given = names.iter().find_map(|name| seconds(line, name, said));
        given.map_or(default, |ms| (ms != 0).then_some(ms))
    };
    let default = Timeouts::DEFAULT;
    Timeouts {
        nic_ms: first(&["xget.timeout.nic", "rd.net.timeout.iflink"], default.nic_ms),
        carrier_ms: first(
            &[
                "xget.timeout.carrier",
                "rd.net.timeout.carrier",
                "carrier_timeout",
                "ethdevice-link-timeout",
            ],
            default.carrier_ms,
        ),
        dhcp_ms: first(&["xget.timeout.dhcp", "rd.net.timeout.dhcp"], default.dhcp_ms),
        master_ms: first(&["xget.timeout.master"], default.master_ms),
        fetch_ms: first(&["xget.timeout.fetch"], default.fetch_ms),
    }
}

/// `xget.tmpfs.size=` in bytes, with K, M or G.
fn room_bytes(line: &Cmdline, said: &mut Vec<String>) -> Option<u64> {
    let text = line.last("xget.tmpfs.size")?;
    let (digits, shift) = match text.bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 20),
        Some(b'g' | b'G') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let bytes = digits.parse::<u32>().ok().map(|count| u64::from(count) << shift);
    if bytes.is_none_or(|bytes| bytes == 0) {
        said.push(format!("xget.tmpfs.size={text} is no size (try 2G) and ignored"));
        return None;
    }
    bytes
}

fn ip_rules(line: &Cmdline, said: &mut Vec<String>) -> Vec<IpRule> {
    let mut rules = Vec::new();
    let given = line.params.iter().filter(|param| param.name == "ip" || param.name == "nfsaddrs");
    for param in given {
        let text = param.value.as_deref().unwrap_or("");
        match IpRule::parse(text) {
            Ok(rule) => rules.push(rule),
            Err(reason) => said.push(format!("{}={text}: {reason}; ignored", param.name)),
        }
        if text.split([':', ',']).any(|word| matches!(word, "dhcp6" | "either6")) {
            said.push("there is no DHCPv6 here: a router advertisement is waited for".into());
        }
    }
    if rules.is_empty() {
        rules.push(IpRule::of(Method::Dhcp));
    }
    rules
}

/// Perceus says `dhcp_mac=`.
fn bootif(line: &Cmdline, said: &mut Vec<String>) -> Option<Mac> {
    let param = line.last_of(&["BOOTIF", "dhcp_mac"])?;
    if line.flag("rd.bootif") == Some(false) {
        return None;
    }
    let text = param.value.as_deref().unwrap_or("");
    let mac = Mac::parse_bootif(text);
    if mac.is_none() {
        said.push(format!("{}={text} is no hardware address and ignored", param.name));
    }
    mac
}

fn device_of(param: &super::cmdline::Param) -> Option<Device> {
    Device::parse(param.value.as_deref().unwrap_or(""))
}

fn nameservers(line: &Cmdline, said: &mut Vec<String>) -> Vec<IpAddr> {
    let mut servers = Vec::new();
    for text in line.all("nameserver") {
        match text.trim_matches(['[', ']']).parse() {
            Ok(address) => servers.push(address),
            Err(_) => said.push(format!("nameserver={text} is no address and ignored")),
        }
    }
    servers
}

/// Comma lists of any of these names, with '-' and '_' the same in a module's
/// name (modprobe(8)).
fn names(line: &Cmdline, keys: &[&str]) -> Vec<String> {
    let params = line.params.iter().filter(|param| keys.contains(&param.name.as_str()));
    let values = params.filter_map(|param| param.value.as_deref());
    let names = values.flat_map(|value| value.split(',')).filter(|name| !name.is_empty());
    names.map(|name| name.replace('-', "_")).collect()
}

fn end(line: &Cmdline, said: &mut Vec<String>) -> End {
    match line.last_of(&["xget.fail", "rd.emergency"]).and_then(|param| param.value.as_deref()) {
        None | Some("reboot") => End::Reboot,
        Some("poweroff") => End::PowerOff,
        Some("halt") => End::Halt,
        Some(other) => {
            said.push(format!("xget.fail={other} is not reboot, poweroff or halt; using reboot"));
            End::Reboot
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Settings {
        Settings::of(&Cmdline::parse(text))
    }

    fn master(host: &str, port: u16) -> Master {
        Master { host: host.into(), port }
    }

    #[test]
    fn an_empty_line_is_a_boot_by_dhcp() {
        let asked = settings("");
        assert_eq!(asked.ip, [IpRule::of(Method::Dhcp)]);
        assert!(asked.masters.is_empty() && asked.complaints.is_empty());
        assert_eq!((asked.image.as_str(), asked.port), ("default", 20004));
        assert_eq!(asked.timeouts, Timeouts::DEFAULT);
        assert_eq!((asked.shell, asked.panic_s, asked.end), (false, None, End::Reboot));
        assert_eq!(asked.linger_ms, 2000);
    }

    #[test]
    fn masters_by_address_name_and_port() {
        let asked =
            settings("xget.port=99 xget.master=10.0.0.1,head:7,[fe80::1]:8,[::1],2001:db8::5");
        let expected = [
            master("10.0.0.1", 99),
            master("head", 7),
            master("fe80::1", 8),
            master("::1", 99),
            master("2001:db8::5", 99),
        ];
        assert_eq!(asked.masters, expected);
        assert_eq!(expected[2].text(), "[fe80::1]:8");
        assert_eq!(expected[1].text(), "head:7");
    }

    #[test]
    fn wrong_masters_are_complained_about() {
        for text in ["", ",", ":1", "a:0", "a:b", "[::1", "[::1]x", "a b", "[a]", "h:70000"] {
            assert!(parse_masters(text, 1).is_err(), "{text}");
        }
        let asked = settings("xget.master=a:b");
        assert!(asked.masters.is_empty());
        assert!(asked.complaints[0].contains("a:b"), "{:?}", asked.complaints);
    }

    #[test]
    fn perceus_names_are_aliases() {
        let asked = settings(
            "masterip=10.0.0.9 dhcp_eth=eth2 dhcp_mac=00:11:22:33:44:55 eth_mtu=9000 enable-kmods=a-b,c noload=x kexec-legacy",
        );
        assert_eq!(asked.masters, [master("10.0.0.9", 20004)]);
        assert_eq!(asked.bootdev, Some(Device::Name("eth2".into())));
        assert_eq!(asked.bootif, Mac::parse("00:11:22:33:44:55"));
        assert_eq!(asked.mtu, Some(9000));
        assert_eq!(asked.modules_first, ["a_b", "c"]);
        assert_eq!(asked.modules_never, ["x"]);
        assert_eq!(asked.complaints.len(), 1);
    }

    #[test]
    fn unknown_names_of_ours_are_reported_and_others_left_alone() {
        let asked = settings("xget.mastr=1 foo=bar rd.break quiet xget.timeout.lunch=3");
        assert_eq!(asked.complaints.len(), 2);
        assert!(asked.complaints[0].contains("xget.mastr"));
        assert!(asked.refusal.is_none());
        assert_eq!(settings("bond=b0 vlan=v").complaints.len(), 2);
    }

    #[test]
    fn an_unreadable_digest_refuses_the_boot() {
        let hex = "ab".repeat(32);
        assert_eq!(settings(&format!("xget.digest=blake3:{hex}")).digest, Digest::parse(&hex));
        for text in ["", "blake3:12", "sha256:00", &hex] {
            let asked = settings(&format!("xget.digest={text}"));
            assert!(asked.refusal.is_some() && asked.digest.is_none(), "{text}");
        }
    }

    #[test]
    fn timeouts_of_ours_and_others() {
        let asked = settings("xget.timeout.dhcp=0 rd.net.timeout.carrier=7 xget.timeout.master=x");
        assert_eq!(asked.timeouts.dhcp_ms, None);
        assert_eq!(asked.timeouts.carrier_ms, Some(7000));
        assert_eq!(asked.timeouts.master_ms, Timeouts::DEFAULT.master_ms);
        assert_eq!(asked.complaints.len(), 1);
        let both = settings("rd.net.timeout.carrier=7 xget.timeout.carrier=8");
        assert_eq!(both.timeouts.carrier_ms, Some(8000));
    }

    #[test]
    fn images_cannot_climb() {
        assert_eq!(settings("xget.image=/rocky/9/").image, "rocky/9");
        for text in ["../etc", "a//b", "a/./b", ""] {
            let asked = settings(&format!("xget.image={text}"));
            assert_eq!((asked.image.as_str(), asked.complaints.len()), ("default", 1), "{text}");
        }
    }

    #[test]
    fn bootif_can_be_switched_off() {
        assert!(settings("BOOTIF=01-52-54-00-12-34-56").bootif.is_some());
        assert!(settings("BOOTIF=01-52-54-00-12-34-56 rd.bootif=0").bootif.is_none());
    }

    #[test]
    fn sizes_ends_and_switches() {
        let asked = settings("xget.tmpfs.size=3g xget.fail=halt rd.shell panic=-1 xget.linger=9");
        assert_eq!(asked.room_bytes, Some(3 << 30));
        assert_eq!((asked.end, asked.shell, asked.panic_s), (End::Halt, true, Some(-1)));
        assert_eq!(asked.linger_ms, 9000);
        assert!(!settings("rd.shell xget.shell=0").shell);
        assert_eq!(settings("xget.tmpfs.size=G xget.fail=dance").complaints.len(), 2);
    }

    #[test]
    fn names_servers_and_rules_that_are_wrong_leave_the_rest() {
        let asked = settings("ip=eth0:magic ip=10.0.0.2 nameserver=10.0.0.3 nameserver=no");
        assert_eq!(asked.ip.len(), 1);
        assert_eq!(asked.nameservers.len(), 1);
        assert_eq!(asked.complaints.len(), 2);
    }
}
