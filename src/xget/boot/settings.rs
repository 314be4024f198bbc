//! What the kernel command line asks of this boot.
//!
//! Pure: words to values, each parsed once. A name of ours that is wrong or
//! unknown becomes a warning and the boot goes on without it, except where
//! going on would be unsafe: a digest that cannot be read refuses the boot.
//! Names of others are dracut.cmdline(7)'s, the kernel's
//! (Documentation/admin-guide/kernel-parameters.rst) and Perceus'.

use super::cmdline::{Cmdline, Param};
use super::failure::{EndAction, EndSettings};
use super::ipconfig::{Device, IpRule, Mac, Method, RouteRule};
use super::next_cmdline::{KEYED, KEYED_NODE};
use super::room::RootSize;
use super::stacked::{Stacked, StackedLinks};
use crate::cli::parse_date;
use crate::driver::{Host, MASTER_PORT, first_hosts};
use crate::key_file;
use peer::auth::Key;
use peer::content::digest::Digest;
use peer::request::Trust;
use peer::signature::PublicKey;
use std::net::IpAddr;
use std::str::FromStr;

/// The watchdog's time where only `keep` is said.
const WATCHDOG_S: u32 = 60;

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
    /// The network is asked for a master where nobody names one.
    pub is_searched: bool,
    /// Of masters that are named without one.
    pub port: u16,
    /// A path below what the master serves.
    pub path: String,
    /// What the manifest's digest must be.
    pub digest: Option<Digest>,
    /// Who has to have signed whatever is fetched.
    pub trust: Trust,
    /// Most that the image may weigh.
    pub room_bytes: Option<u64>,
    /// Others are served for so long, where that was said.
    pub linger_ms: Option<u64>,
    /// Further words for the next kernel.
    pub append: Option<String>,
}

/// A root that is booted without another kernel, or after it.
#[derive(Clone, Debug, Default)]
pub struct RootSettings {
    /// What the digest of its manifest must be.
    pub digest: Option<Digest>,
    /// Most that the root's tmpfs may hold.
    pub size: Option<RootSize>,
    /// What comes is not written to: changes go to a tmpfs above it.
    pub overlay: bool,
    /// Layers and words are taken though no digest covers them.
    pub unpinned: bool,
    /// The disk that keeps it between boots.
    pub cache: Option<String>,
}

/// Who pins what is started means the root, too.
pub const ROOT_UNPINNED: &str = "xget.digest= covers kernel, initrd and command line of this image, and not its root: say xget.root.digest= on this command line, or in the image's file cmdline";

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
    /// The lease goes on for the next system, or is given back before it.
    pub keeps_lease: Option<bool>,
    pub routes: Vec<RouteRule>,
    /// Links to be named or made.
    pub stacked: StackedLinks,
}

/// `xget.watchdog=SECONDS[,keep]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchdogSettings {
    pub timeout_s: u32,
    /// It stays armed for the next system, which has to feed it in time.
    pub keep: bool,
}

/// Everything that was asked for.
// fields: one for each thing that can be
#[derive(Clone, Debug)]
pub struct Settings {
    pub image: ImageSettings,
    /// Of the cluster, where it has one.
    pub key: Option<Key>,
    /// Of this node alone, where there is to be something for it alone.
    pub node_key: Option<Key>,
    pub root: RootSettings,
    pub network: NetworkSettings,
    pub timeouts: Timeouts,
    pub modules_first: Vec<String>,
    pub modules_never: Vec<String>,
    pub watchdog: Option<WatchdogSettings>,
    pub debug: bool,
    pub end: EndSettings,
    /// To be said on the consoles once they are open.
    pub warnings: Vec<String>,
    /// Why this boot must not go on.
    pub refusal: Option<String>,
}

