//! What the files for a network boot say: texts out of what is known, and nothing else.
//!
//! The set-ups are those that machines were seen to boot from. Knows dnsmasq's, iPXE's, GRUB's
//! and PXELINUX' ways of writing. Refuses to know files and interfaces.

use super::net::Net;
use super::place::{HEADER, HOSTS, IPXE, NAMES, Pair};
use nodes::{Key, Kind, Table};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What the texts are made of.
#[derive(Debug)]
pub struct Plan<'a> {
    pub net: &'a Net,
    /// Where the files are, absolute.
    pub dir: &'a str,
    /// The boot program of BIOS machines.
    pub bios: Option<&'a str>,
    /// That of UEFI machines.
    pub uefi: Option<&'a str>,
    /// Words for the first kernel, beside the master's.
    pub words: &'a str,
    /// Kernel and initramfs.
    pub pair: &'a Pair,
    /// The port where they are to be had by HTTP, if they are.
    pub http: Option<u16>,
    /// What is lent: from, to.
    pub lent: &'a [(Ipv4Addr, Ipv4Addr)],
    pub lent6: &'a [(Ipv6Addr, Ipv6Addr)],
    /// Another server lends addresses; ours tells machines what to boot alone.
    pub proxy: bool,
    /// DNS as well.
    pub dns: bool,
}

/// How long an address is lent.
const LEASE: &str = "12h";
/// What of an IPv6 address is not its net's.
const HOST6: u128 = u64::MAX as u128;
/// What firmware is, in DHCPv6 (RFC 5970).
const ARCH6: u16 = 61;
/// Machines at a time.
const LEASES_MAX: usize = nodes::NODES_MAX;

