//! What the files for a network boot say: texts out of what is known, and nothing else.
//!
//! The set-ups are those that machines were seen to boot from. Knows dnsmasq's, iPXE's and
//! PXELINUX' ways of writing. Refuses to know files and interfaces.

use super::net::Net;
use super::place::{HEADER, HOSTS, IPXE, Pair};
use nodes::{Key, Kind, Table};

/// The boot program of BIOS machines: both are started the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bios {
    Ipxe,
    Pxelinux,
}

/// What the texts are made of.
#[derive(Debug)]
pub struct Plan<'a> {
    pub net: &'a Net,
    /// Where the files are, absolute.
    pub dir: &'a str,
    pub bios: Option<Bios>,
    /// The file for UEFI machines.
    pub uefi: Option<&'a str>,
    /// Words for the first kernel, beside the master's.
    pub words: &'a str,
    /// Kernel and initramfs.
    pub pair: &'a Pair,
    /// Where they are to be had by HTTP, if they are.
    pub http: Option<&'a str>,
}

/// How long an address is lent.
const LEASE: &str = "12h";
/// Machines at a time.
const LEASES_MAX: usize = nodes::NODES_MAX;

impl Plan<'_> {
    pub fn dnsmasq(&self) -> String {
        let Net { interface, address, from, to, mask } = self.net;
        let dir = self.dir;
        let script = match self.http {
            Some(base) => format!("{base}/{IPXE}"),
            None => IPXE.into(),
        };
        let mut text = format!(
            "{HEADER}\n\
             # DHCP and TFTP on one interface, no DNS. It has to be the only DHCP server there.\n\
             port=0\n\
             interface={interface}\n\
             except-interface=lo\n\
             bind-dynamic\n\
             dhcp-authoritative\n\
             # Without it each first offer is 3 s late.\n\
             no-ping\n\
             dhcp-range={from},{to},{mask},{LEASE}\n\
             dhcp-lease-max={LEASES_MAX}\n\
             # The master, for the agent.\n\
             dhcp-option=224,\"{address}:20004\"\n\
             enable-tftp\n\
             tftp-root={dir}\n\
             # iPXE says that it is iPXE by option 175, firmware what it is by option 93.\n\
             dhcp-match=set:ipxe,175\n\
             dhcp-match=set:bios,option:client-arch,0\n\
             dhcp-match=set:uefi,option:client-arch,7\n\
             dhcp-match=set:uefi,option:client-arch,9\n\
             dhcp-boot=tag:ipxe,{script}\n\
             # Names of nodes.tab; read again on SIGHUP.\n\
             dhcp-hostsfile={dir}/{HOSTS}\n"
        );
        if let Some(bios) = self.bios {
            let file = match bios {
                Bios::Ipxe => "undionly.kpxe",
                Bios::Pxelinux => "pxelinux.0",
            };
            text += &format!("dhcp-boot=tag:!ipxe,tag:bios,{file}\n");
        }
        if let Some(file) = self.uefi {
            text += &format!("dhcp-boot=tag:!ipxe,tag:uefi,{file}\n");
        }
        text
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

    fn cmdline(&self) -> String {
        let master = format!("xget.master={}", self.net.address);
        if self.words.is_empty() { master } else { format!("{master} {}", self.words) }
    }
}

/// The names of nodes, for dnsmasq.
pub fn hosts(table: &Table) -> String {
    let lines = reservations(table).into_iter().map(|(mac, name)| format!("{mac},{name}\n"));
    lines.fold(format!("{HEADER}\n"), |text, line| text + &line)
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
    let is_odd = |c: char| c.is_control() || c == '$' || c == '|' || c == '#' || c == '&';
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

    fn plan<'a>(net: &'a Net, pair: &'a Pair) -> Plan<'a> {
        let (dir, bios) = ("/srv/boot", Some(Bios::Ipxe));
        Plan { net, dir, bios, uefi: None, words: "quiet", pair, http: None }
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
port=0
interface=eth1
except-interface=lo
bind-dynamic
dhcp-authoritative
no-ping
dhcp-range=10.0.0.128,10.0.0.254,255.255.255.0,12h
dhcp-lease-max=65536
dhcp-option=224,\"10.0.0.1:20004\"
enable-tftp
tftp-root=/srv/boot
dhcp-match=set:ipxe,175
dhcp-match=set:bios,option:client-arch,0
dhcp-match=set:uefi,option:client-arch,7
dhcp-match=set:uefi,option:client-arch,9
dhcp-boot=tag:ipxe,boot.ipxe
dhcp-hostsfile=/srv/boot/dhcp-hosts
dhcp-boot=tag:!ipxe,tag:bios,undionly.kpxe";
        assert_eq!(said.join("\n"), expected);
        let uefi = Plan {
            bios: Some(Bios::Pxelinux),
            uefi: Some("snponly.efi"),
            http: Some("http://10.0.0.1:8080"),
            ..plan(&net, &pair)
        };
        let text = uefi.dnsmasq();
        assert!(text.contains("dhcp-boot=tag:ipxe,http://10.0.0.1:8080/boot.ipxe\n"));
        assert!(text.contains("dhcp-boot=tag:!ipxe,tag:bios,pxelinux.0\n"));
        assert!(text.contains("dhcp-boot=tag:!ipxe,tag:uefi,snponly.efi\n"));
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
        let without = Plan { words: "", ..plan };
        assert!(without.pxelinux().contains("APPEND xget.master=10.0.0.1\n"));
    }

    #[test]
    fn words_that_a_boot_program_would_read_as_something_else_are_refused() {
        for words in ["a\nboot", "${net0}", "a || shell", "a # b", " a", "a && b"] {
            assert!(!are_words(words), "{words:?}");
        }
        assert!(are_words("console=ttyS0,115200 xget.image=images/a") && are_words(""));
    }
}
