//! The lease goes on in the system that is switched to: its address stays in use, so
//! it must be asked for under the same id.
//!
//! Knows systemd-networkd, which by itself would ask under another one
//! (`ClientIdentifier=duid`, systemd.network(5)), and where what it is told for one
//! boot belongs. What other clients need is for people (docs/boot.md, Network).

use crate::os::{file, names, newroot};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where a root has files `*.network`. In /run there is none yet.
const DIRECTORIES: [&str; 3] =
    ["/etc/systemd/network", "/usr/local/lib/systemd/network", "/usr/lib/systemd/network"];
/// More of them are not looked at.
const FILES_MAX: usize = 256;
const DROP_IN: &str = "# The address is in use already, under this id: systemd.network(5)\n\
                       [DHCPv4]\nClientIdentifier=mac\n";

/// For each network of this root that asks DHCP, and does not say under which id.
pub fn to_networkd(root: &str, run: &Path) -> io::Result<()> {
    for name in newroot::within(root, || networks(&DIRECTORIES))? {
        let directory = run.join("systemd/network").join(format!("{name}.d"));
        file::make_dirs(&directory)?;
        fs::write(directory.join("50-xget.conf"), DROP_IN)?;
        log::debug!("{name}: systemd-networkd asks under the id that has the lease");
    }
    Ok(())
}

/// Their names, seen from within the root. A file hides those of its name in directories
/// after its own, whatever it says, and so does a mask.
#[inline(never)]
fn networks(directories: &[&str]) -> Vec<String> {
    let (mut seen, mut names) = (Vec::new(), Vec::new());
    for directory in directories {
        for (name, path) in files(Path::new(directory), ".network") {
            if seen.contains(&name) {
                continue;
            }
            let drop_ins = || directories.iter().map(|at| Path::new(at).join(format!("{name}.d")));
            if asks(&text(&path))
                && !drop_ins()
                    .any(|at| files(&at, ".conf").iter().any(|file| says_id(&text(&file.1))))
            {
                names.push(name.clone());
            }
            seen.push(name);
        }
    }
    names
}

/// Names that end so, and where they are.
fn files(directory: &Path, end: &str) -> Vec<(String, PathBuf)> {
    let mut names = names::of(directory, FILES_MAX);
    names.retain(|name| name.ends_with(end));
    names.into_iter().map(|name| (name.clone(), directory.join(name))).collect()
}

/// Nothing but a file is opened: a fifo would wait for ever.
fn text(path: &Path) -> String {
    let is_file = fs::metadata(path).is_ok_and(|status| status.is_file());
    is_file.then(|| fs::read_to_string(path).ok()).flatten().unwrap_or_default()
}

fn says_id(text: &str) -> bool {
    text.lines()
        .any(|line| line.split('=').next().is_some_and(|name| name.trim() == "ClientIdentifier"))
}

/// Whether it asks DHCP for IPv4, and leaves the id to networkd.
fn asks(text: &str) -> bool {
    let lines = || text.lines().map(|line| line.split_once('=').unwrap_or((line, "")));
    let dhcp =
        lines().find(|(name, _)| name.trim() == "DHCP").map_or("", |(_, value)| value.trim());
    !says_id(text) && matches!(dhcp, "yes" | "ipv4" | "true" | "on" | "1" | "both" | "v4")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::scratch::Dir;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_the_administrator_says_hides_what_the_system_brings() {
        let (etc, lib) = (Dir::new(), Dir::new());
        let directories = [etc.path().to_str().unwrap(), lib.path().to_str().unwrap()];
        let dhcp = b"[Network]\nDHCP=yes\n";
        for name in ["plain", "same", "masked", "other", "told"] {
            lib.write(&format!("{name}.network"), dhcp);
        }
        etc.write("same.network", b"[Network]\nDHCP=yes\n[DHCPv4]\nClientIdentifier=duid\n");
        etc.write("other.network", b"[Network]\nAddress=10.0.0.1/8\n");
        symlink("/dev/null", etc.join("masked.network")).unwrap();
        etc.write("told.network.d/10-id.conf", b"[DHCPv4]\nClientIdentifier = duid\n");
        etc.write("mine.network", dhcp);
        let mut names = networks(&directories);
        names.sort_unstable();
        assert_eq!(names, ["mine.network", "plain.network"]);
    }

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