impl Plan<'_> {
    pub fn dnsmasq(&self) -> String {
        let interface = &self.net.interface;
        let dir = self.dir;
        let script = match self.http {
            Some(port) => url(self.net.address.into(), port) + IPXE,
            None => IPXE.into(),
        };
        // Without a next server iPXE takes no file from a proxy.
        let script = if self.proxy { format!("{script},,{}", self.net.address) } else { script };
        let addresses = if self.proxy { self.beside_another() } else { self.lending() };
        let dns = if self.dns { self.names() } else { "# No DNS.\nport=0\n".into() };
        format!(
            "{HEADER}\n\
             # DHCP and TFTP on one interface.\n\
             interface={interface}\n\
             except-interface=lo\n\
             bind-dynamic\n\
             enable-tftp\n\
             tftp-root={dir}\n\
             {dns}\
             # iPXE says that it is iPXE by option 175, firmware what it is by option 93.\n\
             dhcp-match=set:ipxe,175\n\
             dhcp-match=set:bios,option:client-arch,0\n\
             dhcp-match=set:uefi,option:client-arch,7\n\
             dhcp-match=set:uefi,option:client-arch,9\n\
             dhcp-boot=tag:ipxe,{script}\n\
             {addresses}{}",
            self.net.address6.map(|address6| self.ipv6(address6)).unwrap_or_default()
        )
    }

    /// Router advertisements, DHCPv6, and boot files as URLs. There is no proxy of DHCPv6.
    fn ipv6(&self, address6: Ipv6Addr) -> String {
        let script = match self.http {
            Some(port) => url(address6.into(), port) + IPXE,
            None => format!("tftp://[{address6}]/{IPXE}"),
        };
        let interface = &self.net.interface;
        let host = |address: &Ipv6Addr| Ipv6Addr::from(address.to_bits() & HOST6);
        let line = |range: String| format!("dhcp-range={range},constructor:{interface},{LEASE}\n");
        let ranges = self.lent6.iter().map(|(from, to)| format!("{},{}", host(from), host(to)));
        let mut ranges: String = ranges.map(line).collect();
        // Where none is left: for those that lines of the administrator's give to machines.
        if ranges.is_empty() {
            ranges = line("::,static".into());
        }
        let mut text = format!(
            "# IPv6: what router, and an address for who asks. What boots says what it is.\n\
             enable-ra\n\
             {ranges}\
             dhcp-userclass=set:ipxe,iPXE\n\
             dhcp-userclass=set:xget,xget:\n\
             dhcp-match=set:uefi,option6:{ARCH6},00:07\n\
             dhcp-match=set:uefi,option6:{ARCH6},00:09\n\
             dhcp-option=tag:ipxe,option6:bootfile-url,{script}\n\
             dhcp-option=tag:xget,option6:bootfile-url,xget://[{address6}]:20004\n"
        );
        if let Some(file) = self.uefi {
            let tags = "tag:uefi,tag:!ipxe,tag:!xget";
            text +=
                &format!("dhcp-option={tags},option6:bootfile-url,tftp://[{address6}]/{file}\n");
        }
        text
    }

    /// The only DHCP server of its net.
    fn lending(&self) -> String {
        let Net { address, mask, .. } = self.net;
        let dir = self.dir;
        // Where none is left: for those that lines of the administrator's give to machines.
        let fixed = format!("dhcp-range={address},static,{mask},{LEASE}\n");
        let fixed = if self.lent.is_empty() { fixed } else { String::new() };
        let ranges: String = self
            .lent
            .iter()
            .map(|(from, to)| format!("dhcp-range={from},{to},{mask},{LEASE}\n"))
            .collect();
        let programs = [("bios", self.bios), ("uefi", self.uefi)];
        let boots: String = programs
            .iter()
            .filter_map(|(tag, file)| Some(format!("dhcp-boot=tag:!ipxe,tag:{tag},{}\n", (*file)?)))
            .collect();
        format!(
            "{boots}\
             # It has to be the only DHCP server there.\n\
             dhcp-authoritative\n\
             # Without it each first offer is 3 s late.\n\
             no-ping\n\
             {ranges}{fixed}\
             dhcp-lease-max={LEASES_MAX}\n\
             # The master, for the agent.\n\
             dhcp-option=224,\"{address}:20004\"\n\
             # Names of nodes.tab; read again on SIGHUP.\n\
             dhcp-hostsfile={dir}/{HOSTS}\n"
        )
    }

    /// Names of nodes; of all others this machine's resolvers are asked.
    fn names(&self) -> String {
        let Net { address, .. } = self.net;
        let dir = self.dir;
        let told = if self.proxy { String::new() } else { format!("dhcp-option=6,{address}\n") };
        format!(
            "# DNS for names of nodes.tab and of leases; read again on SIGHUP.\n\
             no-hosts\naddn-hosts={dir}/{NAMES}\ndomain-needed\nbogus-priv\n{told}"
        )
    }

    /// Proxy DHCP. Firmware is told in a menu of one line, which is how it asks for it.
    fn beside_another(&self) -> String {
        let services = [("x86PC", self.bios), ("x86-64_EFI", self.uefi), ("BC_EFI", self.uefi)];
        let lines: String = services
            .iter()
            .filter_map(|(kind, file)| {
                Some(format!("pxe-service=tag:!ipxe,{kind},\"xget\",{}\n", (*file)?))
            })
            .collect();
        let (address, mask) = (self.net.address, self.net.mask);
        format!("# Addresses are another server's.\ndhcp-range={address},proxy,{mask}\n{lines}")
    }

    /// This script is fetched again before each further try: it may name other files.
    pub fn ipxe(&self) -> String {
        let line = self.cmdline();
        let Pair { kernel, initramfs } = self.pair;
        format!(
            "#!ipxe\n{HEADER}\n\
             kernel {kernel} initrd={initramfs} {line} BOOTIF=01-${{netX/mac:hexhyp}} || goto again\n\
             initrd {initramfs} || goto again\n\
             boot || goto again\n\
             :again\n\
             echo The head does not answer; again in 10 s\n\
             imgfree\n\
             sleep 10\n\
             chain --replace {IPXE} || goto again\n"
        )
    }

    pub fn pxelinux(&self) -> String {
        let line = self.cmdline();
        let Pair { kernel, initramfs } = self.pair;
        format!(
            "{HEADER}\nDEFAULT xget\nPROMPT 0\nLABEL xget\n    KERNEL {kernel}\n    \
             INITRD {initramfs}\n    APPEND {line}\n    IPAPPEND 2\n"
        )
    }

    /// GRUB has the interface's hardware address with colons, which the agent reads as well.
    pub fn grub(&self) -> String {
        let line = self.cmdline();
        let Pair { kernel, initramfs } = self.pair;
        format!(
            "{HEADER}\n\
             if linux /{kernel} {line} BOOTIF=01-$net_default_mac; then\n    \
             if initrd /{initramfs}; then\n        boot\n    fi\nfi\n\
             echo The head does not answer; again in 10 s\n\
             sleep 10\n\
             configfile $prefix/grub.cfg\n"
        )
    }

    fn cmdline(&self) -> String {
        let mut master = format!("xget.master={}", self.net.address);
        if let Some(address6) = self.net.address6 {
            master += &format!(",[{address6}]");
        }
        if self.words.is_empty() { master } else { format!("{master} {}", self.words) }
    }
}

/// Where HTTP is served.
pub fn url(address: IpAddr, port: u16) -> String {
    match port {
        80 if address.is_ipv4() => format!("http://{address}/"),
        80 => format!("http://[{address}]/"),
        _ => format!("http://{}/", SocketAddr::new(address, port)),
    }
}

/// The names of nodes, for dnsmasq.
pub fn hosts(table: &Table) -> String {
    let lines = reservations(table).into_iter().map(|(mac, name)| format!("{mac},{name}\n"));
    lines.fold(format!("{HEADER}\n"), |text, line| text + &line)
}

