//! What the kernel command line asks of this boot.
//!
//! Pure: words to values, each parsed once. A name of ours that is wrong or
//! unknown becomes a complaint and the boot goes on without it, except where
//! going on would be unsafe: a digest that cannot be read refuses the boot.
//! Names of others are dracut.cmdline(7)'s, the kernel's
//! (Documentation/admin-guide/kernel-parameters.rst) and Perceus'.

use super::cmdline::{Cmdline, Param};
use super::failure::{EndAction, EndSettings};
use super::ipconfig::{Device, IpRule, Mac, Method};
use crate::driver::{Host, MASTER_PORT, parse_host};
use peer::content::digest::Digest;
use std::net::IpAddr;
use std::str::FromStr;

/// More masters than this in one list are a mistake.
const MASTERS_MAX: usize = 16;
/// Served to others after one's own fetch when nothing else is asked for.
const LINGER_MS: u64 = 2_000;

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

/// Which image, from whom, and what is done with it.
#[derive(Clone, Debug)]
pub struct ImageSettings {
    /// Best first; their names are not yet looked up. None: as the network
    /// says.
    pub masters: Vec<Host>,
    /// Of masters that are named without one.
    pub port: u16,
    /// A path below what the master serves.
    pub path: String,
    /// What the manifest's digest must be.
    pub digest: Option<Digest>,
    /// Most that the image may weigh.
    pub room_bytes: Option<u64>,
    pub linger_ms: u64,
    /// Further words for the next kernel.
    pub append: Option<String>,
}

/// Which interfaces, and how they get an address.
#[derive(Clone, Debug)]
pub struct NetworkSettings {
    /// Never empty.
    pub ip: Vec<IpRule>,
    /// The interface that goes first.
    pub bootif: Option<Mac>,
    /// No other interface is touched.
    pub bootdev: Option<Device>,
    pub nameservers: Vec<IpAddr>,
    pub mtu: Option<u32>,
}

/// Everything that was asked for.
#[derive(Clone, Debug)]
pub struct Settings {
    pub image: ImageSettings,
    pub network: NetworkSettings,
    pub timeouts: Timeouts,
    pub modules_first: Vec<String>,
    pub modules_never: Vec<String>,
    pub watchdog_s: Option<u32>,
    pub debug: bool,
    pub end: EndSettings,
    /// To be said on the consoles once they are open.
    pub complaints: Vec<String>,
    /// Why this boot must not go on.
    pub refusal: Option<String>,
}

impl Settings {
    pub fn of(line: &Cmdline) -> Settings {
        let mut reader = Reader { line, complaints: Vec::new() };
        reader.unknown_names();
        let (digest, refusal) = match line.last("xget.digest").map(parse_digest) {
            Some(Err(reason)) => (None, Some(reason)),
            Some(Ok(digest)) => (Some(digest), None),
            None => (None, None),
        };
        Settings {
            image: reader.image(digest),
            network: reader.network(),
            timeouts: reader.timeouts(),
            modules_first: reader.module_names(&["rd.driver.pre", "enable-kmods"]),
            modules_never: reader.module_names(&[
                "rd.driver.blacklist",
                "modprobe.blacklist",
                "noload",
            ]),
            watchdog_s: reader.number("xget.watchdog"),
            debug: reader.switch("xget.debug", "rd.debug"),
            end: reader.end(),
            complaints: reader.complaints,
            refusal,
        }
    }
}

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

/// Of dracut and the kernel; what they ask for is not done here.
const UNABLE: [&str; 6] = ["bond", "bridge", "team", "vlan", "ifname", "rd.route"];

/// `HOST[:PORT][,<next>...]`; the error names the part that is wrong.
pub fn parse_masters(text: &str, port: u16) -> Result<Vec<Host>, String> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let masters: Vec<Host> =
        parts.take(MASTERS_MAX).map(|part| parse_host(part, port)).collect::<Result<_, _>>()?;
    if masters.is_empty() { Err("no master is named".into()) } else { Ok(masters) }
}

fn parse_digest(text: &str) -> Result<Digest, String> {
    let digest = text.strip_prefix("blake3:").and_then(Digest::parse);
    digest.ok_or_else(|| {
        format!("xget.digest={text} is not blake3: and 64 hexadecimal digits, so nothing can be verified by it")
    })
}

/// Bytes, or K, M or G of them.
fn parse_size(text: &str) -> Option<u64> {
    let shift = match text.bytes().last()? {
        b'k' | b'K' => 10,
        b'm' | b'M' => 20,
        b'g' | b'G' => 30,
        _ => 0,
    };
    let digits_len = text.len() - usize::from(shift > 0);
    let count: u32 = text[..digits_len].parse().ok()?;
    (count > 0).then_some(u64::from(count) << shift)
}

