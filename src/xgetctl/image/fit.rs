//! What makes a root one that many nodes can have: nothing in it that is one machine's or
//! only in the way, and the agent with what says `up`.
//!
//! Done over again it changes nothing. A root may be a stranger's: all of it by `rooted`.

use super::tools;
use crate::failure::{Doing, Outcome};
use crate::rooted::Rooted;
use rustix::fs::FileType;
use std::fs;
use std::path::Path;

/// Where the program lies in a root: nobody's package has it there.
const AGENT: &str = "usr/local/bin/xget";
/// One machine's, and made anew by the next boot.
const OF_ONE_MACHINE: [&str; 3] =
    ["var/lib/systemd/random-seed", "var/lib/systemd/credential.secret", "var/lib/dbus/machine-id"];
/// Made or fetched anew when apt wants it, and 70 MB of every node's memory until then.
const APT_CACHE: &str = "var/cache/apt";
const APT_PACKAGES: &str = "var/cache/apt/archives";
const UNITS: [(&str, &str); 2] = [
    ("xget-up", include_str!("node/xget-up.service")),
    ("xget-ssh-keys", include_str!("node/xget-ssh-keys.service")),
];
const SCRIPTS: [(&str, &str, &str); 2] = [
    ("xget-up", "S99", include_str!("node/xget-up.init")),
    ("xget-ssh-keys", "S01", include_str!("node/xget-ssh-keys.init")),
];
const MACHINE_ID: &str = "etc/machine-id";

/// Strips a root and puts into it what a node needs of ours.
pub fn fit(root: &Path) -> Outcome {
    let rooted = Rooted::open(root)?;
    strip(&rooted)?;
    strip_apt(&rooted)?;
    install_agent(&rooted)?;
    if has_systemd(&rooted)? { install_units(&rooted) } else { install_scripts(&rooted) }
}

fn has_systemd(root: &Rooted) -> Outcome<bool> {
    Ok(root.has("usr/lib/systemd/systemd")? || root.has("lib/systemd/systemd")?)
}

/// Names of SSH host keys in a root.
pub fn host_keys(root: &Rooted) -> Outcome<Vec<String>> {
    let names = root.names("etc/ssh")?;
    let is_key = |name: &String| name.starts_with("ssh_host_") && name.contains("_key");
    Ok(names.into_iter().filter(is_key).map(|name| format!("etc/ssh/{name}")).collect())
}

fn strip(root: &Rooted) -> Outcome {
    for key in host_keys(root)? {
        root.remove(&key)?;
    }
    for path in OF_ONE_MACHINE {
        // A link to /etc/machine-id is no machine's.
        let is_file = root.status(path)?.map(|status| FileType::from_raw_mode(status.st_mode));
        if is_file == Some(FileType::RegularFile) {
            root.remove(path)?;
        }
    }
    // Empty and not missing: with none systemd takes each boot for the first, asks at the
    // console, and enables again what was disabled (machine-id(5), "First Boot Semantics").
    let has = root.read(MACHINE_ID, 4096)?;
    if root.is_dir("etc")? && has.as_deref() != Some(b"") {
        root.write(MACHINE_ID, b"", 0o444)?;
    }
    Ok(())
}

fn strip_apt(root: &Rooted) -> Outcome {
    for (dir, end) in [(APT_CACHE, "pkgcache.bin"), (APT_PACKAGES, ".deb")] {
        for name in root.names(dir)?.into_iter().filter(|name| name.ends_with(end)) {
            let path = format!("{dir}/{name}");
            if root.is_file(&path)? {
                root.remove(&path)?;
            }
        }
    }
    Ok(())
}

/// A file is written only where it is another, so that its time and number stay.
fn put(root: &Rooted, path: &str, bytes: &[u8], mode: u32) -> Outcome {
    let same = root.read(path, bytes.len() as u64 + 1).unwrap_or(None);
    if same.as_deref() == Some(bytes) { Ok(()) } else { root.write(path, bytes, mode) }
}

fn install_agent(root: &Rooted) -> Outcome {
    let agent = tools::program()?;
    let bytes = fs::read(&agent).doing("read", &agent)?;
    put(root, AGENT, &bytes, 0o755)
}

fn install_units(root: &Rooted) -> Outcome {
    for (name, text) in UNITS {
        let unit = format!("etc/systemd/system/{name}.service");
        put(root, &unit, text.as_bytes(), 0o644)?;
        let wanted = format!("etc/systemd/system/multi-user.target.wants/{name}.service");
        root.link(&wanted, &format!("/{unit}"))?;
    }
    Ok(())
}

/// For sysvinit, where there is one: Debian's directories, or Red Hat's.
fn install_scripts(root: &Rooted) -> Outcome {
    let above = if root.is_dir("etc/rc3.d")? {
        "etc"
    } else if root.is_dir("etc/rc.d/rc3.d")? {
        "etc/rc.d"
    } else {
        return Ok(());
    };
    for (name, order, text) in SCRIPTS {
        put(root, &format!("etc/init.d/{name}"), text.as_bytes(), 0o755)?;
        for level in 2..=5 {
            let link = format!("{above}/rc{level}.d/{order}{name}");
            let target = if above == "etc" { "../init.d" } else { "../../init.d" };
            root.link(&link, &format!("{target}/{name}"))?;
        }
    }
    Ok(())
}