impl Settings {
    pub fn of(line: &Cmdline) -> Settings {
        let mut reader = Reader { line, warnings: Vec::new() };
        reader.unknown_names();
        let mut refusal = None;
        let mut digest = |name| match parse_digest(name, line.last(name)?) {
            Ok(digest) => Some(digest),
            Err(reason) => {
                refusal = Some(reason);
                None
            }
        };
        let (image_digest, root_digest) = (digest("xget.digest"), digest("xget.root.digest"));
        let trust = parse_trust(line).unwrap_or_else(|reason| {
            refusal = Some(reason);
            Trust::default()
        });
        let mut key = |parsed: Result<_, _>| {
            parsed.unwrap_or_else(|reason| {
                refusal = Some(reason);
                None
            })
        };
        let cluster_key =
            key(parse_key(line, "xget.key", || key_file::read(None), key_file::of_cluster));
        let node_key =
            key(parse_key(line, "xget.node-key", key_file::read_of_node, key_file::of_node));
        let needs_node = line.all(KEYED).any(|which| which == KEYED_NODE);
        let is_lost = if needs_node { node_key.is_none() } else { cluster_key.is_none() };
        if line.has(KEYED) && is_lost {
            refusal.get_or_insert_with(|| KEY_LOST.into());
        }
        if node_key.is_some() && cluster_key.is_none() {
            refusal.get_or_insert_with(|| NODE_KEY_ALONE.into());
        }
        Settings {
            image: reader.image(image_digest, trust),
            key: cluster_key,
            node_key,
            root: reader.root(root_digest),
            network: reader.network(),
            timeouts: reader.timeouts(),
            modules_first: reader.module_names(&["rd.driver.pre", "enable-kmods"]),
            modules_never: reader.module_names(&[
                "rd.driver.blacklist",
                "modprobe.blacklist",
                "noload",
            ]),
            watchdog: reader.watchdog(),
            debug: reader.switch("xget.debug", "rd.debug"),
            end: reader.end(),
            warnings: reader.warnings,
            refusal,
        }
    }
}

const OWN_NAMES: [&str; 30] = [
    "xget.master",
    "xget.discovery",
    "xget.port",
    "xget.image",
    "xget.digest",
    "xget.trust",
    "xget.not-before",
    "xget.key",
    "xget.node-key",
    "xget.append",
    "xget.linger",
    "xget.tmpfs.size",
    "xget.lease",
    "xget.watchdog",
    "xget.shell",
    "xget.debug",
    "xget.fail",
    "xget.timeout.nic",
    "xget.timeout.carrier",
    "xget.timeout.dhcp",
    "xget.timeout.master",
    "xget.timeout.fetch",
    "xget.root.digest",
    "xget.root.size",
    "xget.root.overlay",
    "xget.unpinned",
    "xget.cache",
    // Written by the first stage for the system that it starts; seen here
    // when that system is again this one.
    "xget.booted",
    "xget.kernel",
    KEYED,
];

const NODE_KEY_ALONE: &str = "xget.node-key= goes with the key of the cluster (xget.key=, /etc/xget/key), by which a node knows its master";
const KEY_LOST: &str = "the agent that was here before had a key, put it behind the image's last initrd, and it did not arrive: the image's initrd has to be an initramfs that leaves /etc/xget as it is";

/// Of dracut and the kernel; what they ask for is not done here.
const UNABLE: [&str; 2] = ["bridge", "team"];

fn parse_digest(name: &str, text: &str) -> Result<Digest, String> {
    let digest = text.strip_prefix("blake3:").and_then(Digest::parse);
    digest.ok_or_else(|| {
        format!("{name}={text} is not blake3: and 64 hexadecimal digits, so nothing can be verified by it")
    })
}

/// Keys that cannot be read trust nobody, and not everybody.
#[inline(never)]
fn parse_trust(line: &Cmdline) -> Result<Trust, String> {
    let parse = |text| {
        PublicKey::parse(text)
            .map_err(|why| format!("xget.trust={text}: {why}, so nothing can be trusted"))
    };
    let keys = line.all("xget.trust").map(parse).collect::<Result<Vec<_>, _>>()?;
    if keys.is_empty() && line.has("xget.trust") {
        return Err("xget.trust says no key, so nothing can be trusted".into());
    }
    let Some(text) = line.last("xget.not-before") else {
        return Ok(Trust { keys, ..Trust::default() });
    };
    match parse_date(text) {
        Ok(not_before_s) if !keys.is_empty() => {
            Ok(Trust { keys, not_before_s, ..Trust::default() })
        }
        Ok(_) => Err("xget.not-before= is about what is signed: xget.trust= says by whom".into()),
        Err(why) => Err(format!("xget.not-before={text}: {why}")),
    }
}

