//! Distributions: which packages a node needs, and how they are installed into a directory.
//!
//! Debian and Ubuntu by mmdebstrap, Fedora and its kin by dnf. Both run with mounts and
//! processes of their own, so that nothing of them stays, however they end.

use super::dnf;
use crate::failure::{Doing, Failure, Outcome};
use crate::program;
use crate::rooted::Rooted;
use clap::Args;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a node needs to come to a login prompt, reachable by ssh, besides a kernel.
const DEBIAN: [&str; 15] = [
    // Ubuntu does without, as far as mmdebstrap is concerned.
    "apt",
    "ca-certificates",
    "dbus",
    "iproute2",
    "iputils-ping",
    "kmod",
    "less",
    "login",
    "openssh-server",
    "procps",
    "systemd-resolved",
    "systemd-sysv",
    "udev",
    "vim-tiny",
    "zstd",
];
const FEDORA: [&str; 11] = [
    "bash",
    "ca-certificates",
    "dnf",
    "iproute",
    "iputils",
    "less",
    "openssh-server",
    "passwd",
    "procps-ng",
    "systemd",
    "vim-minimal",
];
const UBUNTU_MIRROR: &str = "http://archive.ubuntu.com/ubuntu";
const UBUNTU_KEYS: &str = "/usr/share/keyrings/ubuntu-archive-keyring.gpg";
/// The builder's own, which its tools copy into what they make.
const OF_THE_BUILDER: [&str; 2] = ["etc/hostname", "etc/resolv.conf"];
/// The address that the agent got is asked for again under the same client id.
const NETWORK: &str = "\
# Put into this image by xgetctl: the node asks for the address that it booted with.
[Match]
Type=ether

[Network]
DHCP=yes

[DHCPv4]
ClientIdentifier=mac
";
const NETWORK_FILE: &str = "etc/systemd/network/80-xget.network";
const NETWORK_UNITS: [(&str, &str); 3] = [
    ("multi-user.target.wants", "systemd-networkd.service"),
    ("sockets.target.wants", "systemd-networkd.socket"),
    ("multi-user.target.wants", "systemd-resolved.service"),
];

#[derive(Args, Clone, Debug)]
pub struct Choice {
    /// bookworm, trixie, sid, jammy, noble, fedora-42, rocky-9
    #[arg(long)]
    pub suite: String,
    /// Packages besides those that a node needs; may be repeated, or separated by commas
    #[arg(long, value_delimiter = ',', value_name = "PACKAGE")]
    include: Vec<String>,
    /// Where packages come from; by default where the distribution has them
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
    /// The keys that its packages are signed with, where this machine does not know them
    #[arg(long, value_name = "FILE")]
    keyring: Option<PathBuf>,
    /// mmdebstrap's variant
    #[arg(long, default_value = "minbase")]
    variant: String,
    /// The kernel's package; linux-image-cloud-amd64 is a fifth as large, and for virtual
    /// machines alone
    #[arg(long, value_name = "PACKAGE")]
    kernel: Option<String>,
    /// Keep downloaded packages here, and take them from here (mmdebstrap)
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
}

enum Family {
    Debian,
    Ubuntu,
    /// The name and release of one that dnf installs.
    Rpm(String, String),
}

impl Choice {
    fn family(&self) -> Outcome<Family> {
        let rpm = ["fedora", "rocky", "almalinux", "centos"];
        if let Some((name, release)) = self.suite.split_once('-')
            && rpm.contains(&name)
        {
            return Ok(Family::Rpm(name.into(), release.into()));
        }
        match self.suite.as_str() {
            "bullseye" | "bookworm" | "trixie" | "forky" | "sid" | "stable" | "testing" => {
                Ok(Family::Debian)
            }
            "focal" | "jammy" | "noble" | "plucky" | "questing" => Ok(Family::Ubuntu),
            other => Err(Failure::usage(format!(
                "the suite {other:?} is not known: bookworm, trixie, sid, jammy, noble, fedora-42, \
                 rocky-9 and their like are. An image of something else can be made by its own \
                 tools and imported"
            ))),
        }
    }