/// The command line, and what was found wrong with it.
struct Reader<'a> {
    line: &'a Cmdline,
    complaints: Vec<String>,
}

impl Reader<'_> {
    fn unknown_names(&mut self) {
        let ours = self.line.params.iter().filter(|param| param.name.starts_with("xget."));
        let unknown = ours.filter(|param| !OWN_NAMES.contains(&param.name.as_str()));
        self.complaints
            .extend(unknown.map(|param| format!("{} is not known and ignored", param.name)));
        let unable = UNABLE.iter().filter(|name| self.line.has(name));
        self.complaints
            .extend(unable.map(|name| format!("{name}= is ignored here (docs/boot.md, limits)")));
        if self.line.has("kexec-legacy") {
            let why = "kexec-legacy is ignored: only kexec_file_load(2) is used";
            self.complaints.push(why.into());
        }
    }

    fn number<T: FromStr>(&mut self, name: &str) -> Option<T> {
        let text = self.line.last(name)?;
        let value = text.parse().ok();
        if value.is_none() {
            self.complaints.push(format!("{name}={text} is no usable number and ignored"));
        }
        value
    }

    /// Seconds, as people write them, to milliseconds.
    fn seconds(&mut self, name: &str) -> Option<u64> {
        self.number::<u32>(name).map(|seconds| u64::from(seconds) * 1000)
    }

    /// By our name first, then by that of others.
    fn switch(&self, own: &str, other: &str) -> bool {
        self.line.flag(own).or(self.line.flag(other)).unwrap_or(false)
    }

    fn image(&mut self, digest: Option<Digest>) -> ImageSettings {
        let port = self.number("xget.port").unwrap_or(MASTER_PORT);
        ImageSettings {
            masters: self.masters(port),
            port,
            path: self.image_path(),
            digest,
            room_bytes: self.room_bytes(),
            linger_ms: self.seconds("xget.linger").unwrap_or(LINGER_MS),
            append: self.line.last("xget.append").map(str::to_string),
        }
    }

    /// Perceus says `masterip=`.
    fn masters(&mut self, port: u16) -> Vec<Host> {
        let Some(param) = self.line.last_of(&["xget.master", "masterip"]) else {
            return Vec::new();
        };
        parse_masters(value(param), port).unwrap_or_else(|reason| {
            self.complaints.push(format!("{}: {reason}", param.name));
            Vec::new()
        })
    }

    /// A path below the served root; it cannot climb out of it.
    fn image_path(&mut self) -> String {
        let text = self.line.last("xget.image").unwrap_or("default").trim_matches('/');
        let climbs = text.split('/').any(|part| matches!(part, "" | "." | ".."));
        if climbs {
            self.complaints
                .push(format!("xget.image={text} is no path in the served tree; using 'default'"));
            return "default".into();
        }
        text.to_string()
    }

    fn room_bytes(&mut self) -> Option<u64> {
        let text = self.line.last("xget.tmpfs.size")?;
        let bytes = parse_size(text);
        if bytes.is_none() {
            self.complaints.push(format!("xget.tmpfs.size={text} is no size (try 2G) and ignored"));
        }
        bytes
    }

    fn network(&mut self) -> NetworkSettings {
        let bootdev = self.line.last_of(&["bootdev", "dhcp_eth"]);
        NetworkSettings {
            ip: self.ip_rules(),
            bootif: self.bootif(),
            bootdev: bootdev.and_then(|param| Device::parse(value(param))),
            nameservers: self.nameservers(),
            mtu: self.number("eth_mtu"),
        }
    }

    fn ip_rules(&mut self) -> Vec<IpRule> {
        let mut rules = Vec::new();
        let names = ["ip", "nfsaddrs"];
        for param in self.line.params.iter().filter(|param| names.contains(&param.name.as_str())) {
            let text = value(param);
            match IpRule::parse(text) {
                Ok(rule) => rules.push(rule),
                Err(reason) => {
                    self.complaints.push(format!("{}={text}: {reason}; ignored", param.name));
                }
            }
            if text.split([':', ',']).any(|word| matches!(word, "dhcp6" | "either6")) {
                let why = "there is no DHCPv6 here: a router advertisement is waited for";
                self.complaints.push(why.into());
            }
        }
        if rules.is_empty() {
            rules.push(IpRule::of(Method::Dhcp));
        }
        rules
    }

    /// Perceus says `dhcp_mac=`.
    fn bootif(&mut self) -> Option<Mac> {
        let param = self.line.last_of(&["BOOTIF", "dhcp_mac"])?;
        if self.line.flag("rd.bootif") == Some(false) {
            return None;
        }
        let text = value(param);
        let mac = Mac::parse_bootif(text);
        if mac.is_none() {
            self.complaints
                .push(format!("{}={text} is no hardware address and ignored", param.name));
        }
        mac
    }

    fn nameservers(&mut self) -> Vec<IpAddr> {
        let mut servers = Vec::new();
        for text in self.line.all("nameserver") {
            match text.trim_matches(['[', ']']).parse() {
                Ok(address) => servers.push(address),
                Err(_) => {
                    self.complaints.push(format!("nameserver={text} is no address and ignored"));
                }
            }
        }
        servers
    }

    /// Our names first, then those of others who meant the same.
    fn timeouts(&mut self) -> Timeouts {
        let default = Timeouts::DEFAULT;
        Timeouts {
            nic_ms: self.timeout(&["xget.timeout.nic", "rd.net.timeout.iflink"], default.nic_ms),
            carrier_ms: self.timeout(
                &[
                    "xget.timeout.carrier",
                    "rd.net.timeout.carrier",
                    "carrier_timeout",
                    "ethdevice-link-timeout",
                ],
                default.carrier_ms,
            ),
            dhcp_ms: self.timeout(&["xget.timeout.dhcp", "rd.net.timeout.dhcp"], default.dhcp_ms),
            master_ms: self.timeout(&["xget.timeout.master"], default.master_ms),
            fetch_ms: self.timeout(&["xget.timeout.fetch"], default.fetch_ms),
        }
    }

    /// 0 is for ever.
    fn timeout(&mut self, names: &[&str], default: Option<u64>) -> Option<u64> {
        let given = names.iter().find_map(|name| self.seconds(name));
        given.map_or(default, |ms| (ms != 0).then_some(ms))
    }

    /// Comma lists of any of these names, with '-' and '_' the same in a
    /// module's name (modprobe(8)).
    fn module_names(&self, keys: &[&str]) -> Vec<String> {
        let params = self.line.params.iter().filter(|param| keys.contains(&param.name.as_str()));
        let values = params.filter_map(|param| param.value.as_deref());
        let names = values.flat_map(|value| value.split(',')).filter(|name| !name.is_empty());
        names.map(|name| name.replace('-', "_")).collect()
    }

    fn end(&mut self) -> EndSettings {
        EndSettings {
            shell: self.switch("xget.shell", "rd.shell"),
            panic_s: self.number("panic"),
            action: self.end_action(),
        }
    }

    fn end_action(&mut self) -> EndAction {
        let param = self.line.last_of(&["xget.fail", "rd.emergency"]);
        match param.and_then(|param| param.value.as_deref()) {
            None | Some("reboot") => EndAction::Reboot,
            Some("poweroff") => EndAction::PowerOff,
            Some("halt") => EndAction::Halt,
            Some(other) => {
                self.complaints.push(format!(
                    "xget.fail={other} is not reboot, poweroff or halt; using reboot"
                ));
                EndAction::Reboot
            }
        }
    }
}

