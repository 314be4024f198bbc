//! The command line of the system that is started.
//!
//! Pure. The image says what it wants in its file `cmdline`; added is what
//! only this boot knows: which interface it came by, the consoles, what to do
//! on a panic, the master, an address or a link that was set by hand, and how the
//! system came there. What the image sets itself is never touched.

use super::cmdline::{Cmdline, words};
use super::ipconfig::Mac;
use peer::auth::has_key;
use std::net::SocketAddr;

/// How the system came there, as far as only this boot knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provenance {
    /// The interface that was used; none when it is not Ethernet.
    pub mac: Option<Mac>,
    /// The master that served, as in `xget.master=`.
    pub master: String,
    pub image: String,
    /// Of the generation that was verified; 64 hexadecimal digits.
    pub digest: String,
    /// Of the kernel's file, in the same way.
    pub kernel: Option<String>,
    /// The next system is this agent again, which fetches a root.
    pub has_root: bool,
    /// The address, or the link that it is on, was given on our own line and not
    /// by the network.
    pub by_hand: bool,
    /// `xget.append=`, and the words of the node's line.
    pub append: Option<String>,
    /// The next system finds these keys in its initramfs.
    pub keyed: Option<Keyed>,
}

/// Which keys are put behind the initrd of the next system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keyed {
    Cluster,
    /// That of the node, beside it or alone.
    Node,
}

/// Says it: the next system goes on with these keys or not at all.
pub const KEYED: &str = "xget.keyed";
pub const KEYED_NODE: &str = "node";

impl Provenance {
    /// Digits enough to name a generation for people.
    pub fn short_digest(&self) -> &str {
        self.digest.get(..SHORT_DIGEST_LEN).unwrap_or(&self.digest)
    }
}

const SHORT_DIGEST_LEN: usize = 16;

/// Passed on as they are: where to talk, when to give up, and which way.
const PASSED: [&str; 3] = ["console", "panic", "rd.route"];
/// Passed on with an address or a link by hand; nobody will tell it again.
const PASSED_BY_HAND: [&str; 7] =
    ["ip", "nfsaddrs", "bootdev", "ifname", "nameserver", "vlan", "bond"];
/// Words of ours that this boot has done, or says anew: all others go to an agent
/// that fetches a root.
const DONE: [&str; 9] = [
    "xget.master",
    "xget.image",
    // Whoever reads the next system's command line is not to know it.
    "xget.key",
    "xget.node-key",
    KEYED,
    "xget.append",
    "xget.tmpfs.size",
    "xget.booted",
    "xget.kernel",
];
/// Digits of the kernel's digest that the next system is told.
pub const KERNEL_DIGITS: usize = 16;
/// Written by boot loaders about files that are not these.
const DROPPED: [&str; 2] = ["BOOT_IMAGE", "initrd"];
/// The master as the next system can call it: the number of a link is not the same
/// there.
pub fn master(mut addr: SocketAddr) -> String {
    if let SocketAddr::V6(addr) = &mut addr {
        addr.set_scope_id(0);
    }
    addr.to_string()
}

/// Joins the image's words with ours. `own` is the line of this boot.
#[inline(never)]
pub fn compose(image_text: &str, own: &Cmdline, provenance: &Provenance) -> String {
    let image = Cmdline::parse(image_text);
    let all = words(image_text);
    let (before, after) = all.split_at(image.params.len());
    let mut line: Vec<String> = image
        .params
        .iter()
        .zip(before)
        .filter(|(param, _)| !DROPPED.contains(&param.name.as_str()))
        .map(|(_, word)| word.to_string())
        .collect();
    let passed = own.params.iter().filter(|param| {
        let name = param.name.as_str();
        let wanted = PASSED.contains(&name)
            || provenance.by_hand && PASSED_BY_HAND.contains(&name)
            || provenance.has_root && name.starts_with("xget.") && !DONE.contains(&name);
        // A key under a name that was mistyped is one, too.
        wanted && !image.has(name) && !has_key(&param.raw)
    });
    line.extend(passed.map(|param| param.raw.clone()));
    let own_words = own_words(provenance);
    line.extend(own_words.into_iter().filter(|(name, _)| !image.has(name)).map(|(name, value)| {
        let quote = if value.contains(' ') { "\"" } else { "" };
        format!("{name}={quote}{value}{quote}")
    }));
    let appended = provenance.append.as_deref().map(words).unwrap_or_default();
    line.extend(appended.into_iter().filter(|word| !has_key(word)).map(String::from));
    line.extend(after.iter().map(|word| word.to_string()));
    line.join(" ")
}