    /// All that is installed, in order.
    pub fn packages(&self) -> Vec<String> {
        let (kernel, base) = match self.family() {
            Ok(Family::Rpm(..)) => ("kernel", &FEDORA[..]),
            Ok(Family::Ubuntu) => ("linux-image-generic", &DEBIAN[..]),
            _ => (debian_kernel(), &DEBIAN[..]),
        };
        let kernel = self.kernel.as_deref().unwrap_or(kernel);
        let base = [kernel].into_iter().chain(base.iter().copied());
        // Before trixie and noble it is a part of systemd or a package of its own.
        let has = |name: &&str| *name != "systemd-resolved" || !self.is_old();
        let base = base.filter(has).map(String::from);
        let mut all: Vec<String> = base.chain(self.include.iter().cloned()).collect();
        all.sort();
        all.dedup();
        all
    }

    fn is_old(&self) -> bool {
        ["bullseye", "focal", "jammy"].contains(&self.suite.as_str())
    }

    /// Makes a root of it.
    pub fn install(&self, root: &Path) -> Outcome {
        let mut command = match self.family()? {
            Family::Debian => self.mmdebstrap(root, &[])?,
            Family::Ubuntu => self.mmdebstrap(root, &self.ubuntu())?,
            Family::Rpm(name, release) => self.dnf(root, &name, &release)?,
        };
        program::run(&mut command, &format!("install {}", self.suite))?;
        finish(root)
    }

    fn mmdebstrap(&self, root: &Path, more: &[String]) -> Outcome<Command> {
        let program = program::need("mmdebstrap", "mmdebstrap", "a Debian or Ubuntu image")?;
        let mut command = program::isolated(&program)?;
        // The kernel's package would have the distribution's initrd made.
        command.env("INITRD", "No");
        command.arg(format!("--variant={}", self.variant));
        command.arg(format!("--include={}", self.packages().join(",")));
        command.args(["--format=directory", "--skip=cleanup/apt/lists"]);
        if let Some(cache) = &self.cache {
            command.args(self.caching(cache)?);
        }
        if let Some(keys) = self.keys()? {
            let mut option = OsString::from("--keyring=");
            option.push(keys);
            command.arg(option);
        }
        command.arg(&self.suite).arg(root).args(more);
        if more.is_empty() {
            command.args(&self.mirror);
        }
        Ok(command)
    }

    /// mmdebstrap(1), "EXAMPLES": a cache of packages by hooks.
    fn caching(&self, cache: &Path) -> Outcome<Vec<String>> {
        fs::create_dir_all(cache).doing("make the directory", cache)?;
        let cache = cache.canonicalize().doing("look up", cache)?;
        let shown = cache.display().to_string();
        if shown.contains(['\'', ' ', '\\', '"']) {
            let text = format!("--cache {shown}: mmdebstrap takes no such name");
            return Err(Failure::usage(text));
        }
        Ok(vec![
            "--skip=download/empty".into(),
            "--skip=essential/unlink".into(),
            "--skip=cleanup/apt/cache".into(),
            "--setup-hook=mkdir -p \"$1\"/var/cache/apt/archives/".into(),
            format!("--setup-hook=sync-in {shown} /var/cache/apt/archives/"),
            format!("--customize-hook=sync-out /var/cache/apt/archives {shown}"),
            // What apt makes of its lists is made anew when it is wanted, and is 70 MB.
            "--customize-hook=rm -rf \"$1\"/var/cache/apt/archives/*.deb \
             \"$1\"/var/cache/apt/*pkgcache.bin"
                .into(),
        ])
    }