/// A bare name counts as empty.
fn value(param: &Param) -> &str {
    param.value.as_deref().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn settings(text: &str) -> Settings {
        Settings::of(&Cmdline::parse(text))
    }

    fn addr(text: &str) -> Host {
        Host::Addr(text.parse().unwrap())
    }

    #[test]
    fn an_empty_line_is_a_boot_by_dhcp() {
        let asked = settings("");
        assert_eq!(asked.network.ip, [IpRule::of(Method::Dhcp)]);
        assert!(asked.image.masters.is_empty() && asked.complaints.is_empty());
        assert_eq!((asked.image.path.as_str(), asked.image.port), ("default", 20004));
        assert_eq!(asked.timeouts, Timeouts::DEFAULT);
        let end = EndSettings { shell: false, panic_s: None, action: EndAction::Reboot };
        assert_eq!(asked.end, end);
        assert_eq!(asked.image.linger_ms, 2000);
    }

    #[test]
    fn masters_by_address_name_and_port() {
        let asked =
            settings("xget.port=99 xget.master=10.0.0.1,head:7,[fe80::1]:8,[::1],2001:db8::5");
        let expected = [
            addr("10.0.0.1:99"),
            Host::Name("head".into(), 7),
            addr("[fe80::1]:8"),
            addr("[::1]:99"),
            addr("[2001:db8::5]:99"),
        ];
        assert_eq!(asked.image.masters, expected);
    }

    #[test]
    fn wrong_masters_are_complained_about() {
        for text in [
            "",
            ",",
            ":1",
            "a:0",
            "a:b",
            "[::1",
            "[::1]x",
            "a b",
            "[a]",
            "h:70000",
            "10.0.0.1:0",
            "a@b",
        ] {
            assert!(parse_masters(text, 1).is_err(), "{text}");
        }
        let asked = settings("xget.master=a:b");
        assert!(asked.image.masters.is_empty());
        assert!(asked.complaints[0].contains("a:b"), "{:?}", asked.complaints);
    }

    #[test]
    fn perceus_names_are_aliases() {
        let asked = settings(
            "masterip=10.0.0.9 dhcp_eth=eth2 dhcp_mac=00:11:22:33:44:55 eth_mtu=9000 enable-kmods=a-b,c noload=x kexec-legacy",
        );
        assert_eq!(asked.image.masters, [addr("10.0.0.9:20004")]);
        assert_eq!(asked.network.bootdev, Some(Device::Name("eth2".into())));
        assert_eq!(asked.network.bootif, Mac::parse("00:11:22:33:44:55"));
        assert_eq!(asked.network.mtu, Some(9000));
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
        let asked = settings(&format!("xget.digest=blake3:{hex}"));
        assert_eq!(asked.image.digest, Digest::parse(&hex));
        for text in ["", "blake3:12", "sha256:00", &hex] {
            let asked = settings(&format!("xget.digest={text}"));
            assert!(asked.refusal.is_some() && asked.image.digest.is_none(), "{text}");
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
        assert_eq!(settings("xget.image=/rocky/9/").image.path, "rocky/9");
        for text in ["../etc", "a//b", "a/./b", ""] {
            let asked = settings(&format!("xget.image={text}"));
            assert_eq!(
                (asked.image.path.as_str(), asked.complaints.len()),
                ("default", 1),
                "{text}"
            );
        }
    }

    #[test]
    fn bootif_can_be_switched_off() {
        assert!(settings("BOOTIF=01-52-54-00-12-34-56").network.bootif.is_some());
        assert!(settings("BOOTIF=01-52-54-00-12-34-56 rd.bootif=0").network.bootif.is_none());
    }

    #[test]
    fn sizes_ends_and_switches() {
        let asked = settings("xget.tmpfs.size=3g xget.fail=halt rd.shell panic=-1 xget.linger=9");
        assert_eq!(asked.image.room_bytes, Some(3 << 30));
        let end = EndSettings { shell: true, panic_s: Some(-1), action: EndAction::Halt };
        assert_eq!(asked.end, end);
        assert_eq!(asked.image.linger_ms, 9000);
        assert!(!settings("rd.shell xget.shell=0").end.shell);
        for (text, bytes) in [("7", 7), ("7k", 7 << 10), ("7M", 7 << 20), ("4000G", 4000 << 30)] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for text in ["", "0", "G", "1T", "1GG", "-1", "99999999999"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
        assert_eq!(settings("xget.tmpfs.size=G xget.fail=dance").complaints.len(), 2);
    }

    #[test]
    fn names_servers_and_rules_that_are_wrong_leave_the_rest() {
        let asked = settings("ip=eth0:magic ip=10.0.0.2 nameserver=10.0.0.3 nameserver=no");
        assert_eq!(asked.network.ip.len(), 1);
        assert_eq!(asked.network.nameservers.len(), 1);
        assert_eq!(asked.complaints.len(), 2);
    }

    /// Names that mean something, with values of all sorts.
    fn word() -> impl Strategy<Value = String> {
        let names = OWN_NAMES.to_vec();
        let others = ["ip", "nfsaddrs", "BOOTIF", "bootdev", "nameserver", "panic", "masterip"];
        let names = prop::sample::select([&names[..], &others].concat());
        let value = prop_oneof![
            r#"[0-9a-z.:,/\[\]@-]{0,24}"#,
            "[0-9]{1,20}[KMG]?",
            "[0-9.]{7,15}(:[0-9]{0,5})?",
        ];
        (names, value).prop_map(|(name, value)| format!("{name}={value}"))
    }

    proptest! {
        #[test]
        fn any_line_gives_settings_that_make_sense(
            words in prop::collection::vec(word(), 0..10),
        ) {
            let asked = settings(&words.join(" "));
            prop_assert!(!asked.network.ip.is_empty());
            prop_assert!(asked.image.masters.len() <= MASTERS_MAX);
            let path = &asked.image.path;
            prop_assert!(path.split('/').all(|part| !matches!(part, "" | "." | "..")));
            prop_assert!(asked.image.room_bytes != Some(0));
            let pinned = words.iter().any(|word| word.starts_with("xget.digest="));
            prop_assert_eq!(asked.refusal.is_some() || asked.image.digest.is_some(), pinned);
            for rule in &asked.network.ip {
                let bits_max = if rule.address.is_some_and(|ip| ip.is_ipv6()) { 128 } else { 32 };
                prop_assert!(rule.prefix_len <= bits_max);
            }
        }
    }
}
