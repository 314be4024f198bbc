//! The lease goes on in the system that is switched to: its address stays in use, so
//! it must be asked for under the same id.
//!
//! Knows systemd-networkd, which by itself would ask under another one
//! (`ClientIdentifier=duid`, systemd.network(5)), and where what it is told for one
//! boot belongs. What other clients need is for people (docs/boot.md, Network).

use crate::os::{file, newroot};
use std::fs;
use std::io;
use std::path::Path;

/// Where a root has files `*.network`. In /run there is none yet.
const DIRECTORIES: [&str; 3] =
    ["/etc/systemd/network", "/usr/local/lib/systemd/network", "/usr/lib/systemd/network"];
/// More of them are not looked at.
const FILES_MAX: usize = 256;
const DROP_IN: &str = "# The address is in use already, under this id: systemd.network(5)\n\
                       [DHCPv4]\nClientIdentifier=mac\n";

/// For each network of this root that asks DHCP, and does not say under which id.
pub fn to_networkd(root: &str, run: &Path) -> io::Result<()> {
    for name in newroot::within(root, networks)? {
        let directory = run.join("systemd/network").join(format!("{name}.d"));
        file::make_dirs(&directory)?;
        fs::write(directory.join("50-xget.conf"), DROP_IN)?;
        log::debug!("{name}: systemd-networkd asks under the id that has the lease");
    }
    Ok(())
}

/// Their names, seen from within the root.
fn networks() -> Vec<String> {
    let mut names = Vec::new();
    for directory in DIRECTORIES {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        for entry in entries.take(FILES_MAX) {
            let Ok(name) = entry.file_name().into_string() else { continue };
            // Nothing else is opened: a fifo would wait for ever.
            let path = entry.path();
            let is_file = fs::metadata(&path).is_ok_and(|status| status.is_file());
            let text = is_file.then(|| fs::read_to_string(path).ok()).flatten().unwrap_or_default();
            if name.ends_with(".network") && asks(&text) && !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

/// Whether it asks DHCP for IPv4, and leaves the id to networkd.
fn asks(text: &str) -> bool {
    let lines = || text.lines().map(|line| line.split_once('=').unwrap_or((line, "")));
    let says_id = lines().any(|(name, _)| name.trim() == "ClientIdentifier");
    let dhcp =
        lines().find(|(name, _)| name.trim() == "DHCP").map_or("", |(_, value)| value.trim());
    !says_id && matches!(dhcp, "yes" | "ipv4" | "true" | "on" | "1" | "both" | "v4")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_and_leaves_the_id_to_networkd() {
        assert!(asks("[Match]\nName=en*\n[Network]\nDHCP=yes\n"));
        assert!(asks("[Network]\nDHCP = ipv4\n[DHCPv4]\nUseDNS=no"));
        for text in [
            "",
            "[Network]\nDHCP=no",
            "[Network]\nDHCP=ipv6",
            "[Network]\n#DHCP=yes",
            "[Network]\nDHCP=yes\n[DHCPv4]\nClientIdentifier=duid",
        ] {
            assert!(!asks(text), "{text}");
        }
    }
}