    /// A builder that is not Ubuntu knows neither the mirror nor the keys. Those are named for
    /// the making alone: the root has its own.
    fn ubuntu(&self) -> Vec<String> {
        let mirror = self.mirror.as_deref().unwrap_or(UBUNTU_MIRROR);
        let line = |part: &str| format!("deb {mirror} {}{part} main universe", self.suite);
        ["", "-updates", "-security"].map(line).into()
    }

    fn keys(&self) -> Outcome<Option<PathBuf>> {
        let named = self.keyring.as_deref();
        let Family::Ubuntu = self.family()? else {
            return named.map(|keys| keys.canonicalize().doing("look up", keys)).transpose();
        };
        let keys = named.unwrap_or(Path::new(UBUNTU_KEYS));
        keys.canonicalize().map(Some).map_err(|_| {
            Failure::machine(format!(
                "an Ubuntu image takes Ubuntu's keys, and {} is not there: install \
                 ubuntu-archive-keyring (Debian 13 has it), or name a file with --keyring",
                keys.display()
            ))
        })
    }

    fn dnf(&self, root: &Path, name: &str, release: &str) -> Outcome<Command> {
        if self.cache.is_some() {
            return Err(Failure::usage("--cache is for mmdebstrap's suites"));
        }
        let (mirror, keyring) = (self.mirror.as_deref(), self.keyring.as_deref());
        dnf::Source { name, release, mirror, keyring }.command(root, &self.packages())
    }
}

fn debian_kernel() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "linux-image-arm64",
        _ => "linux-image-amd64",
    }
}

/// What such a root lacks to be a node: a network, and no name of the builder's.
fn finish(root: &Path) -> Outcome {
    let rooted = Rooted::open(root)?;
    for path in OF_THE_BUILDER {
        rooted.remove(path)?;
    }
    dnf::finish(&rooted)?;
    drop_initrds(&rooted)?;
    if !rooted.has("usr/lib/systemd/systemd-networkd")? {
        return Ok(());
    }
    rooted.write(NETWORK_FILE, NETWORK.as_bytes(), 0o644)?;
    for (target, unit) in NETWORK_UNITS {
        let file = format!("usr/lib/systemd/system/{unit}");
        if rooted.has(&file)? || rooted.has(&file[4..])? {
            rooted.link(&format!("etc/systemd/system/{target}/{unit}"), &format!("/{file}"))?;
        }
    }
    if rooted.has("usr/lib/systemd/systemd-resolved")? {
        rooted.link("etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf")?;
    }
    Ok(())
}

/// The distribution's own initrds are started by nobody here.
fn drop_initrds(root: &Rooted) -> Outcome {
    for name in root.names("boot")? {
        if name.starts_with("initrd.img") || name.starts_with("initramfs-") {
            root.remove(&format!("boot/{name}"))?;
        }
    }
    for link in ["initrd.img", "initrd.img.old"] {
        root.remove(link)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(suite: &str) -> Choice {
        let include = vec!["htop".into(), "dbus".into()];
        Choice {
            suite: suite.into(),
            include,
            mirror: None,
            keyring: None,
            variant: "minbase".into(),
            kernel: None,
            cache: None,
        }
    }

    #[test]
    fn packages_are_those_of_a_node_and_those_asked_for() {
        let packages = choice("trixie").packages();
        for name in ["htop", "systemd-sysv", "iproute2", "openssh-server"] {
            assert!(packages.iter().any(|has| has == name), "{name} is not in {packages:?}");
        }
        assert_eq!(packages.iter().filter(|name| *name == "dbus").count(), 1);
        assert!(!choice("bullseye").packages().contains(&"systemd-resolved".to_string()));
        assert!(choice("rocky-9").packages().contains(&"kernel".to_string()));
    }

    #[test]
    fn suites_that_are_not_known_are_refused() {
        for suite in ["", "windows", "fedora", "suse-15", "Bookworm", "--x"] {
            assert!(choice(suite).family().is_err(), "{suite}");
        }
    }
}