/// Names of nodes that are known by an address, in the form of hosts(5).
pub fn names(table: &Table) -> String {
    let keys = table.names().filter_map(|name| Key::new(Kind::Name, name));
    let known = keys.filter_map(|key| Some((table.address(&key)?, key.text)));
    known.fold(format!("{HEADER}\n"), |text, (address, name)| text + &format!("{address} {name}\n"))
}

/// MAC addresses with the names that dnsmasq can take: it would read `10h` as a time.
fn reservations(table: &Table) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for name in table.names() {
        let Some(key) = Key::new(Kind::Name, name) else { continue };
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let is_host = name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.chars().all(is_plain)
            && !["ignore", "infinite"].contains(&name);
        let macs = table.keys(&key).filter(|key| key.kind == Kind::Mac && is_host);
        found.extend(macs.map(|mac| (mac.text.clone(), name.to_string())));
    }
    found
}

/// Whether these can be words for the kernel in all of the files.
pub fn are_words(text: &str) -> bool {
    let is_odd = |c: char| c.is_control() || "$|#&;'\\<>(){}".contains(c);
    !text.contains(is_odd) && text.trim() == text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net() -> Net {
        Net::new("eth1", [10, 0, 0, 1].into(), 24).unwrap()
    }

    fn pair() -> Pair {
        Pair::new("0123456789abcdef")
    }

    const LENT6: [(Ipv6Addr, Ipv6Addr); 1] = [(
        Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 1, 0),
        Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 1, 0xffff),
    )];
    const LENT: [(Ipv4Addr, Ipv4Addr); 2] = [
        (Ipv4Addr::new(10, 0, 0, 128), Ipv4Addr::new(10, 0, 0, 199)),
        (Ipv4Addr::new(10, 0, 0, 202), Ipv4Addr::new(10, 0, 0, 254)),
    ];

    fn plan<'a>(net: &'a Net, pair: &'a Pair) -> Plan<'a> {
        let (dir, words, bios) = ("/srv/boot", "quiet", Some("undionly.kpxe"));
        Plan {
            net,
            dir,
            bios,
            uefi: None,
            words,
            pair,
            http: None,
            lent: &LENT,
            lent6: &LENT6,
            proxy: false,
            dns: false,
        }
    }

    #[test]
    fn dnsmasq_gets_the_net_the_programs_that_are_there_and_names() {
        let table = Table::parse(
            b"52:54:00:00:00:01 n001\n52:54:00:00:00:02 10h\n10.0.0.9 n9\nio1\n\
              52:54:00:00:00:03 ignore\n52:54:00:00:00:04 a_b\n",
        )
        .unwrap();
        assert_eq!(hosts(&table), format!("{HEADER}\n52:54:00:00:00:01,n001\n"));
        let (net, pair) = (net(), pair());
        let text = plan(&net, &pair).dnsmasq();
        let said: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let expected = "\
interface=eth1
except-interface=lo
bind-dynamic
enable-tftp
tftp-root=/srv/boot
port=0
dhcp-match=set:ipxe,175
dhcp-match=set:bios,option:client-arch,0
dhcp-match=set:uefi,option:client-arch,7
dhcp-match=set:uefi,option:client-arch,9
dhcp-boot=tag:ipxe,boot.ipxe
dhcp-boot=tag:!ipxe,tag:bios,undionly.kpxe
dhcp-authoritative
no-ping
dhcp-range=10.0.0.128,10.0.0.199,255.255.255.0,12h
dhcp-range=10.0.0.202,10.0.0.254,255.255.255.0,12h
dhcp-lease-max=65536
dhcp-option=224,\"10.0.0.1:20004\"
dhcp-hostsfile=/srv/boot/dhcp-hosts";
        assert_eq!(said.join("\n"), expected);
        let uefi = Plan {
            bios: Some("pxelinux.0"),
            uefi: Some("snponly.efi"),
            http: Some(8080),
            ..plan(&net, &pair)
        };
        let text = uefi.dnsmasq();
        assert!(text.contains("dhcp-boot=tag:ipxe,http://10.0.0.1:8080/boot.ipxe\n"));
        assert!(text.contains("dhcp-boot=tag:!ipxe,tag:bios,pxelinux.0\n"));
        assert!(text.contains("dhcp-boot=tag:!ipxe,tag:uefi,snponly.efi\n"));
    }

    #[test]
    fn ipv6_is_told_by_urls() {
        let (net, pair) = (net(), pair());
        let net = Net { address6: "fd00::1".parse().ok(), ..net };
        let plan = Plan { uefi: Some("snponly.efi"), http: Some(80), ..plan(&net, &pair) };
        let expected = "\
enable-ra
dhcp-range=::1:0,::1:ffff,constructor:eth1,12h
dhcp-userclass=set:ipxe,iPXE
dhcp-userclass=set:xget,xget:
dhcp-match=set:uefi,option6:61,00:07
dhcp-match=set:uefi,option6:61,00:09
dhcp-option=tag:ipxe,option6:bootfile-url,http://[fd00::1]/boot.ipxe
dhcp-option=tag:xget,option6:bootfile-url,xget://[fd00::1]:20004
dhcp-option=tag:uefi,tag:!ipxe,tag:!xget,option6:bootfile-url,tftp://[fd00::1]/snponly.efi
";
        assert!(plan.dnsmasq().ends_with(expected), "{}", plan.dnsmasq());
        assert!(plan.ipxe().contains(" xget.master=10.0.0.1,[fd00::1] quiet "));
        assert_eq!(url("fd00::1".parse().unwrap(), 81), "http://[fd00::1]:81/");
        let alone = Plan { http: None, ..plan };
        assert!(alone.dnsmasq().contains("bootfile-url,tftp://[fd00::1]/boot.ipxe\n"));
    }

    #[test]
    fn names_are_answered_for_where_that_is_wanted() {
        let (net, pair) = (net(), pair());
        let text = Plan { dns: true, ..plan(&net, &pair) }.dnsmasq();
        assert!(!text.contains("port=0"));
        assert!(
            text.contains(
                "no-hosts\naddn-hosts=/srv/boot/hosts\ndomain-needed\nbogus-priv\n\
             dhcp-option=6,10.0.0.1\n"
            ),
            "{text}"
        );
        let proxy = Plan { dns: true, proxy: true, ..plan(&net, &pair) }.dnsmasq();
        assert!(proxy.contains("addn-hosts") && !proxy.contains("dhcp-option=6"));
        let table = b"10.0.0.9-10.0.0.10 n[1-2]\nfd00::7 n3\n10.0.1.0/24 -\nio1\n";
        let table = Table::parse(table).unwrap();
        let expected = format!("{HEADER}\n10.0.0.9 n1\n10.0.0.10 n2\nfd00::7 n3\n");
        assert_eq!(names(&table), expected);
    }

    #[test]
    fn beside_another_server_nothing_is_lent() {
        let (net, pair) = (net(), pair());
        let proxy = Plan { proxy: true, uefi: Some("snponly.efi"), ..plan(&net, &pair) };
        let text = proxy.dnsmasq();
        assert!(text.contains("\ndhcp-boot=tag:ipxe,boot.ipxe,,10.0.0.1\n"), "{text}");
        assert!(
            text.ends_with(
                "dhcp-range=10.0.0.1,proxy,255.255.255.0\n\
             pxe-service=tag:!ipxe,x86PC,\"xget\",undionly.kpxe\n\
             pxe-service=tag:!ipxe,x86-64_EFI,\"xget\",snponly.efi\n\
             pxe-service=tag:!ipxe,BC_EFI,\"xget\",snponly.efi\n"
            ),
            "{text}"
        );
        for word in ["authoritative", "224", "dhcp-hostsfile", "lease"] {
            assert!(!text.contains(word), "{word}");
        }
    }

    #[test]
    fn boot_programs_name_the_master_the_interface_and_the_words() {
        let (net, pair) = (net(), pair());
        let plan = plan(&net, &pair);
        assert!(plan.ipxe().starts_with("#!ipxe\n"));
        assert!(plan.ipxe().contains(
            "kernel vmlinuz-0123456789abcdef initrd=initramfs-0123456789abcdef.img \
             xget.master=10.0.0.1 quiet BOOTIF=01-${netX/mac:hexhyp} || goto again\n\
             initrd initramfs-0123456789abcdef.img ||"
        ));
        assert!(plan.pxelinux().contains("APPEND xget.master=10.0.0.1 quiet\n    IPAPPEND 2\n"));
        assert!(plan.grub().contains(
            "if linux /vmlinuz-0123456789abcdef xget.master=10.0.0.1 quiet \
             BOOTIF=01-$net_default_mac; then\n    if initrd /initramfs-0123456789abcdef.img; then"
        ));
        let without = Plan { words: "", ..plan };
        assert!(without.pxelinux().contains("APPEND xget.master=10.0.0.1\n"));
    }

    #[test]
    fn words_that_a_boot_program_would_read_as_something_else_are_refused() {
        for words in [
            "a\nboot",
            "${net0}",
            "a || shell",
            "a # b",
            " a",
            "a && b",
            "a;b",
            "a'b",
            "(x)",
            "{x}",
            "a\\",
        ] {
            assert!(!are_words(words), "{words:?}");
        }
        assert!(are_words("console=ttyS0,115200 xget.append=\"a b\"") && are_words(""));
    }
}