/// Of the line, or in the file of this initramfs. Nothing of it is in the error.
fn parse_key(
    line: &Cmdline,
    word: &str,
    of_file: fn() -> Result<Option<Key>, String>,
    judge: fn(&Key) -> Result<Key, String>,
) -> Result<Option<Key>, String> {
    let Some(text) = line.last(word) else { return of_file() };
    let key = Key::parse(text).map_err(|why| why.to_string()).and_then(|key| judge(&key));
    key.map(Some).map_err(|why| [word, "=: ", &why].concat())
}

/// A size, or a percentage of the memory.
fn parse_root_size(text: &str) -> Option<RootSize> {
    match text.strip_suffix('%') {
        Some(digits) => {
            let percent = digits.parse().ok().filter(|percent| (1..=100).contains(percent));
            percent.map(RootSize::Percent)
        }
        None => parse_size(text).map(RootSize::Bytes),
    }
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
    warnings: Vec<String>,
}

impl Reader<'_> {
    #[inline(never)]
    fn unknown_names(&mut self) {
        let ours = self.line.params.iter().filter(|param| param.name.starts_with("xget."));
        let unknown = ours.filter(|param| !OWN_NAMES.contains(&param.name.as_str()));
        self.warnings
            .extend(unknown.map(|param| format!("{} is not known and ignored", param.name)));
        let unable = UNABLE.iter().filter(|name| self.line.has(name));
        self.warnings
            .extend(unable.map(|name| format!("{name}= is ignored here (docs/boot.md, limits)")));
        if self.line.has("kexec-legacy") {
            let why = "kexec-legacy is ignored: only kexec_file_load(2) is used";
            self.warnings.push(why.into());
        }
    }

    fn number<T: FromStr>(&mut self, name: &str) -> Option<T> {
        let text = self.line.last(name)?;
        let value = text.parse().ok();
        if value.is_none() {
            self.warnings.push(format!("{name}={text} is no usable number and ignored"));
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

    #[inline(never)]
    fn image(&mut self, digest: Option<Digest>, trust: Trust) -> ImageSettings {
        let port = self.number("xget.port").unwrap_or(MASTER_PORT);
        ImageSettings {
            masters: self.masters(port),
            is_searched: self.line.flag("xget.discovery").unwrap_or(true),
            port,
            path: self.image_path(),
            digest,
            trust,
            room_bytes: self.room_bytes(),
            linger_ms: self.seconds("xget.linger"),
            append: self.line.last("xget.append").map(str::to_string),
        }
    }

    /// Perceus says `masterip=`.
    fn masters(&mut self, port: u16) -> Vec<Host> {
        let Some(param) = self.line.last_of(&["xget.master", "masterip"]) else {
            return Vec::new();
        };
        let (hosts, wrong) = match first_hosts(value(param), port) {
            Ok(first) => first,
            Err(why) => (Vec::new(), Some(why)),
        };
        self.warnings.extend(wrong.map(|why| format!("{}: {why}", param.name)));
        hosts
    }

    /// A path below the served root; it cannot climb out of it.
    fn image_path(&mut self) -> String {
        let text = self.line.last("xget.image").unwrap_or("default").trim_matches('/');
        let climbs = text.split('/').any(|part| matches!(part, "" | "." | ".."));
        if climbs {
            self.warnings
                .push(format!("xget.image={text} is no path in the served tree; using 'default'"));
            return "default".into();
        }
        text.to_string()
    }

    fn room_bytes(&mut self) -> Option<u64> {
        let text = self.line.last("xget.tmpfs.size")?;
        let bytes = parse_size(text);
        if bytes.is_none() {
            self.warnings.push(format!("xget.tmpfs.size={text} is no size (try 2G) and ignored"));
        }
        bytes
    }

    #[inline(never)]
    fn root(&mut self, digest: Option<Digest>) -> RootSettings {
        let size = self.line.last("xget.root.size").and_then(|text| {
            let size = parse_root_size(text);
            if size.is_none() {
                let why = "is no size (try 2G or 50%) and ignored";
                self.warnings.push(format!("xget.root.size={text} {why}"));
            }
            size
        });
        RootSettings {
            digest,
            size,
            overlay: self.line.flag("xget.root.overlay").unwrap_or(false),
            unpinned: self.line.flag("xget.unpinned").unwrap_or(false),
            cache: self.line.last("xget.cache").map(str::to_string),
        }
    }

    fn watchdog(&mut self) -> Option<WatchdogSettings> {
        let text = self.line.last("xget.watchdog")?;
        let (mut timeout_s, mut keep) = (WATCHDOG_S, false);
        for word in text.split(',') {
            match word.parse() {
                Ok(seconds) => timeout_s = seconds,
                Err(_) if word == "keep" => keep = true,
                Err(_) => {
                    let why = "is not SECONDS, keep, or both, and ignored";
                    self.warnings.push(format!("xget.watchdog={text} {why}"));
                    return None;
                }
            }
        }
        Some(WatchdogSettings { timeout_s, keep })
    }

    #[inline(never)]
    fn network(&mut self) -> NetworkSettings {
        let bootdev = self.line.last_of(&["bootdev", "dhcp_eth"]);
        let ip = self.ip_rules();
        NetworkSettings {
            stacked: StackedLinks::new(self.stacked(), &ip),
            ip,
            routes: self.routes(),
            bootif: self.bootif(),
            bootdev: bootdev.and_then(|param| Device::parse(value(param))),
            nameservers: self.nameservers(),
            mtu: self.number("eth_mtu"),
            keeps_lease: self.keeps_lease(),
        }
    }

    fn ip_rules(&mut self) -> Vec<IpRule> {
        let mut rules = Vec::new();
        let names = ["ip", "nfsaddrs"];
        for param in self.line.params.iter().filter(|param| names.contains(&param.name.as_str())) {
            let text = value(param);
            match IpRule::parse(text) {
                Ok(rule) => rules.push(rule),
                Err(field) => self.unusable(param, &["one with a usable ", field].concat()),
            }
        }
        if rules.is_empty() {
            rules.push(IpRule::of(Method::Any));
        }
        rules
    }

    #[inline(never)]
    fn stacked(&mut self) -> Vec<Stacked> {
        let mut links = Vec::new();
        for param in &self.line.params {
            match Stacked::parse(&param.name, value(param)) {
                Some(Ok(link)) => links.push(link),
                Some(Err(form)) => self.unusable(param, form),
                None => {}
            }
        }
        links
    }

    fn routes(&mut self) -> Vec<RouteRule> {
        let mut routes = Vec::new();
        for param in self.line.params.iter().filter(|param| param.name == "rd.route") {
            match RouteRule::parse(value(param)) {
                Some(route) => routes.push(route),
                None => self.unusable(param, RouteRule::FORM),
            }
        }
        routes
    }

    fn unusable(&mut self, param: &Param, form: &str) {
        self.warnings.push(format!("{} is not {form} and ignored", param.raw));
    }

    fn keeps_lease(&mut self) -> Option<bool> {
        match self.line.last("xget.lease")? {
            "keep" => Some(true),
            "release" => Some(false),
            other => {
                self.warnings
                    .push(format!("xget.lease={other} is not keep or release and ignored"));
                None
            }
        }
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
            self.warnings.push(format!("{}={text} is no hardware address and ignored", param.name));
        }
        mac
    }

    #[inline(never)]
    fn nameservers(&mut self) -> Vec<IpAddr> {
        let mut servers = Vec::new();
        for text in self.line.all("nameserver") {
            match text.trim_matches(['[', ']']).parse() {
                Ok(address) => servers.push(address),
                Err(_) => {
                    self.warnings.push(format!("nameserver={text} is no address and ignored"));
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
                self.warnings.push(format!(
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
mod tests;