/// What the next system cannot find out by itself.
#[inline(never)]
fn own_words(provenance: &Provenance) -> Vec<(&'static str, String)> {
    let mut words = Vec::new();
    if let Some(mac) = provenance.mac {
        words.push(("BOOTIF", format!("01-{}", mac.to_string().replace(':', "-"))));
    }
    words.push(("xget.master", provenance.master.clone()));
    words.push(("xget.image", provenance.image.clone()));
    words.push(("xget.booted", provenance.short_digest().to_string()));
    if provenance.has_root
        && let Some(digits) = provenance.kernel.as_ref().and_then(|all| all.get(..KERNEL_DIGITS))
    {
        words.push(("xget.kernel", digits.to_string()));
    }
    if let Some(keyed) = provenance.keyed {
        let which = if keyed == Keyed::Node { KEYED_NODE } else { "cluster" };
        words.push((KEYED, which.to_string()));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provenance() -> Provenance {
        Provenance {
            mac: Mac::parse("52:54:00:12:34:56"),
            master: "10.0.0.1:20004".into(),
            image: "rocky9".into(),
            digest: "0123456789abcdef0123".into(),
            kernel: None,
            has_root: false,
            by_hand: false,
            append: None,
            keyed: None,
        }
    }

    const TOLD: &str = "BOOTIF=01-52-54-00-12-34-56 xget.master=10.0.0.1:20004 xget.image=rocky9 xget.booted=0123456789abcdef";

    #[test]
    fn the_image_comes_first_and_the_journey_after() {
        let own = Cmdline::parse(
            "BOOT_IMAGE=/x console=tty0 console=ttyS0,115200 panic=9 quiet ip=dhcp xget.shell",
        );
        let line = compose("root=tmpfs ro\n", &own, &provenance());
        assert_eq!(line, format!("root=tmpfs ro console=tty0 console=ttyS0,115200 panic=9 {TOLD}"));
    }

    #[test]
    fn a_master_of_the_link_is_named_without_the_link() {
        assert_eq!(master("[fe80::1%3]:7".parse().unwrap()), "[fe80::1]:7");
        assert_eq!(master("10.0.0.1:7".parse().unwrap()), "10.0.0.1:7");
    }

    #[test]
    fn what_the_image_sets_stays() {
        let own = Cmdline::parse("console=ttyS0 panic=9");
        let line = compose("console=hvc0 panic=0 BOOTIF=x xget.master=m", &own, &provenance());
        assert_eq!(
            line,
            "console=hvc0 panic=0 BOOTIF=x xget.master=m xget.image=rocky9 xget.booted=0123456789abcdef"
        );
    }

    #[test]
    fn a_static_address_travels_and_a_leased_one_does_not() {
        let own = Cmdline::parse("ip=10.0.0.9::10.0.0.1:24 nameserver=10.0.0.3");
        assert_eq!(compose("", &own, &provenance()), TOLD);
        let by_hand = Provenance { by_hand: true, ..provenance() };
        let line = compose("", &own, &by_hand);
        assert_eq!(line, format!("ip=10.0.0.9::10.0.0.1:24 nameserver=10.0.0.3 {TOLD}"));
        let words = "ip=v5:dhcp vlan=v5:b0 bond=b0:net0 ifname=net0:52:54:00:12:34:56";
        let own = Cmdline::parse(&format!("{words} rd.route=10.2.0.0/16:10.0.0.1"));
        assert_eq!(
            compose("", &own, &provenance()),
            format!("rd.route=10.2.0.0/16:10.0.0.1 {TOLD}")
        );
        let line = compose("bond=b0:eth7", &own, &by_hand);
        let words = words.replace(" bond=b0:net0", "");
        assert_eq!(line, format!("bond=b0:eth7 {words} rd.route=10.2.0.0/16:10.0.0.1 {TOLD}"));
    }

    #[test]
    fn boot_loader_words_go_and_quotes_stay() {
        let line = compose(
            "BOOT_IMAGE=/v initrd=/i a=\"b c\" crashkernel=1G",
            &Cmdline::default(),
            &provenance(),
        );
        assert_eq!(line, format!("a=\"b c\" crashkernel=1G {TOLD}"));
    }

    #[test]
    fn words_for_the_next_init_stay_behind() {
        let more = Provenance { append: Some("debug loglevel=8".into()), ..provenance() };
        let line = compose("quiet -- single BOOT_IMAGE=kept", &Cmdline::default(), &more);
        assert_eq!(line, format!("quiet {TOLD} debug loglevel=8 -- single BOOT_IMAGE=kept"));
    }

    #[test]
    fn an_agent_that_fetches_a_root_hears_what_it_needs() {
        let own = Cmdline::parse(
            "xget.digest=x xget.root.digest=y xget.debug xget.image=z xget.tmpfs.size=1G \
             xget.key=xget-cluster-1:0 xget.node-key=xget-node-1:n:0",
        );
        let kernel = Some("fedcba98765432100".to_string());
        let next = Provenance { kernel, has_root: true, ..provenance() };
        let line = compose("xget.root.size=1G", &own, &next);
        let told = format!("{TOLD} xget.kernel=fedcba9876543210");
        assert_eq!(
            line,
            format!("xget.root.size=1G xget.digest=x xget.root.digest=y xget.debug {told}")
        );
        let image = Provenance { has_root: false, ..next };
        assert_eq!(compose("", &own, &image), TOLD, "another program's business");
    }

    #[test]
    fn a_key_under_any_name_stays_behind_and_that_there_is_one_is_said() {
        let own = Cmdline::parse(
            "xget.kye=xget-cluster-1:00 console=xget-node-1:n:0 panic=\"xget-root-1:0\" xget.keyed=node",
        );
        let append = Some("quiet a=\"xget-cluster-1:00 b\" ro".to_string());
        let next = Provenance { append, has_root: true, ..provenance() };
        assert_eq!(compose("", &own, &next), format!("{TOLD} quiet ro"));
        for (keyed, which) in [(Keyed::Cluster, "cluster"), (Keyed::Node, "node")] {
            let next = Provenance { keyed: Some(keyed), ..provenance() };
            assert_eq!(compose("", &own, &next), format!("{TOLD} xget.keyed={which}"));
        }
    }

    #[test]
    fn infiniband_has_no_bootif_and_spaces_get_quotes() {
        let odd = Provenance { mac: None, image: "my image".into(), ..provenance() };
        let line = compose("", &Cmdline::default(), &odd);
        assert!(line.starts_with("xget.master=") && line.contains("xget.image=\"my image\""));
    }
}
